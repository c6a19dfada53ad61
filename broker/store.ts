/** The durable state: sessions, subscriptions, queues and retained messages in one SQLite file, committed in groups. */
import path from 'node:path';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { describeSystemError } from '../runtime/config.ts';
import type { SqliteFileErrorCode } from '../runtime/sqlite-file.ts';
import { bytesOf, openSqliteFile, SqliteFileError } from '../runtime/sqlite-file.ts';
import type { BrokerErrorCode } from './errors.ts';
import { BrokerError } from './errors.ts';
import type { Origin, Qos } from './message.ts';
import { schema, schemaVersion } from './store-schema.ts';

export type Durability = 'disk' | 'os';

export interface StoreOptions {
  readonly directory: string;
  readonly durability: Durability;
  /** Called at the first write after a commit: the caller promises to call `commit` soon. */
  readonly onFirstWrite: () => void;
  /** The file grows to this and then refuses writes, as a full disk does. */
  readonly bytesMax?: number;
}

export interface StoredSession {
  readonly id: number;
  readonly identity: string;
  readonly clientId: string;
  /** Undefined: was connected when the broker stopped. */
  readonly disconnectedMs: number | undefined;
}
export interface StoredSubscription {
  readonly session: number;
  readonly filter: string;
  readonly qos: Qos;
}
export interface StoredDelivery {
  readonly sequence: number;
  readonly qos: 1 | 2;
  readonly retain: boolean;
  readonly bytes: number;
  readonly released: boolean;
  readonly message:
    | {
        readonly id: number;
        readonly topic: string;
        readonly payload: Buffer;
        readonly pending: number;
      }
    | undefined;
}
export interface StoredRetained {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: Qos;
  readonly origin: Origin;
}
export interface QueueSize {
  readonly session: number;
  readonly messages: number;
  readonly bytes: number;
  readonly lastSequence: number;
}

const pageBytes = 8192;
/** Of the write-ahead log before it is folded into the file; a tenth of a second at full speed. */
const checkpointPages = 2000;

const errorCodes: Readonly<Record<SqliteFileErrorCode, BrokerErrorCode>> = {
  'sqlite.newer': 'broker.store_too_new',
  'sqlite.in_use': 'broker.store_locked',
  'sqlite.failed': 'broker.store_failed',
};

const sql = {
  sessions: 'SELECT id, identity, client_id, disconnected_ms FROM session',
  createSession: 'INSERT INTO session (identity, client_id) VALUES (?, ?)',
  markSession: 'UPDATE session SET disconnected_ms = ? WHERE id = ?',
  deleteSession: 'DELETE FROM session WHERE id = ?',
  deleteSubscriptions: 'DELETE FROM subscription WHERE session = ?',
  deleteIncoming: 'DELETE FROM incoming_qos2 WHERE session = ?',
  releaseQueue:
    'UPDATE message SET pending = pending - 1 WHERE id IN (SELECT message FROM delivery WHERE session = ?)',
  deleteQueue: 'DELETE FROM delivery WHERE session = ?',
  deleteDone: 'DELETE FROM message WHERE pending <= 0',
  subscriptions: 'SELECT session, filter, qos FROM subscription',
  putSubscription: 'INSERT OR REPLACE INTO subscription (session, filter, qos) VALUES (?, ?, ?)',
  deleteSubscription: 'DELETE FROM subscription WHERE session = ? AND filter = ?',
  lastMessage: 'SELECT coalesce(max(id), 0) AS id FROM message',
  countMessages: 'SELECT count(*) AS messages FROM message',
  insertMessage: 'INSERT INTO message (id, topic, payload, pending) VALUES (?, ?, ?, ?)',
  deleteMessage: 'DELETE FROM message WHERE id = ?',
  releaseMessage: 'UPDATE message SET pending = pending - 1 WHERE id = ? RETURNING pending',
  enqueue: 'INSERT INTO delivery (session, sequence, message, qos, retain, bytes) VALUES (?, ?, ?, ?, ?, ?)',
  readQueue: `SELECT d.sequence, d.qos, d.retain, d.bytes, d.released, m.id, m.topic, m.payload, m.pending
    FROM delivery d LEFT JOIN message m ON m.id = d.message
    WHERE d.session = ? AND d.sequence > ? ORDER BY d.sequence LIMIT ?`,
  queueSizes: `SELECT session, count(*) AS messages, sum(bytes) AS bytes, max(sequence) AS last_sequence
    FROM delivery GROUP BY session`,
  releaseDelivery: 'UPDATE delivery SET released = 1, message = NULL WHERE session = ? AND sequence = ?',
  deleteDelivery: 'DELETE FROM delivery WHERE session = ? AND sequence = ?',
  incoming: 'SELECT session, packet_id FROM incoming_qos2',
  addIncoming: 'INSERT INTO incoming_qos2 (session, packet_id) VALUES (?, ?)',
  deleteOneIncoming: 'DELETE FROM incoming_qos2 WHERE session = ? AND packet_id = ?',
  retained: 'SELECT topic, payload, qos, origin FROM retained',
  putRetained: 'INSERT OR REPLACE INTO retained (topic, payload, qos, origin) VALUES (?, ?, ?, ?)',
  deleteRetained: 'DELETE FROM retained WHERE topic = ?',
} as const;

