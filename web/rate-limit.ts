/** Slows down whoever tries passwords: so many failures in a window, then nothing until the window has passed. */
import type { Clock } from '../domain/clock.ts';

export interface RateLimit {
  /** @returns whether one more attempt is allowed now */
  allows(key: string): boolean;
  /** Notes a failure. */
  fail(key: string): void;
  /** Forgets the failures, as after the right password. */
  clear(key: string): void;
}

/** How many keys are remembered; beyond, the one that began to fail longest ago is forgotten. */
const keysMax = 10_000;

export function createRateLimit(failuresMax: number, windowMs: number, clock: Clock): RateLimit {
  const failures = new Map<string, { count: number; untilMs: number }>();
  const current = (key: string): { count: number; untilMs: number } | undefined => {
    const known = failures.get(key);
    if (known === undefined || known.untilMs > clock()) return known;
    failures.delete(key);
    return undefined;
  };
  return {
    allows: (key) => (current(key)?.count ?? 0) < failuresMax,
    fail: (key) => {
      const known = current(key);
      if (known !== undefined) {
        known.count += 1;
        return;
      }
      if (failures.size >= keysMax) failures.delete(failures.keys().next().value ?? '');
      failures.set(key, { count: 1, untilMs: clock() + windowMs });
    },
    clear: (key) => {
      failures.delete(key);
    },
  };
}
