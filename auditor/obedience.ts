/** Which policies devices say that they obey, and from which of their envelopes on (domain/device-status.ts). */
import type { PolicyStatus } from '../domain/device-status.ts';
import { parseDeviceStatus } from '../domain/device-status.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import type { EffectivePolicy } from '../domain/policy-effect.ts';

/**
 * How an envelope stands to the newest policies, by what its device says:
 * `under`: it was sealed under them, or says so by its number;
 * `before`: it has a number from before its device had them;
 * `unknown`: the device has not said yet that it has them;
 * `ahead`: the device has newer ones than we.
 */
export type Standing = 'under' | 'before' | 'unknown' | 'ahead';

/** Devices that are remembered; of others nothing is known. */
const devicesMax = 50_000;

export class Obedience {
  readonly #said = new Map<NamespacePath, PolicyStatus>();

  /**
   * Takes what a device says of itself. A last will is as old as its connection: what says less than was said before changes
   * nothing.
   *
   * @returns whether it is news
   */
  take(device: NamespacePath, payload: Uint8Array): boolean {
    const policy = parseDeviceStatus(payload)?.policy;
    if (policy === undefined) return false;
    const known = this.#said.get(device);
    if (known !== undefined && !isNewer(policy, known)) return false;
    if (known === undefined && this.#said.size >= devicesMax) return false;
    this.#said.set(device, policy);
    return true;
  }

  /** @param group - of readers, whose stream has the number */
  standingOf(
    device: NamespacePath,
    { levels }: Pick<EffectivePolicy, 'levels'>,
    group: string,
    sequence: number | undefined,
  ): Standing {
    const said = this.#said.get(device);
    if (said === undefined) return 'unknown';
    const ours = new Map<string, number>(levels.map(({ path, number }) => [path, number]));
    const isAhead = Object.entries(said.numbers).some(([path, number]) => number > (ours.get(path) ?? 0));
    if (isAhead) return 'ahead';
    if (levels.some(({ path, number }) => (said.numbers[path] ?? 0) < number)) return 'unknown';
    return sequence !== undefined && sequence < (said.since?.[group] ?? 1) ? 'before' : 'under';
  }
}

/** Numbers only rise; of the same ones the first that was said is the narrowest. */
function isNewer({ numbers }: PolicyStatus, known: PolicyStatus): boolean {
  const paths = new Set([...Object.keys(numbers), ...Object.keys(known.numbers)]);
  return [...paths].some((path) => (numbers[path] ?? 0) > (known.numbers[path] ?? 0));
}
