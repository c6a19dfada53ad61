/**
 * Messages and deliveries that are in no file yet. If everybody who waits for a message has acknowledged it by the time of
 * the next commit it never gets there (docs/decisions/0011-speed.md).
 */
import type { Content, Terms } from '../routing/message.ts';
import { messageBytes } from '../routing/message.ts';

/** The deliveries of one turn that neither a file nor their receiver has for certain. */
export interface Batch {
  unresolved: number;
}

interface UnwrittenMessage {
  readonly content: Content;
  /** Queues that still hold it. */
  pending: number;
}

/** A row of a queue. */
export interface QueuedDelivery extends Terms {
  readonly sequence: number;
  readonly qos: 1 | 2;
  readonly bytes: number;
}

interface UnwrittenDelivery {
  readonly delivery: QueuedDelivery;
  readonly message: number;
  readonly batch: Batch;
}

/** Beyond one of these it is time to write, whatever may still be acknowledged. */
const messagesMax = 10_000;
const bytesMax = 16 * 1024 ** 2;

export class Unwritten {
  /** By row. */
  readonly messages = new Map<number, UnwrittenMessage>();
  /** By session, then by sequence, in the order of the queue. */
  readonly queues = new Map<number, Map<number, UnwrittenDelivery>>();
  /** Of sessions that were waited for in vain: the delivery that they have to acknowledge before they are again. */
  readonly #late = new Map<number, number>();
  #bytes = 0;
  #batch: Batch = { unresolved: 0 };

  get bytes(): number {
    return this.#bytes;
  }

  get isTooMuch(): boolean {
    return this.messages.size >= messagesMax || this.#bytes >= bytesMax;
  }

  /** @returns that of the turn which ends now */
  takeBatch(): Batch {
    const batch = this.#batch;
    this.#batch = { unresolved: 0 };
    return batch;
  }

  addMessage(id: number, content: Content, pending: number): void {
    this.messages.set(id, { content, pending });
    this.#bytes += messageBytes(content);
  }

  addDelivery(session: number, delivery: QueuedDelivery, message: number): void {
    let queue = this.queues.get(session);
    if (queue === undefined) this.queues.set(session, (queue = new Map()));
    queue.set(delivery.sequence, { delivery, message, batch: this.#batch });
    this.#batch.unresolved++;
  }

  isLate(session: number): boolean {
    return this.#late.has(session);
  }

  /** Whoever has not acknowledged all of a batch by now keeps the others waiting. */
  giveUp(batch: Batch): void {
    for (const [session, queue] of this.queues) {
      const [oldest] = queue.values();
      if (oldest?.batch === batch) this.#late.set(session, oldest.delivery.sequence);
    }
  }

  /** Nothing is known of a session whose receiver has gone. */
  forgive(session: number): void {
    this.#late.delete(session);
  }

  /** @returns false for one that is written */
  releaseMessage(id: number): boolean {
    const message = this.messages.get(id);
    if (message === undefined) return false;
    if (--message.pending > 0) return true;
    this.messages.delete(id);
    this.#bytes -= messageBytes(message.content);
    return true;
  }

  /** @returns false for one that is written */
  removeDelivery(session: number, sequence: number): boolean {
    if (this.#late.get(session) === sequence) this.#late.delete(session);
    const queue = this.queues.get(session);
    const found = queue?.get(sequence);
    if (queue === undefined || found === undefined) return false;
    found.batch.unresolved--;
    queue.delete(sequence);
    return true;
  }

  /** All of it is written now. */
  clear(): void {
    for (const queue of this.queues.values()) {
      for (const { batch } of queue.values()) batch.unresolved = 0;
    }
    this.queues.clear();
    this.messages.clear();
    this.#bytes = 0;
  }
}
