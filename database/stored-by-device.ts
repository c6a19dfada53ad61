/** How many snapshots of each device there are, by counting the rows. */
import { sql } from 'kysely';
import type { Database } from './connect.ts';

/** Takes about a second for ten million rows: for checks, not for a page. @returns by device path */
export async function countStoredByDevice(database: Database): Promise<Map<string, number>> {
  const rows = await database.kysely
    .selectFrom('snapshot')
    .innerJoin('device', 'device.id', 'snapshot.device_id')
    .select(['device.path', sql<number>`count(distinct sequence)`.as('stored')])
    .groupBy('device.path')
    .execute();
  return new Map(rows.map((row) => [row.path, row.stored]));
}
