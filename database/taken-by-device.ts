/** Which sequence numbers of each device have arrived, by counting the rows. */
import { sql } from 'kysely';
import type { Database } from './connect.ts';

export interface Taken {
  readonly snapshots: number;
  /** What is no snapshot and takes a number all the same, such as a command's result. */
  readonly others: number;
}

/** Takes about a second for ten million rows: for checks, not for a page. @returns by device path */
export async function countTakenByDevice(database: Database): Promise<Map<string, Taken>> {
  const count = async (table: 'snapshot' | 'other_envelope'): Promise<Map<string, number>> => {
    const rows = await database.kysely
      .selectFrom(table)
      .innerJoin('device', 'device.id', `${table}.device_id`)
      .select(['device.path', sql<number>`count(distinct sequence)`.as('taken')])
      .groupBy('device.path')
      .execute();
    return new Map(rows.map((row) => [row.path, row.taken]));
  };
  const snapshots = await count('snapshot');
  const others = await count('other_envelope');
  const paths = new Set([...snapshots.keys(), ...others.keys()]);
  return new Map(
    Array.from(paths, (path) => [
      path,
      { snapshots: snapshots.get(path) ?? 0, others: others.get(path) ?? 0 },
    ]),
  );
}
