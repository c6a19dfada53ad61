/** Messages that could not be taken: kept for a while, each with its reason, so that nothing disappears silently. */
import type { Database } from './connect.ts';
import { within } from './scope.ts';
import type { Scope } from './scope.ts';
import { inTransaction } from './statements.ts';
import type { Statements } from './statements.ts';

export interface DeadLetter {
  readonly topic: string;
  /** Empty if the topic names no device. */
  readonly devicePath: string;
  /** A stable code, for example `unknown_originator`. */
  readonly reason: string;
  readonly detail: string;
  readonly receivedMs: number;
  readonly payload: Uint8Array;
}

export interface DeadLetterRow extends Omit<DeadLetter, 'payload'> {
  readonly id: number;
}

export interface DeadLetterLimits {
  /** Of one device, so that one that misbehaves does not push out another's. */
  readonly perDeviceMax: number;
  readonly totalMax: number;
}

const defaultLimits: DeadLetterLimits = { perDeviceMax: 1000, totalMax: 10_000 };
const topicLengthMax = 256;
const detailLengthMax = 400;
const lettersShownMax = 500;
const columns = ['topic', 'device_path', 'reason', 'detail', 'received_ms', 'payload'];

/** How many were dropped, by why they were there. */
export type DroppedLetters = Readonly<Record<string, number>>;

/** Keeps them in one transaction, and drops the oldest beyond the limits. @returns those */
export async function storeDeadLetters(
  database: Database,
  letters: readonly DeadLetter[],
  limits: DeadLetterLimits = defaultLimits,
): Promise<DroppedLetters> {
  if (letters.length === 0) return {};
  return inTransaction(database, async (statements) => {
    const dropped: Record<string, number> = {};
    await statements.insertMany(
      'dead_letter',
      columns,
      letters.map(({ topic, devicePath, reason, detail, receivedMs, payload }) => [
        topic.slice(0, topicLengthMax),
        devicePath,
        reason,
        detail.toWellFormed().slice(0, detailLengthMax),
        receivedMs,
        payload,
      ]),
    );
    for (const path of new Set(letters.map(({ devicePath }) => devicePath))) {
      await dropOldest(statements, 'where device_path = ?', [path], limits.perDeviceMax, dropped);
    }
    await dropOldest(statements, 'where id > ?', [0], limits.totalMax, dropped);
    return dropped;
  });
}

async function dropOldest(
  statements: Statements,
  where: string,
  values: readonly (string | number)[],
  keep: number,
  dropped: Record<string, number>,
): Promise<void> {
  const [oldest] = await statements.all<{ id: number }>(
    `select id from dead_letter ${where} order by id desc limit 1 offset ${Math.trunc(keep)}`,
    values,
  );
  if (oldest === undefined) return;
  const those = [...values, oldest.id];
  const counts = await statements.all<{ reason: string; letters: number }>(
    `select reason, count(*) as letters from dead_letter ${where} and id <= ? group by reason`,
    those,
  );
  for (const { reason, letters } of counts) dropped[reason] = (dropped[reason] ?? 0) + letters;
  await statements.run(`delete from dead_letter ${where} and id <= ?`, those);
}

/** @returns the newest first, at most 500, without payloads */
export async function readDeadLetters(database: Database, scope: Scope): Promise<DeadLetterRow[]> {
  return database.kysely
    .selectFrom('dead_letter')
    .select(['id', 'topic', 'device_path as devicePath', 'reason', 'detail', 'received_ms as receivedMs'])
    .where(within('device_path', scope))
    .orderBy('id', 'desc')
    .limit(lettersShownMax)
    .execute();
}

/** @returns a device's letters of one reason, the oldest first */
export async function readLettersFor(
  database: Database,
  devicePath: string,
  reason: string,
): Promise<(DeadLetter & { readonly id: number })[]> {
  return database.kysely
    .selectFrom('dead_letter')
    .select([
      'id',
      'topic',
      'device_path as devicePath',
      'reason',
      'detail',
      'received_ms as receivedMs',
      'payload',
    ])
    .where('reason', '=', reason)
    .where('device_path', '=', devicePath)
    .orderBy('id')
    .limit(defaultLimits.perDeviceMax)
    .execute();
}

/** @returns the devices that have letters of a reason */
export async function readWaitingPaths(database: Database, reason: string): Promise<string[]> {
  const rows = await database.kysely
    .selectFrom('dead_letter')
    .select('device_path')
    .distinct()
    .where('reason', '=', reason)
    .execute();
  return rows.map((row) => row.device_path);
}

export async function removeDeadLetters(database: Database, ids: readonly number[]): Promise<void> {
  if (ids.length === 0) return;
  await database.kysely.deleteFrom('dead_letter').where('id', 'in', ids).execute();
}
