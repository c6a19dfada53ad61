/** The durable state: sessions, subscriptions, queues and retained messages in one SQLite file, committed in groups. */
import type { Content } from '../routing/message.ts';
import { messageBytes } from '../routing/message.ts';
import type { Subscription } from '../routing/session.ts';
import { DoneRows } from './done-rows.ts';
import { EndedQueues } from './ended-queues.ts';
import type { Journal, StoredValue } from './journal.ts';
import type { Recovery } from './recovery.ts';
import {
  deliveryOf,
  expiredDeliveryOf,
  orNull,
  queueSizeOf,
  retainedOf,
  sessionOf,
  subscriptionOf,
  willOf,
} from './rows.ts';
import type {
  ExpiredDelivery,
  LeavingQueue,
  QueueSize,
  Row,
  StoredDelivery,
  StoredRetained,
  StoredSession,
  StoredSubscription,
  StoredWill,
} from './rows.ts';
import type { StoreRoom } from './room.ts';
import type { StoreFileOptions } from './store-file.ts';
import { openStoreFile, storeFileIn } from './store-file.ts';
import { meterOf } from './store-meter.ts';
import { sql } from './store-statements.ts';
import { Transactions } from './transactions.ts';
import type { Batch, QueuedDelivery } from './unwritten.ts';
import { Unwritten } from './unwritten.ts';
import { writeUnwritten } from './write-unwritten.ts';

export interface StoreOptions extends StoreFileOptions {
  readonly directory: string;
  /** Called at the first write after a commit: the caller promises to call `commit` soon. */
  readonly onFirstWrite: () => void;
  /** Follows what is written; undefined on a node that is alone. */
  readonly journal?: Journal | undefined;
  /** Undefined: it has as much as it wants. */
  readonly room?: StoreRoom | undefined;
}

/** What a row costs beside its contents, about. */
const rowBytes = 64;

/**
 * Every write joins the open transaction; nothing is promised to anyone before `commit` returned. Synchronous on
 * purpose: one commit serves all that one turn of the event loop read from the sockets, and while it waits for the
 * disk the next group gathers in the kernel (docs/decisions/0002-broker-core.md).
 */
export class Store {
  /** What the opening found. */
  readonly recovery: Recovery;
  readonly #transactions: Transactions;
  readonly #ended: EndedQueues;
  readonly #onFirstWrite: () => void;
  readonly #room: StoreRoom | undefined;
  readonly #unwritten = new Unwritten();
  readonly #doneMessages: DoneRows;
  /** By session. */
  readonly #doneDeliveries = new Map<number, DoneRows>();
  #isLogShort = false;
  #lastMessageId: number;
  /** Never used again while rows of an ended session may be left. */
  #lastSessionId: number;

