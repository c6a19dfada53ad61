/** The durable state: sessions, subscriptions, queues and retained messages in one SQLite file, committed in groups. */
import path from 'node:path';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { bytesOf } from '../../runtime/sqlite-file.ts';
import type { Content, Origin, Qos } from '../routing/message.ts';
import { noBytes } from '../routing/message.ts';
import type { Subscription } from '../routing/session.ts';
import type { Recovery } from './recovery.ts';
import type { StoreFileOptions } from './store-file.ts';
import { openStoreFile, storeError } from './store-file.ts';
import type { Journal, Mark, StoredValue } from './journal.ts';
import { sql } from './store-statements.ts';
import { DoneRows } from './done-rows.ts';
import type { Batch, QueuedDelivery } from './unwritten.ts';
import { Unwritten } from './unwritten.ts';

export interface StoreOptions extends StoreFileOptions {
  readonly directory: string;
  /** Called at the first write after a commit: the caller promises to call `commit` soon. */
  readonly onFirstWrite: () => void;
  /** Follows what is written; undefined on a node that is alone. */
  readonly journal?: Journal | undefined;
}

export interface StoredSession {
  readonly id: number;
  readonly identity: string;
  readonly clientId: string;
  /** Undefined: was connected when the broker stopped. */
  readonly disconnectedMs: number | undefined;
  readonly expirySeconds: number;
  /** The last sequence that its client may have seen; undefined if nobody knows. */
  readonly lastSent: number | undefined;
}
export interface StoredSubscription {
  readonly session: number;
  readonly filter: string;
  readonly subscription: Subscription;
}
export interface StoredDelivery extends QueuedDelivery {
  readonly released: boolean;
  readonly message: (Content & { readonly id: number; readonly pending: number }) | undefined;
}
export interface ExpiredDelivery {
  readonly sequence: number;
  readonly bytes: number;
  readonly message: number;
  readonly pending: number;
}
export interface StoredRetained extends Content {
  readonly qos: Qos;
  readonly origin: Origin;
}
/** A will, while its client is connected or may still come back. */
export interface StoredWill extends Omit<Content, 'expiresMs'> {
  readonly identity: string;
  readonly clientId: string;
  readonly qos: Qos;
  readonly retain: boolean;
  readonly expirySeconds: number | undefined;
  readonly delaySeconds: number;
  /** Undefined: was connected when the broker stopped. */
  readonly dueMs: number | undefined;
  /** PEM of the certificates that were verified at `connectedMs`. */
  readonly chain: string;
  readonly connectedMs: number;
}
export interface QueueSize {
  readonly session: number;
  readonly messages: number;
  readonly bytes: number;
  readonly lastSequence: number;
}

/** Deliveries of ended sessions that are deleted at once: some 20 ms. */
const forgottenRows = 5000;

/**
 * Every write joins the open transaction; nothing is promised to anyone before `commit` returned. Synchronous on
 * purpose: one commit serves all that one turn of the event loop read from the sockets, and while it waits for the
 * disk the next group gathers in the kernel (docs/decisions/0002-broker-core.md).
 */
export class Store {
  /** What the opening found. */
  readonly recovery: Recovery;
  readonly #file: string;
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  readonly #onFirstWrite: () => void;
  readonly #journal: Journal | undefined;
  readonly #unwritten = new Unwritten();
  readonly #doneMessages = new DoneRows(({ from, to }) => this.#writeRow(sql.deleteMessages, from, to));
  /** By session. */
  readonly #doneDeliveries = new Map<number, DoneRows>();
  #isOpenTransaction = false;
  #isCommitNeeded = false;
  #lastMessageId: number;
  /** Never used again while rows of an ended session may be left. */
  #lastSessionId: number;
  /** Sessions that are gone but for rows of their queues. */
  readonly #ended: number[];

