/** The brokers that a person sees, and how each of them is. */
import type { BrokerStatus } from '../domain/broker-status.ts';
import type { BrokerRow } from '../domain/view.ts';
import type { Database } from './connect.ts';
import { within } from './scope.ts';
import type { Scope } from './scope.ts';

/** @returns in the order of paths */
export async function readBrokers(database: Database, scope: Scope): Promise<BrokerRow[]> {
  return database.kysely
    .selectFrom('broker_state')
    .select([
      'path',
      'name',
      'version',
      'connection',
      'received_ms as receivedMs',
      'connected_since_ms as connectedSinceMs',
      'queued',
      'queued_bytes as queuedBytes',
      'oldest_waiting_ms as oldestWaitingMs',
      'forwarded_up as forwardedUp',
      'forwarded_down as forwardedDown',
      'refused',
    ])
    .where(within('path', scope))
    .orderBy('path')
    .execute();
}

/** Notes what a broker, or its last will, says of itself. Of one that has gone, what waited there stays known. */
export async function noteBroker(
  database: Database,
  path: string,
  status: BrokerStatus,
  nowMs: number,
): Promise<void> {
  const gone = { name: status.name, connection: status.state, received_ms: nowMs, connected_since_ms: null };
  const known =
    status.state === 'offline'
      ? gone
      : {
          ...gone,
          version: status.version,
          connected_since_ms: status.connectedSinceMs,
          queued: status.queued,
          queued_bytes: status.queuedBytes,
          oldest_waiting_ms: status.oldestWaitingMs,
          forwarded_up: status.forwardedUp,
          forwarded_down: status.forwardedDown,
          refused: status.refused,
        };
  const insert = database.kysely.insertInto('broker_state').values({ ...nothingKnown, path, ...known });
  await (
    database.engine === 'mysql'
      ? insert.onDuplicateKeyUpdate(known)
      : insert.onConflict((conflict) => conflict.column('path').doUpdateSet(known))
  ).execute();
}

const nothingKnown = {
  version: '',
  queued: 0,
  queued_bytes: 0,
  oldest_waiting_ms: 0,
  forwarded_up: 0,
  forwarded_down: 0,
  refused: 0,
};
