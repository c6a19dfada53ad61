/** Sealed envelopes, kept beside what was in them for as long as the configuration says. */
import type { Database } from './connect.ts';
import { within } from './scope.ts';
import type { Scope } from './scope.ts';

export interface Evidence {
  readonly receivedMs: number;
  readonly envelope: Uint8Array;
}

/** So many go in one transaction, so that nobody waits for it. */
export const purgedMax = 500;

/** @returns undefined if it is not there, or not any more */
export async function readEvidence(
  database: Database,
  scope: Scope,
  path: string,
  sequence: number,
): Promise<Evidence | undefined> {
  return database.kysely
    .selectFrom('evidence')
    .innerJoin('device', 'device.id', 'evidence.device_id')
    .select(['evidence.received_ms as receivedMs', 'envelope'])
    .where('device.path', '=', path)
    .where(within('device.path', scope))
    .where('evidence.sequence', '=', sequence)
    .executeTakeFirst();
}

/** Removes some of those that came before a time, the oldest first. @returns how many; fewer than `purgedMax` are the last */
export async function purgeEvidence(database: Database, beforeMs: number): Promise<number> {
  return database.transaction(async (transaction) => {
    const rows = await transaction
      .selectFrom('evidence')
      .select('id')
      .where('received_ms', '<', beforeMs)
      .orderBy('received_ms')
      .limit(purgedMax)
      .execute();
    if (rows.length === 0) return 0;
    await transaction
      .deleteFrom('evidence')
      .where(
        'id',
        'in',
        rows.map(({ id }) => id),
      )
      .execute();
    return rows.length;
  });
}
