/** A chunk: the values of one channel over a run of snapshots, with what charts and thresholds need to know of them. */
import type { ChannelValue } from '../../domain/snapshot.ts';
import { measurable } from '../head.ts';
import { encodeColumn, encodeIntegers } from '../payload.ts';
import type { Effort } from '../payload.ts';
import type { SqlValue, Statements } from '../statements.ts';

/** When and in what order: once for all channels of a run. */
export interface ChunkRun {
  readonly deviceId: number;
  /** Numbers the runs of a device, so that two may begin at one time. */
  readonly sealing: number;
  /** Rising. */
  readonly timesMs: readonly number[];
  readonly sequences: readonly number[];
}

const timeColumns = ['device_id', 't0', 'sealing', 't1', 'n', 'times', 'sequences'];
const columns = [
  'device_id',
  'channel_id',
  't0',
  'sealing',
  't1',
  'n',
  'vmin',
  'vmax',
  'vsum',
  'vlast',
  'data',
];

/** @returns the row of `chunk` for one channel, `values` as many as the run has times */
export function chunkRow(
  { deviceId, sealing, timesMs }: ChunkRun,
  channelId: number,
  values: readonly (ChannelValue | null)[],
  effort?: Effort,
): SqlValue[] {
  const t0 = timesMs[0] ?? 0;
  const t1 = timesMs.at(-1) ?? 0;
  return [deviceId, channelId, t0, sealing, t1, ...statisticsOf(values), encodeColumn(values, effort)];
}

/** Writes the run, and its channels as `chunkRow` made them. */
export async function insertRun(
  statements: Statements,
  { deviceId, sealing, timesMs, sequences }: ChunkRun,
  rows: readonly SqlValue[][],
): Promise<void> {
  const t0 = timesMs[0] ?? 0;
  const t1 = timesMs.at(-1) ?? 0;
  const times = encodeIntegers(timesMs.map((timeMs) => timeMs - t0));
  await statements.insertMany('chunk_time', timeColumns, [
    [deviceId, t0, sealing, t1, timesMs.length, times, encodeIntegers(sequences)],
  ]);
  await statements.insertMany('chunk', columns, rows);
}

/** @returns n, vmin, vmax, vsum, vlast of what is a finite number */
export function statisticsOf(values: readonly (ChannelValue | null)[]): SqlValue[] {
  let n = 0;
  let sum = 0;
  let min = Infinity;
  let max = -Infinity;
  let last: number | null = null;
  for (const value of values) {
    const number = measurable(value);
    if (number === undefined) continue;
    n += 1;
    sum += number;
    if (number < min) min = number;
    if (number > max) max = number;
    last = number;
  }
  if (n === 0) return [0, null, null, null, null];
  // The sum of many values near the largest double is an infinity, which MySQL cannot store: a chart then decodes.
  return [n, min, max, Number.isFinite(sum) ? sum : null, last];
}
