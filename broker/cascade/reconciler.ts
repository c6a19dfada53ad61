/**
 * Finds out which retained messages of the upstream were deleted while this broker was away.
 *
 * After each SUBSCRIBE the upstream sends what it has retained, and nothing marks the end of it. So a fence is published
 * to a topic that this broker reads itself: when it comes back, everything that was sent before it at the same QoS has
 * come, too [MQTT-4.6.0-6]. What is held here and did not come may still be there, for an upstream may drop what its
 * queue has no room for. Therefore each such topic is subscribed by itself, a few at a time, with a fence of their own;
 * and what does not come then either, once more alone. Only then it is deleted here.
 */
import { randomUUID } from 'node:crypto';
import type { Link } from '../../mqtt/link.ts';
import type { Log } from '../../runtime/log.ts';

export interface ReconcilerOptions {
  readonly link: () => Pick<Link, 'publish' | 'ask' | 'unsubscribe'>;
  /** Where the fence goes and comes from. */
  readonly fenceTopic: string;
  /** Topics, as above, of what is held here as retained and came from there. */
  readonly held: () => Iterable<string>;
  /** Deletes what is held of a topic, as above. */
  readonly remove: (topic: string) => void;
  /** Milliseconds that never go back. */
  readonly monotonicMs: () => number;
  readonly log: Log;
}

/** Subscriptions of one question. */
const askedMax = 32;
const fenceRetryMs = 2000;
/** Of one connection, so that an upstream that has lost everything does not cost as many questions. */
const candidatesMax = 10_000;

export class Reconciler {
  readonly #options: ReconcilerOptions;
  /** Topics that came on this connection. */
  #seen = new Set<string>();
  #fence: { readonly nonce: string; readonly passed: () => void } | undefined;
  #fenceDueMs = 0;
  #isReplaying = true;
  /** Changes with the connection, so that an answer of an earlier one means nothing. */
  #connection = 0;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
  }

  /** Whether what comes may be a repetition of what was retained before. */
  get isReplaying(): boolean {
    return this.#isReplaying;
  }

  /** The upstream has granted the subscriptions of this connection. */
  subscribed(): void {
    this.#putFence(() => {
      this.#isReplaying = false;
      const missing = Array.from(this.#options.held())
        .filter((topic) => !this.#seen.has(topic))
        .slice(0, candidatesMax);
      this.#ask(missing, askedMax);
    });
  }

  /** @returns whether the message was the fence, and nothing else */
  received(topic: string, payload: Buffer): boolean {
    if (topic !== this.#options.fenceTopic) {
      this.#seen.add(topic);
      return false;
    }
    const fence = this.#fence;
    if (fence !== undefined && payload.toString() === fence.nonce) {
      this.#fence = undefined;
      fence.passed();
    }
    return true;
  }

  /** A fence that found no room either is put again. Called every second. */
  sweep(): void {
    const nowMs = this.#options.monotonicMs();
    if (this.#fence === undefined || nowMs < this.#fenceDueMs) return;
    this.#fenceDueMs = nowMs + fenceRetryMs;
    this.#sendFence(this.#fence.nonce);
  }

  disconnected(): void {
    this.#connection++;
    this.#fence = undefined;
    this.#seen = new Set();
    this.#isReplaying = true;
  }

  /**
   * Asks for each topic by itself.
   *
   * @param size - of one question; what does not come is asked once more alone, and then it is gone
   */
  #ask(missing: readonly string[], size: number, doubtful: readonly string[] = []): void {
    const isMissing = (topic: string): boolean => !this.#seen.has(topic);
    const topics = missing.slice(0, size).filter(isMissing);
    const rest = missing.slice(size);
    if (topics.length === 0) {
      if (rest.length > 0) this.#ask(rest, size, doubtful);
      else if (doubtful.length > 0) this.#ask(doubtful, 1);
      else this.#seen = new Set();
      return;
    }
    const { link } = this.#options;
    const connection = this.#connection;
    const subscriptions = topics.map((filter) => ({ filter, qos: 1, retainAsPublished: true }) as const);
    link().ask(subscriptions, (granted) => {
      const readable = granted.filter((one) => one.granted !== 'refused').map(({ filter }) => filter);
      this.#putFence(() => {
        const absent = readable.filter(isMissing);
        if (size === 1) absent.forEach((topic) => this.#remove(topic));
        link().unsubscribe(topics, () => {
          if (connection !== this.#connection) return;
          this.#ask(rest, size, size === 1 ? [] : [...doubtful, ...absent]);
        });
      });
    });
  }

  #remove(topic: string): void {
    this.#options.log.info({ topic }, 'cascade.retained_removed');
    this.#options.remove(topic);
  }

  #putFence(passed: () => void): void {
    const nonce = randomUUID();
    this.#fence = { nonce, passed };
    this.#fenceDueMs = this.#options.monotonicMs() + fenceRetryMs;
    this.#sendFence(nonce);
  }

  #sendFence(nonce: string): void {
    const { link, fenceTopic, log } = this.#options;
    link()
      .publish(fenceTopic, nonce, { qos: 1 })
      .catch((error: unknown) => log.debug({ detail: String(error) }, 'cascade.fence_lost'));
  }
}
