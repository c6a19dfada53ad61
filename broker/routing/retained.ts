/** The last retained message of each topic (MQTT 3.1.1 §3.3.1.3), in memory and in the store. */
import { filterCovers } from '../../domain/topic.ts';
import type { Publication } from './message.ts';
import { isExpired } from './message.ts';
import type { Store, StoredRetained } from '../store/store.ts';

export class RetainedMessages {
  readonly #store: Store;
  readonly #retainedMax: number;
  readonly #byTopic = new Map<string, StoredRetained>();

  constructor(store: Store, retainedMax: number) {
    this.#store = store;
    this.#retainedMax = retainedMax;
    for (const message of store.retained()) this.#byTopic.set(message.topic, message);
  }

  get size(): number {
    return this.#byTopic.size;
  }

  get(topic: string): StoredRetained | undefined {
    return this.#byTopic.get(topic);
  }

  /** @returns false if there is no room for another topic */
  put({ topic, payload, properties, expiresMs, qos, origin }: Publication): boolean {
    if (payload.length === 0) {
      // [MQTT-3.3.1-10], [MQTT-3.3.1-11]: an empty one deletes, and is not kept itself.
      if (this.#byTopic.delete(topic)) this.#store.deleteRetained(topic);
      return true;
    }
    if (!this.#byTopic.has(topic) && this.#byTopic.size >= this.#retainedMax) return false;
    // A copy, for the payload is a slice of a whole chunk that was read.
    const copies = { payload: Buffer.from(payload), properties: Buffer.from(properties) };
    const message = { topic, ...copies, expiresMs, qos, origin };
    this.#byTopic.set(topic, message);
    this.#store.putRetained(message);
    return true;
  }

  /** Forgets what is no longer worth sending [MQTT-3.3.2-5]. */
  dropExpired(nowMs: number): number {
    let dropped = 0;
    for (const message of this.#byTopic.values()) {
      if (!isExpired(message, nowMs)) continue;
      this.#byTopic.delete(message.topic);
      this.#store.deleteRetained(message.topic);
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
    return found.sort((a, b) => (a.topic < b.topic ? -1 : 1));
  }
}
