/** What comes down from the upstream: published here, each topic in its order, and acknowledged once it is durable here. */
import type { Clock } from '../../domain/clock.ts';
import { filterCovers } from '../../domain/topic.ts';
import type { ReceivedMessage } from '../../mqtt/inbox.ts';
import type { Log } from '../../runtime/log.ts';
import type { Measures } from '../measures.ts';
import type { Hub, PublishRefusal } from '../routing/hub.ts';
import { isRefused } from '../routing/hub.ts';
import { expiryOf, messageBytes, noBytes } from '../routing/message.ts';
import type { Turn } from '../store/turn.ts';
import { hopsMax, hopsOf, withHops } from './hops.ts';
import { withResponseTopic } from './response-topic.ts';
import type { TopicMap } from './topic-map.ts';

export interface ArrivalsOptions {
  readonly hub: Hub;
  readonly turn: Turn;
  readonly topics: TopicMap;
  /** What answers go up under. */
  readonly answers: TopicMap;
  /** Of an upstream of MQTT 3.1.1, what is kept as retained. */
  readonly retainDown: readonly string[];
  /** Whether what comes may be a repetition of what was retained before. */
  readonly isReplaying: () => boolean;
  readonly measures: Measures;
  readonly log: Log;
  readonly clock: Clock;
}

interface Arrival {
  readonly message: ReceivedMessage;
  /** Under which it is published here. */
  readonly topic: string;
  readonly acknowledge: () => void;
}

export class Arrivals {
  readonly #options: ArrivalsOptions;
  /** Of MQTT, on the connection that they come over. */
  #version: number | undefined;
  /** By topic: what finds no room, and what came after it; never empty. */
  readonly #waiting = new Map<string, Arrival[]>();
  #taken = 0;

  constructor(options: ArrivalsOptions) {
    this.#options = options;
  }

  /** How many are durable here. */
  get taken(): number {
    return this.#taken;
  }

  connected(version: number): void {
    this.#version = version;
  }

  /** What waits is not acknowledged, so the upstream sends it again. */
  disconnected(): void {
    this.#waiting.clear();
    this.#version = undefined;
  }

  /**
   * Unacknowledged, the upstream sends no more than its window, which bounds what waits here. One receiver without room
   * delays nobody else: order is kept within a topic [MQTT-4.6.0-6].
   */
  receive(message: ReceivedMessage, acknowledge: () => void): void {
    const topic = this.#options.topics.toLocal(message.topic);
    if (topic === undefined) return this.#leaveOut(message.topic, acknowledge);
    const arrival = { message, topic, acknowledge };
    const before = this.#waiting.get(topic);
    const refusal = before === undefined ? this.#take(arrival) : 'queue_full';
    if (refusal === undefined) return undefined;
    const { measures, log } = this.#options;
    if (message.qos === 0) return measures.dropped.inc({ reason: refusal }); // no window bounds how many would wait
    if (before !== undefined) return void before.push(arrival);
    this.#waiting.set(topic, [arrival]);
    measures.refusals.inc({ reason: refusal });
    return log.error({ topic, reason: refusal }, 'cascade.message_refused');
  }

  /** Takes what had to wait for room here, each topic in order. Called every second. */
  sweep(): void {
    for (const [topic, arrivals] of this.#waiting) {
      const refused = arrivals.findIndex((arrival) => this.#take(arrival) !== undefined);
      arrivals.splice(0, refused < 0 ? arrivals.length : refused);
      if (arrivals.length === 0) this.#waiting.delete(topic);
    }
  }

  /** The upstream is told that a message has arrived only once it is durable here. */
  #take({ message, topic, acknowledge }: Arrival): PublishRefusal | undefined {
    const { hub, turn, measures, log, clock } = this.#options;
    const { payload, qos } = message;
    const hops = hopsOf(message.properties) + 1;
    if (hops > hopsMax) {
      measures.cascade.dropped.inc({ reason: 'hops_exceeded' });
      log.error({ topic, hops }, 'cascade.ring_ended');
      turn.afterCommit(acknowledge);
      return undefined;
    }
    const retain = this.#isRetained(message, topic);
    const properties = this.#version === 5 ? withHops(this.#request(message), hops) : noBytes;
    const expiresMs = expiryOf(message.expirySeconds, clock());
    if (!(retain && this.#isKnown(topic, payload))) {
      const content = { topic, payload, properties, expiresMs };
      const outcome = hub.publish({ ...content, qos, retain, origin: 'upstream' }, undefined);
      if (isRefused(outcome)) return outcome;
    }
    measures.cascade.bytes.inc({ direction: 'down' }, messageBytes({ ...message, expiresMs }));
    turn.afterCommit(() => {
      this.#taken++;
      measures.cascadeForwarded.inc({ direction: 'down' });
      acknowledge();
    });
    return undefined;
  }

  #request({ properties }: ReceivedMessage): Buffer {
    return withResponseTopic(properties, (name) => this.#options.answers.toLocal(name));
  }

  /** The upstream keeps a subscription that is in the configuration no longer, or sends what nobody asked for. */
  #leaveOut(topic: string, acknowledge: () => void): void {
    const { measures, log } = this.#options;
    measures.cascade.dropped.inc({ reason: 'not_carried' });
    log.warn({ topic, reason: 'not_carried' }, 'cascade.message_dropped');
    acknowledge();
  }

  #isRetained({ retain }: ReceivedMessage, topic: string): boolean {
    // MQTT 3.1.1 does not say of a live message that it was retained [MQTT-3.3.1-9].
    if (retain || this.#version === 5) return retain;
    return this.#options.retainDown.some((filter) => filterCovers(filter, topic));
  }

  /** Every reconnect brings the retained messages again. */
  #isKnown(topic: string, payload: Buffer): boolean {
    const { hub, isReplaying } = this.#options;
    return isReplaying() && hub.retainedPayload(topic)?.equals(payload) === true;
  }
}
