/** How often and how much goes out by a stream, counted once more as its device counts it (device-agent/sharing.ts). */
import type { SharingLimits } from '../domain/policy.ts';

/** What has gone out by a stream. */
export interface StreamUse {
  /** That the last snapshot states. */
  readonly snapshotMs: number;
  /** Whole hours since 1970-01-01T00:00:00Z, as the envelopes state them. */
  readonly hour: number;
  /** Of envelopes in that hour. */
  readonly bytes: number;
  /** The same by our own clock. */
  readonly receivedHour: number;
  readonly receivedBytes: number;
}

/** Of one envelope. */
export interface Portion {
  readonly snapshotMs: number;
  readonly signingTimeMs: number;
  readonly receivedMs: number;
  readonly bytes: number;
}

const hourMs = 3_600_000;
/** Clocks of devices and ours differ. */
const clockSkewMs = 5 * 60_000;
/** Of a clock that was set back an hour comes twice, and by ours it may be one. */
const setBackFactor = 2;

/** @returns what the stream has used with it */
export function useWith(used: StreamUse | undefined, portion: Portion): StreamUse {
  const { snapshotMs, receivedMs, bytes } = portion;
  const stated = statedHour(portion);
  const hour = Math.max(stated, used?.hour ?? stated); // one that is over is not used once more
  const receivedHour = Math.floor(receivedMs / hourMs);
  return {
    snapshotMs,
    hour,
    bytes: bytes + (used?.hour === hour ? used.bytes : 0),
    receivedHour,
    receivedBytes: bytes + (used?.receivedHour === receivedHour ? used.receivedBytes : 0),
  };
}

/** @returns why it is more than is granted, or undefined */
export function rateFault(
  { secondsBetweenSnapshots, bytesPerHour }: SharingLimits,
  used: StreamUse | undefined,
  portion: Portion,
): { readonly reason: string; readonly detail: string } | undefined {
  if (secondsBetweenSnapshots !== undefined && used !== undefined) {
    const seconds = Math.abs(portion.snapshotMs - used.snapshotMs) / 1000;
    if (seconds < secondsBetweenSnapshots) {
      const detail = `${seconds} s after the one before; the policy grants one in ${secondsBetweenSnapshots} s`;
      return { reason: 'policy.sampling', detail };
    }
  }
  if (bytesPerHour === undefined) return undefined;
  const { bytes, receivedBytes } = useWith(used, portion);
  if (bytes <= bytesPerHour) return undefined;
  // The device has begun to count anew, so ours says how much it may have been.
  const isSetBack = used !== undefined && statedHour(portion) < used.hour;
  if (isSetBack && receivedBytes <= bytesPerHour * setBackFactor) return undefined;
  return { reason: 'policy.rate', detail: `${bytes} bytes in an hour; the policy grants ${bytesPerHour}` };
}

/** Nobody seals in the future. */
function statedHour({ signingTimeMs, receivedMs }: Portion): number {
  return Math.floor(Math.min(signingTimeMs, receivedMs + clockSkewMs) / hourMs);
}