/**
 * Every write joins the open transaction; nothing is promised to anyone before `commit` returned. Synchronous on
 * purpose: one commit serves all that one turn of the event loop read from the sockets, and while it waits for the
 * disk the next group gathers in the kernel (docs/decisions/0002-broker-core.md).
 */
export class Store {
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  readonly #onFirstWrite: () => void;
  #isOpenTransaction = false;
  #lastMessageId: number;

  /** @throws BrokerError `broker.store_locked`, `broker.store_too_new`, `broker.store_failed` */
  constructor(options: StoreOptions) {
    this.#onFirstWrite = options.onFirstWrite;
    this.#database = openDatabase(path.join(options.directory, 'broker.sqlite'), options);
    this.#lastMessageId = Number(this.#one(sql.lastMessage)['id']);
  }

  sessions(): StoredSession[] {
    return this.#all(sql.sessions).map((row) => ({
      id: Number(row['id']),
      identity: String(row['identity']),
      clientId: String(row['client_id']),
      disconnectedMs: row['disconnected_ms'] === null ? undefined : Number(row['disconnected_ms']),
    }));
  }

  createSession(identity: string, clientId: string): number {
    return Number(this.#write(sql.createSession, identity, clientId).lastInsertRowid);
  }

  /** @param disconnectedMs - undefined while connected */
  markSession(session: number, disconnectedMs: number | undefined): void {
    this.#write(sql.markSession, disconnectedMs ?? null, session);
  }

  deleteSession(session: number): void {
    this.#write(sql.releaseQueue, session);
    this.#write(sql.deleteQueue, session);
    this.#write(sql.deleteDone);
    this.#write(sql.deleteSubscriptions, session);
    this.#write(sql.deleteIncoming, session);
    this.#write(sql.deleteSession, session);
  }

  subscriptions(): StoredSubscription[] {
    return this.#all(sql.subscriptions).map((row) => ({
      session: Number(row['session']),
      filter: String(row['filter']),
      qos: qosOf(row['qos']),
    }));
  }

  putSubscription(session: number, filter: string, qos: Qos): void {
    this.#write(sql.putSubscription, session, filter, qos);
  }

  deleteSubscription(session: number, filter: string): void {
    this.#write(sql.deleteSubscription, session, filter);
  }

  /** @returns the message's id */
  insertMessage(topic: string, payload: Buffer, pending: number): number {
    const id = ++this.#lastMessageId;
    this.#write(sql.insertMessage, id, topic, payload, pending);
    return id;
  }

  /** How many messages wait in any queue. */
  messageCount(): number {
    return Number(this.#one(sql.countMessages)['messages']);
  }

  /** One queue less holds the message; the last one deletes it. `storedTargets` 1 spares a look-up. */
  releaseMessage(id: number, storedTargets: number): void {
    if (storedTargets > 1) {
      this.#begin();
      const row = this.#statement(sql.releaseMessage).get(id);
      if (row !== undefined && Number(row['pending']) > 0) return;
    }
    this.#write(sql.deleteMessage, id);
  }

  enqueue(session: number, delivery: Omit<StoredDelivery, 'released' | 'message'>, message: number): void {
    const { sequence, qos, retain, bytes } = delivery;
    this.#write(sql.enqueue, session, sequence, message, qos, retain ? 1 : 0, bytes);
  }

  /** @returns the next deliveries after a sequence, in order */
  readQueue(session: number, afterSequence: number, limit: number): StoredDelivery[] {
    return this.#all(sql.readQueue, session, afterSequence, limit).map((row) => ({
      sequence: Number(row['sequence']),
      qos: row['qos'] === 2 ? 2 : 1,
      retain: row['retain'] === 1,
      bytes: Number(row['bytes']),
      released: row['released'] === 1,
      message:
        row['id'] === null
          ? undefined
          : {
              id: Number(row['id']),
              topic: String(row['topic']),
              payload: bytesOf(row['payload']),
              pending: Number(row['pending']),
            },
    }));
  }

  queueSizes(): QueueSize[] {
    return this.#all(sql.queueSizes).map((row) => ({
      session: Number(row['session']),
      messages: Number(row['messages']),
      bytes: Number(row['bytes']),
      lastSequence: Number(row['last_sequence']),
    }));
  }

  /** PUBREC came: what remains is to send PUBREL until PUBCOMP. */
  releaseDelivery(session: number, sequence: number): void {
    this.#write(sql.releaseDelivery, session, sequence);
  }

  deleteDelivery(session: number, sequence: number): void {
    this.#write(sql.deleteDelivery, session, sequence);
  }

  incoming(): { session: number; packetId: number }[] {
    return this.#all(sql.incoming).map((row) => ({
      session: Number(row['session']),
      packetId: Number(row['packet_id']),
    }));
  }

  addIncoming(session: number, packetId: number): void {
    this.#write(sql.addIncoming, session, packetId);
  }

  deleteIncoming(session: number, packetId: number): void {
    this.#write(sql.deleteOneIncoming, session, packetId);
  }

  retained(): StoredRetained[] {
    return this.#all(sql.retained).map((row) => ({
      topic: String(row['topic']),
      payload: bytesOf(row['payload']),
      qos: qosOf(row['qos']),
      origin: row['origin'] === 'upstream' ? 'upstream' : 'client',
    }));
  }

  putRetained({ topic, payload, qos, origin }: StoredRetained): void {
    this.#write(sql.putRetained, topic, payload, qos, origin);
  }

  deleteRetained(topic: string): void {
    this.#write(sql.deleteRetained, topic);
  }

  /** @throws BrokerError `broker.store_failed`: then nothing since the last commit is there, and the store is of no use */
  commit(): void {
    if (!this.#isOpenTransaction) return;
    this.#run(() => this.#database.exec('COMMIT'));
    this.#isOpenTransaction = false;
  }

  /** Commits what is open. */
  close(): void {
    this.commit();
    this.abandon();
  }

  /** Closes without a commit, after a failure. */
  abandon(): void {
    if (this.#database.isOpen) this.#database.close();
  }

  #begin(): void {
    if (this.#isOpenTransaction) return;
    this.#run(() => this.#database.exec('BEGIN IMMEDIATE'));
    this.#isOpenTransaction = true;
    this.#onFirstWrite();
  }

  #statement(text: string): StatementSync {
    let statement = this.#statements.get(text);
    if (statement === undefined) {
      statement = this.#run(() => this.#database.prepare(text));
      this.#statements.set(text, statement);
    }
    return statement;
  }

  #write(
    text: string,
    ...values: readonly (string | number | null | Buffer)[]
  ): { lastInsertRowid: number | bigint } {
    this.#begin();
    const statement = this.#statement(text);
    return this.#run(() => statement.run(...values));
  }

  #all(text: string, ...values: readonly number[]): Record<string, unknown>[] {
    const statement = this.#statement(text);
    return this.#run(() => statement.all(...values));
  }

  #one(text: string): Record<string, unknown> {
    return this.#all(text)[0] ?? {};
  }

  #run<T>(work: () => T): T {
    try {
      return work();
    } catch (cause) {
      throw storeError(cause);
    }
  }
}

