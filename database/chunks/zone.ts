/** Count, minimum, maximum and sum of every channel over a device's newest snapshots, so that a chart need not open each. */
import { eachValue, measurable } from '../head.ts';

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

/** @param payload - of a row of `head` */
export function addToZone(zone: Zone, payload: Uint8Array): void {
  eachValue(payload, (channelId, value) => {
    const number = measurable(value);
    if (number === undefined) return;
    const known = zone.get(channelId);
    if (known === undefined) {
      zone.set(channelId, { n: 1, min: number, max: number, sum: number });
      return;
    }
    known.n += 1;
    known.sum += number;
    if (number < known.min) known.min = number;
    if (number > known.max) known.max = number;
  });
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
