/** How far the workflow engine is behind. */
import { sql } from 'kysely';
import type { Database } from './connect.ts';
import { readCursor } from './processes.ts';

/** @param cursor - the name of the engine's cursor @returns how many stored snapshots it has not judged yet */
export async function countUnjudged(database: Database, cursor: string): Promise<number> {
  const { waiting } = await database.kysely
    .selectFrom('snapshot')
    .select(sql<number>`count(*)`.as('waiting'))
    .where('id', '>', await readCursor(database, cursor))
    .executeTakeFirstOrThrow();
  return waiting;
}
