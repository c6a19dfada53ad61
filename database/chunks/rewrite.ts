/** Several chunk runs of one device become one, with all of their values or with fewer. Ingest goes on meanwhile. */
import type { ChannelValue } from '../../domain/snapshot.ts';
import { chunkRow, insertRun } from './chunk.ts';
import type { ChunkRun } from './chunk.ts';
import type { Database } from '../connect.ts';
import { measurable } from '../head.ts';
import { decodeColumn, decodeIntegers } from '../payload.ts';
import { inSnapshot, inTransaction } from '../statements.ts';
import type { SqlValue, Statements } from '../statements.ts';

export interface RunKey {
  readonly t0: number;
  readonly sealing: number;
}

export interface RunGroup {
  readonly deviceId: number;
  /** In the order of t0; at most `runsPerRewriteMax`. */
  readonly runs: readonly RunKey[];
}

/** Of each stretch of time one snapshot stays whole, and of every channel its least and its greatest value. */
export interface Thinning {
  readonly stretchMs: number;
}

interface Item {
  readonly timeMs: number;
  readonly sequence: number;
}

/** Where the values of a channel come from: which run, which place in it. */
interface Source {
  readonly items: readonly Item[];
  /** For each item: its run's index, and its place there. */
  readonly runOf: readonly number[];
  readonly placeOf: readonly number[];
}

interface Rewritten {
  readonly channelId: number;
  /** Undefined if thinning left nothing. */
  readonly row: SqlValue[] | undefined;
}

export const runsPerRewriteMax = 32;

export const rewriteSql = {
  times: 'select times, sequences from chunk_time where device_id = ? and t0 = ? and sealing = ?',
  nextChannel: 'select min(channel_id) as id from chunk where device_id = ? and channel_id > ?',
  column: `select t0, sealing, data from chunk
    where device_id = ? and channel_id = ? and t0 >= ? and t0 <= ? order by t0, sealing`,
  turn: 'update ingest_turn set batches = batches where id = 1',
  device: 'select sealings, chunk_span_ms from device where id = ?',
  deleteTimes: 'delete from chunk_time where device_id = ? and t0 = ? and sealing = ?',
  // A sealing's number is the device's own, so it names the run; t0 makes it a range of the key.
  deleteChunks: `delete from chunk where device_id = ? and channel_id = ? and t0 >= ? and t0 <= ?
    and sealing in (${Array.from({ length: runsPerRewriteMax }, () => '?').join(', ')})`,
  saveDevice: 'update device set sealings = ?, chunk_span_ms = ? where id = ?',
  thinned: 'insert into thinned_run (device_id, t0, sealing, stretch_ms) values (?, ?, ?, ?)',
  forget: 'delete from thinned_run where device_id = ? and t0 = ? and sealing = ?',
} as const;

/**
 * Reads and computes a channel at a time outside of any writing transaction, and then replaces the old rows in one.
 *
 * @returns whether it did; not, if somebody else rewrote or dropped one of the runs meanwhile
 */
export async function rewriteRuns(
  database: Database,
  group: RunGroup,
  thinning: Thinning | undefined,
): Promise<boolean> {
  const source = await inSnapshot(database, (statements) => readSource(statements, group));
  if (source === undefined) return false;
  const channels = await inSnapshot(database, (statements) => readSealedChannels(statements, group.deviceId));
  const read = (channelId: number): Promise<(ChannelValue | null)[] | undefined> =>
    inSnapshot(database, (statements) => readColumn(statements, group, source, channelId));
  const kept = thinning && (await choose(source, channels, thinning, read));
  const run: ChunkRun = {
    deviceId: group.deviceId,
    sealing: 0, // known in the transaction
    timesMs: pick(source.items, kept?.all).map(({ timeMs }) => timeMs),
    sequences: pick(source.items, kept?.all).map(({ sequence }) => sequence),
  };
  const rows: Rewritten[] = [];
  for (const id of channels) {
    const values = await read(id);
    if (values === undefined) continue;
    const own = kept?.ownOf.get(id);
    const staying = values.map((value, index) =>
      kept === undefined || kept.whole.has(index) || own?.has(index) === true ? value : null,
    );
    // Without a value it would stand for the channel's newest.
    const isEmpty = staying.every((value) => value === null);
    rows.push({ channelId: id, row: isEmpty ? undefined : chunkRow(run, id, pick(staying, kept?.all)) });
  }
  return inTransaction(database, (statements) => replace(statements, group, run, rows, thinning));
}

/** @returns every channel that the device has in chunks, also of a type that it had before */
export async function readSealedChannels(statements: Statements, deviceId: number): Promise<number[]> {
  const channels: number[] = [];
  for (;;) {
    const after = channels.at(-1) ?? 0;
    const [row] = await statements.all<{ id: number | null }>(rewriteSql.nextChannel, [deviceId, after]);
    if (row === undefined || row.id === null) return channels;
    channels.push(row.id);
  }
}

async function readSource(statements: Statements, { deviceId, runs }: RunGroup): Promise<Source | undefined> {
  const all: { item: Item; run: number; place: number }[] = [];
  for (const [run, { t0, sealing }] of runs.entries()) {
    const [row] = await statements.all<{ times: Uint8Array; sequences: Uint8Array }>(rewriteSql.times, [
      deviceId,
      t0,
      sealing,
    ]);
    if (row === undefined) return undefined;
    const sequences = decodeIntegers(row.sequences);
    for (const [place, offset] of decodeIntegers(row.times).entries())
      all.push({ item: { timeMs: t0 + offset, sequence: sequences[place] ?? 0 }, run, place });
  }
  // Late snapshots were sealed later, so the runs may overlap in time.
  const sorted = all.toSorted((a, b) => a.item.timeMs - b.item.timeMs || a.item.sequence - b.item.sequence);
  return {
    items: sorted.map(({ item }) => item),
    runOf: sorted.map(({ run }) => run),
    placeOf: sorted.map(({ place }) => place),
  };
}

