/** Whether the database is sound: the engine's own check, and whether our tables agree with one another. */
import { statisticsOf } from './chunk.ts';
import type { Database } from './connect.ts';
import { isTidb } from './ddl.ts';
import { decodeColumn, decodeIntegers } from './payload.ts';
import { readChannels } from './rewrite.ts';
import { quotedName, readTables } from './rows.ts';
import { inSnapshot } from './statements.ts';
import type { Statements } from './statements.ts';
import { addToZone, decodeZone } from './zone.ts';
import type { Zone } from './zone.ts';

export interface CheckOptions {
  /** How many faults are named; there may be more. */
  readonly faultsMax?: number;
  readonly onProgress?: (devices: number, devicesTotal: number) => void;
}

interface Device {
  readonly id: number;
  readonly path: string;
  readonly stored: number;
  readonly last_sequence: number;
  readonly latest_sequence: number;
  readonly latest_ordinal: number;
  readonly head_count: number;
  readonly zone_ordinal: number;
}

interface HeadRow {
  readonly ordinal: number;
  readonly sequence: number;
  readonly payload: Uint8Array;
}

interface Run {
  readonly t0: number;
  readonly t1: number;
  readonly sealing: number;
  readonly n: number;
  readonly times: Uint8Array;
  readonly sequences: Uint8Array;
}

interface ChunkRow {
  readonly t0: number;
  readonly sealing: number;
  readonly n: number;
  readonly vmin: number | null;
  readonly vmax: number | null;
  readonly vsum: number | null;
  readonly vlast: number | null;
  readonly data: Uint8Array;
}

type Say = (fault: string) => void;
type Range = readonly [from: number, to: number];

const faultsMaxDefault = 100;
const sumTolerance = 1e-9;

const sql = {
  devices: `select id, path, stored, last_sequence, latest_sequence, latest_ordinal, head_count, zone_ordinal
    from device where id > ? order by id limit 1`,
  count: 'select count(*) as n from device',
  heads: 'select ordinal, sequence, payload from head where device_id = ? order by ordinal',
  zone: 'select data from open_zone where device_id = ?',
  runs: 'select t0, t1, sealing, n, times, sequences from chunk_time where device_id = ? order by t0, sealing',
  chunks:
    'select t0, sealing, n, vmin, vmax, vsum, vlast, data from chunk where device_id = ? and channel_id = ?',
  snapshots: 'select sequence from snapshot where device_id = ? order by sequence',
  others: 'select sequence from other_envelope where device_id = ? order by sequence',
  gaps: `select from_sequence, to_sequence from gap where closed_ms is null and device_id = ?
    order by to_sequence`,
  dropped: 'select sequence from dropped where device_id = ?',
  thinned: 'select sealing from thinned_run where device_id = ? limit 1',
  orphans: `select device_id from chunk_time where device_id not in (select id from device)
    union select device_id from head where device_id not in (select id from device)`,
} as const;

/** Decodes everything: a second or two for ten million values. @returns what is wrong, nothing if all is well */
export async function checkDatabase(database: Database, options: CheckOptions = {}): Promise<string[]> {
  const { faultsMax = faultsMaxDefault, onProgress = () => undefined } = options;
  const faults: string[] = [];
  const say: Say = (fault) => {
    if (faults.length < faultsMax) faults.push(fault);
  };
  await checkEngine(database, say);
  if (faults.length > 0) return faults; // nothing that is read from it means anything
  const total = await inSnapshot(database, async (statements) => {
    for (const { device_id } of await statements.all<{ device_id: number }>(sql.orphans, []))
      say(`values rest for device ${device_id}, which is not there`);
    const [row] = await statements.all<{ n: number }>(sql.count, []);
    return row?.n ?? 0;
  });
  for (let [after, done] = [0, 0]; ; done++) {
    const id = await inSnapshot(database, async (statements) => {
      const [device] = await statements.all<Device>(sql.devices, [after]);
      if (device !== undefined)
        await checkDevice(statements, device, (fault) => say(`${device.path}: ${fault}`));
      return device?.id;
    });
    if (id === undefined) return faults;
    after = id;
    onProgress(done + 1, total);
  }
}

async function checkEngine(database: Database, say: Say): Promise<void> {
  if (database.engine === 'sqlite') {
    const rows = await database.exclusively((raw) => raw.prepare('pragma integrity_check').all());
    for (const row of rows) if (row['integrity_check'] !== 'ok') say(String(row['integrity_check']));
    return;
  }
  const [server] = await inSnapshot(database, (statements) =>
    statements.all<{ version: string }>('select version() as version', []),
  );
  if (isTidb(server?.version ?? '')) return; // it has no such statement
  for (const { name } of await readTables(database)) {
    const rows = await inSnapshot(database, (statements) =>
      statements.all<{ Msg_type: string; Msg_text: string }>(`check table ${quotedName(database, name)}`, []),
    );
    for (const { Msg_type: type, Msg_text: text } of rows) if (type === 'error') say(`${name}: ${text}`);
  }
}

