/** A chart from chunks: by their statistics where one falls into one point, and by their values where not. */
import type { Buckets, SeriesRange } from '../buckets.ts';
import { findNumber } from '../head.ts';
import { passingNumbers } from '../payload.ts';
import type { SqlValue, Statements } from '../statements.ts';
import type { DevicePlace, Drawn } from '../storage.ts';
import { offsetsOf } from './times-cache.ts';
import { decodeZone } from './zone.ts';

interface ChunkRow {
  readonly t0: number;
  readonly t1: number;
  readonly sealing: number;
  readonly n: number;
  readonly vmin: number | null;
  readonly vmax: number | null;
  readonly vsum: number | null;
}

interface WholeChunkRow extends ChunkRow {
  readonly data: Uint8Array;
  readonly times: Uint8Array;
}

/** Chunks that follow one another in the order of their key, to be decoded. */
interface ChunkRun {
  readonly first: ChunkRow;
  last: ChunkRow;
  readonly keys: Set<string>;
}

/** So many are read with their values at once: that costs less than to ask whose statistics would have done. */
const fewChunks = 64;

export const chunkSeriesSql = {
  few: `select k.t0, k.t1, k.sealing, k.n, k.vmin, k.vmax, k.vsum, k.data, t.times from chunk k
    join chunk_time t on t.device_id = k.device_id and t.t0 = k.t0 and t.sealing = k.sealing
    where k.device_id = ? and k.channel_id = ? and k.t0 >= ? and k.t0 <= ? and k.t1 >= ?
    order by k.t0, k.sealing limit ${fewChunks}`,
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

export async function draw(
  statements: Statements,
  device: DevicePlace,
  drawn: readonly Drawn[],
  range: SeriesRange,
): Promise<void> {
  const timesOf = timesReader(statements, device);
  for (const one of drawn) await addChunks(statements, device, one, range, timesOf);
  await addHead(statements, device, drawn, range);
}

type TimesOf = (run: ChunkRun) => Promise<ReadonlyMap<string, Float64Array>>;

function keyOf({ t0, sealing }: { readonly t0: number; readonly sealing: number }): string {
  return `${t0}/${sealing}`;
}

/** @returns reads the times of chunks, those of each once */
function timesReader(statements: Statements, device: DevicePlace): TimesOf {
  const known = new Map<string, Float64Array>();
  return async ({ first, last, keys }) => {
    if ([...keys].every((key) => known.has(key))) return known;
    const rows = await statements.all<{ t0: number; sealing: number; times: Uint8Array }>(
      chunkSeriesSql.times,
      [device.id, first.t0, last.t0],
    );
    for (const row of rows) {
      const key = keyOf(row);
      if (keys.has(key) && !known.has(key)) known.set(key, offsetsOf(`${device.id}/${key}`, row.times));
    }
    return known;
  };
}

async function addChunks(
  statements: Statements,
  device: DevicePlace,
  { id, buckets }: Drawn,
  range: SeriesRange,
  timesOf: TimesOf,
): Promise<void> {
  const chunksFrom = (t0: number): SqlValue[] => [device.id, id, t0, range.toMs, range.fromMs];
  const few = await statements.all<WholeChunkRow>(
    chunkSeriesSql.few,
    chunksFrom(range.fromMs - device.chunk_span_ms),
  );
  for (const row of few) {
    if (drawByStatistics(row, buckets)) continue;
    buckets.addNumbers(row.t0, offsetsOf(`${device.id}/${keyOf(row)}`, row.times), passingNumbers(row.data));
  }
  const last = few.at(-1);
  if (last === undefined || few.length < fewChunks) return;
  const drawn = new Set(few.map(keyOf));
  const following = await statements.all<ChunkRow>(chunkSeriesSql.chunks, chunksFrom(last.t0));
  const chunks = following.filter((chunk) => !drawn.has(keyOf(chunk)));
  for (const run of undrawn(chunks, buckets)) {
    const times = await timesOf(run);
    const rows = await statements.all<{ t0: number; sealing: number; data: Uint8Array }>(
      chunkSeriesSql.data,
      [device.id, id, run.first.t0, run.last.t0],
    );
    for (const row of rows) {
      const offsets = run.keys.has(keyOf(row)) ? times.get(keyOf(row)) : undefined;
      if (offsets === undefined) continue;
      buckets.addNumbers(row.t0, offsets, passingNumbers(row.data));
    }
  }
}

/** Draws the chunks that fall into one bucket. @returns the others */
function undrawn(chunks: readonly ChunkRow[], buckets: Buckets): ChunkRun[] {
  const runs: ChunkRun[] = [];
  let skipped = Infinity;
  for (const chunk of chunks) {
    const run = runs.at(-1);
    if (chunk.n === 0) continue;
    if (drawByStatistics(chunk, buckets)) {
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

/** @returns whether its statistics are enough, because it falls into one bucket or has no numbers */
function drawByStatistics({ t0, t1, n, vmin, vmax, vsum }: ChunkRow, buckets: Buckets): boolean {
  if (n === 0) return true;
  if (vmin === null || vmax === null || vsum === null || !buckets.holds(t0, t1)) return false;
  buckets.addStatistics(t0, { n, min: vmin, max: vmax, sum: vsum });
  return true;
}

async function addHead(
  statements: Statements,
  device: DevicePlace,
  drawn: readonly Drawn[],
  range: SeriesRange,
): Promise<void> {
  const [zone] = await statements.all<{ t0: number; t1: number; data: Uint8Array }>(chunkSeriesSql.zone, [
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
      if (statistics !== undefined && statistics.n > 0) buckets.addStatistics(zone.t0, statistics);
    }
  }
  const rows = await statements.all<{ time_ms: number; payload: Uint8Array }>(chunkSeriesSql.heads, [
    device.id,
    afterOrdinal,
    range.fromMs,
    range.toMs,
  ]);
  for (const row of rows) {
    for (const { id, buckets } of drawn) buckets.addValue(row.time_ms, findNumber(row.payload, id));
  }
}
