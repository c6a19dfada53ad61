/** Count, minimum, maximum and sum of every channel over a device's newest snapshots, so that a chart need not open each. */
import { eachValue, measurable } from '../head.ts';

export interface Statistics {
  /** 0 for a channel of texts: then the others mean nothing. */
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
    let known = zone.get(channelId);
    if (known === undefined) {
      known = { n: 0, min: 0, max: 0, sum: 0 };
      zone.set(channelId, known);
    }
    if (number === undefined) return;
    known.sum += number;
    if (known.n === 0 || number < known.min) known.min = number;
    if (known.n === 0 || number > known.max) known.max = number;
    known.n += 1;
  });
}

/** @returns five little-endian doubles per channel, in the order of ids: its id, n, min, max, sum */
export function encodeZone(zone: Zone): Buffer {
  const data = Buffer.allocUnsafe(zone.size * bytesPerChannel);
  let offset = 0;
  for (const [channelId, { n, min, max, sum }] of [...zone].toSorted(([a], [b]) => a - b)) {
    for (const field of [channelId, n, min, max, sum]) offset = data.writeDoubleLE(field, offset);
  }
  return data;
}

/** @param data - whole, or a part between two channels */
export function decodeZone(data: Uint8Array): Zone {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const zone: Zone = new Map();
  for (let offset = 0; offset < data.byteLength; offset += bytesPerChannel) {
    const field = (index: number): number => view.getFloat64(offset + index * 8, true);
    zone.set(field(0), { n: field(1), min: field(2), max: field(3), sum: field(4) });
  }
  return zone;
}

/** So many channels to either side: a device may lack some that others of its type have. */
const neighbours = 16;

/**
 * A part of a zone is enough to find one channel in: of a hundred devices with hundreds of channels all is a megabyte.
 *
 * @param before - how many channels of the device's type have a lower id
 * @returns the first octet, from 1, and how many: for `substr`
 */
export function partAround(before: number): [from: number, bytes: number] {
  const first = Math.max(0, before - neighbours);
  return [1 + first * bytesPerChannel, (before - first + 1 + neighbours) * bytesPerChannel];
}

/**
 * @param data - whole, or a part between two channels
 * @returns the statistics of one channel, without decoding the others; undefined if it is not there
 */
export function statisticsIn(data: Uint8Array, channelId: number): Statistics | undefined {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  for (let offset = 0; offset < data.byteLength; offset += bytesPerChannel) {
    if (view.getFloat64(offset, true) !== channelId) continue;
    const field = (index: number): number => view.getFloat64(offset + index * 8, true);
    return { n: field(1), min: field(2), max: field(3), sum: field(4) };
  }
  return undefined;
}
