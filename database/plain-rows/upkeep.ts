/** Old rows are thinned, and older ones deleted: a channel at a time, so that nobody waits for long. */
import type { Database } from '../connect.ts';
import { dropSnapshots } from '../dropped.ts';
import { measurable } from '../head.ts';
import { dayMs, snapshotsPerRun, thinnedShareMin } from '../retention.ts';
import type { RetentionPolicy } from '../retention.ts';
import { inSnapshot, inTransaction } from '../statements.ts';
import type { Statements } from '../statements.ts';
import type { Thinned } from '../storage.ts';
import { readChannelIds } from './pieces.ts';
import { rowColumns, valueOfRow } from './value.ts';
import type { ValueRow } from './value.ts';
import { noteThinned } from './write.ts';

interface Item {
  readonly time_ms: number;
  readonly sequence: number;
}

type StoredRow = ValueRow & Item;

/** Snapshots that are thinned come in multiples of this, as chunks do. */
const snapshotsPerStep = 256;

export const rowUpkeepSql = {
  turn: 'update ingest_turn set batches = batches where id = 1',
  device: 'select latest_sequence from device where id = ?',
  thinned: 'select t0, stretch_ms from thinned_run where device_id = ?',
  aged: `select time_ms, sequence from row_snapshot where device_id = ? and time_ms > ? and time_ms < ?
    order by time_ms, sequence limit ?`,
  values: `select time_ms, sequence, kind, number_value, text_value from value_row
    where device_id = ? and channel_id = ? and time_ms >= ? and time_ms <= ? order by time_ms, sequence`,
  deleteValues: `delete from value_row
    where device_id = ? and channel_id = ? and time_ms >= ? and time_ms <= ? and sequence <> ?`,
  deleteTimes:
    'delete from row_snapshot where device_id = ? and time_ms >= ? and time_ms <= ? and sequence <> ?',
} as const;

export async function keepUp(
  database: Database,
  deviceId: number,
  policy: RetentionPolicy,
  nowMs: number,
): Promise<boolean> {
  const runSize = snapshotsPerRun[database.engine];
  if (policy.droppedAfterDays !== undefined) {
    const beforeMs = nowMs - policy.droppedAfterDays * dayMs;
    if (await drop(database, deviceId, beforeMs, runSize)) return true;
  }
  if (policy.thinned === undefined) return false;
  const { afterDays, perDay } = policy.thinned;
  return thin(database, deviceId, nowMs - afterDays * dayMs, dayMs / perDay, runSize);
}

export async function readThinned(statements: Statements, deviceId: number): Promise<Thinned | undefined> {
  const [row] = await statements.all<{ t0: number; stretch_ms: number }>(rowUpkeepSql.thinned, [deviceId]);
  return row && { untilMs: row.t0, stretchMs: row.stretch_ms };
}

/** @returns the snapshots to work at, the newest one of the device not among them */
async function readAged(
  statements: Statements,
  deviceId: number,
  afterMs: number,
  beforeMs: number,
  limit: number,
): Promise<{ items: readonly Item[]; latest: number }> {
  const [device] = await statements.all<{ latest_sequence: number }>(rowUpkeepSql.device, [deviceId]);
  const latest = device?.latest_sequence ?? 0;
  const items = await statements.all<Item>(rowUpkeepSql.aged, [deviceId, afterMs, beforeMs, limit]);
  return { items: items.filter(({ sequence }) => sequence !== latest), latest };
}

async function drop(database: Database, deviceId: number, beforeMs: number, limit: number): Promise<boolean> {
  const { items, latest } = await inSnapshot(database, (one) =>
    readAged(one, deviceId, -8.64e15, beforeMs, limit),
  );
  const [first] = items;
  const last = items.at(-1);
  if (first === undefined || last === undefined) return false;
  const range = [first.time_ms, last.time_ms, latest] as const;
  for (const channelId of await inSnapshot(database, (one) => readChannelIds(one, deviceId)))
    await inTransaction(database, (one) =>
      one.run(rowUpkeepSql.deleteValues, [deviceId, channelId, ...range]),
    );
  await inTransaction(database, async (statements) => {
    await statements.run(rowUpkeepSql.turn, []);
    await statements.run(rowUpkeepSql.deleteTimes, [deviceId, ...range]);
    await dropSnapshots(
      statements,
      deviceId,
      items.map(({ sequence }) => sequence),
      beforeMs,
    );
  });
  return true;
}

