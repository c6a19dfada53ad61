/** Writes what was in memory alone into its tables. */
import type { Content } from '../routing/message.ts';
import { orNull } from './rows.ts';
import { sql } from './store-statements.ts';
import type { Transactions } from './transactions.ts';
import type { QueuedDelivery, Unwritten } from './unwritten.ts';

export function writeUnwritten(unwritten: Unwritten, transactions: Transactions): void {
  for (const [id, { content, pending }] of unwritten.messages) {
    writeMessage(transactions, id, content, pending);
  }
  for (const [session, queue] of unwritten.queues) {
    for (const { delivery, message } of queue.values()) {
      writeDelivery(transactions, session, delivery, message);
    }
  }
  unwritten.clear();
}

function writeMessage(
  transactions: Transactions,
  id: number,
  { topic, payload, properties, expiresMs }: Content,
  pending: number,
): void {
  // Most messages have neither, and each value that is bound costs on the way of every message.
  if (properties.length === 0 && expiresMs === undefined) {
    transactions.writeRow(sql.insertMessage, id, topic, payload, pending);
  } else {
    const values = [id, topic, payload, pending, orNull(properties), expiresMs ?? null];
    transactions.writeRow(sql.insertMessageWithProperties, ...values);
  }
}

function writeDelivery(
  transactions: Transactions,
  session: number,
  delivery: QueuedDelivery,
  message: number,
): void {
  const { sequence, qos, retain, bytes, identifiers, share = null } = delivery;
  const flag = retain ? 1 : 0;
  if (identifiers.length === 0 && share === null) {
    transactions.writeRow(sql.enqueue, session, sequence, message, qos, flag, bytes);
  } else {
    const values = [session, sequence, message, qos, flag, bytes, orNull(identifiers), share];
    transactions.writeRow(sql.enqueueWithProperties, ...values);
  }
}