  /** @throws BrokerError `broker.store_locked`, `broker.store_too_new`, `broker.store_failed` */
  constructor(options: StoreOptions) {
    const { directory, onFirstWrite, journal, room } = options;
    const file = storeFileIn(directory);
    const { database, recovery } = openStoreFile(file, options);
    this.#onFirstWrite = onFirstWrite;
    this.recovery = recovery;
    const transactions = new Transactions({ file, database, onFirstWrite, journal });
    this.#transactions = transactions;
    this.#doneMessages = new DoneRows(({ from, to }) => transactions.writeRow(sql.deleteMessages, from, to));
    this.#lastMessageId = Number(transactions.readOne(sql.lastMessage)['id']);
    this.#lastSessionId = Number(transactions.readOne(sql.lastSession)['id']);
    this.#ended = new EndedQueues(transactions);
    // What is written from now on is in no log, so this is no copy of anything any more.
    if (journal === undefined && transactions.read(sql.place).length > 0) transactions.write(sql.forgetPlace);
    this.#room = room;
    room?.watch(meterOf(directory, transactions, this.#unwritten));
  }

  /** Whether nothing more is to be stored, but what takes something away. */
  get isFull(): boolean {
    return this.#room?.isFull === true;
  }

  sessions(): StoredSession[] {
    return this.#transactions.read(sql.sessions).map(sessionOf);
  }

  createSession(identity: string, clientId: string, expirySeconds: number): number {
    const id = ++this.#lastSessionId;
    this.#transactions.write(sql.createSession, id, identity, clientId, expirySeconds);
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
    this.#transactions.write(
      sql.markSession,
      disconnectedMs ?? null,
      expirySeconds,
      lastSent ?? null,
      session,
    );
  }

  /** Its queue goes in pieces, once it has left to others what is theirs. */
  deleteSession(session: number): void {
    this.#settle();
    this.#transactions.write(sql.deleteSubscriptions, session);
    this.#transactions.write(sql.deleteIncoming, session);
    this.#transactions.write(sql.deleteSession, session);
    this.#ended.add(session);
    this.#ended.forget();
  }

  /** Deletes a bounded piece of what ended sessions have left, oldest first. @returns whether there may be more */
  forgetEnded(): boolean {
    this.#settle();
    return this.#ended.forget();
  }

  /** Whether an ended session's queue is still to be deleted; not while others get theirs of it. */
  isToBeForgotten(session: number): boolean {
    return this.#ended.has(session);
  }

  /** Queues of ended sessions of which others may still get something. */
  leaving(): LeavingQueue[] {
    return this.#ended.leaving;
  }

  /**
   * A session is about to be deleted, and what came through shared subscriptions stays until `left`.
   *
   * @returns false if there is nothing of that kind
   */
  leave(queue: LeavingQueue): boolean {
    this.#settle();
    return this.#ended.leave(queue);
  }

  /** @returns the next deliveries that came through shared subscriptions, in order */
  readShared(session: number, limit: number): StoredDelivery[] {
    this.#settle();
    return this.#transactions.read(sql.readShared, session, limit).map(deliveryOf);
  }

  /** Others have what they were to get of it. */
  left(session: number): void {
    this.#settle();
    this.#ended.left(session);
  }

  subscriptions(): StoredSubscription[] {
    return this.#transactions.read(sql.subscriptions).map(subscriptionOf);
  }

  putSubscription(session: number, filter: string, subscription: Subscription): void {
    const { qos, noLocal, retainAsPublished, identifier } = subscription;
    this.#transactions.write(
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
    this.#transactions.write(sql.deleteSubscription, session, filter);
  }

  /**
   * The message is written with the next commit, unless all who wait for it have it by then.
   *
   * @returns its id
   */
  insertMessage(content: Content, pending: number): number {
    const id = ++this.#lastMessageId;
    this.#room?.took(messageBytes(content) + rowBytes);
    this.#unwritten.addMessage(id, content, pending);
    this.#onFirstWrite();
    return id;
  }

  /** How many messages wait in any queue. */
  messageCount(): number {
    this.#settle();
    return Number(this.#transactions.readOne(sql.countMessages)['messages']);
  }

  /** Whether a message that has expired is in any queue. */
  hasExpired(nowMs: number): boolean {
    this.#settle();
    return this.#transactions.read(sql.hasExpired, nowMs).length > 0;
  }

  /** @param limit - how many of the oldest deliveries are looked at */
  expiredDeliveries(session: number, nowMs: number, limit: number): ExpiredDelivery[] {
    this.#settle();
    return this.#transactions.read(sql.expiredDeliveries, session, limit, nowMs).map(expiredDeliveryOf);
  }

  /** One queue less holds the message; the last one deletes it. `storedTargets` 1 spares a look-up. */
  releaseMessage(id: number, storedTargets: number): void {
    if (this.#unwritten.releaseMessage(id)) return this.#onFirstWrite();
    if (storedTargets > 1) {
      const row = this.#transactions.writeAndRead(sql.releaseMessage, id);
      if (row !== undefined && Number(row['pending']) > 0) return undefined;
    }
    this.#doneMessages.add(id);
    return this.#onFirstWrite();
  }

  /** @param mayWait - whether its receiver may be about to acknowledge it; else it is written with the next commit */
  enqueue(session: number, delivery: QueuedDelivery, message: number, mayWait = false): void {
    this.#room?.took(rowBytes);
    this.#unwritten.addDelivery(session, delivery, message);
    if (!mayWait) this.#transactions.isCommitNeeded = true;
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
    this.#transactions.isCommitNeeded = true;
    this.#onFirstWrite();
  }

  /** Whether something has to be durable before it is answered, which is not on its way to being acknowledged. */
  get isCommitNeeded(): boolean {
    return this.#transactions.isCommitNeeded || this.#unwritten.isTooMuch;
  }

  /** Whether there is anything that a commit would make durable. */
  get isDirty(): boolean {
    return this.#transactions.isOpen || this.#doneMessages.isSome || this.#doneDeliveries.size > 0;
  }

  /** @returns what the turn that ends now leaves unacknowledged and unwritten */
  takeBatch(): Batch {
    return this.#unwritten.takeBatch();
  }

  /** @returns the next deliveries after a sequence, in order */
  readQueue(session: number, afterSequence: number, limit: number): StoredDelivery[] {
    this.#settle();
    return this.#transactions.read(sql.readQueue, session, afterSequence, limit).map(deliveryOf);
  }

  /** For a part that keeps tables of its own in this file; the write joins the open transaction. */
  write(statement: string, ...values: readonly StoredValue[]): void {
    this.#settle();
    this.#transactions.write(statement, ...values);
  }

  /** The same for reading. */
  read(statement: string, ...values: readonly number[]): Row[] {
    this.#settle();
    return this.#transactions.read(statement, ...values);
  }

  queueSizes(): QueueSize[] {
    this.#settle();
    return this.#transactions.read(sql.queueSizes).map(queueSizeOf);
  }

  /** PUBREC came: what remains is to send PUBREL until PUBCOMP. */
  releaseDelivery(session: number, sequence: number): void {
    this.#settle();
    this.#transactions.write(sql.releaseDelivery, session, sequence);
  }

  /** Nothing that is answered depends on it: it is on disk with the next commit, and till then may come again with DUP. */
  deleteDelivery(session: number, sequence: number): void {
    if (this.#unwritten.removeDelivery(session, sequence)) return this.#onFirstWrite();
    let done = this.#doneDeliveries.get(session);
    if (done === undefined) {
      done = new DoneRows(({ from, to }) =>
        this.#transactions.writeRow(sql.deleteDeliveries, session, from, to),
      );
      this.#doneDeliveries.set(session, done);
    }
    done.add(sequence);
    return this.#onFirstWrite();
  }

  incoming(): { session: number; packetId: number }[] {
    return this.#transactions.read(sql.incoming).map((row) => ({
      session: Number(row['session']),
      packetId: Number(row['packet_id']),
    }));
  }

  addIncoming(session: number, packetId: number): void {
    this.#transactions.write(sql.addIncoming, session, packetId);
  }

  deleteIncoming(session: number, packetId: number): void {
    this.#transactions.write(sql.deleteOneIncoming, session, packetId);
  }

  retained(): StoredRetained[] {
    return this.#transactions.read(sql.retained).map(retainedOf);
  }

  putRetained(message: StoredRetained): void {
    const { topic, payload, qos, origin, properties, expiresMs } = message;
    this.#room?.took(messageBytes(message) + rowBytes);
    this.#transactions.write(
      sql.putRetained,
      topic,
      payload,
      qos,
      origin,
      orNull(properties),
      expiresMs ?? null,
    );
  }

