/** Which policies held when: what was sealed before a policy came, or ended, was sealed under those before it. */
import type { Policy } from '../domain/policy.ts';

/** A policy of one path, and since when it has been the newest here. */
export interface TakenPolicy {
  readonly policy: Policy;
  readonly takenMs: number;
}

/** A moment from which on something else holds. */
export interface PolicyChange {
  readonly atMs: number;
  /** `taken`: a policy came; a device hears of it when it can. `ended`: one ended by itself; everybody's clock says so. */
  readonly kind: 'taken' | 'ended';
  /** That held until then; none if nobody had said anything. */
  readonly before: readonly Policy[];
}

/**
 * @param levels - of each path above a device, and of itself, all policies that are known, the oldest first
 * @returns the changes up to now, the newest first
 */
export function changesOf(
  levels: readonly (readonly TakenPolicy[])[],
  nowMs: number,
): readonly PolicyChange[] {
  const changes = levels.flatMap((taken) =>
    taken.flatMap(({ policy: { validUntilMs }, takenMs }, index) => {
      const replacedMs = taken[index + 1]?.takenMs ?? nowMs;
      const hasEnded = validUntilMs !== undefined && validUntilMs > takenMs && validUntilMs <= replacedMs;
      return [
        { atMs: takenMs, kind: 'taken' as const },
        ...(hasEnded ? [{ atMs: validUntilMs, kind: 'ended' as const }] : []),
      ];
    }),
  );
  return changes
    .toSorted((one, other) => other.atMs - one.atMs)
    .map((change) => ({
      ...change,
      before: levels.flatMap((taken) => taken.findLast(({ takenMs }) => takenMs < change.atMs)?.policy ?? []),
    }));
}
