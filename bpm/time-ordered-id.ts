/** Ids that sort in the order in which they were made: UUID version 7 with a counter (RFC 9562 §5.7, §6.2 method 1). */
import type { Clock } from '../domain/clock.ts';

const counterBits = 12;
const counterMax = 2 ** counterBits - 1;
const randomBytesCount = 8;

/**
 * @param random - fills the 62 bits that make an id unlike another program's
 * @returns makes one id after the other, each greater than the one before, also if the clock stands or goes back
 */
export function createTimeOrderedIds(clock: Clock, random: (bytes: number) => Uint8Array): () => string {
  let lastMs = 0;
  let counter = 0;
  return () => {
    const nowMs = clock();
    if (nowMs > lastMs) {
      lastMs = nowMs;
      counter = 0;
    } else if (counter < counterMax) {
      counter++;
    } else {
      // RFC 9562 §6.2: when the counter is used up, the time runs ahead.
      lastMs++;
      counter = 0;
    }
    const time = lastMs.toString(16).padStart(12, '0');
    const tail = Buffer.from(random(randomBytesCount));
    tail.writeUInt8((tail.readUInt8(0) & 0x3f) | 0x80, 0); // variant, RFC 9562 §4.1
    const rest = tail.toString('hex');
    const head = `${time.slice(0, 8)}-${time.slice(8)}-7${counter.toString(16).padStart(3, '0')}`;
    return `${head}-${rest.slice(0, 4)}-${rest.slice(4)}`;
  };
}
