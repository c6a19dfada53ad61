/** When a device was serviced, as people noted it: from there its service intervals run. */
import { noteChangeBy } from './changes.ts';
import type { Database } from './connect.ts';
import { DatabaseError } from './errors.ts';
import { inSnapshot, inTransaction } from './statements.ts';
import type { Service } from '../domain/service.ts';

export interface NewService {
  readonly servicedMs: number;
  /** What the counter of operating hours said then; null if nobody looked. */
  readonly hours: number | null;
  readonly remark: string;
  /** The name of a user. */
  readonly by: string;
}

const shownMax = 100;
/** Of one device. */
const servicesMax = 1000;

export const servicesSql = {
  list: `select s.id, s.serviced_ms as servicedMs, s.hours, s.remark, s.noted_ms as notedMs, s.noted_by as notedBy,
      s.withdrawn_ms as withdrawnMs, s.withdrawn_by as withdrawnBy
    from device d join device_service s on s.device_id = d.id where d.path = ?
    order by s.serviced_ms desc, s.id desc limit ${shownMax}`,
  device: 'select id from device where path = ?',
  count: 'select count(*) as n from device_service where device_id = ?',
  one: 'select id from device_service where id = ? and device_id = ? and withdrawn_ms is null',
} as const;

/** @returns the newest first, at most 100 */
export async function readServices(database: Database, path: string): Promise<Service[]> {
  return inSnapshot(database, async (statements) => {
    const rows = await statements.all<Service>(servicesSql.list, [path]);
    return rows.map((row) => ({ ...row }));
  });
}

/**
 * @returns false if there is no such device
 * @throws DatabaseError `database.conflict` if it has a thousand already
 */
export async function noteService(
  database: Database,
  path: string,
  { servicedMs, hours, remark, by }: NewService,
  nowMs: number,
): Promise<boolean> {
  return inTransaction(database, async (statements) => {
    const [device] = await statements.all<{ id: number }>(servicesSql.device, [path]);
    if (device === undefined) return false;
    const [known] = await statements.all<{ n: number }>(servicesSql.count, [device.id]);
    if ((known?.n ?? 0) >= servicesMax)
      throw new DatabaseError('database.conflict', `the device has ${servicesMax} services already`);
    await statements.insertMany(
      'device_service',
      ['device_id', 'serviced_ms', 'hours', 'remark', 'noted_ms', 'noted_by'],
      [[device.id, servicedMs, hours, remark, nowMs, by]],
    );
    await noteChangeBy(statements, database.engine, 'metadata');
    return true;
  });
}

/** Takes back what was noted by mistake. @returns false if the device has no such service, or not any more */
export async function withdrawService(
  database: Database,
  path: string,
  id: number,
  by: string,
  nowMs: number,
): Promise<boolean> {
  return inTransaction(database, async (statements) => {
    const [device] = await statements.all<{ id: number }>(servicesSql.device, [path]);
    const [service] = await statements.all<{ id: number }>(servicesSql.one, [id, device?.id ?? 0]);
    if (service === undefined) return false;
    await statements.run('update device_service set withdrawn_ms = ?, withdrawn_by = ? where id = ?', [
      nowMs,
      by,
      id,
    ]);
    await noteChangeBy(statements, database.engine, 'metadata');
    return true;
  });
}
