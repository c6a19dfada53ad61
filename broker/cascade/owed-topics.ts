/**
 * Topics of which the upstream has not got what is retained: a quota dropped it on its way, or it was published at QoS 0
 * while nobody was there to take it. What is retained then goes up once there is room, or that nothing is any more.
 */
import type { UpStore } from './up-store.ts';

/** As many as are retained by default; what is beyond goes up with its next message only. */
const topicsMax = 200_000;

export class OwedTopics {
  readonly #store: UpStore;
  readonly #topics: Set<string>;

  constructor(store: UpStore) {
    this.#store = store;
    this.#topics = new Set(store.owed());
  }

  add(topic: string): void {
    if (this.#topics.has(topic) || this.#topics.size >= topicsMax) return;
    this.#topics.add(topic);
    this.#store.owe(topic);
  }

  /** Something newer is on its way. */
  settled(topic: string): void {
    if (this.#topics.delete(topic)) this.#store.settle(topic);
  }

  /** @returns some of them, oldest first */
  first(limit: number): string[] {
    const found: string[] = [];
    for (const topic of this.#topics) {
      if (found.length === limit) break;
      found.push(topic);
    }
    return found;
  }

  clear(): void {
    for (const topic of this.#topics) this.settled(topic);
  }
}