  /** @throws BrokerError `broker.store_locked`, `broker.store_too_new`, `broker.store_failed` */
  constructor(options: StoreOptions) {
    this.#onFirstWrite = options.onFirstWrite;
    this.#journal = options.journal;
    this.#file = path.join(options.directory, 'broker.sqlite');
    const { database, recovery } = openStoreFile(this.#file, options);
    this.#database = database;
    this.recovery = recovery;
    this.#lastMessageId = Number(this.#one(sql.lastMessage)['id']);
    this.#lastSessionId = Number(this.#one(sql.lastSession)['id']);
    this.#ended = this.#all(sql.endedSessions).map((row) => Number(row['session']));
    // What is written from now on is in no log, so this is no copy of anything any more.
    if (this.#journal === undefined && this.#all(sql.place).length > 0) this.#write(sql.forgetPlace);
  }

  sessions(): StoredSession[] {
    return this.#all(sql.sessions).map((row) => ({
      id: Number(row['id']),
      identity: String(row['identity']),
      clientId: String(row['client_id']),
      disconnectedMs: optionalNumber(row['disconnected_ms']),
      expirySeconds: Number(row['expiry_seconds']),
      lastSent: optionalNumber(row['last_sent']),
    }));
  }

  createSession(identity: string, clientId: string, expirySeconds: number): number {
    const id = ++this.#lastSessionId;
    this.#write(sql.createSession, id, identity, clientId, expirySeconds);
    return id;
  }

  /** Keeps when it was disconnected (undefined while connected), how long it lasts and what its client may have seen. */
  markSession(
    session: number,
    {
      disconnectedMs,
      expirySeconds,
      lastSent,
    }: Pick<StoredSession, 'disconnectedMs' | 'expirySeconds' | 'lastSent'>,
  ): void {
    this.#write(sql.markSession, disconnectedMs ?? null, expirySeconds, lastSent ?? null, session);
  }

  deleteSession(session: number): void {
    this.#settle();
    this.#write(sql.deleteSubscriptions, session);
    this.#write(sql.deleteIncoming, session);
    this.#write(sql.deleteSession, session);
    this.#ended.push(session);
    this.forgetEnded();
  }

  /** Deletes a bounded piece of what ended sessions have left, oldest first. @returns whether there may be more */
  forgetEnded(): boolean {
    for (let left = forgottenRows; left > 0;) {
      const [session] = this.#ended;
      if (session === undefined) return false;
      this.#settle();
      const [piece] = this.#all(sql.queuePiece, session, left);
      const deliveries = Number(piece?.['deliveries']);
      if (deliveries < left) this.#ended.shift();
      left -= Math.max(1, deliveries);
      if (deliveries === 0) continue;
      const last = Number(piece?.['last']);
      this.#write(sql.releaseQueuePiece, session, last);
      this.#write(sql.deleteDeliveries, session, 0, last);
      this.#write(sql.deleteDone);
    }
    return this.#ended.length > 0;
  }

  subscriptions(): StoredSubscription[] {
    return this.#all(sql.subscriptions).map((row) => ({
      session: Number(row['session']),
      filter: String(row['filter']),
      subscription: {
        qos: qosOf(row['qos']),
        noLocal: row['no_local'] === 1,
        retainAsPublished: row['retain_as_published'] === 1,
        identifier: optionalNumber(row['identifier']),
      },
    }));
  }

  putSubscription(session: number, filter: string, subscription: Subscription): void {
    const { qos, noLocal, retainAsPublished, identifier } = subscription;
    this.#write(
      sql.putSubscription,
      session,
      filter,
      qos,
      noLocal ? 1 : 0,
      retainAsPublished ? 1 : 0,
      identifier ?? null,
    );
  }

  deleteSubscription(session: number, filter: string): void {
    this.#write(sql.deleteSubscription, session, filter);
  }

  /**
   * The message is written with the next commit, unless all who wait for it have it by then.
   *
   * @returns its id
   */
  insertMessage(content: Content, pending: number): number {
    const id = ++this.#lastMessageId;
    this.#unwritten.addMessage(id, content, pending);
    this.#onFirstWrite();
    return id;
  }

  /** How many messages wait in any queue. */
  messageCount(): number {
    this.#settle();
    return Number(this.#one(sql.countMessages)['messages']);
  }

  /** Whether a message that has expired is in any queue. */
  hasExpired(nowMs: number): boolean {
    this.#settle();
    return this.#all(sql.hasExpired, nowMs).length > 0;
  }

  /** @param limit - how many of the oldest deliveries are looked at */
  expiredDeliveries(session: number, nowMs: number, limit: number): ExpiredDelivery[] {
    this.#settle();
    return this.#all(sql.expiredDeliveries, session, limit, nowMs).map((row) => ({
      sequence: Number(row['sequence']),
      bytes: Number(row['bytes']),
      message: Number(row['id']),
      pending: Number(row['pending']),
    }));
  }

  /** One queue less holds the message; the last one deletes it. `storedTargets` 1 spares a look-up. */
  releaseMessage(id: number, storedTargets: number): void {
    if (this.#unwritten.releaseMessage(id)) return this.#onFirstWrite();
    if (storedTargets > 1) {
      this.#begin();
      this.#journal?.record(sql.releaseMessage, [id]);
      const row = this.#statement(sql.releaseMessage).get(id);
      if (row !== undefined && Number(row['pending']) > 0) return undefined;
    }
    this.#doneMessages.add(id);
    return this.#onFirstWrite();
  }

  /** @param mayWait - whether its receiver may be about to acknowledge it; else it is written with the next commit */
  enqueue(session: number, delivery: QueuedDelivery, message: number, mayWait = false): void {
    this.#unwritten.addDelivery(session, delivery, message);
    if (!mayWait) this.#isCommitNeeded = true;
    this.#onFirstWrite();
  }

  /** Whether a session has yet to acknowledge what it was waited for in vain. */
  isLate(session: number): boolean {
    return this.#unwritten.isLate(session);
  }

  /** What the receivers have not acknowledged of a batch is written with the next commit, and they are late. */
  giveUp(batch: Batch): void {
    this.#unwritten.giveUp(batch);
  }

  /** The receiver of a session is gone: what it was about to acknowledge is written with the next commit. */
  expectNothing(session: number): void {
    this.#unwritten.forgive(session);
    this.#isCommitNeeded = true;
    this.#onFirstWrite();
  }

  /** Whether something has to be durable before it is answered, which is not on its way to being acknowledged. */
  get isCommitNeeded(): boolean {
    return this.#isCommitNeeded || this.#unwritten.isTooMuch;
  }

  /** Whether there is anything that a commit would make durable. */
  get isDirty(): boolean {
    return this.#isOpenTransaction || this.#doneMessages.isSome || this.#doneDeliveries.size > 0;
  }

  /** @returns what the turn that ends now leaves unacknowledged and unwritten */
  takeBatch(): Batch {
    return this.#unwritten.takeBatch();
  }

  /** @returns the next deliveries after a sequence, in order */
  readQueue(session: number, afterSequence: number, limit: number): StoredDelivery[] {
    this.#settle();
    return this.#all(sql.readQueue, session, afterSequence, limit).map((row) => ({
      sequence: Number(row['sequence']),
      qos: row['qos'] === 2 ? 2 : 1,
      retain: row['retain'] === 1,
      bytes: Number(row['bytes']),
      released: row['released'] === 1,
      identifiers: bytesOrNone(row['identifiers']),
      share: typeof row['share'] === 'string' ? row['share'] : undefined,
      message:
        row['id'] === null
          ? undefined
          : {
              id: Number(row['id']),
              topic: String(row['topic']),
              payload: bytesOf(row['payload']),
              pending: Number(row['pending']),
              properties: bytesOrNone(row['properties']),
              expiresMs: optionalNumber(row['expires_ms']),
            },
    }));
  }

  /** For a part that keeps tables of its own in this file; the write joins the open transaction. */
  write(statement: string, ...values: readonly StoredValue[]): void {
    this.#settle();
    this.#write(statement, ...values);
  }

  /** The same for reading. */
  read(statement: string, ...values: readonly number[]): Record<string, unknown>[] {
    this.#settle();
    return this.#all(statement, ...values);
  }

  queueSizes(): QueueSize[] {
    this.#settle();
    return this.#all(sql.queueSizes).map((row) => ({
      session: Number(row['session']),
      messages: Number(row['messages']),
      bytes: Number(row['bytes']),
      lastSequence: Number(row['last_sequence']),
    }));
  }

  /** PUBREC came: what remains is to send PUBREL until PUBCOMP. */
  releaseDelivery(session: number, sequence: number): void {
    this.#settle();
    this.#write(sql.releaseDelivery, session, sequence);
  }

  /** Nothing that is answered depends on it: it is on disk with the next commit, and till then may come again with DUP. */
  deleteDelivery(session: number, sequence: number): void {
    if (this.#unwritten.removeDelivery(session, sequence)) return this.#onFirstWrite();
    let done = this.#doneDeliveries.get(session);
    if (done === undefined) {
      done = new DoneRows(({ from, to }) => this.#writeRow(sql.deleteDeliveries, session, from, to));
      this.#doneDeliveries.set(session, done);
    }
    done.add(sequence);
    return this.#onFirstWrite();
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
      properties: bytesOrNone(row['properties']),
      expiresMs: optionalNumber(row['expires_ms']),
    }));
  }

  putRetained({ topic, payload, qos, origin, properties, expiresMs }: StoredRetained): void {
    this.#write(sql.putRetained, topic, payload, qos, origin, orNull(properties), expiresMs ?? null);
  }

  deleteRetained(topic: string): void {
    this.#write(sql.deleteRetained, topic);
  }

  wills(): StoredWill[] {
    return this.#all(sql.wills).map((row) => ({
      identity: String(row['identity']),
      clientId: String(row['client_id']),
      topic: String(row['topic']),
      payload: bytesOf(row['payload']),
      qos: qosOf(row['qos']),
      retain: row['retain'] === 1,
      properties: bytesOf(row['properties']),
      expirySeconds: optionalNumber(row['expiry_seconds']),
      delaySeconds: Number(row['delay_seconds']),
      dueMs: optionalNumber(row['due_ms']),
      chain: String(row['chain']),
      connectedMs: Number(row['connected_ms']),
    }));
  }

  putWill(will: StoredWill): void {
    const { identity, clientId, topic, payload, qos, retain, properties } = will;
    const { expirySeconds, delaySeconds, dueMs, chain, connectedMs } = will;
    const flag = retain ? 1 : 0;
    const when = [expirySeconds ?? null, delaySeconds, dueMs ?? null, chain, connectedMs];
    this.#write(sql.putWill, identity, clientId, topic, payload, qos, flag, properties, ...when);
  }

  deleteWill(identity: string, clientId: string): void {
    this.#write(sql.deleteWill, identity, clientId);
  }

  /** @throws BrokerError `broker.store_failed`: then nothing since the last commit is there, and the store is of no use */
  commit(): void {
    this.#settle();
    this.#isCommitNeeded = false;
    if (!this.#isOpenTransaction) return;
    if (this.#journal !== undefined) this.#movePlace(this.#journal.mark());
    this.#run(() => this.#database.exec('COMMIT'));
    this.#isOpenTransaction = false;
    this.#journal?.committed();
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

  /** Writes what waited, so that the tables are what they say. */
  #settle(): void {
    if (this.#unwritten.messages.size > 0) this.#isCommitNeeded = true;
    for (const [id, { content, pending }] of this.#unwritten.messages)
      this.#writeMessage(id, content, pending);
    for (const [session, queue] of this.#unwritten.queues) {
      for (const { delivery, message } of queue.values()) this.#writeDelivery(session, delivery, message);
    }
    this.#unwritten.clear();
    for (const done of this.#doneDeliveries.values()) done.flush();
    this.#doneDeliveries.clear();
    this.#doneMessages.flush();
  }

  #writeMessage(id: number, { topic, payload, properties, expiresMs }: Content, pending: number): void {
    // Most messages have neither, and each value that is bound costs on the way of every message.
    if (properties.length === 0 && expiresMs === undefined) {
      this.#writeRow(sql.insertMessage, id, topic, payload, pending);
    } else {
      const values = [id, topic, payload, pending, orNull(properties), expiresMs ?? null];
      this.#writeRow(sql.insertMessageWithProperties, ...values);
    }
  }

  #writeDelivery(session: number, delivery: QueuedDelivery, message: number): void {
    const { sequence, qos, retain, bytes, identifiers, share = null } = delivery;
    const flag = retain ? 1 : 0;
    if (identifiers.length === 0 && share === null) {
      this.#writeRow(sql.enqueue, session, sequence, message, qos, flag, bytes);
    } else {
      const values = [session, sequence, message, qos, flag, bytes, orNull(identifiers), share];
      this.#writeRow(sql.enqueueWithProperties, ...values);
    }
  }

  #movePlace({ position, epoch }: Mark): void {
    const statement = this.#statement(sql.movePlace);
    this.#run(() => statement.run(position, epoch));
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

  #write(text: string, ...values: readonly StoredValue[]): { lastInsertRowid: number | bigint } {
    this.#isCommitNeeded = true;
    return this.#writeRow(text, ...values);
  }

  #writeRow(text: string, ...values: readonly StoredValue[]): { lastInsertRowid: number | bigint } {
    this.#begin();
    this.#journal?.record(text, values);
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
      throw storeError(this.#file, cause);
    }
  }
}

function qosOf(value: unknown): Qos {
  return value === 2 ? 2 : value === 1 ? 1 : 0;
}

function optionalNumber(value: unknown): number | undefined {
  return value === null ? undefined : Number(value);
}

function bytesOrNone(value: unknown): Buffer {
  return value === null ? noBytes : bytesOf(value);
}

/** A row without it is shorter. */
function orNull(bytes: Buffer): Buffer | null {
  return bytes.length === 0 ? null : bytes;
}
