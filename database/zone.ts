/** Count, minimum, maximum and sum of every channel over a device's newest snapshots, so that a chart need not open each. */
import type { ChannelPair } from './head.ts';
import { measurable } from './head.ts';

export interface Statistics {
  n: number;
  min: number;
  max: number;
  sum: number;
}

/** Channel id → statistics of its numbers and booleans. */
export type Zone = Map<number, Statistics>;

const fields = 5;
const bytesPerChannel = fields * 8;

export function addToZone(zone: Zone, pairs: readonly ChannelPair[]): void {
  for (const [channelId, value] of pairs) {
    const number = measurable(value);
    if (number === undefined) continue;
    const known = zone.get(channelId);
    if (known === undefined) zone.set(channelId, { n: 1, min: number, max: number, sum: number });
    else addToStatistics(known, { n: 1, min: number, max: number, sum: number });
  }
}

export function addToStatistics(into: Statistics, more: Statistics): void {
  into.n += more.n;
  into.sum += more.sum;
  if (more.min < into.min) into.min = more.min;
  if (more.max > into.max) into.max = more.max;
}

/** @returns five little-endian doubles per channel: its id, n, min, max, sum */
export function encodeZone(zone: Zone): Buffer {
  const data = Buffer.allocUnsafe(zone.size * bytesPerChannel);
  let offset = 0;
  for (const [channelId, { n, min, max, sum }] of zone) {
    for (const field of [channelId, n, min, max, sum]) offset = data.writeDoubleLE(field, offset);
  }
  return data;
}

export function decodeZone(data: Uint8Array): Zone {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const zone: Zone = new Map();
  for (let offset = 0; offset < data.byteLength; offset += bytesPerChannel) {
    const field = (index: number): number => view.getFloat64(offset + index * 8, true);
    zone.set(field(0), { n: field(1), min: field(2), max: field(3), sum: field(4) });
  }
  return zone;
}

/** @returns the statistics of one channel, without decoding the others */
export function statisticsIn(data: Uint8Array, channelId: number): Statistics | undefined {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  for (let offset = 0; offset < data.byteLength; offset += bytesPerChannel) {
    if (view.getFloat64(offset, true) !== channelId) continue;
    const field = (index: number): number => view.getFloat64(offset + index * 8, true);
    return { n: field(1), min: field(2), max: field(3), sum: field(4) };
  }
  return undefined;
}
