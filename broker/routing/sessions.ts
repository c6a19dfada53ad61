/** All sessions and their subscriptions, in memory and in the store. */
import assert from 'node:assert/strict';
import type { Clock } from '../../domain/clock.ts';
import type { Log } from '../../runtime/log.ts';
import { DeliveryQueue } from './delivery-queue.ts';
import type { ExistingQueue } from './delivery-queue.ts';
import { ExpiredMessages } from './expired-messages.ts';
import type { BrokerLimits } from '../limits.ts';
import type { Measures } from '../measures.ts';
import type { RoleTable } from '../access/roles.ts';
import type { UpQueueConfig } from '../cascade/cascade-config.ts';
import { UpQueue } from '../cascade/up-queue.ts';
import { Queues } from './queues.ts';
import type { Client, ClientSession, Session, Subscription } from './session.ts';
import { cascadeIdentity, neverExpires, newSession, sessionExpirySecondsMax, sessionKey } from './session.ts';
import type { Store } from '../store/store.ts';
import { ShareGroups } from './share-groups.ts';
import { decideFilter, isShared } from '../access/shared-filter.ts';
import { boundsOf, holderOf, Holdings, shareRefusal } from '../quota/shares.ts';
import type { ShareRefusal } from '../quota/shares.ts';
import { SubscriptionTree } from './subscription-tree.ts';
import { isOwnTopic } from '../access/tacs.ts';
import { KnownReaders } from '../access/known-readers.ts';

export interface SessionsOptions {
  readonly store: Store;
  readonly roles: RoleTable;
  readonly limits: BrokerLimits;
  /** Of the cascade's session; undefined if none is configured, and then a stored one is dropped. */
  readonly cascadeQueue: UpQueueConfig | undefined;
  /** What happens when the stored queues of one identity, or of its account, hold too much together. */
  readonly queueFull: 'refuse' | 'drop-oldest';
  readonly measures: Measures;
  readonly log: Log;
  readonly clock: Clock;
}

/** A session that the configuration makes, for a client that must miss nothing. */
export interface ExpectedSession {
  readonly identity: string;
  readonly clientId: string;
  /** Filters, at QoS 1. */
  readonly subscriptions: readonly string[];
}

/** What a CONNECT says of its session. */
export interface SessionTerms {
  /** Nothing of an earlier one counts. */
  readonly clean: boolean;
  /** How long it outlives the connection, `neverExpires` for always; 0: it ends with it. */
  readonly expirySeconds: number;
}

export type SessionRefusal = 'sessions_max' | 'store_full' | ShareRefusal<'sessions'>;

export class Sessions {
  readonly groups: ShareGroups;
  readonly #options: SessionsOptions;
  readonly #store: Store;
  readonly #queues: Queues;
  readonly #expired: ExpiredMessages;
  readonly #byKey = new Map<string, Session>();
  readonly #held = new Holdings();
  readonly #heldSubscriptions = new Holdings();
  readonly #tree = new SubscriptionTree<Session>();
  readonly #readers = new KnownReaders();
  readonly #endListeners: ((session: Session) => void)[] = [];
  #version = 0;
  /** No session expires before; 0: not known. */
  #nextExpiryMs = 0;

  constructor(options: SessionsOptions) {
    this.#options = options;
    this.groups = new ShareGroups(options);
    this.#store = options.store;
    this.#queues = new Queues(options);
    this.#expired = new ExpiredMessages(options.store, () => this.#byKey.values());
    this.#restore();
  }

  /** Changes whenever `matching` may answer differently. */
  get version(): number {
    return this.#version;
  }

  get size(): number {
    return this.#byKey.size;
  }

  all(): Iterable<Session> {
    return this.#byKey.values();
  }

  find(identity: string, clientId: string): Session | undefined {
    return this.#byKey.get(sessionKey(identity, clientId));
  }

