/** The last retained message of each topic (MQTT 3.1.1 §3.3.1.3), in memory and in the store. */
import { filterCovers } from '../../domain/topic.ts';
import type { Origin, Publication } from './message.ts';
import { isExpired, messageBytes } from './message.ts';
import type { BrokerLimits } from '../limits.ts';
import { boundsOf, holderOfTopic, Holdings, shareRefusal } from '../quota/shares.ts';
import type { ShareRefusal } from '../quota/shares.ts';
import type { StoredRetained } from '../store/rows.ts';
import type { Store } from '../store/store.ts';

type RetainedLimits = Pick<
  BrokerLimits,
  'retainedMax' | 'retainedBytesMax' | 'perIdentity' | 'perAccount' | 'perMasterAccount'
>;

export type RetainedRefusal =
  'retained_max' | 'retained_bytes_max' | ShareRefusal<'retained'> | ShareRefusal<'retained_bytes'>;

export class RetainedMessages {
  readonly #store: Store;
  readonly #limits: RetainedLimits;
  readonly #byTopic = new Map<string, StoredRetained>();
  readonly #held = new Holdings();
  readonly #heldBytes = new Holdings();
  #bytes = 0;

  constructor(store: Store, limits: RetainedLimits) {
    this.#store = store;
    this.#limits = limits;
    for (const message of store.retained()) {
      this.#byTopic.set(message.topic, message);
      this.#count(message.topic, 1, messageBytes(message));
    }
  }

  get size(): number {
    return this.#byTopic.size;
  }

  get(topic: string): StoredRetained | undefined {
    return this.#byTopic.get(topic);
  }

  /** @returns why there is no room for it, or undefined */
  put({ topic, payload, properties, expiresMs, qos, origin }: Publication): RetainedRefusal | undefined {
    if (payload.length === 0) {
      // [MQTT-3.3.1-10], [MQTT-3.3.1-11]: an empty one deletes, and is not kept itself.
      this.#forget(topic);
      return undefined;
    }
    const before = this.#byTopic.get(topic);
    const more = before === undefined ? 1 : 0;
    const moreBytes =
      messageBytes({ topic, payload, properties, expiresMs }) - (before ? messageBytes(before) : 0);
    const refusal = this.#refusal(topic, more, moreBytes);
    if (refusal !== undefined) return refusal;
    // A copy, for the payload is a slice of a whole chunk that was read.
    const copies = { payload: Buffer.from(payload), properties: Buffer.from(properties) };
    const message = { topic, ...copies, expiresMs, qos, origin };
    this.#byTopic.set(topic, message);
    this.#count(topic, more, moreBytes);
    this.#store.putRetained(message);
    return undefined;
  }

  /** @returns the topics of what came from there */
  *topicsFrom(origin: Origin): Generator<string> {
    for (const message of this.#byTopic.values()) if (message.origin === origin) yield message.topic;
  }

  /** Forgets what is no longer worth sending [MQTT-3.3.2-5]. */
  dropExpired(nowMs: number): number {
    let dropped = 0;
    for (const message of this.#byTopic.values()) {
      if (!isExpired(message, nowMs)) continue;
      this.#forget(message.topic);
      dropped++;
    }
    return dropped;
  }

  /** @returns every retained message whose topic the filter matches, in the order of the topics: a parent before its children */
  matching(filter: string): StoredRetained[] {
    if (!/[+#]/.test(filter)) {
      const message = this.#byTopic.get(filter);
      return message === undefined ? [] : [message];
    }
    // What stands before the first wildcard rules out most topics without splitting them.
    const prefix = filter.slice(0, filter.search(/\/?[+#]/));
    const found: StoredRetained[] = [];
    for (const [topic, message] of this.#byTopic) {
      if (topic.startsWith(prefix) && filterCovers(filter, topic)) found.push(message);
    }
    return found.toSorted((a, b) => (a.topic < b.topic ? -1 : 1));
  }

  #forget(topic: string): void {
    const message = this.#byTopic.get(topic);
    if (message === undefined) return;
    this.#byTopic.delete(topic);
    this.#count(topic, -1, -messageBytes(message));
    this.#store.deleteRetained(topic);
  }

  #count(topic: string, more: number, moreBytes: number): void {
    this.#bytes += moreBytes;
    const holder = holderOfTopic(topic);
    if (holder === undefined) return;
    this.#held.add(holder, more);
    this.#heldBytes.add(holder, moreBytes);
  }

  /** What does not grow is always taken, also if a bound was lowered meanwhile. */
  #refusal(topic: string, more: number, moreBytes: number): RetainedRefusal | undefined {
    const limits = this.#limits;
    if (more > 0 && this.#byTopic.size >= limits.retainedMax) return 'retained_max';
    if (moreBytes > 0 && this.#bytes + moreBytes > limits.retainedBytesMax) return 'retained_bytes_max';
    const holder = holderOfTopic(topic);
    if (holder === undefined) return undefined;
    const share = more > 0 ? this.#held.exceededBy(more, holder, boundsOf(limits, 'retainedMax')) : undefined;
    if (share !== undefined) return shareRefusal('retained', share);
    if (moreBytes <= 0) return undefined;
    const inBytes = this.#heldBytes.exceededBy(moreBytes, holder, boundsOf(limits, 'retainedBytesMax'));
    return inBytes && shareRefusal('retained_bytes', inBytes);
  }
}
