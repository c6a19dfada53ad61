/** The times of runs that were decoded last: all channels of a device have the same, and half of a chart's time went there. */
import { decodeNumbers } from '../payload.ts';

interface Known {
  readonly times: Uint8Array;
  readonly offsets: Float64Array;
}

/** 8 MB of them, and a little more for what they were decoded from. */
const offsetsMax = 1_000_000;

/** The one asked for longest ago first. */
const known = new Map<string, Known>();
let count = 0;

/**
 * @param key - of the run, within its database
 * @param times - as they rest: only the same octets have the same offsets, whatever database they come from
 * @returns milliseconds since the run's t0
 */
export function offsetsOf(key: string, times: Uint8Array): Float64Array {
  const found = known.get(key);
  if (found !== undefined) {
    known.delete(key);
    if (Buffer.compare(found.times, times) === 0) {
      known.set(key, found);
      return found.offsets;
    }
    count -= found.offsets.length;
  }
  const offsets = decodeNumbers(times);
  known.set(key, { times, offsets });
  count += offsets.length;
  for (const [oldest, { offsets: old }] of known) {
    if (count <= offsetsMax) break;
    known.delete(oldest);
    count -= old.length;
  }
  return offsets;
}