  /** @returns why one more session of the identity cannot be, or undefined */
  refusal(
    identity: string,
    clientId: string,
    { expirySeconds }: Pick<SessionTerms, 'expirySeconds'>,
  ): SessionRefusal | undefined {
    const { limits } = this.#options;
    if (this.find(identity, clientId) !== undefined) return undefined;
    if (this.#byKey.size >= limits.sessionsMax) return 'sessions_max';
    if (expirySeconds > 0 && this.#store.isFull) return 'store_full';
    const share = this.#held.exceededBy(1, holderOf(identity), boundsOf(limits, 'sessionsMax'));
    return share && shareRefusal('sessions', share);
  }

  /** @returns why the identity cannot have one more subscription, whatever the session, or undefined */
  subscriptionRefusal(identity: string): ShareRefusal<'subscriptions'> | undefined {
    const bounds = boundsOf(this.#options.limits, 'subscriptionsMax');
    const share = this.#heldSubscriptions.exceededBy(1, holderOf(identity), bounds);
    return share && shareRefusal('subscriptions', share);
  }

  /** Calls back when a session ends for good: its subscriptions do not count any more, its queue is still there. */
  whenEnded(listener: (session: Session) => void): void {
    this.#endListeners.push(listener);
  }

  /**
   * Resumes a session or begins a new one (MQTT 3.1.1 §3.1.2.4, MQTT 5 §3.1.2.4). A client that holds it is closed
   * first [MQTT-3.1.4-2], [MQTT-3.1.4-3]; it can only be one of the same identity.
   */
  open(
    identity: string,
    clientId: string,
    client: Client,
    { clean, expirySeconds }: SessionTerms,
  ): { session: ClientSession; present: boolean } {
    this.find(identity, clientId)?.client?.close('taken_over');
    let session = this.#findClient(identity, clientId); // one that lasts as long as its connection has ended with it
    if (session !== undefined && (clean || this.#expiryMs(session) <= this.#options.clock())) {
      this.#drop(session); // [MQTT-3.1.2-6], [MQTT-3.1.2-4]
      session = undefined;
    }
    const present = session !== undefined;
    session ??= this.#addClient(
      identity,
      clientId,
      expirySeconds === 0 ? undefined : this.#store.createSession(identity, clientId, expirySeconds),
    );
    session.client = client;
    session.disconnectedMs = undefined;
    session.expirySeconds = expirySeconds;
    this.#mark(session);
    return { session, present };
  }

  /** Resumes the cascade's session, or begins it. */
  openCascade(clientId: string, client: Client): { session: Session; queue: UpQueue } {
    this.find(cascadeIdentity, clientId)?.client?.close('taken_over');
    const session =
      this.find(cascadeIdentity, clientId) ??
      this.#addCascade(clientId, this.#store.createSession(cascadeIdentity, clientId, neverExpires));
    const { queue } = session;
    assert(queue instanceof UpQueue, "the cascade's identity has no other session");
    session.client = client;
    session.disconnectedMs = undefined;
    session.expirySeconds = neverExpires;
    this.#mark(session);
    return { session, queue };
  }

  /** MQTT 5 §3.14.2.2.2: a client says goodbye and changes how long its session lasts; never from 0 to more. */
  changeExpiry(session: Session, expirySeconds: number): void {
    session.expirySeconds = expirySeconds;
  }

  /**
   * Makes a stored session before its client has ever connected, so that nothing is missed until it does. One that
   * is there already is its client's own. The caller has checked the rights.
   */
  expect({ identity, clientId, subscriptions }: ExpectedSession): void {
    if (this.find(identity, clientId) !== undefined) return;
    const session = this.#addClient(
      identity,
      clientId,
      this.#store.createSession(identity, clientId, neverExpires),
    );
    session.disconnectedMs = this.#options.clock();
    session.expirySeconds = neverExpires;
    this.#mark(session);
    for (const filter of subscriptions) this.subscribe(session, filter, atLeastOnce);
    this.#options.log.info({ identity, clientId }, 'session.expected');
  }

  /** The client is gone; a session without an expiry interval ends with it. */
  close(session: Session): void {
    session.client = undefined;
    session.replay = undefined;
    if (session.storedId === undefined || session.expirySeconds === 0) {
      this.#drop(session); // [MQTT-3.1.2-23]
      return;
    }
    session.queue.detach();
    session.disconnectedMs = this.#options.clock();
    this.#mark(session);
    this.#nextExpiryMs = Math.min(this.#nextExpiryMs, this.#expiryMs(session));
  }

  /** Drops sessions whose clients stayed away too long. Called every second. */
  expire(): void {
    const { clock, log, measures } = this.#options;
    this.#store.forgetEnded();
    this.#queues.sweep();
    const nowMs = clock();
    if (nowMs < this.#nextExpiryMs) return;
    this.#nextExpiryMs = Infinity;
    for (const session of this.#byKey.values()) {
      const { identity, clientId, queue } = session;
      const expiryMs = this.#expiryMs(session);
      if (expiryMs > nowMs) {
        this.#nextExpiryMs = Math.min(this.#nextExpiryMs, expiryMs);
        continue;
      }
      measures.traffic.sessionsExpired++;
      const facts = { identity, clientId, queued: queue.messages };
      if (queue.messages === 0) {
        log.info(facts, 'session.expired');
      } else {
        log.warn(facts, 'session.expired');
        measures.dropped.inc({ reason: 'session_expired' }, queue.messages);
      }
      this.#drop(session);
    }
  }

  /** Frees a bounded part of what has expired in the queues of those who are away. */
  dropExpiredMessages(): void {
    this.#expired.drop(this.#options.clock());
  }

  /** The caller has checked the right. */
  subscribe(session: Session, filter: string, subscription: Subscription): void {
    this.#keep(session, filter, subscription); // [MQTT-3.8.4-3]: replaces one with the same filter
    this.#version++;
    if (session.storedId !== undefined) this.#store.putSubscription(session.storedId, filter, subscription);
  }

  /** @returns whether there was such a subscription */
  unsubscribe(session: Session, filter: string): boolean {
    if (!session.subscriptions.delete(filter)) return false;
    this.#heldSubscriptions.add(holderOf(session.identity), -1);
    this.#unroute(filter, session);
    this.#version++;
    if (session.storedId !== undefined) this.#store.deleteSubscription(session.storedId, filter);
    return true;
  }

  /** The roles are others now: what they no longer grant is removed from every session, whether its client is there or not. */
  rightsChanged(): void {
    const { roles, log } = this.#options;
    this.#version++; // also where nothing is removed: what `matching` finds may be no longer, or again, allowed
    for (const session of this.#byKey.values()) {
      if (session.isCascade) continue;
      const { identity, clientId } = session;
      for (const filter of session.subscriptions.keys()) {
        if (decideFilter(identity, filter, roles).allowed) continue;
        this.unsubscribe(session, filter);
        log.warn({ identity, clientId, filter, reason: 'no_longer_allowed' }, 'subscription.removed');
      }
    }
  }

  /** @returns each session once that has a filter which matches the topic */
  matching(topic: string): Set<Session> {
    return new Set(this.#tree.match(topic));
  }

  /** Whether a session may read a topic now, whatever it could when it subscribed. */
  mayReceive(session: Pick<Session, 'identity' | 'isCascade'>, topic: string): boolean {
    return session.isCascade || this.#readers.mayRead(session.identity, topic, this.#options.roles);
  }

  /** Whether a full queue of a session keeps others from publishing a topic: nobody's does what is published for many. */
  isWaitedFor({ identity, isCascade }: Pick<Session, 'identity' | 'isCascade'>, topic: string): boolean {
    return isCascade || isOwnTopic(identity, topic, this.#options.roles);
  }

  #restore(): void {
    const { clock, cascadeQueue, log, roles } = this.#options;
    const sizes = new Map(this.#store.queueSizes().map((size) => [size.session, size]));
    const byId = new Map<number, Session>();
    for (const stored of this.#store.sessions()) {
      const { id, identity, clientId, disconnectedMs, expirySeconds, lastSent } = stored;
      const size = sizes.get(id);
      const session =
        identity === cascadeIdentity
          ? this.#addCascade(clientId, id)
          : this.#addClient(identity, clientId, id, size && { ...size, lastSent });
      // One that was connected when the process ended is away from now on.
      session.disconnectedMs = disconnectedMs ?? clock();
      session.expirySeconds = expirySeconds;
      if (disconnectedMs === undefined) this.#mark(session);
      byId.set(id, session);
    }
    for (const { session: id, filter, subscription } of this.#store.subscriptions()) {
      const session = byId.get(id);
      if (session === undefined) continue;
      if (!session.isCascade && !decideFilter(session.identity, filter, roles).allowed) {
        const { identity, clientId } = session;
        log.warn({ identity, clientId, filter, reason: 'no_longer_allowed' }, 'subscription.removed');
        this.#store.deleteSubscription(id, filter);
        continue;
      }
      this.#keep(session, filter, subscription);
    }
    for (const { session: id, packetId } of this.#store.incoming()) byId.get(id)?.incoming.add(packetId);
    for (const session of byId.values()) {
      if (!session.isCascade || cascadeQueue !== undefined) continue;
      log.warn({ queued: session.queue.messages }, 'cascade.queue_dropped');
      this.#drop(session);
    }
  }

  #keep(session: Session, filter: string, subscription: Subscription): void {
    if (!session.subscriptions.has(filter)) this.#heldSubscriptions.add(holderOf(session.identity), 1);
    session.subscriptions.set(filter, subscription);
    this.#route(filter, session);
  }

  #route(filter: string, session: Session): void {
    if (isShared(filter)) this.groups.join(session, filter);
    else this.#tree.add(filter, session);
  }

  #unroute(filter: string, session: Session): void {
    if (isShared(filter)) this.groups.leave(session, filter);
    else this.#tree.remove(filter, session);
  }

  #findClient(identity: string, clientId: string): ClientSession | undefined {
    const session = this.find(identity, clientId);
    if (session === undefined) return undefined;
    const { queue } = session;
    assert(queue instanceof DeliveryQueue, "the cascade's identity is in no certificate");
    return Object.assign(session, { queue });
  }

  #addClient(
    identity: string,
    clientId: string,
    storedId: number | undefined,
    size?: ExistingQueue,
  ): ClientSession {
    const owner = newSession(identity, clientId, storedId);
    const queue = this.#queues.ofClient(owner, (topic) => this.mayReceive(session, topic), size);
    const session = { ...owner, queue, isCascade: false };
    this.#register(session);
    return session;
  }

  #addCascade(clientId: string, storedId: number): Session {
    const owner = newSession(cascadeIdentity, clientId, storedId);
    const session = { ...owner, queue: this.#queues.ofCascade(owner), isCascade: true };
    this.#register(session);
    return session;
  }

  #register(session: Session): void {
    this.#byKey.set(sessionKey(session.identity, session.clientId), session);
    this.#held.add(holderOf(session.identity), 1);
  }

