/** The way of a message: from one publisher to every session that subscribed, through what is retained and what is stored. */
import type { Clock } from '../../domain/clock.ts';
import { filterCovers } from '../../domain/topic.ts';
import type { BrokerLimits } from '../limits.ts';
import type { Measures } from '../measures.ts';
import { LeftOvers } from './left-overs.ts';
import type { LeftDelivery } from './left-overs.ts';
import type { Content, Message, Origin, Publication, Qos, Terms } from './message.ts';
import { isExpired, messageBytes, noBytes } from './message.ts';
import { Replay } from './replay.ts';
import type { ReplayOptions } from './replay.ts';
import { RetainedMessages } from './retained.ts';
import type { RetainedRefusal } from './retained.ts';
import type { Grant, Route } from './routes.ts';
import { grantOf, routeTo } from './routes.ts';
import type { FullReason } from './session-queue.ts';
import type { Session, Subscription } from './session.ts';
import type { ShareGroup } from './share-groups.ts';
import type { Sessions } from './sessions.ts';
import type { Store } from '../store/store.ts';
import { UpQueue } from '../cascade/up-queue.ts';

export interface HubOptions {
  readonly store: Store;
  readonly sessions: Sessions;
  readonly limits: BrokerLimits;
  /** What happens when the stored queue of a receiver is full. */
  readonly queueFull: 'refuse' | 'drop-oldest';
  readonly measures: Measures;
  readonly clock: Clock;
  /** Runs it in a later turn. */
  readonly later: (work: () => void) => void;
}

/** Why a message was not taken; then nothing of it is kept, and the publisher is not told that it arrived. */
export type PublishRefusal = FullReason | 'store_full' | RetainedRefusal;
export type PublishOutcome = 'routed' | 'no_subscribers' | PublishRefusal;

interface TopicRoutes {
  readonly alone: readonly Route[];
  /** Of each, one member gets it. */
  readonly groups: readonly GroupRoute[];
}

interface GroupRoute extends Pick<Route, 'isWaitedFor'> {
  readonly group: ShareGroup;
}

/** Far more topics than are in use between two changes of subscriptions. */
const routesMax = 20_000;

export class Hub {
  readonly #options: HubOptions;
  readonly #sessions: Sessions;
  readonly #retained: RetainedMessages;
  /** Matching, best QoS and rights of a topic, until a subscription changes. */
  #routes = new Map<string, TopicRoutes>();
  #routesVersion = 0;
  readonly #systemTopics = new Map<string, () => string>();
  readonly #replays: ReplayOptions;
  readonly #observers = new Map<string, (payload: Buffer) => void>();