async function checkDevice(statements: Statements, device: Device, say: Say): Promise<void> {
  const heads = await statements.all<HeadRow>(sql.heads, [device.id]);
  const runs = await statements.all<Run>(sql.runs, [device.id]);
  const sequencesOf = async (text: string): Promise<number[]> =>
    (await statements.all<{ sequence: number }>(text, [device.id])).map(({ sequence }) => sequence);
  const snapshots = await sequencesOf(sql.snapshots);
  const others = await sequencesOf(sql.others);
  const [droppedUpTo = 0] = await sequencesOf(sql.dropped);
  const isThinned = (await statements.all(sql.thinned, [device.id])).length > 0;

  checkHeads(device, heads, say);
  await checkZone(statements, device, heads, say);
  for (const run of runs) checkRun(run, say);
  await checkChunks(statements, device, runs, say);

  const resting = [
    ...heads.map(({ sequence }) => sequence),
    ...runs.flatMap((run) => decodeIntegers(run.sequences)),
  ];
  const restingOnce = new Set(resting);
  if (restingOnce.size < resting.length) say(`${resting.length - restingOnce.size} snapshots rest twice`);
  const known = new Set(snapshots);
  const unknown = resting.filter((sequence) => !known.has(sequence) && sequence > droppedUpTo);
  if (unknown.length > 0)
    say(`values of ${unknown.length} snapshots that are not there, the first ${unknown[0]}`);
  const lost = snapshots.filter((sequence) => !restingOnce.has(sequence) && sequence > droppedUpTo);
  if (lost.length > 0 && !isThinned) say(`snapshots without values: ${lost.length}, the first ${lost[0]}`);
  if (droppedUpTo === 0 && device.stored !== snapshots.length)
    say(`counts ${device.stored} snapshots and has ${snapshots.length}`);
  await checkGaps(statements, device, [...snapshots, ...others], droppedUpTo, say);
}

function checkHeads(device: Device, heads: readonly HeadRow[], say: Say): void {
  if (device.head_count !== heads.length)
    say(`counts ${device.head_count} newest snapshots and has ${heads.length}`);
  if (device.stored === 0) return;
  const latest = heads.find(({ ordinal }) => ordinal === device.latest_ordinal);
  if (latest?.sequence !== device.latest_sequence)
    say(`its latest snapshot, ${device.latest_sequence}, is not whole`);
}

async function checkZone(
  statements: Statements,
  device: Device,
  heads: readonly HeadRow[],
  say: Say,
): Promise<void> {
  const [row] = await statements.all<{ data: Uint8Array }>(sql.zone, [device.id]);
  const found: Zone = row === undefined ? new Map() : decodeZone(row.data);
  const wanted: Zone = new Map();
  for (const { ordinal, payload } of heads) if (ordinal <= device.zone_ordinal) addToZone(wanted, payload);
  const isRight =
    found.size === wanted.size &&
    [...wanted].every(([channelId, { n, min, max, sum }]) => {
      const zone = found.get(channelId);
      if (zone === undefined || zone.n !== n || zone.min !== min || zone.max !== max) return false;
      return zone.sum === sum || Math.abs(zone.sum - sum) <= sumTolerance * (Math.abs(sum) + 1);
    });
  if (!isRight) say('the statistics of its newest snapshots are not theirs');
}

function checkRun({ t0, t1, sealing, n, times, sequences }: Run, say: Say): void {
  const offsets = decodeIntegers(times);
  const isRising = offsets.every((offset, index) => offset >= (offsets[index - 1] ?? 0));
  const isRight =
    offsets.length === n && decodeIntegers(sequences).length === n && t0 + (offsets.at(-1) ?? 0) === t1;
  if (!isRising || !isRight) say(`the times of sealing ${sealing} are not right`);
}

async function checkChunks(
  statements: Statements,
  { id }: Device,
  runs: readonly Run[],
  say: Say,
): Promise<void> {
  const lengths = new Map(runs.map(({ t0, sealing, n }) => [`${t0}/${sealing}`, n]));
  for (const channelId of await readChannels(statements, id)) {
    for (const row of await statements.all<ChunkRow>(sql.chunks, [id, channelId])) {
      const length = lengths.get(`${row.t0}/${row.sealing}`);
      const name = `the chunk of channel ${channelId} in sealing ${row.sealing}`;
      if (length === undefined) {
        say(`${name} has no times`);
        continue;
      }
      const values = decodeColumn(row.data);
      if (values.length !== length) say(`${name} has ${values.length} values, wanted ${length}`);
      const stated = [row.n, row.vmin, row.vmax, row.vsum, row.vlast];
      // Compared by ===, because a database may take the sign from a zero.
      if (!statisticsOf(values).every((value, index) => value === stated[index]))
        say(`${name} states other values than it has`);
    }
  }
}

async function checkGaps(
  statements: Statements,
  device: Device,
  taken: readonly number[],
  droppedUpTo: number,
  say: Say,
): Promise<void> {
  const sorted = taken.filter((sequence) => sequence > droppedUpTo).toSorted((a, b) => a - b);
  const last = sorted.at(-1);
  if (last !== undefined && last !== device.last_sequence)
    say(`its last sequence is ${last}, it says ${device.last_sequence}`);
  const missing: Range[] = [];
  let before = droppedUpTo;
  for (const sequence of sorted) {
    if (sequence > before + 1) missing.push([before + 1, sequence - 1]);
    before = sequence;
  }
  const rows = await statements.all<{ from_sequence: number; to_sequence: number }>(sql.gaps, [device.id]);
  const stated = rows
    .filter((gap) => gap.to_sequence > droppedUpTo)
    .map((gap): Range => [Math.max(gap.from_sequence, droppedUpTo + 1), gap.to_sequence]);
  if (JSON.stringify(joined(stated)) !== JSON.stringify(missing)) say('its gaps are not what is missing');
}

/** Two gaps may lie side by side. */
function joined(ranges: readonly Range[]): Range[] {
  const all: Range[] = [];
  for (const [from, to] of ranges) {
    const last = all.at(-1);
    if (last !== undefined && last[1] === from - 1) all[all.length - 1] = [last[0], to];
    else all.push([from, to]);
  }
  return all;
}
