/** Which lists have changed, for programs that watch the database from outside the one that changed it. */
import { sql } from 'kysely';
import type { Transaction } from 'kysely';
import type { Database } from './connect.ts';
import type { Schema } from './schema.ts';
import type { Statements } from './statements.ts';

export const changeNames = [
  'tasks',
  'workflows',
  'gaps',
  'commands',
  'alarms',
  'brokers',
  'metadata',
  'channels',
] as const;
export type ChangeName = (typeof changeNames)[number];

/** Notes in the writer's own transaction that `what` changed. */
export async function noteChange(
  transaction: Transaction<Schema>,
  engine: Database['engine'],
  what: ChangeName,
): Promise<void> {
  const insert = transaction.insertInto('change_mark').values({ what, times: 1 });
  await (
    engine === 'mysql'
      ? insert.onDuplicateKeyUpdate({ times: sql`times + 1` })
      : insert.onConflict((conflict) =>
          conflict.column('what').doUpdateSet({ times: sql`change_mark.times + 1` }),
        )
  ).execute();
}

const bump: Readonly<Record<Database['engine'], string>> = {
  sqlite:
    'insert into change_mark (what, times) values (?, 1) on conflict (what) do update set times = times + 1',
  mysql: 'insert into change_mark (what, times) values (?, 1) on duplicate key update times = times + 1',
};

/** The same for plain statements. */
export async function noteChangeBy(
  statements: Statements,
  engine: Database['engine'],
  what: ChangeName,
): Promise<void> {
  await statements.run(bump[engine], [what]);
}

/** @returns how often each was noted; what never was is absent */
export async function readChanges(database: Database): Promise<ReadonlyMap<string, number>> {
  const rows = await database.kysely.selectFrom('change_mark').selectAll().execute();
  return new Map(rows.map(({ what, times }) => [what, times]));
}
