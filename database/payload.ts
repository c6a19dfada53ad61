/** How values rest: a JSON array in the format of MySQL's COMPRESS(), so that plain SQL can read it there. */
import { deflateSync, inflateSync } from 'node:zlib';
import type { ChannelValue } from '../domain/snapshot.ts';

// https://dev.mysql.com/doc/refman/8.4/en/encryption-functions.html#function_compress: four bytes, little-endian,
// of the length before compression (its two high bits clear), then a zlib stream.
const prefixBytes = 4;
const lengthMax = 2 ** 30 - 1;
/** Level 1 takes a third of the default's time and costs a tenth in size. */
const headLevel = 1;
const chunkLevel = 6;

export type PayloadPurpose = 'head' | 'chunk';

/** @param json - not empty, because COMPRESS('') is the empty string, without a prefix */
export function deflatePayload(json: string, purpose: PayloadPurpose): Buffer {
  const text = Buffer.from(json);
  if (text.length === 0 || text.length > lengthMax) {
    throw new RangeError(`cannot store a payload of ${text.length} bytes; wanted 1 to ${lengthMax}`);
  }
  const compressed = deflateSync(text, { level: purpose === 'head' ? headLevel : chunkLevel });
  const payload = Buffer.allocUnsafe(prefixBytes + compressed.length);
  payload.writeUInt32LE(text.length, 0);
  compressed.copy(payload, prefixBytes);
  return payload;
}

/** @returns the JSON text */
export function inflatePayload(payload: Uint8Array): string {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  const length = bytes.readUInt32LE(0) & lengthMax;
  return inflateSync(bytes.subarray(prefixBytes), { maxOutputLength: Math.max(1, length) }).toString('utf8');
}

/** One value as JSON. `JSON.stringify` writes -0 as 0; JSON itself has a -0, and JSON.parse gives it back. */
export function valueJson(value: ChannelValue | null): string {
  if (typeof value === 'number') return Object.is(value, -0) ? '-0' : String(value);
  return typeof value === 'string' ? JSON.stringify(value) : String(value);
}
