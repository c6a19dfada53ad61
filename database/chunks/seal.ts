/** Sealing: when a device has enough newest snapshots, their values move into one compressed chunk per channel. */
import { chunkRow, insertRun } from './chunk.ts';
import { columnsOf } from '../head.ts';
import type { Statements } from '../statements.ts';
import type { NewSnapshot } from '../storage.ts';
import type { DeviceState } from '../device-state.ts';
import { addToZone, decodeZone, encodeZone } from './zone.ts';
import type { Zone } from './zone.ts';

/** How many snapshots one sealing takes. */
export const snapshotsPerSealing = 256;
/** How far `open_zone` may lag behind: what it does not cover is decoded row by row. */
export const zoneLagMax = 16;
/** A pause longer than this part of the sealed span splits it, so that one late snapshot does not make a wide chunk. */
const pauseShare = 1 / 4;

interface HeadRow {
  readonly ordinal: number;
  readonly sequence: number;
  readonly time_ms: number;
  readonly payload: Uint8Array;
}

interface Sealed {
  readonly sequence: number;
  readonly timeMs: number;
  readonly payload: Uint8Array;
}

const selectForSealing = `select ordinal, sequence, time_ms, payload from head
  where device_id = ? and ordinal <> ? order by ordinal limit ${snapshotsPerSealing}`;
const selectHeads =
  'select ordinal, sequence, time_ms, payload from head where device_id = ? and ordinal > ? order by ordinal';
const deleteSealed = 'delete from head where device_id = ? and ordinal <= ? and ordinal <> ?';
const selectZone = 'select t0, t1, data from open_zone where device_id = ?';
const zoneColumns = ['device_id', 't0', 't1', 'data'];
export const headColumns = ['device_id', 'ordinal', 'sequence', 'time_ms', 'payload'];
/** One sealing for so many snapshots: twice what is needed, yet devices that fill up together do not stop a batch. */
const snapshotsPerBudget = snapshotsPerSealing / 2;

export async function store(statements: Statements, snapshots: readonly NewSnapshot[]): Promise<void> {
  await statements.insertMany(
    'head',
    headColumns,
    snapshots.map(({ device, ordinal, sequence, timeMs, payload }) => [
      device.id,
      ordinal,
      sequence,
      timeMs,
      payload,
    ]),
  );
  for (const { device, ordinal, sequence } of snapshots) {
    device.head_count += 1;
    if (sequence === device.latest_sequence) device.latest_ordinal = ordinal;
  }
  let budget = Math.ceil(snapshots.length / snapshotsPerBudget);
  for (const device of new Set(snapshots.map((snapshot) => snapshot.device))) {
    budget -= await sealHead(statements, device, budget);
    await advanceZone(statements, device);
  }
}

/**
 * Seals as often as there are enough rows and `budget` allows; the newest snapshot stays whole. Changes `device`.
 *
 * @returns how often it sealed
 */
async function sealHead(statements: Statements, device: DeviceState, budget: number): Promise<number> {
  let sealed = 0;
  while (device.head_count > snapshotsPerSealing && sealed < budget) {
    const rows = await statements.all<HeadRow>(selectForSealing, [device.id, device.latest_ordinal]);
    for (const run of runsOf(rows)) await writeRun(statements, device, run);
    const last = rows.at(-1);
    if (last === undefined)
      throw new Error(`device ${device.path} counts ${device.head_count} rows that are not there`);
    await statements.run(deleteSealed, [device.id, last.ordinal, device.latest_ordinal]);
    device.head_count -= rows.length;
    sealed += 1;
  }
  if (sealed > 0) await writeZone(statements, device, new Map(), 0);
  return sealed;
}

/** Brings `open_zone` up to date once it lags far enough. Changes `device`. */
async function advanceZone(statements: Statements, device: DeviceState): Promise<void> {
  if (device.stored - device.zone_ordinal < zoneLagMax) return;
  const [known] = await statements.all<{ t0: number; t1: number; data: Uint8Array }>(selectZone, [device.id]);
  const zone = known === undefined ? new Map() : decodeZone(known.data);
  await writeZone(statements, device, zone, known === undefined ? 0 : device.zone_ordinal, known);
}

export async function writeZone(
  statements: Statements,
  device: Pick<DeviceState, 'id' | 'stored' | 'zone_ordinal'>,
  zone: Zone,
  afterOrdinal: number,
  known?: { readonly t0: number; readonly t1: number },
): Promise<void> {
  const rows = await statements.all<HeadRow>(selectHeads, [device.id, afterOrdinal]);
  for (const row of rows) addToZone(zone, row.payload);
  const times = [...rows.map((row) => row.time_ms), ...(known === undefined ? [] : [known.t0, known.t1])];
  await statements.upsertMany('open_zone', 'device_id', zoneColumns, [
    [device.id, Math.min(...times), Math.max(...times), encodeZone(zone)],
  ]);
  device.zone_ordinal = device.stored;
}

/** @returns the rows in the order of time, cut where a long pause is: at most 1 / pauseShare runs */
function runsOf(rows: readonly HeadRow[]): Sealed[][] {
  const sorted = rows
    .map((row) => ({ sequence: row.sequence, timeMs: row.time_ms, payload: row.payload }))
    .toSorted((a, b) => a.timeMs - b.timeMs || a.sequence - b.sequence);
  const [first] = sorted;
  const last = sorted.at(-1);
  if (first === undefined || last === undefined) return [];
  const pauseMs = (last.timeMs - first.timeMs) * pauseShare;
  const runs: Sealed[][] = [];
  let before = first;
  for (const item of sorted) {
    const run = runs.at(-1);
    if (run === undefined || (pauseMs > 0 && item.timeMs - before.timeMs > pauseMs)) runs.push([item]);
    else run.push(item);
    before = item;
  }
  return runs;
}

async function writeRun(statements: Statements, device: DeviceState, run: readonly Sealed[]): Promise<void> {
  const timesMs = run.map((item) => item.timeMs);
  device.sealings += 1;
  device.chunk_span_ms = Math.max(device.chunk_span_ms, (timesMs.at(-1) ?? 0) - (timesMs[0] ?? 0));
  const sequences = run.map((item) => item.sequence);
  const chunkRun = { deviceId: device.id, sealing: device.sealings, timesMs, sequences };
  const columns = columnsOf(run.map((item) => item.payload));
  // Upkeep makes longer runs of these before long.
  const rows = Array.from(columns, ([channelId, values]) => chunkRow(chunkRun, channelId, values, 'quick'));
  await insertRun(statements, chunkRun, rows);
}
