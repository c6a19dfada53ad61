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

type RetainedStore = Pick<Store, 'retained' | 'putRetained' | 'deleteRetained'>;

export type RetainedRefusal =
  'retained_max' | 'retained_bytes_max' | ShareRefusal<'retained'> | ShareRefusal<'retained_bytes'>;

/** Levels of a place: those of a device's namespace path. */
const placeLevels = 3;

export class RetainedMessages {
  readonly #store: RetainedStore;
  readonly #limits: RetainedLimits;
  /** By place, then by topic: who asks for what is below one device does not make the broker look at all the others. */
  readonly #places = new Map<string, Map<string, StoredRetained>>();
  #size = 0;
  readonly #held = new Holdings();
  readonly #heldBytes = new Holdings();
  #bytes = 0;

  constructor(store: RetainedStore, limits: RetainedLimits) {
    this.#store = store;
    this.#limits = limits;
    for (const message of store.retained()) {
      this.#keep(message);
      this.#count(message.topic, 1, messageBytes(message));
    }
  }

  get size(): number {
    return this.#size;
  }

  get(topic: string): StoredRetained | undefined {
    return this.#places.get(placeOf(topic))?.get(topic);
  }

  /** @returns why there is no room for it, or undefined */
  put({ topic, payload, properties, expiresMs, qos, origin }: Publication): RetainedRefusal | undefined {
    if (payload.length === 0) {
      // [MQTT-3.3.1-10], [MQTT-3.3.1-11]: an empty one deletes, and is not kept itself.
      this.#forget(topic);
      return undefined;
    }
    const before = this.get(topic);
    const more = before === undefined ? 1 : 0;
    const moreBytes =
      messageBytes({ topic, payload, properties, expiresMs }) - (before ? messageBytes(before) : 0);
    const refusal = this.#refusal(topic, more, moreBytes);
    if (refusal !== undefined) return refusal;
    // A copy, for the payload is a slice of a whole chunk that was read.
    const copies = { payload: Buffer.from(payload), properties: Buffer.from(properties) };
    const message = { topic, ...copies, expiresMs, qos, origin };
    this.#keep(message);
    this.#count(topic, more, moreBytes);
    this.#store.putRetained(message);
    return undefined;
  }

  /** @returns the topics of what came from there */
  *topicsFrom(origin: Origin): Generator<string> {
    for (const message of this.#all()) if (message.origin === origin) yield message.topic;
  }

  /** Forgets what is no longer worth sending [MQTT-3.3.2-5]. */
  dropExpired(nowMs: number): number {
    let dropped = 0;
    for (const message of this.#all()) {
      if (!isExpired(message, nowMs)) continue;
      this.#forget(message.topic);
      dropped++;
    }
    return dropped;
  }

  /** @returns every retained message whose topic the filter matches, in the order of the topics: a parent before its children */
  matching(filter: string): StoredRetained[] {
    if (!/[+#]/.test(filter)) {
      const message = this.get(filter);
      return message === undefined ? [] : [message];
    }
    const found: StoredRetained[] = [];
    for (const messages of this.#placesOf(filter)) {
      for (const [topic, message] of messages) if (filterCovers(filter, topic)) found.push(message);
    }
    return found.toSorted((a, b) => (a.topic < b.topic ? -1 : 1));
  }

  /** What stands before the first wildcard rules out most places without splitting their topics. */
  *#placesOf(filter: string): Generator<ReadonlyMap<string, StoredRetained>> {
    const prefix = filter.slice(0, filter.search(/\/?[+#]/));
    if (prefix.split('/').length >= placeLevels) {
      const messages = this.#places.get(placeOf(prefix));
      if (messages !== undefined) yield messages;
      return;
    }
    for (const [place, messages] of this.#places) if (place.startsWith(prefix)) yield messages;
  }

  *#all(): Generator<StoredRetained> {
    for (const messages of this.#places.values()) yield* messages.values();
  }

  #keep(message: StoredRetained): void {
    const place = placeOf(message.topic);
    let messages = this.#places.get(place);
    if (messages === undefined) this.#places.set(place, (messages = new Map()));
    if (!messages.has(message.topic)) this.#size++;
    messages.set(message.topic, message);
  }

  #forget(topic: string): void {
    const place = placeOf(topic);
    const messages = this.#places.get(place);
    const message = messages?.get(topic);
    if (messages === undefined || message === undefined) return;
    messages.delete(topic);
    if (messages.size === 0) this.#places.delete(place);
    this.#size--;
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
    if (more > 0 && this.#size >= limits.retainedMax) return 'retained_max';
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

/** @returns the first levels of a topic, or all of one that has no more */
function placeOf(topic: string): string {
  let end = -1;
  for (let level = 0; level < placeLevels; level++) {
    end = topic.indexOf('/', end + 1);
    if (end < 0) return topic;
  }
  return topic.slice(0, end);
}