  deleteRetained(topic: string): void {
    this.#transactions.write(sql.deleteRetained, topic);
  }

  wills(): StoredWill[] {
    return this.#transactions.read(sql.wills).map(willOf);
  }

  putWill(will: StoredWill): void {
    const { identity, clientId, topic, payload, qos, retain, properties } = will;
    const { expirySeconds, delaySeconds, dueMs, chain, connectedMs } = will;
    const flag = retain ? 1 : 0;
    const when = [expirySeconds ?? null, delaySeconds, dueMs ?? null, chain, connectedMs];
    this.#transactions.write(sql.putWill, identity, clientId, topic, payload, qos, flag, properties, ...when);
  }

  deleteWill(identity: string, clientId: string): void {
    this.#transactions.write(sql.deleteWill, identity, clientId);
  }

  /** @throws BrokerError `broker.store_failed`: then nothing since the last commit is there, and the store is of no use */
  commit(): void {
    this.#settle();
    this.#transactions.commit();
    if (this.isFull !== this.#isLogShort) this.#transactions.keepLogShort((this.#isLogShort = this.isFull));
  }

  /** Commits what is open. */
  close(): void {
    this.commit();
    this.abandon();
  }

  /** Closes without a commit, after a failure. */
  abandon(): void {
    this.#room?.unwatch();
    this.#transactions.abandon();
  }

  /** Writes what waited, so that the tables are what they say. */
  #settle(): void {
    if (this.#unwritten.messages.size > 0) this.#transactions.isCommitNeeded = true;
    writeUnwritten(this.#unwritten, this.#transactions);
    for (const done of this.#doneDeliveries.values()) done.flush();
    this.#doneDeliveries.clear();
    this.#doneMessages.flush();
  }
}
