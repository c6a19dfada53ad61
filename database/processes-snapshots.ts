/** The snapshots that bpm has not judged yet, with their values, wherever those rest. */
import type { ChannelValue } from '../domain/snapshot.ts';
import type { Database } from './connect.ts';
import { inSnapshot } from './statements.ts';
import { storageOf } from './storage-of.ts';

export interface UnjudgedSnapshot {
  /** `snapshot.id`. */
  readonly id: number;
  readonly deviceId: number;
  readonly path: string;
  readonly deviceType: string;
  readonly sequence: number;
  readonly timeMs: number;
  /** By channel id. */
  readonly values: ReadonlyMap<number, ChannelValue>;
}

export const unjudgedSql = {
  snapshots: `select s.id, s.device_id as deviceId, d.path, s.sequence, s.time_ms as timeMs,
      coalesce(t.name, '') as deviceType
    from snapshot s join device d on d.id = s.device_id left join device_type t on t.id = d.device_type_id
    where s.id > ? order by s.id limit ?`,
} as const;

/**
 * @param after - `snapshot.id`, exclusive; ids count up in the order of commits, so nothing appears behind it later
 * @param channelIds - which channels are wanted; others may be there too
 * @returns in the order of ids
 */
export async function readSnapshotsAfter(
  database: Database,
  after: number,
  limit: number,
  channelIds: (deviceType: string) => readonly number[],
): Promise<UnjudgedSnapshot[]> {
  const storage = await storageOf(database);
  return inSnapshot(database, async (statements) => {
    const rows = await statements.all<Omit<UnjudgedSnapshot, 'values'>>(unjudgedSql.snapshots, [
      after,
      limit,
    ]);
    const wanted = rows.map(({ deviceId, sequence, timeMs, deviceType }) => ({
      deviceId,
      sequence,
      timeMs,
      channelIds: channelIds(deviceType),
    }));
    const values = await storage.readSnapshots(statements, wanted);
    return rows.map((row, index) => ({ ...row, values: values[index] ?? new Map<number, ChannelValue>() }));
  });
}

/** @returns every channel's id by its name, per device type */
export async function readChannelIds(database: Database): Promise<Map<string, Map<string, number>>> {
  const rows = await database.kysely
    .selectFrom('channel as c')
    .innerJoin('device_type as t', 't.id', 'c.device_type_id')
    .select(['t.name as deviceType', 'c.name', 'c.id'])
    .execute();
  const ids = new Map<string, Map<string, number>>();
  for (const { deviceType, name, id } of rows) {
    const ofType = ids.get(deviceType) ?? new Map<string, number>();
    ids.set(deviceType, ofType.set(name, id));
  }
  return ids;
}
