/** The outbox of mails and text messages. */
import type { NotificationChannel, NotificationState } from '../domain/view.ts';
import type { Database } from './connect.ts';
import { noteChange } from './changes.ts';
import { inProcessTransaction, processTables } from './processes.ts';
import type { NotificationTable } from './processes-tables.ts';

export type NotificationRow = Readonly<NotificationTable>;

/**
 * Takes what is due: each row is marked `sending` before anything leaves, and comes back after the lease if the
 * program that took it dies.
 *
 * @param channels - those that have a way out
 */
export async function claimNotifications(
  database: Database,
  options: {
    readonly channels: readonly NotificationChannel[];
    readonly nowMs: number;
    readonly leaseMs: number;
    readonly limit: number;
  },
): Promise<NotificationRow[]> {
  const { channels, nowMs, leaseMs, limit } = options;
  if (channels.length === 0) return [];
  const due = await processTables(database)
    .selectFrom('notification')
    .selectAll()
    .where('state', 'in', ['pending', 'sending'])
    .where('due_ms', '<=', nowMs)
    .where('channel', 'in', [...channels])
    .orderBy('due_ms')
    .limit(limit)
    .execute();
  const claimed: NotificationRow[] = [];
  for (const row of due) {
    const { numUpdatedRows } = await processTables(database)
      .updateTable('notification')
      .set({ state: 'sending', attempts: row.attempts + 1, due_ms: nowMs + leaseMs })
      .where('id', '=', row.id)
      .where('state', '=', row.state)
      .where('attempts', '=', row.attempts)
      .executeTakeFirst();
    if (numUpdatedRows === 1n) claimed.push({ ...row, state: 'sending', attempts: row.attempts + 1 });
  }
  return claimed;
}

/** Records how an attempt ended. */
export async function settleNotification(
  database: Database,
  id: string,
  outcome: {
    readonly state: NotificationState;
    readonly dueMs: number;
    readonly sentMs: number | null;
    readonly detail: string;
  },
): Promise<void> {
  await inProcessTransaction(database, async (transaction) => {
    await transaction
      .updateTable('notification')
      .set({ state: outcome.state, due_ms: outcome.dueMs, sent_ms: outcome.sentMs, detail: outcome.detail })
      .where('id', '=', id)
      .execute();
    await noteChange(transaction, database.engine, 'workflows');
  });
}
