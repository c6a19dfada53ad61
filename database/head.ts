/** The newest snapshots of a device, each whole in one row. */
import type { ChannelValue } from '../domain/snapshot.ts';
import { deflatePayload, inflatePayload, valueJson } from './payload.ts';

/** One value of one channel. */
export type ChannelPair = readonly [channelId: number, value: ChannelValue];

/** @returns the payload of a row of `head` */
export function encodePairs(pairs: readonly ChannelPair[]): Buffer {
  // By hand rather than by JSON.stringify, which loses the sign of -0 and takes twice as long.
  let json = '[';
  for (const [channelId, value] of pairs) {
    json += `${json.length === 1 ? '' : ','}[${channelId},${valueJson(value)}]`;
  }
  return deflatePayload(`${json}]`, 'head');
}

/** The inverse. */
export function decodePairs(payload: Uint8Array): ChannelPair[] {
  return JSON.parse(inflatePayload(payload)) as ChannelPair[];
}

/** @returns a value as the number that statistics take, or undefined for a text */
export function measurable(value: ChannelValue | null): number | undefined {
  if (typeof value === 'number') return value;
  return typeof value === 'boolean' ? Number(value) : undefined;
}
