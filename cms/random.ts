/** Where keys and nonces come from. */
import { randomBytes } from 'node:crypto';

/** Gives as many octets as asked, which the caller erases if they are secret. */
export type Random = (bytes: number) => Buffer;

const poolBytes = 4096;

/**
 * OpenSSL's generator, asked for 4 KiB at a time: a call costs as much as a hundred octets. Octets that are still to be
 * given out lie in memory, like the state of the generator, from which they could be computed as well.
 */
export function pooledRandom(): Random {
  let pool = Buffer.alloc(0);
  return (bytes) => {
    if (bytes > poolBytes) return randomBytes(bytes);
    if (pool.length < bytes) {
      pool.fill(0);
      pool = randomBytes(poolBytes);
    }
    const drawn = pool.subarray(0, bytes);
    pool = pool.subarray(bytes);
    return drawn;
  };
}
