/** The way of a message: from one publisher to every session that subscribed, through what is retained and what is stored. */
import { filterCovers } from '../domain/topic.ts';
import type { BrokerLimits } from './limits.ts';
import type { Measures } from './measures.ts';
import type { Message, Origin, Publication, Qos } from './message.ts';
import { messageBytes } from './message.ts';
import { RetainedMessages } from './retained.ts';
import type { Session } from './session.ts';
import type { Sessions } from './sessions.ts';
import type { Store } from './store.ts';

export interface HubOptions {
  readonly store: Store;
  readonly sessions: Sessions;
  readonly limits: BrokerLimits;
  /** What happens when the stored queue of a receiver is full. */
  readonly queueFull: 'refuse' | 'drop-oldest';
  readonly measures: Measures;
}

/** Why a message was not taken; then nothing of it is kept, and the publisher is not told that it arrived. */
export type PublishRefusal = 'queue_full' | 'retained_full';

interface Route {
  readonly session: Session;
  readonly qos: Qos;
}

/** Far more topics than are in use between two changes of subscriptions. */
const routesMax = 20_000;

export class Hub {
  readonly #options: HubOptions;
  readonly #sessions: Sessions;
  readonly #retained: RetainedMessages;
  /** Matching, best QoS and rights of a topic, until a subscription changes. */
  #routes = new Map<string, readonly Route[]>();
  #routesVersion = 0;
  readonly #systemTopics = new Map<string, () => string>();
  readonly #observers = new Map<string, (payload: Buffer) => void>();

  constructor(options: HubOptions) {
    this.#options = options;
    this.#sessions = options.sessions;
    this.#retained = new RetainedMessages(options.store, options.limits.retainedMax);
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
   * @returns why it was refused
   */
  publish(publication: Publication): PublishRefusal | undefined {
    const { topic, payload, retain, origin } = publication;
    const routes = this.#routesOf(topic);
    const bytes = messageBytes(topic, payload);
    let storedTargets = 0;
    for (const { session, qos } of routes) {
      if (session.storedId === undefined || lesser(qos, publication.qos) === 0) continue;
      if (isLoop(session, origin)) continue;
      if (this.#options.queueFull === 'refuse' && session.queue.isFullFor(bytes)) return 'queue_full';
      storedTargets++;
    }
    if (retain && !this.#retained.put(publication)) return 'retained_full';
    const message = this.#messageFor(topic, payload, storedTargets);
    for (const { session, qos } of routes) {
      if (!isLoop(session, origin)) this.#deliver(session, lesser(qos, publication.qos), message, retain);
    }
    this.#options.measures.traffic.received++;
    this.#observers.get(topic)?.(payload);
    return undefined;
  }

  /** Sends what is retained under a filter, with the retain flag set [MQTT-3.3.1-8], and what `$SYS` says now. */
  replay(session: Session, filter: string, granted: Qos): void {
    for (const { topic, payload, qos: published, origin } of this.#retained.matching(filter)) {
      if (isLoop(session, origin) || !this.#sessions.mayReceive(session, topic)) continue;
      const qos = lesser(granted, published);
      if (qos === 0) {
        session.client?.sendNow(topic, payload, true);
      } else {
        session.queue.enqueue(
          this.#messageFor(topic, payload, session.storedId === undefined ? 0 : 1),
          qos,
          true,
        );
        session.queue.pump();
      }
    }
    if (!filter.startsWith('$')) return;
    for (const [topic, value] of this.#systemTopics) {
      if (filterCovers(filter, topic)) session.client?.sendNow(topic, Buffer.from(value()), true);
    }
  }

  /** Calls back for every message on one topic, whoever published it. */
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
      const routes = this.#routesOf(topic);
      if (routes.length === 0) continue;
      const payload = Buffer.from(value());
      for (const { session } of routes) session.client?.sendNow(topic, payload, false);
    }
  }

  #deliver(session: Session, qos: Qos, message: Message, retain: boolean): void {
    // [MQTT-3.3.1-9]: not retained for whoever was subscribed already; the cascade passes the flag on.
    const retainFlag = session.isCascade && retain;
    if (qos !== 0) {
      session.queue.enqueue(message, qos, retainFlag);
      session.queue.pump();
    } else if (session.client?.sendNow(message.topic, message.payload, retainFlag) !== true) {
      this.#options.measures.dropped.inc({ reason: 'qos0_not_ready' });
    }
  }

  #messageFor(topic: string, payload: Buffer, storedTargets: number): Message {
    const id = storedTargets === 0 ? 0 : this.#options.store.insertMessage(topic, payload, storedTargets);
    return { id, storedTargets, topic, payload };
  }

  #routesOf(topic: string): readonly Route[] {
    if (this.#routesVersion !== this.#sessions.version || this.#routes.size >= routesMax) {
      this.#routes = new Map();
      this.#routesVersion = this.#sessions.version;
    }
    let routes = this.#routes.get(topic);
    if (routes === undefined) {
      routes = [...this.#sessions.matching(topic)]
        .filter((session) => this.#sessions.mayReceive(session, topic))
        .map((session) => ({ session, qos: bestQos(session, topic) }));
      this.#routes.set(topic, routes);
    }
    return routes;
  }
}

/** What came from the upstream never goes up again. */
function isLoop(session: Session, origin: Origin): boolean {
  return session.isCascade && origin === 'upstream';
}

/** [MQTT-3.3.5-1]: of overlapping subscriptions the one with the highest QoS counts, and one copy is sent. */
function bestQos(session: Session, topic: string): Qos {
  let best: Qos = 0;
  for (const [filter, qos] of session.subscriptions) {
    if (qos > best && filterCovers(filter, topic)) best = qos;
  }
  return best;
}

/** [MQTT-3.8.4-6]: the lesser of what was published and what was granted. */
function lesser(a: Qos, b: Qos): Qos {
  return a < b ? a : b;
}
