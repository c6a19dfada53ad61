/** Whether the database is sound: the engine's own check, and whether our tables agree with one another. */
import type { Database } from './connect.ts';
import { isTidb } from './ddl.ts';
import { quotedName, readTables } from './rows.ts';
import { inSnapshot } from './statements.ts';
import type { Statements } from './statements.ts';
import { storageOf } from './storage-of.ts';
import type { Storage } from './storage.ts';

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
}

type Say = (fault: string) => void;
type Range = readonly [from: number, to: number];

const faultsMaxDefault = 100;

const sql = {
  devices: 'select id, path, device.stored, last_sequence from device where id > ? order by id limit 1',
  count: 'select count(*) as n from device',
  snapshots: 'select sequence from snapshot where device_id = ? order by sequence',
  others: 'select sequence from other_envelope where device_id = ? order by sequence',
  gaps: `select from_sequence, to_sequence from gap where closed_ms is null and device_id = ?
    order by to_sequence`,
  dropped: 'select sequence from dropped where device_id = ?',
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
  const storage = await storageOf(database);
  const total = await inSnapshot(database, async (statements) => {
    for (const table of storage.tables) await checkOwners(statements, table, say);
    const [row] = await statements.all<{ n: number }>(sql.count, []);
    return row?.n ?? 0;
  });
  for (let [after, done] = [0, 0]; ; done++) {
    const id = await inSnapshot(database, async (statements) => {
      const [device] = await statements.all<Device>(sql.devices, [after]);
      if (device !== undefined)
        await checkDevice(storage, statements, device, (fault) => say(`${device.path}: ${fault}`));
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

async function checkOwners(statements: Statements, table: string, say: Say): Promise<void> {
  const rows = await statements.all<{ device_id: number }>(
    `select distinct device_id from ${table} where device_id not in (select id from device)`,
    [],
  );
  for (const { device_id: id } of rows) say(`${table} has rows of device ${id}, which is not there`);
}

async function checkDevice(
  storage: Storage,
  statements: Statements,
  device: Device,
  say: Say,
): Promise<void> {
  const sequencesOf = async (text: string): Promise<number[]> =>
    (await statements.all<{ sequence: number }>(text, [device.id])).map(({ sequence }) => sequence);
  const snapshots = await sequencesOf(sql.snapshots);
  const others = await sequencesOf(sql.others);
  const [droppedUpTo = 0] = await sequencesOf(sql.dropped);
  const isThinned = (await storage.readThinned(statements, device.id)) !== undefined;

  const resting = await storage.check(statements, device.id, say);
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