/** As chunks are thinned: so many snapshots at a time, and of fewer than half of them none yet. */
async function thin(
  database: Database,
  deviceId: number,
  beforeMs: number,
  stretchMs: number,
  runSize: number,
): Promise<boolean> {
  const { aged, channels } = await inSnapshot(database, async (statements) => {
    const { untilMs } = (await readThinned(statements, deviceId)) ?? { untilMs: -8.64e15 };
    return {
      aged: (await readAged(statements, deviceId, untilMs, beforeMs, runSize)).items,
      channels: await readChannelIds(statements, deviceId),
    };
  });
  const items = aged.slice(0, Math.floor(aged.length / snapshotsPerStep) * snapshotsPerStep);
  const last = items.at(-1);
  if (last === undefined || items.length < runSize * thinnedShareMin) return false;
  const inRun = new Set(items.map(keyOf));
  const whole = new Set(firstsOf(items, stretchMs).map(keyOf));
  const staying = new Set(whole);
  const range = [items[0]?.time_ms ?? 0, last.time_ms] as const;
  for (const channelId of channels) {
    const kept = await inTransaction(database, (statements) =>
      thinChannel(statements, deviceId, channelId, range, inRun, whole),
    );
    for (const key of kept) staying.add(key);
  }
  await inTransaction(database, async (statements) => {
    await statements.run(rowUpkeepSql.turn, []);
    const there = await statements.all<Item>(rowUpkeepSql.aged, [
      deviceId,
      range[0] - 1,
      range[1] + 1,
      Number.MAX_SAFE_INTEGER,
    ]);
    const rest = there.filter((item) => !inRun.has(keyOf(item)) || staying.has(keyOf(item)));
    await statements.run(rowUpkeepSql.deleteTimes, [deviceId, ...range, 0]);
    await statements.insertMany(
      'row_snapshot',
      ['device_id', 'time_ms', 'sequence'],
      rest.map(({ time_ms, sequence }) => [deviceId, time_ms, sequence]),
    );
    await noteThinned(statements, deviceId, { untilMs: last.time_ms, stretchMs });
  });
  return true;
}

/** @returns the first of each stretch of time */
function firstsOf(items: readonly Item[], stretchMs: number): Item[] {
  const stretchOf = (item: Item | undefined): number => Math.floor((item?.time_ms ?? NaN) / stretchMs);
  return items.filter((item, index) => stretchOf(item) !== stretchOf(items[index - 1]));
}

/** @returns what stays for the channel's own sake */
async function thinChannel(
  statements: Statements,
  deviceId: number,
  channelId: number,
  range: readonly [fromMs: number, toMs: number],
  inRun: ReadonlySet<string>,
  whole: ReadonlySet<string>,
): Promise<Set<string>> {
  await statements.run(rowUpkeepSql.turn, []); // what comes late meanwhile waits
  const rows = await statements.all<StoredRow>(rowUpkeepSql.values, [deviceId, channelId, ...range]);
  const own = extremesOf(rows.filter((row) => inRun.has(keyOf(row))));
  const stays = (row: StoredRow): boolean => {
    const key = keyOf(row);
    return !inRun.has(key) || whole.has(key) || own.has(key);
  };
  await statements.run(rowUpkeepSql.deleteValues, [deviceId, channelId, ...range, 0]);
  await statements.insertMany(
    'value_row',
    rowColumns,
    rows
      .filter(stays)
      .map((row) => [
        deviceId,
        channelId,
        row.time_ms,
        row.sequence,
        row.kind,
        row.number_value,
        row.text_value,
      ]),
  );
  return own;
}

/** @returns where the least and the greatest are, each the first of its kind; nothing for texts */
function extremesOf(rows: readonly StoredRow[]): Set<string> {
  let least: { key: string; number: number } | undefined;
  let greatest: { key: string; number: number } | undefined;
  for (const row of rows) {
    const number = measurable(valueOfRow(row));
    if (number === undefined) continue;
    if (least === undefined || number < least.number) least = { key: keyOf(row), number };
    if (greatest === undefined || number > greatest.number) greatest = { key: keyOf(row), number };
  }
  return new Set([least, greatest].flatMap((extreme) => (extreme === undefined ? [] : [extreme.key])));
}

function keyOf({ time_ms: timeMs, sequence }: Item): string {
  return `${timeMs}/${sequence}`;
}