  constructor(options: HubOptions) {
    this.#options = options;
    this.#sessions = options.sessions;
    this.#retained = new RetainedMessages(options.store, options.limits);
    const { clock, later } = options;
    this.#replays = {
      retained: this.#retained,
      mayReceive: (session, topic) => this.#sessions.mayReceive(session, topic),
      enqueue: (...one) => this.#enqueueRetained(...one),
      clock,
      later,
    };
    const leftOvers = new LeftOvers({
      store: options.store,
      pass: (...left) => this.#passOn(...left),
      later,
    });
    options.sessions.whenEnded((session) => leftOvers.add(session));
  }

  get retainedCount(): number {
    return this.#retained.size;
  }

  retainedPayload(topic: string): Buffer | undefined {
    return this.#retained.get(topic)?.payload;
  }

  /**
   * Carries one message to everyone who subscribed to it. The caller has checked the right to publish, and answers
   * the publisher after the commit of this turn.
   *
   * @param publisher - undefined for what no connected session published, as a will
   */
  publish(publication: Publication, publisher: Session | undefined): PublishOutcome {
    const outcome = this.#carry(publication, publisher);
    // Also what is refused, as for want of room a list that revokes whoever has taken the room.
    this.#observers.get(publication.topic)?.(publication.payload);
    return outcome;
  }

  #carry(publication: Publication, publisher: Session | undefined): PublishOutcome {
    const { topic, payload, retain, origin } = publication;
    const bytes = messageBytes(publication);
    const { alone, groups } = this.#routesOf(topic);
    const routes = groups.length === 0 ? alone : this.#withMembers(alone, groups, publication, bytes);
    if (typeof routes === 'string') return routes;
    let storedTargets = 0;
    let missing: Map<Route, FullReason> | undefined;
    for (const route of routes) {
      const grant = grantFor(route, publisher, origin);
      if (grant === undefined) continue;
      const { session, isWaitedFor } = route;
      if (session.storedId === undefined || lesser(grant.qos, publication.qos) === 0) continue;
      const { queue } = session;
      if (queue.isFullFor(bytes) && (queue.whenFull ?? this.#options.queueFull) === 'refuse') {
        const reason = queue.raiseFull(bytes);
        if (isWaitedFor) return reason;
        missing ??= new Map();
        missing.set(route, reason);
        continue;
      }
      storedTargets++;
    }
    if (this.#hasNoRoomFor(publication, storedTargets)) return 'store_full';
    const refusal = retain ? this.#retained.put(publication) : undefined;
    if (refusal !== undefined) return refusal;
    // At QoS 0 nothing is queued, so the publication itself will do.
    const message = publication.qos === 0 ? undefined : this.#messageFor(publication, storedTargets);
    for (const route of routes) {
      const grant = grantFor(route, publisher, origin);
      if (grant === undefined || this.#misses(route, missing)) continue;
      if (message === undefined) this.#sendNow(route.session, grant, publication.retain, publication);
      else this.#deliver(route.session, grant, publication, message);
    }
    const { traffic } = this.#options.measures;
    traffic.received++;
    traffic.receivedPayloadBytes += payload.length;
    // One that wants nothing of its own (no local) matches all the same.
    return routes.length === 0 ? 'no_subscribers' : 'routed';
  }

  /** Sends what is retained under a filter, with the retain flag set [MQTT-3.3.1-8], and what `$SYS` says now. */
  replay(session: Session, filter: string, subscription: Subscription): void {
    const grant = grantOf([subscription]);
    const { identifiers } = grant;
    const left = session.storedId === undefined ? {} : this.#queueRetained(session, filter, grant);
    if (left !== undefined && !session.isCascade) {
      session.replay ??= new Replay(session, this.#replays);
      session.replay.add(filter, { subscription, unqueuedFrom: left.unqueuedFrom });
    }
    if (!filter.startsWith('$')) return;
    for (const [topic, value] of this.#systemTopics) {
      if (!filterCovers(filter, topic)) continue;
      const terms = { qos: 0, retain: true, identifiers, share: undefined } as const;
      session.client?.sendNow(systemContent(topic, value), terms);
    }
  }

  /**
   * All of it is in the queue with the commit that the subscription is answered after, and a crash loses none: unless the
   * queue has no room, for what waits there was promised to its publishers, and what is retained can be had again.
   *
   * @returns undefined, or what is left: what goes at QoS 0, and all from some topic on
   */
  #queueRetained(
    session: Session,
    filter: string,
    grant: Grant,
  ): { readonly unqueuedFrom?: string } | undefined {
    const { clock, queueFull } = this.#options;
    const { queue, isCascade } = session;
    const nowMs = clock();
    let isAll = true;
    for (const content of this.#retained.matching(filter)) {
      const { topic, qos: published, origin } = content;
      if (isLoop(session, origin) || isExpired(content, nowMs)) continue;
      if (!this.#sessions.mayReceive(session, topic)) continue;
      const qos = lesser(grant.qos, published);
      if (qos > 0) {
        const isFull = queue.isFullFor(messageBytes(content));
        const mustWait = isFull && (queue.whenFull ?? queueFull) === 'refuse';
        if (!mustWait) this.#enqueueRetained(session, content, qos as 1 | 2, grant);
        else if (queue instanceof UpQueue) queue.owed.add(topic);
        else return { unqueuedFrom: topic };
      } else if (isCascade) session.client?.sendNow(content, retainedTerms(grant, qos));
      else isAll = false;
    }
    return isAll ? undefined : {};
  }

  #enqueueRetained(session: Session, content: Content, qos: 1 | 2, grant: Grant): void {
    const { store, measures } = this.#options;
    if (session.storedId !== undefined && store.isFull) {
      return measures.dropped.inc({ reason: 'store_full' });
    }
    const message = this.#messageFor(content, session.storedId === undefined ? 0 : 1);
    session.queue.enqueue(message, qos, retainedTerms(grant, qos));
    session.queue.pump();
  }

  /**
   * Sends what is retained of one topic, or that nothing is, as it was published.
   *
   * @returns false if there is no room to store it now
   */
  repeatRetained(session: Session, topic: string): boolean {
    const { store, clock } = this.#options;
    const kept = this.#retained.get(topic);
    if (kept !== undefined && isLoop(session, kept.origin)) return true;
    if (store.isFull) return false;
    const isKept = kept !== undefined && !isExpired(kept, clock());
    const nothing = { topic, payload: noBytes, properties: noBytes, expiresMs: undefined };
    const terms = { qos: 1, retain: true, identifiers: noBytes, share: undefined } as const;
    session.queue.enqueue(this.#messageFor(isKept ? kept : nothing, 1), terms.qos, terms);
    session.queue.pump();
    return true;
  }

  /** @returns the topics of what is retained and came from there */
  retainedFrom(origin: Origin): Iterable<string> {
    return this.#retained.topicsFrom(origin);
  }

  /** Calls back for every message on one topic, whoever published it, and whatever becomes of it. */
  observe(topic: string, observer: (payload: Buffer) => void): void {
    this.#observers.set(topic, observer);
  }

  /** Declares a topic below `$SYS`, whose value is asked for when somebody reads it. */
  declareSystemTopic(topic: string, value: () => string): void {
    this.#systemTopics.set(topic, value);
  }

  /** Sends the `$SYS` values to whoever subscribed to them. */
  publishSystemTopics(): void {
    for (const [topic, value] of this.#systemTopics) {
      const { alone, groups } = this.#routesOf(topic);
      const routes = this.#withMembers(alone, groups, { topic, qos: 0 }, 0);
      if (typeof routes === 'string' || routes.length === 0) continue;
      const content = systemContent(topic, value);
      for (const { session, grant } of routes) {
        session.client?.sendNow(content, grant.plain[0]);
      }
    }
  }

  /** Forgets retained messages that are no longer worth sending. */
  dropExpired(): void {
    const dropped = this.#retained.dropExpired(this.#options.clock());
    if (dropped > 0) this.#options.measures.dropped.inc({ reason: 'retained_expired' }, dropped);
  }

  /** A store that is full takes nothing but the end of what is retained, which makes room. */
  #hasNoRoomFor({ topic, payload, retain }: Publication, storedTargets: number): boolean {
    if (!this.#options.store.isFull) return false;
    if (!retain) return storedTargets > 0;
    return payload.length > 0 || (storedTargets > 0 && this.#retained.get(topic) === undefined);
  }

  #misses(route: Route, missing: ReadonlyMap<Route, FullReason> | undefined): boolean {
    const reason = missing?.get(route);
    if (reason === undefined) return false;
    this.#options.measures.dropped.inc({ reason });
    return true;
  }

  /** @returns why not if some group has only members whose queues are full, and those are to refuse */
  #withMembers(
    alone: readonly Route[],
    groups: readonly GroupRoute[],
    { topic, qos }: Pick<Publication, 'topic' | 'qos'>,
    bytes: number,
  ): readonly Route[] | FullReason {
    const routes = [...alone];
    for (const { group, isWaitedFor } of groups) {
      const target = group.pick(qos, bytes, topic);
      if (target !== undefined) {
        routes.push({ ...target, ownGrant: target.grant, isWaitedFor });
        continue;
      }
      const reason = group.raiseFull(bytes);
      if (isWaitedFor && group.isWaitedFor(qos) && this.#options.queueFull === 'refuse') return reason;
      this.#options.measures.dropped.inc({ reason: 'share_not_ready' });
    }
    return routes;
  }

  /** What a session that ended leaves of its shared subscriptions goes to one of their other members. */
  #passOn(identity: string, delivery: LeftDelivery, content: Content): void {
    const group = this.#sessions.groups.find(identity, delivery.share ?? '');
    const target = group?.pick(delivery.qos, delivery.bytes, content.topic);
    if (target === undefined) {
      this.#options.measures.dropped.inc({ reason: 'share_ended' });
      return;
    }
    const { session, grant } = target;
    const isStored = session.storedId !== undefined && lesser(grant.qos, delivery.qos) > 0;
    this.#deliver(session, grant, delivery, this.#messageFor(content, isStored ? 1 : 0));
  }

  #deliver(
    session: Session,
    grant: Grant,
    sent: Pick<Publication, 'qos' | 'retain'>,
    message: Message,
  ): void {
    const qos = lesser(grant.qos, sent.qos);
    if (qos === 0) return this.#sendNow(session, grant, sent.retain, message);
    const { queue } = session;
    if (queue.enqueue(message, qos, termsOf(session, grant, qos, sent.retain))) queue.pump();
  }

  #sendNow(session: Session, grant: Grant, retain: boolean, content: Content): void {
    if (session.client?.sendNow(content, termsOf(session, grant, 0, retain)) === true) return;
    this.#options.measures.dropped.inc({ reason: 'qos0_not_ready' });
  }

  #messageFor(content: Content, storedTargets: number): Message {
    const { topic, payload, properties, expiresMs } = content;
    const id = storedTargets === 0 ? 0 : this.#options.store.insertMessage(content, storedTargets);
    return { id, storedTargets, topic, payload, properties, expiresMs };
  }

  #routesOf(topic: string): TopicRoutes {
    if (this.#routesVersion !== this.#sessions.version || this.#routes.size >= routesMax) {
      this.#routes = new Map();
      this.#routesVersion = this.#sessions.version;
    }
    let routes = this.#routes.get(topic);
    if (routes === undefined) {
      const alone = [...this.#sessions.matching(topic)]
        .filter((session) => this.#sessions.mayReceive(session, topic))
        .map((session) => routeTo(session, topic, this.#sessions.isWaitedFor(session, topic)));
      const groups = this.#sessions.groups.matching(topic).flatMap((group) => {
        const members = { identity: group.identity, isCascade: false };
        if (!this.#sessions.mayReceive(members, topic)) return [];
        return [{ group, isWaitedFor: this.#sessions.isWaitedFor(members, topic) }];
      });
      routes = { alone, groups };
      this.#routes.set(topic, routes);
    }
    return routes;
  }
}

export function isRefused(outcome: PublishOutcome): outcome is PublishRefusal {
  return outcome !== 'routed' && outcome !== 'no_subscribers';
}

/** What came from the upstream never goes up again. */
function isLoop(session: Session, origin: Origin): boolean {
  return session.isCascade && origin === 'upstream';
}

/** @returns undefined for one that is not to get this message */
function grantFor(route: Route, publisher: Session | undefined, origin: Origin): Grant | undefined {
  if (isLoop(route.session, origin)) return undefined;
  return route.session === publisher ? route.ownGrant : route.grant;
}

function termsOf({ isCascade }: Session, grant: Grant, qos: Qos, isRetained: boolean): Terms {
  // [MQTT-3.3.1-9], [MQTT-3.3.1-12]: not retained for whoever was subscribed already, unless it asked for the
  // flag as published [MQTT-3.3.1-13]; the cascade passes it on.
  if (!isRetained || !(grant.retainAsPublished || isCascade)) return grant.plain[qos];
  return { qos, retain: true, identifiers: grant.identifiers, share: grant.share };
}

function retainedTerms({ identifiers }: Grant, qos: Qos): Terms {
  return { qos, retain: true, identifiers, share: undefined };
}

function systemContent(topic: string, value: () => string): Content {
  return { topic, payload: Buffer.from(value()), properties: noBytes, expiresMs: undefined };
}

/** [MQTT-3.8.4-6], [MQTT-3.8.4-8]: the lesser of what was published and what was granted. */
function lesser(a: Qos, b: Qos): Qos {
  return a < b ? a : b;
}
