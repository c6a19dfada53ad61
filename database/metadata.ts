/** What people say of a device: owner, labels, technician in charge, service intervals; and who said what when. */
import { noteChangeBy } from './changes.ts';
import type { Database } from './connect.ts';
import { DatabaseError } from './errors.ts';
import { inSnapshot, inTransaction } from './statements.ts';
import type { Statements } from './statements.ts';

export interface DeviceMetadata {
  readonly owner: string;
  readonly labels: readonly string[];
  /** Who is in charge. */
  readonly technician: string;
  /** Of operation between two services; null where none is agreed. */
  readonly serviceHours: number | null;
  readonly serviceDays: number | null;
}

export interface RevisedMetadata extends DeviceMetadata {
  /** Rises with every change; 0 before the first. */
  readonly revision: number;
}

export interface MetadataChange {
  readonly changedMs: number;
  readonly changedBy: string;
  readonly field: keyof DeviceMetadata;
  /** As JSON. */
  readonly oldValue: string;
  readonly newValue: string;
}

export interface MetadataEdit {
  /** The name of a user. */
  readonly by: string;
  readonly nowMs: number;
  /** Of what the user looked at: if there is a later one, nothing is changed. Unless given, the last writer wins. */
  readonly revision?: number | undefined;
}

const fields = ['owner', 'labels', 'technician', 'serviceHours', 'serviceDays'] as const;
/** How many changes of each field of a device are remembered. */
export const metadataChangesMax = 100;

interface Row {
  readonly id: number;
  readonly owner: string;
  readonly labels: string | null;
  readonly technician: string | null;
  readonly service_hours: number | null;
  readonly service_days: number | null;
  readonly revision: number | null;
}

const select = `select d.id, d.owner, m.labels, m.technician, m.service_hours, m.service_days,
    (select max(c.id) from device_metadata_change c where c.device_id = d.id) as revision
  from device d left join device_metadata m on m.device_id = d.id where d.path = ?`;
const selectChanges = `select c.changed_ms as changedMs, c.changed_by as changedBy, c.field,
    c.old_value as oldValue, c.new_value as newValue
  from device d join device_metadata_change c on c.device_id = d.id where d.path = ?
  order by c.id desc limit ${metadataChangesMax * fields.length}`;
const selectSince = `select changed_by, field from device_metadata_change where device_id = ? and id > ?
  order by id desc limit ${fields.length}`;
const selectOldest = `select id from device_metadata_change where device_id = ? and field = ?
  order by id desc limit 1 offset ${metadataChangesMax - 1}`;
/** Changes nothing, and has the row alone from then on: on MySQL two people could else both find the same revision. */
const lock = 'update device set owner = owner where path = ?';

/** @returns undefined if there is no such device */
export async function readMetadata(database: Database, path: string): Promise<RevisedMetadata | undefined> {
  return inSnapshot(database, async (statements) => {
    const [row] = await statements.all<Row>(select, [path]);
    return row && { ...metadataOf(row), revision: row.revision ?? 0 };
  });
}

/** @returns the newest first */
export async function readMetadataChanges(database: Database, path: string): Promise<MetadataChange[]> {
  return inSnapshot(database, async (statements) => {
    const rows = await statements.all<MetadataChange>(selectChanges, [path]);
    return rows.map((row) => ({ ...row }));
  });
}

/**
 * @param changes - what is absent stays
 * @returns what holds now; undefined if there is no such device
 * @throws DatabaseError `database.conflict`, which names who was faster
 */
export async function changeMetadata(
  database: Database,
  path: string,
  changes: Partial<DeviceMetadata>,
  edit: MetadataEdit,
): Promise<RevisedMetadata | undefined> {
  return inTransaction(database, async (statements) => {
    await statements.run(lock, [path]);
    const [row] = await statements.all<Row>(select, [path]);
    if (row === undefined) return undefined;
    const before = metadataOf(row);
    if (edit.revision !== undefined && edit.revision !== (row.revision ?? 0))
      throw await conflict(statements, row.id, edit.revision);
    const after: DeviceMetadata = { ...before, ...changes };
    await statements.run('update device set owner = ? where id = ?', [after.owner, row.id]);
    await statements.upsertMany(
      'device_metadata',
      'device_id',
      ['device_id', 'labels', 'technician', 'service_hours', 'service_days'],
      [[row.id, JSON.stringify(after.labels), after.technician, after.serviceHours, after.serviceDays]],
    );
    if (await note(statements, row.id, before, after, edit))
      await noteChangeBy(statements, database.engine, 'metadata');
    const [now] = await statements.all<Row>(select, [path]);
    return { ...after, revision: now?.revision ?? 0 };
  });
}

function metadataOf({ owner, labels, technician, service_hours, service_days }: Row): DeviceMetadata {
  return {
    owner,
    labels: labelsOf(labels),
    technician: technician ?? '',
    serviceHours: service_hours,
    serviceDays: service_days,
  };
}

/** @param json - of `device_metadata.labels`; null for a device without a row */
export function labelsOf(json: string | null): readonly string[] {
  return json === null ? [] : (JSON.parse(json) as string[]);
}

async function conflict(statements: Statements, deviceId: number, revision: number): Promise<DatabaseError> {
  const rows = await statements.all<{ changed_by: string; field: string }>(selectSince, [deviceId, revision]);
  const who = [...new Set(rows.map(({ changed_by }) => changed_by))].join(', ');
  const what = [...new Set(rows.map(({ field }) => field))].join(', ');
  return new DatabaseError(
    'database.conflict',
    who === '' ? 'this is no revision of the device' : `${who} changed ${what} meanwhile`,
  );
}

/** @returns whether anything changed */
async function note(
  statements: Statements,
  deviceId: number,
  before: DeviceMetadata,
  after: DeviceMetadata,
  { by, nowMs }: MetadataEdit,
): Promise<boolean> {
  const changed = fields.flatMap((field) => {
    const [old, now] = [JSON.stringify(before[field]), JSON.stringify(after[field])];
    return old === now ? [] : [{ field, old, now }];
  });
  await statements.insertMany(
    'device_metadata_change',
    ['device_id', 'changed_ms', 'changed_by', 'field', 'old_value', 'new_value'],
    changed.map(({ field, old, now }) => [deviceId, nowMs, by, field, old, now]),
  );
  for (const { field } of changed) {
    const [oldest] = await statements.all<{ id: number }>(selectOldest, [deviceId, field]);
    if (oldest === undefined) continue;
    await statements.run('delete from device_metadata_change where device_id = ? and field = ? and id < ?', [
      deviceId,
      field,
      oldest.id,
    ]);
  }
  return changed.length > 0;
}
