/** Sealing: when a device has enough newest snapshots, their values move into one compressed chunk per channel. */
import { chunkRow, insertRun } from './chunk.ts';
import { columnsOf } from '../head.ts';
import type { Statements } from '../statements.ts';
import type { NewSnapshot } from '../storage.ts';
import type { DeviceState } from '../device-state.ts';
import { advanceZones } from './open-zone.ts';

/** How many snapshots one sealing takes. */
export const snapshotsPerSealing = 256;
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
const deleteSealed = 'delete from head where device_id = ? and ordinal <= ? and ordinal <> ?';
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
  const sealed = new Set<DeviceState>();
  const arrived = Map.groupBy(snapshots, ({ device }) => device);
  for (const device of arrived.keys()) {
    const times = await sealHead(statements, device, budget);
    if (times > 0) sealed.add(device);
    budget -= times;
  }
  await advanceZones(statements, arrived, sealed);
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
  return sealed;
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
