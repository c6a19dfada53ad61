/** What people say of a device: owner, labels, technician in charge, service intervals; and who said what when. */
import type { Database } from './connect.ts';
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

export interface MetadataChange {
  readonly changedMs: number;
  readonly changedBy: string;
  readonly field: keyof DeviceMetadata;
  /** As JSON. */
  readonly oldValue: string;
  readonly newValue: string;
}

/** How many changes of a device are remembered, and how many are shown. */
export const metadataChangesMax = 200;

interface Row {
  readonly id: number;
  readonly owner: string;
  readonly labels: string | null;
  readonly technician: string | null;
  readonly service_hours: number | null;
  readonly service_days: number | null;
}

const select = `select d.id, d.owner, m.labels, m.technician, m.service_hours, m.service_days from device d
  left join device_metadata m on m.device_id = d.id where d.path = ?`;
const selectChanges = `select c.changed_ms as changedMs, c.changed_by as changedBy, c.field,
    c.old_value as oldValue, c.new_value as newValue
  from device d join device_metadata_change c on c.device_id = d.id where d.path = ?
  order by c.id desc limit ${metadataChangesMax}`;
const selectOldest = `select id from device_metadata_change where device_id = ?
  order by id desc limit 1 offset ${metadataChangesMax - 1}`;

/** @returns undefined if there is no such device */
export async function readMetadata(database: Database, path: string): Promise<DeviceMetadata | undefined> {
  return inSnapshot(database, async (statements) => {
    const [row] = await statements.all<Row>(select, [path]);
    return row && metadataOf(row);
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
 * @param by - the name of a user
 * @returns what holds now; undefined if there is no such device
 */
export async function changeMetadata(
  database: Database,
  path: string,
  changes: Partial<DeviceMetadata>,
  by: string,
  nowMs: number,
): Promise<DeviceMetadata | undefined> {
  return inTransaction(database, async (statements) => {
    const [row] = await statements.all<Row>(select, [path]);
    if (row === undefined) return undefined;
    const before = metadataOf(row);
    const after: DeviceMetadata = { ...before, ...changes };
    await statements.run('update device set owner = ? where id = ?', [after.owner, row.id]);
    await statements.upsertMany(
      'device_metadata',
      'device_id',
      ['device_id', 'labels', 'technician', 'service_hours', 'service_days'],
      [[row.id, JSON.stringify(after.labels), after.technician, after.serviceHours, after.serviceDays]],
    );
    await note(statements, row.id, before, after, by, nowMs);
    return after;
  });
}

function metadataOf({ owner, labels, technician, service_hours, service_days }: Row): DeviceMetadata {
  return {
    owner,
    labels: labels === null ? [] : (JSON.parse(labels) as string[]),
    technician: technician ?? '',
    serviceHours: service_hours,
    serviceDays: service_days,
  };
}

async function note(
  statements: Statements,
  deviceId: number,
  before: DeviceMetadata,
  after: DeviceMetadata,
  by: string,
  nowMs: number,
): Promise<void> {
  const fields = ['owner', 'labels', 'technician', 'serviceHours', 'serviceDays'] as const;
  const rows = fields.flatMap((field) => {
    const [old, now] = [JSON.stringify(before[field]), JSON.stringify(after[field])];
    return old === now ? [] : [[deviceId, nowMs, by, field, old, now]];
  });
  const columns = ['device_id', 'changed_ms', 'changed_by', 'field', 'old_value', 'new_value'];
  await statements.insertMany('device_metadata_change', columns, rows);
  const [oldest] = await statements.all<{ id: number }>(selectOldest, [deviceId]);
  if (oldest !== undefined)
    await statements.run('delete from device_metadata_change where device_id = ? and id < ?', [
      deviceId,
      oldest.id,
    ]);
}
