/**
 * What ended sessions leave unacknowledged of their shared subscriptions: it goes to other members, in order, a bounded
 * piece in each turn. What was stored stays so until another has it, over the end of the process, too.
 */
import type { LeavingQueue } from '../store/rows.ts';
import type { Store } from '../store/store.ts';
import type { Content, Delivery } from './message.ts';
import type { Session } from './session.ts';

export type LeftDelivery = Pick<Delivery, 'qos' | 'retain' | 'bytes' | 'share'>;

export interface LeftOversOptions {
  readonly store: Store;
  /** Gives it to another member, if there is one. */
  readonly pass: (identity: string, delivery: LeftDelivery, content: Content) => void;
  /** Runs it in a later turn. */
  readonly later: (work: () => void) => void;
}

/** What was in memory alone. */
interface UnstoredQueue {
  readonly identity: string;
  readonly deliveries: Delivery[];
}

/** About a millisecond. */
export const pieceDeliveries = 100;

export class LeftOvers {
  readonly #options: LeftOversOptions;
  readonly #unstored: UnstoredQueue[] = [];
  readonly #stored: LeavingQueue[];
  #isWaiting = false;

  /** Goes on with what the last process left. */
  constructor(options: LeftOversOptions) {
    this.#options = options;
    this.#stored = options.store.leaving();
    this.#goOn();
  }

  /** Its subscriptions do not count any more, its queue is still there. */
  add({ identity, storedId: session, queue }: Session): void {
    if (session === undefined) {
      const deliveries = queue.shared();
      if (deliveries.length > 0) this.#unstored.push({ identity, deliveries });
    } else {
      const leaving = { session, identity, seenUpTo: queue.seenUpTo };
      if (this.#options.store.leave(leaving)) this.#stored.push(leaving);
    }
    if (!this.#isWaiting) this.#move();
  }

  #move(): void {
    this.#isWaiting = false;
    for (let left = pieceDeliveries; left > 0;) {
      const [unstored] = this.#unstored;
      const [stored] = this.#stored;
      if (unstored !== undefined) left -= this.#moveUnstored(unstored, left);
      else if (stored !== undefined) left -= this.#moveStored(stored, left);
      else return;
    }
    this.#goOn();
  }

  #goOn(): void {
    this.#isWaiting = this.#unstored.length + this.#stored.length > 0;
    if (this.#isWaiting) this.#options.later(() => this.#move());
  }

  /** @returns how many of the limit it took */
  #moveUnstored({ identity, deliveries }: UnstoredQueue, limit: number): number {
    const piece = deliveries.splice(0, limit);
    for (const delivery of piece) {
      if (delivery.message !== undefined) this.#options.pass(identity, delivery, delivery.message);
    }
    if (deliveries.length === 0) this.#unstored.shift();
    return Math.max(1, piece.length);
  }

  #moveStored({ session, identity, seenUpTo }: LeavingQueue, limit: number): number {
    const { store, pass } = this.#options;
    const piece = store.readShared(session, limit);
    for (const { message, ...delivery } of piece) {
      // What of QoS 2 its client may have is for nobody else [MQTT-4.8.2-5].
      const isForOthers = delivery.qos === 1 || delivery.sequence > seenUpTo;
      if (message !== undefined && isForOthers) pass(identity, delivery, message);
      store.deleteDelivery(session, delivery.sequence);
      if (message !== undefined) store.releaseMessage(message.id, message.pending);
    }
    if (piece.length < limit) {
      this.#stored.shift();
      store.left(session);
    }
    return Math.max(1, piece.length);
  }
}