/** @returns the channel's values in the order of the items; undefined if it has none in these runs */
async function readColumn(
  statements: Statements,
  { deviceId, runs }: RunGroup,
  { runOf, placeOf }: Source,
  channelId: number,
): Promise<(ChannelValue | null)[] | undefined> {
  const rows = await statements.all<RunKey & { data: Uint8Array }>(rewriteSql.column, [
    deviceId,
    channelId,
    runs[0]?.t0 ?? 0,
    runs.at(-1)?.t0 ?? 0,
  ]);
  const columns = runs.map(({ t0, sealing }) => {
    const row = rows.find((one) => one.t0 === t0 && one.sealing === sealing);
    return row === undefined ? undefined : decodeColumn(row.data);
  });
  if (columns.every((column) => column === undefined)) return undefined;
  return runOf.map((run, index) => columns[run]?.[placeOf[index] ?? 0] ?? null);
}

interface Kept {
  /** Indexes of the snapshots that stay whole. */
  readonly whole: ReadonlySet<number>;
  /** Channel id → where its extremes are. */
  readonly ownOf: ReadonlyMap<number, ReadonlySet<number>>;
  readonly all: readonly number[];
}

async function choose(
  { items }: Source,
  channels: readonly number[],
  { stretchMs }: Thinning,
  read: (channelId: number) => Promise<(ChannelValue | null)[] | undefined>,
): Promise<Kept> {
  const whole = new Set<number>();
  let before: number | undefined;
  for (const [index, { timeMs }] of items.entries()) {
    const stretch = Math.floor(timeMs / stretchMs);
    if (stretch !== before) whole.add(index);
    before = stretch;
  }
  const all = new Set(whole);
  const ownOf = new Map<number, ReadonlySet<number>>();
  for (const id of channels) {
    const own = extremesOf((await read(id)) ?? []);
    ownOf.set(id, own);
    for (const index of own) all.add(index);
  }
  return { whole, ownOf, all: [...all].toSorted((a, b) => a - b) };
}

/** @returns where the least and the greatest are, each the first of its kind; nothing for texts */
function extremesOf(values: readonly (ChannelValue | null)[]): Set<number> {
  let least: { at: number; number: number } | undefined;
  let greatest: { at: number; number: number } | undefined;
  for (const [at, value] of values.entries()) {
    const number = measurable(value);
    if (number === undefined) continue;
    if (least === undefined || number < least.number) least = { at, number };
    if (greatest === undefined || number > greatest.number) greatest = { at, number };
  }
  return new Set([least, greatest].flatMap((extreme) => (extreme === undefined ? [] : [extreme.at])));
}

function pick<T>(from: readonly T[], indexes: readonly number[] | undefined): readonly T[] {
  if (indexes === undefined) return from;
  return indexes.flatMap((index) => from.slice(index, index + 1));
}

export async function deleteChunks(
  statements: Statements,
  { deviceId, runs }: RunGroup,
  channelId: number,
): Promise<void> {
  const sealings = Array.from(
    { length: runsPerRewriteMax },
    (_, index) => runs[Math.min(index, runs.length - 1)]?.sealing ?? 0,
  );
  const values = [deviceId, channelId, runs[0]?.t0 ?? 0, runs.at(-1)?.t0 ?? 0, ...sealings];
  await statements.run(rewriteSql.deleteChunks, values);
}

export async function deleteTimes(statements: Statements, { deviceId, runs }: RunGroup): Promise<void> {
  for (const { t0, sealing } of runs) {
    await statements.run(rewriteSql.deleteTimes, [deviceId, t0, sealing]);
    await statements.run(rewriteSql.forget, [deviceId, t0, sealing]);
  }
}

async function replace(
  statements: Statements,
  group: RunGroup,
  run: ChunkRun,
  rows: readonly Rewritten[],
  thinning: Thinning | undefined,
): Promise<boolean> {
  const { deviceId, runs } = group;
  // As whoever stores does: from here on nobody else changes the device's row.
  await statements.run(rewriteSql.turn, []);
  for (const { t0, sealing } of runs) {
    const there = await statements.all(rewriteSql.times, [deviceId, t0, sealing]);
    if (there.length === 0) return false;
  }
  const [device] = await statements.all<{ sealings: number; chunk_span_ms: number }>(rewriteSql.device, [
    deviceId,
  ]);
  if (device === undefined) return false;
  for (const { channelId } of rows) await deleteChunks(statements, group, channelId);
  await deleteTimes(statements, group);
  const sealing = device.sealings + 1;
  const [t0 = 0] = run.timesMs;
  const spanMs = (run.timesMs.at(-1) ?? 0) - t0;
  await insertRun(
    statements,
    { ...run, sealing },
    rows.flatMap(({ row }) =>
      row === undefined ? [] : [row.map((value, index) => (index === sealingColumn ? sealing : value))],
    ),
  );
  if (thinning !== undefined)
    await statements.run(rewriteSql.thinned, [deviceId, t0, sealing, thinning.stretchMs]);
  await statements.run(rewriteSql.saveDevice, [sealing, Math.max(device.chunk_span_ms, spanMs), deviceId]);
  return true;
}

/** Of what `chunkRow` makes. */
const sealingColumn = 3;
