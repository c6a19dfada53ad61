/** One channel over a range of time in at most N points, so that no spike disappears. */
import type { Series } from '../domain/view.ts';
import type { ChannelValue } from '../domain/snapshot.ts';
import type { Database } from './connect.ts';
import { decodePairs, measurable } from './head.ts';
import { inflatePayload } from './payload.ts';
import { inSnapshot } from './statements.ts';
import type { Statements } from './statements.ts';
import { addToStatistics, decodeZone } from './zone.ts';
import type { Statistics } from './zone.ts';

export interface SeriesRange {
  readonly fromMs: number;
  /** Inclusive. */
  readonly toMs: number;
  /** 1 to `pointsMax`. */
  readonly points: number;
}

export const pointsMax = 10_000;

interface Device {
  readonly id: number;
  readonly zone_ordinal: number;
  readonly chunk_span_ms: number;
}

interface ChunkRow {
  readonly t0: number;
  readonly t1: number;
  readonly sealing: number;
  readonly n: number;
  readonly vmin: number | null;
  readonly vmax: number | null;
  readonly vsum: number | null;
}

const selectDevice = 'select id, zone_ordinal, chunk_span_ms from device where path = ?';
const selectChannel = `select c.id, u.symbol as unit from channel c
  join device d on d.device_type_id = c.device_type_id
  left join unit u on u.id = c.unit_id where d.path = ? and c.name = ?`;
// A chunk that reaches into the range begins at most one span before it.
const selectChunks = `select t0, t1, sealing, n, vmin, vmax, vsum from chunk
  where device_id = ? and channel_id = ? and t0 >= ? and t0 <= ? and t1 >= ? order by t0, sealing`;
const selectData = `select c.data, t.times from chunk c
  join chunk_time t on t.device_id = c.device_id and t.t0 = c.t0 and t.sealing = c.sealing
  where c.device_id = ? and c.channel_id = ? and c.t0 = ? and c.sealing = ?`;
const selectZone = 'select t0, t1, data from open_zone where device_id = ?';
const selectHeads = `select time_ms, payload from head
  where device_id = ? and ordinal > ? and time_ms >= ? and time_ms <= ?`;

/** @returns undefined if the device has no such channel; texts have no points, booleans are 1 and 0 */
export async function readSeries(
  database: Database,
  path: string,
  channel: string,
  range: SeriesRange,
): Promise<Series | undefined> {
  if (!(range.fromMs <= range.toMs) || !(range.points >= 1 && range.points <= pointsMax)) {
    throw new RangeError(`cannot draw ${range.points} points from ${range.fromMs} to ${range.toMs}`);
  }
  return inSnapshot(database, async (statements) => {
    const [device] = await statements.all<Device>(selectDevice, [path]);
    const [known] = await statements.all<{ id: number; unit: string | null }>(selectChannel, [path, channel]);
    if (device === undefined || known === undefined) return undefined;
    const buckets = createBuckets(range);
    await addChunks(statements, device, known.id, range, buckets);
    await addHead(statements, device, known.id, range, buckets);
    return { channel, unit: known.unit, ...buckets.points() };
  });
}

interface Buckets {
  /** @returns whether both ends lie in the range and in one bucket, so that their statistics are enough */
  holds(t0: number, t1: number): boolean;
  add(timeMs: number, statistics: Statistics): void;
  points(): Omit<Series, 'channel' | 'unit'>;
}

function createBuckets({ fromMs, toMs, points }: SeriesRange): Buckets {
  const widthMs = (toMs - fromMs) / points || 1;
  const buckets = new Map<number, Statistics & { timeMs: number }>();
  const indexOf = (timeMs: number): number => Math.min(points - 1, Math.floor((timeMs - fromMs) / widthMs));
  return {
    holds: (t0, t1) => t0 >= fromMs && t1 <= toMs && indexOf(t0) === indexOf(t1),
    add: (timeMs, statistics) => {
      const index = indexOf(timeMs);
      const bucket = buckets.get(index);
      if (bucket === undefined) {
        buckets.set(index, { timeMs, ...statistics });
      } else {
        addToStatistics(bucket, statistics);
        bucket.timeMs = Math.min(bucket.timeMs, timeMs);
      }
    },
    points: () => {
      const sorted = [...buckets.values()].toSorted((a, b) => a.timeMs - b.timeMs);
      return {
        timesMs: sorted.map((bucket) => bucket.timeMs),
        min: sorted.map((bucket) => bucket.min),
        max: sorted.map((bucket) => bucket.max),
        mean: sorted.map((bucket) => bucket.sum / bucket.n),
      };
    },
  };
}

async function addChunks(
  statements: Statements,
  device: Device,
  channelId: number,
  range: SeriesRange,
  buckets: Buckets,
): Promise<void> {
  const chunks = await statements.all<ChunkRow>(selectChunks, [
    device.id,
    channelId,
    range.fromMs - device.chunk_span_ms,
    range.toMs,
    range.fromMs,
  ]);
  for (const { t0, t1, sealing, n, vmin, vmax, vsum } of chunks) {
    if (vmin !== null && vmax !== null && vsum !== null && buckets.holds(t0, t1)) {
      buckets.add(t0, { n, min: vmin, max: vmax, sum: vsum });
    } else if (n > 0) {
      const [row] = await statements.all<{ data: Uint8Array; times: Uint8Array }>(selectData, [
        device.id,
        channelId,
        t0,
        sealing,
      ]);
      if (row !== undefined) addDecoded(row, t0, range, buckets);
    }
  }
}

function addDecoded(
  row: { readonly data: Uint8Array; readonly times: Uint8Array },
  t0: number,
  range: SeriesRange,
  buckets: Buckets,
): void {
  const values = JSON.parse(inflatePayload(row.data)) as (ChannelValue | null)[];
  const times = JSON.parse(inflatePayload(row.times)) as number[];
  for (const [index, value] of values.entries()) addValue(t0 + (times[index] ?? 0), value, range, buckets);
}

function addValue(timeMs: number, value: ChannelValue | null, range: SeriesRange, buckets: Buckets): void {
  const number = measurable(value);
  if (number === undefined || timeMs < range.fromMs || timeMs > range.toMs) return;
  buckets.add(timeMs, { n: 1, min: number, max: number, sum: number });
}

async function addHead(
  statements: Statements,
  device: Device,
  channelId: number,
  range: SeriesRange,
  buckets: Buckets,
): Promise<void> {
  const [zone] = await statements.all<{ t0: number; t1: number; data: Uint8Array }>(selectZone, [device.id]);
  let afterOrdinal = 0;
  if (zone !== undefined && buckets.holds(zone.t0, zone.t1)) {
    const statistics = decodeZone(zone.data).get(channelId);
    // A sum that overflowed says nothing about the mean.
    if (statistics === undefined || Number.isFinite(statistics.sum)) afterOrdinal = device.zone_ordinal;
    if (statistics !== undefined && afterOrdinal > 0) buckets.add(zone.t0, statistics);
  }
  const rows = await statements.all<{ time_ms: number; payload: Uint8Array }>(selectHeads, [
    device.id,
    afterOrdinal,
    range.fromMs,
    range.toMs,
  ]);
  for (const row of rows) {
    for (const [id, value] of decodePairs(row.payload)) {
      if (id === channelId) addValue(row.time_ms, value, range, buckets);
    }
  }
}
