/** What goes up over one connection: under the upstream's names, with one hop more, and no faster than the cap. */
import type { Clock } from '../../domain/clock.ts';
import type { Sender } from '../../mqtt/outbound.ts';
import type { Measures } from '../measures.ts';
import type { Content, Qos } from '../routing/message.ts';
import { hopsMax, hopsOf, withHops } from './hops.ts';
import type { Pace } from './pace.ts';
import { withResponseTopic } from './response-topic.ts';
import type { TopicMap } from './topic-map.ts';
import type { GiveUpReason } from './up-outlet.ts';
import type { UpDelivery } from './up-store.ts';

export interface DeparturesOptions {
  readonly topics: TopicMap;
  /** What answers come down under. */
  readonly answers: TopicMap;
  readonly pace: Pace;
  readonly measures: Measures;
  readonly clock: Clock;
  readonly monotonicMs: () => number;
}

export class Departures {
  readonly #options: DeparturesOptions;
  /** Undefined while there is no connection. */
  sender: Sender | undefined;
  /** The message whose round trip is measured. */
  #timed: { readonly packetId: number; readonly sentMs: number } | undefined;

  constructor(options: DeparturesOptions) {
    this.#options = options;
  }

  get isReady(): boolean {
    return this.sender?.isReady === true;
  }

  disconnected(): void {
    this.sender = undefined;
    this.#timed = undefined;
  }

  /** @returns bytes that were written, or why it cannot be sent at all */
  send({ message, retain, bytes }: UpDelivery, packetId: number, duplicate: boolean): number | GiveUpReason {
    const sent = this.#publish(message, 1, retain, packetId, duplicate);
    if (typeof sent === 'string') return sent;
    if (sent === 0) return 'packet_too_large';
    const { measures, monotonicMs } = this.#options;
    this.#timed ??= { packetId, sentMs: monotonicMs() };
    measures.cascade.bytes.inc({ direction: 'up' }, bytes);
    return sent;
  }

  /** At QoS 0. @returns whether it was sent */
  sendNow(content: Content, retain: boolean): boolean {
    if (!this.isReady || this.#options.pace.waitMs() > 0) return false;
    const sent = this.#publish(content, 0, retain, 0, false);
    return typeof sent === 'number' && sent > 0;
  }

  /** The upstream has said something to a message. */
  answered(packetId: number): void {
    if (this.#timed?.packetId !== packetId) return;
    const { measures, monotonicMs } = this.#options;
    measures.cascade.roundTripSeconds.set((monotonicMs() - this.#timed.sentMs) / 1000);
    this.#timed = undefined;
  }

  #publish(
    { topic, payload, properties, expiresMs }: Content,
    qos: Qos,
    retain: boolean,
    packetId: number,
    duplicate: boolean,
  ): number | GiveUpReason {
    const hops = hopsOf(properties) + 1;
    if (hops > hopsMax) return 'hops_exceeded';
    const { topics, answers, pace } = this.#options;
    const remote = topics.toRemote(topic);
    if (remote === undefined) return 'not_carried';
    const request = withResponseTopic(properties, (name) => answers.toRemote(name));
    const section = withHops(request, hops);
    const seconds = this.#secondsLeft(expiresMs);
    const sent =
      this.sender?.publish(remote, payload, qos, retain, duplicate, packetId, section, seconds) ?? 0;
    pace.spend(sent);
    return sent;
  }

  #secondsLeft(expiresMs: number | undefined): number | undefined {
    if (expiresMs === undefined) return undefined;
    return Math.max(0, Math.ceil((expiresMs - this.#options.clock()) / 1000)); // [MQTT-3.3.2-6]
  }
}
