/** Channels over a range of time in at most N points, so that no spike disappears. */
import type { Series } from '../domain/view.ts';
import { Buckets } from './buckets.ts';
import type { SeriesRange } from './buckets.ts';
import type { Database } from './connect.ts';
import { findNumber } from './head.ts';
import { decodeColumn, decodeIntegers } from './payload.ts';
import { inSnapshot } from './statements.ts';
import type { Statements } from './statements.ts';
import { decodeZone } from './zone.ts';

/** How many channels one question may have. */
export const seriesChannelsMax = 100;

interface Device {
  readonly id: number;
  readonly zone_ordinal: number;
  readonly chunk_span_ms: number;
}

interface Drawn {
  readonly id: number;
  readonly name: string;
  readonly unit: string | null;
  readonly buckets: Buckets;
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

/** Chunks that follow one another in the order of their key, to be decoded. */
interface ChunkRun {
  readonly first: ChunkRow;
  last: ChunkRow;
  readonly keys: Set<string>;
}

export const seriesSql = {
  device: 'select id, zone_ordinal, chunk_span_ms from device where path = ?',
  channel: `select c.id, c.name, u.symbol as unit from device d
    join channel c on c.device_type_id = d.device_type_id
    left join unit u on u.id = c.unit_id where d.path = ? and c.name = ?`,
  // A chunk that reaches into the range begins at most one span before it.
  chunks: `select t0, t1, sealing, n, vmin, vmax, vsum from chunk
    where device_id = ? and channel_id = ? and t0 >= ? and t0 <= ? and t1 >= ? order by t0, sealing`,
  data: 'select t0, sealing, data from chunk where device_id = ? and channel_id = ? and t0 >= ? and t0 <= ?',
  times: 'select t0, sealing, times from chunk_time where device_id = ? and t0 >= ? and t0 <= ?',
  zone: 'select t0, t1, data from open_zone where device_id = ?',
  heads: `select time_ms, payload from head
    where device_id = ? and ordinal > ? and time_ms >= ? and time_ms <= ?`,
} as const;

/** Between two chunks that are decoded, so many that need not be are read with them rather than ask twice. */
const skippedMax = 4;

/**
 * @returns undefined if the device has no such channel; texts have no points, booleans are 1 and 0
 * @throws RangeError
 */
export async function readSeries(
  database: Database,
  path: string,
  channel: string,
  range: SeriesRange,
): Promise<Series | undefined> {
  const [series] = await readManySeries(database, path, [channel], range);
  return series;
}

/**
 * Several channels of one device, whose times are read once.
 *
 * @param channels - at most `seriesChannelsMax`
 * @returns in their order; a channel that the device does not have is left out
 * @throws RangeError
 */
export async function readManySeries(
  database: Database,
  path: string,
  channels: readonly string[],
  range: SeriesRange,
): Promise<Series[]> {
  if (channels.length > seriesChannelsMax) {
    throw new RangeError(`cannot draw ${channels.length} channels; wanted at most ${seriesChannelsMax}`);
  }
  return inSnapshot(database, async (statements) => {
    const drawn: Drawn[] = [];
    for (const channel of channels) {
      const buckets = new Buckets(range);
      const [known] = await statements.all<Omit<Drawn, 'buckets'>>(seriesSql.channel, [path, channel]);
      if (known !== undefined) drawn.push({ ...known, buckets });
    }
    const [device] = await statements.all<Device>(seriesSql.device, [path]);
    if (device === undefined) return [];
    const timesOf = timesReader(statements, device);
    for (const one of drawn) await addChunks(statements, device, one, range, timesOf);
    if (drawn.length > 0) await addHead(statements, device, drawn, range);
    return drawn.map(({ name, unit, buckets }) => ({ channel: name, unit, ...buckets.points() }));
  });
}

type TimesOf = (run: ChunkRun) => Promise<ReadonlyMap<string, readonly number[]>>;

function keyOf({ t0, sealing }: { readonly t0: number; readonly sealing: number }): string {
  return `${t0}/${sealing}`;
}

/** @returns reads the times of chunks, those of each once */
function timesReader(statements: Statements, device: Device): TimesOf {
  const known = new Map<string, readonly number[]>();
  return async ({ first, last, keys }) => {
    if ([...keys].every((key) => known.has(key))) return known;
    const rows = await statements.all<{ t0: number; sealing: number; times: Uint8Array }>(seriesSql.times, [
      device.id,
      first.t0,
      last.t0,
    ]);
    for (const row of rows) {
      const key = keyOf(row);
      if (keys.has(key) && !known.has(key)) known.set(key, decodeIntegers(row.times));
    }
    return known;
  };
}

async function addChunks(
  statements: Statements,
  device: Device,
  { id, buckets }: Drawn,
  range: SeriesRange,
  timesOf: TimesOf,
): Promise<void> {
  const chunks = await statements.all<ChunkRow>(seriesSql.chunks, [
    device.id,
    id,
    range.fromMs - device.chunk_span_ms,
    range.toMs,
    range.fromMs,
  ]);
  for (const run of undrawn(chunks, buckets)) {
    const times = await timesOf(run);
    const rows = await statements.all<{ t0: number; sealing: number; data: Uint8Array }>(seriesSql.data, [
      device.id,
      id,
      run.first.t0,
      run.last.t0,
    ]);
    for (const row of rows) {
      const offsets = run.keys.has(keyOf(row)) ? times.get(keyOf(row)) : undefined;
      if (offsets === undefined) continue;
      const values = decodeColumn(row.data);
      for (let index = 0; index < offsets.length; index++) {
        buckets.addValue(row.t0 + (offsets[index] ?? 0), values[index]);
      }
    }
  }
}

/** Draws the chunks that fall into one bucket. @returns the others */
function undrawn(chunks: readonly ChunkRow[], buckets: Buckets): ChunkRun[] {
  const runs: ChunkRun[] = [];
  let skipped = Infinity;
  for (const chunk of chunks) {
    const { t0, t1, n, vmin, vmax, vsum } = chunk;
    const run = runs.at(-1);
    if (n === 0) continue;
    if (vmin !== null && vmax !== null && vsum !== null && buckets.holds(t0, t1)) {
      buckets.addStatistics(t0, { n, min: vmin, max: vmax, sum: vsum });
      skipped += 1;
    } else if (run !== undefined && skipped <= skippedMax) {
      run.last = chunk;
      run.keys.add(keyOf(chunk));
      skipped = 0;
    } else {
      runs.push({ first: chunk, last: chunk, keys: new Set([keyOf(chunk)]) });
      skipped = 0;
    }
  }
  return runs;
}

async function addHead(
  statements: Statements,
  device: Device,
  drawn: readonly Drawn[],
  range: SeriesRange,
): Promise<void> {
  const [zone] = await statements.all<{ t0: number; t1: number; data: Uint8Array }>(seriesSql.zone, [
    device.id,
  ]);
  const known = zone === undefined ? undefined : decodeZone(zone.data);
  // A sum that overflowed says nothing about the mean.
  const isEnough = ({ id, buckets }: Drawn): boolean =>
    zone !== undefined && buckets.holds(zone.t0, zone.t1) && Number.isFinite(known?.get(id)?.sum ?? 0);
  const afterOrdinal = drawn.every(isEnough) ? device.zone_ordinal : 0;
  if (zone !== undefined && afterOrdinal > 0) {
    for (const { id, buckets } of drawn) {
      const statistics = known?.get(id);
      if (statistics !== undefined) buckets.addStatistics(zone.t0, statistics);
    }
  }
  const rows = await statements.all<{ time_ms: number; payload: Uint8Array }>(seriesSql.heads, [
    device.id,
    afterOrdinal,
    range.fromMs,
    range.toMs,
  ]);
  for (const row of rows) {
    for (const { id, buckets } of drawn) buckets.addValue(row.time_ms, findNumber(row.payload, id));
  }
}
