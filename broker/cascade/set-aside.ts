/** Messages that the upstream would not take: kept beside the queue for a person to decide on, the newest of them. */
import type { KeptMessage, RefusedMessage, UpDelivery, UpStore } from './up-store.ts';

export const setAsideMax = 1000;
const bytesMax = 64 * 1024 ** 2;
/** What a look at them shows. */
const shownMax = 20;

export class SetAside {
  readonly #store: UpStore;
  readonly #onForgotten: (message: RefusedMessage) => void;
  #messages: number;
  #bytes: number;

  /** @param onForgotten - one gave way to a newer one: it is lost */
  constructor(store: UpStore, onForgotten: (message: RefusedMessage) => void) {
    this.#store = store;
    this.#onForgotten = onForgotten;
    const { messages, bytes } = store.refusedTotal();
    this.#messages = messages;
    this.#bytes = bytes;
  }

  /** How many are kept. */
  get messages(): number {
    return this.#messages;
  }

  /** @returns the newest of them, newest first */
  newest(): RefusedMessage[] {
    return this.#messages === 0 ? [] : this.#store.refused(shownMax);
  }

  /** @returns all of them, newest first */
  all(): RefusedMessage[] {
    return this.#store.refused(setAsideMax);
  }

  find(id: number): KeptMessage | undefined {
    return this.#store.keptMessage(id);
  }

  add(delivery: UpDelivery, reason: string, nowMs: number): void {
    this.#store.setAside(delivery, reason, nowMs);
    this.#messages++;
    this.#bytes += delivery.bytes;
    while (this.#messages > setAsideMax || (this.#bytes > bytesMax && this.#messages > 1)) {
      const oldest = this.#store.oldestRefused();
      if (oldest === undefined) return;
      this.drop(oldest);
      this.#onForgotten(oldest);
    }
  }

  /** It is lost then. */
  drop({ id, bytes }: RefusedMessage): void {
    this.#store.forgetRefused(id);
    this.#left(bytes);
  }

  /** It waits in the queue then. */
  putBack(id: number, delivery: UpDelivery): void {
    this.#store.putBack(id, delivery);
    this.#left(delivery.bytes);
  }

  #left(bytes: number): void {
    this.#messages--;
    this.#bytes -= bytes;
  }
}
