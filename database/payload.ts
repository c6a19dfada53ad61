/** How values rest in chunks: a JSON array in the format of MySQL's COMPRESS(), so that plain SQL can read it there. */
import { deflateSync, inflateSync } from 'node:zlib';
import type { ChannelValue } from '../domain/snapshot.ts';
import { parseNumbers } from './number-parser.ts';

// https://dev.mysql.com/doc/refman/8.4/en/encryption-functions.html#function_compress: four bytes, little-endian,
// of the length before compression (its two high bits clear), then a zlib stream.
const prefixBytes = 4;
const lengthMax = 2 ** 30 - 1;
/** The least buffer that zlib takes. */
const bufferBytesMin = 64;
/** For 256 numbers. Node's own 16 KiB take longer to get than to fill. */
const deflatedBytesUsual = 1024;

/** What is written once more before long is not worth the time: 12 % larger, in half of it. */
export type Effort = 'quick' | 'thorough';
const levels: Readonly<Record<Effort, number>> = { quick: 3, thorough: 6 };

/** @param json - not empty, because COMPRESS('') is the empty string, without a prefix */
export function deflatePayload(json: string, effort: Effort = 'thorough'): Buffer {
  const text = Buffer.from(json);
  if (text.length === 0 || text.length > lengthMax) {
    throw new RangeError(`cannot store a payload of ${text.length} bytes; wanted 1 to ${lengthMax}`);
  }
  const compressed = deflateSync(text, { level: levels[effort], chunkSize: deflatedBytesUsual });
  const payload = Buffer.allocUnsafe(prefixBytes + compressed.length);
  payload.writeUInt32LE(text.length, 0);
  compressed.copy(payload, prefixBytes);
  return payload;
}

/** @returns the JSON text */
export function inflatePayload(payload: Uint8Array): string {
  return inflateBytes(payload).toString('utf8');
}

function inflateBytes(payload: Uint8Array): Buffer {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  const length = bytes.readUInt32LE(0) & lengthMax;
  // One buffer of the right size: a quarter of the time goes into larger ones (14 µs of 19 for 256 values).
  return inflateSync(bytes.subarray(prefixBytes), {
    maxOutputLength: Math.max(1, length),
    chunkSize: Math.max(bufferBytesMin, length),
  });
}

/**
 * One value as JSON. `JSON.stringify` writes -0 as 0; JSON itself has a -0, and JSON.parse gives it back. What JSON has no
 * number for is an array of its name: `["NaN"]`, `["Infinity"]`, `["-Infinity"]`.
 */
export function valueJson(value: ChannelValue | null): string {
  if (typeof value !== 'number') return typeof value === 'string' ? JSON.stringify(value) : String(value);
  if (!Number.isFinite(value)) return `["${value}"]`;
  return Object.is(value, -0) ? '-0' : String(value);
}

/** @returns a JSON array of what `valueJson` makes of each */
export function valuesJson(values: readonly (ChannelValue | null)[]): string {
  // In half the time, where it says the same.
  return values.every(isPlain) ? JSON.stringify(values) : `[${values.map(valueJson).join(',')}]`;
}

/** Whether JSON.stringify writes it as `valueJson` does. */
function isPlain(value: ChannelValue | null): boolean {
  return typeof value !== 'number' || (Number.isFinite(value) && !Object.is(value, -0));
}

/** @param parsed - what JSON.parse made of what `valueJson` wrote */
export function valueOf(parsed: unknown): ChannelValue | null {
  return Array.isArray(parsed) ? Number(parsed[0]) : (parsed as ChannelValue | null);
}

/** @returns a chunk's data: the values of one channel, null where a snapshot has none */
export function encodeColumn(values: readonly (ChannelValue | null)[], effort?: Effort): Buffer {
  return deflatePayload(valuesJson(values), effort);
}

/** The inverse. */
export function decodeColumn(data: Uint8Array): (ChannelValue | null)[] {
  const json = inflatePayload(data);
  const parsed = JSON.parse(json) as unknown[];
  return json.includes('["', 1) ? parsed.map(valueOf) : (parsed as (ChannelValue | null)[]);
}

/**
 * The numbers of a chunk's data, or its times.
 *
 * @returns as long as the column; booleans are 1 and 0, and what is no finite number is NaN
 */
export function decodeNumbers(data: Uint8Array): Float64Array {
  return passingNumbers(data).slice();
}

/**
 * The same for who is done with them before anything else is decoded: a chart of sixty chunks leaves less to collect.
 *
 * @returns memory that the next call writes into
 */
export function passingNumbers(data: Uint8Array): Float64Array {
  const json = inflateBytes(data);
  const numbers = parseNumbers(json);
  if (numbers !== undefined) return numbers;
  const parsed = JSON.parse(json.toString('utf8')) as unknown[];
  return Float64Array.from(parsed, (item) =>
    typeof item === 'number' || typeof item === 'boolean' ? Number(item) : NaN,
  );
}

/** @returns a chunk's times or sequences */
export function encodeIntegers(integers: readonly number[]): Buffer {
  return deflatePayload(JSON.stringify(integers));
}

/** The inverse. */
export function decodeIntegers(data: Uint8Array): number[] {
  return JSON.parse(inflatePayload(data)) as number[];
}

/**
 * For the view of all values on SQLite, whose joins of three arrays would read them again for every value.
 *
 * @returns JSON, `[[sequence, offset, value], …]`, without what a snapshot lacks
 */
export function chunkValues(data: unknown, times: unknown, sequences: unknown): string | null {
  if (!(data instanceof Uint8Array && times instanceof Uint8Array && sequences instanceof Uint8Array))
    return null;
  const offsets = decodeIntegers(times);
  const order = decodeIntegers(sequences);
  const values = decodeColumn(data).flatMap((value, index) =>
    value === null ? [] : [`[${order[index]},${offsets[index]},${valueJson(value)}]`],
  );
  return `[${values.join(',')}]`;
}
