/** Frees what messages occupy in the queues of those who are away although nobody will get them any more. */
import type { Store } from '../store/store.ts';
import type { Session } from './session.ts';

/** Rows of one queue, and of all together, that one call looks at. */
const page = 1000;
const budget = 100_000;

export class ExpiredMessages {
  readonly #store: Store;
  readonly #sessions: () => MapIterator<Session>;
  #looking: MapIterator<Session> | undefined;

  /** @param sessions - begins anew with each call */
  constructor(store: Store, sessions: () => MapIterator<Session>) {
    this.#store = store;
    this.#sessions = sessions;
  }

  /** A bounded part at a time; what is left follows on the next call. */
  drop(nowMs: number): void {
    if (!this.#store.hasExpired(nowMs)) return;
    for (let left = budget; left > 0; left -= page) {
      this.#looking ??= this.#sessions();
      const next = this.#looking.next();
      if (next.done === true) {
        this.#looking = undefined;
        return;
      }
      if (next.value.client === undefined) next.value.queue.dropExpired(nowMs, page);
    }
  }
}