function openDatabase(file: string, { durability, bytesMax }: StoreOptions): DatabaseSync {
  const pragmas = [
    `page_size = ${pageBytes}`,
    'locking_mode = EXCLUSIVE', // two brokers on one directory would each believe in their own copy of the queues
    'journal_mode = WAL',
    // FULL syncs the log at every commit. NORMAL leaves that to the system: the end of the process loses nothing.
    `synchronous = ${durability === 'disk' ? 'FULL' : 'NORMAL'}`,
    `wal_autocheckpoint = ${checkpointPages}`,
    'cache_size = -32768',
    ...(bytesMax === undefined ? [] : [`max_page_count = ${Math.ceil(bytesMax / pageBytes)}`]),
  ];
  try {
    return openSqliteFile(file, { pragmas, schema, schemaVersion });
  } catch (cause) {
    if (!(cause instanceof SqliteFileError)) throw cause;
    throw new BrokerError(errorCodes[cause.code], cause.message, { cause });
  }
}

function storeError(cause: unknown): BrokerError {
  return new BrokerError(
    'broker.store_failed',
    `cannot write the durable state: ${describeSystemError(cause)}`,
    {
      cause,
    },
  );
}

function qosOf(value: unknown): Qos {
  return value === 2 ? 2 : value === 1 ? 1 : 0;
}
