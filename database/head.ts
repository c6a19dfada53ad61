/** The newest snapshots of a device, each whole in one row: JSON as it is, because compressing took most of the time. */
import type { ChannelValue } from '../domain/snapshot.ts';
import { valueJson, valueOf } from './payload.ts';

/** One value of one channel. */
export type ChannelPair = readonly [channelId: number, value: ChannelValue];

/** @returns the payload of a row of `head`: `[[channel id, value], …]`, texts behind everything else */
export function encodePairs(pairs: readonly ChannelPair[]): Buffer {
  // By hand rather than by JSON.stringify, which loses the sign of -0 and takes twice as long.
  let numbers = '';
  let texts = '';
  for (const [channelId, value] of pairs) {
    const json = `,[${channelId},${valueJson(value)}]`;
    if (json.includes('"')) texts += json;
    else numbers += json;
  }
  return Buffer.from(`[${(numbers + texts).slice(1)}]`);
}

/** The inverse, but for the order. */
export function decodePairs(payload: Uint8Array): ChannelPair[] {
  const json = textOf(payload);
  const pairs = JSON.parse(json) as [number, ChannelValue][];
  if (json.includes(',["')) for (const pair of pairs) pair[1] = valueOf(pair[1]) ?? 0;
  return pairs;
}

/**
 * One channel's number, found without parsing the rest: a twentieth of the time (2 µs of 45 for 340 values).
 *
 * @returns undefined if the channel is not there or has no number; booleans are 1 and 0
 */
export function findNumber(payload: Uint8Array, channelId: number): number | undefined {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  const key = `[${channelId},`;
  const at = bytes.indexOf(key, 0, 'latin1');
  if (at < 0) return undefined;
  // Behind the first quotation mark it may be part of a text, and no number stands there.
  const quote = bytes.indexOf(0x22);
  if (quote >= 0 && quote < at) return undefined;
  const json = bytes.toString('latin1', at + key.length, bytes.indexOf(0x5d, at));
  if (json === 'true') return 1;
  if (json === 'false') return 0;
  const number = Number(json);
  return Number.isFinite(number) ? number : undefined;
}

/** @returns a value as the number that statistics take, or undefined for a text and for what is not finite */
export function measurable(value: ChannelValue | null): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined;
  return typeof value === 'boolean' ? Number(value) : undefined;
}

function textOf(payload: Uint8Array): string {
  return Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString('utf8');
}