  #drop(session: Session): void {
    if (!this.#byKey.delete(sessionKey(session.identity, session.clientId))) return;
    for (const filter of session.subscriptions.keys()) this.#unroute(filter, session);
    if (session.subscriptions.size > 0) this.#version++;
    const holder = holderOf(session.identity);
    this.#held.add(holder, -1);
    this.#heldSubscriptions.add(holder, -session.subscriptions.size);
    this.#queues.ended(session); // first, for what it leaves to others must find room with them
    for (const listener of this.#endListeners) listener(session);
    session.queue.detach();
    if (session.queue instanceof UpQueue) session.queue.clear();
    if (session.storedId !== undefined) this.#store.deleteSession(session.storedId);
    this.#queues.deleted(session);
  }

  #mark({ storedId, disconnectedMs, expirySeconds, queue }: Session): void {
    if (storedId === undefined) return;
    // While it is connected only the next process could ask, and it cannot know.
    const lastSent = disconnectedMs === undefined ? undefined : queue.lastSent;
    this.#store.markSession(storedId, { disconnectedMs, expirySeconds, lastSent });
  }

  /** When a session ends unless its client comes back; `Infinity` while it is connected. */
  #expiryMs({ disconnectedMs, expirySeconds, isCascade }: Session): number {
    if (disconnectedMs === undefined || isCascade) return Infinity;
    const secondsMax = sessionExpirySecondsMax(this.#options.limits);
    return disconnectedMs + Math.min(expirySeconds, secondsMax) * 1000;
  }
}

const atLeastOnce: Subscription = {
  qos: 1,
  noLocal: false,
  retainAsPublished: false,
  identifier: undefined,
};
