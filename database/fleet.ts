/** The devices that a person sees, and how each of them is. */
import { sql } from 'kysely';
import type { FleetRow } from '../domain/view.ts';
import type { DeviceStatus } from '../domain/device-status.ts';
import { isBehindAnnounced } from './announced.ts';
import type { Database } from './connect.ts';
import { labelsOf } from './metadata.ts';
import { within } from './scope.ts';
import type { Scope } from './scope.ts';

/** As the database has it. */
interface DeviceRow extends Omit<FleetRow, 'labels'> {
  /** A JSON array; null for a device that nobody said anything of. */
  readonly labels: string | null;
}

function devices(database: Database, nowMs: number) {
  return database.kysely
    .selectFrom('device')
    .leftJoin('device_type', 'device_type.id', 'device.device_type_id')
    .leftJoin('device_metadata', 'device_metadata.device_id', 'device.id')
    .leftJoin(
      (query) =>
        query
          .selectFrom('gap')
          .where('closed_ms', 'is', null)
          .groupBy('device_id')
          .select(['device_id', ({ fn }) => fn.countAll<number>().as('open')])
          .as('gaps'),
      (join) => join.onRef('gaps.device_id', '=', 'device.id'),
    )
    .select([
      'device.path',
      sql<string>`coalesce(device_type.name, '')`.as('deviceType'),
      'device.connection',
      'device.agent_version as agentVersion',
      'device.last_sequence as lastSequence',
      'device.stored',
      'device.last_snapshot_ms as lastSnapshotMs',
      'device.received_ms as receivedMs',
      'device.device_condition as condition',
      sql<number>`coalesce(gaps.open, 0) + ${isBehindAnnounced(nowMs)}`.as('gapsOpen'),
      'device.owner',
      sql<string | null>`device_metadata.labels`.as('labels'),
      sql<string>`coalesce(device_metadata.technician, '')`.as('technician'),
    ]);
}

function fleetRow(row: DeviceRow): FleetRow {
  return { ...row, labels: labelsOf(row.labels) };
}

/** @returns in the order of paths */
export async function readFleet(
  database: Database,
  scope: Scope,
  nowMs: number = Date.now(),
): Promise<FleetRow[]> {
  const rows = await devices(database, nowMs)
    .where(within('device.path', scope))
    .orderBy('device.path')
    .execute();
  return rows.map(fleetRow);
}

/** @returns undefined for a device that does not exist or lies outside the scope: nobody learns which */
export async function readDevice(
  database: Database,
  scope: Scope,
  path: string,
  nowMs: number = Date.now(),
): Promise<FleetRow | undefined> {
  const row = await devices(database, nowMs)
    .where('device.path', '=', path)
    .where(within('device.path', scope))
    .executeTakeFirst();
  return row && fleetRow(row);
}

/** @returns the row's id; registers a device that was never heard of */
export async function ensureDevice(database: Database, path: string, nowMs: number): Promise<number> {
  const insert = database.kysely.insertInto('device').values({ path, first_seen_ms: nowMs });
  await (
    database.engine === 'mysql' ? insert.ignore() : insert.onConflict((conflict) => conflict.doNothing())
  ).execute();
  const { id } = await database.kysely
    .selectFrom('device')
    .select('id')
    .where('path', '=', path)
    .executeTakeFirstOrThrow();
  return id;
}

/** Notes what a device, or its last will, says of its connection, and how far it is. */
export async function noteStatus(
  database: Database,
  path: string,
  status: DeviceStatus,
  nowMs: number,
): Promise<void> {
  const { sentUpTo } = status;
  const id = await ensureDevice(database, path, nowMs);
  await database.kysely
    .updateTable('device')
    .set({
      connection: status.state,
      agent_version: status.agentVersion,
      status_ms: nowMs,
      ...(sentUpTo === undefined
        ? {}
        : {
            // First, for MySQL has the new number already in what stands behind it.
            announced_ms: sql<number>`case when announced_sequence = ${sentUpTo} then announced_ms else ${nowMs} end`,
            announced_sequence: sentUpTo,
          }),
    })
    .where('id', '=', id)
    .execute();
}
