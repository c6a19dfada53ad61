/** Queues whose sessions have ended: what others may get of them waits until they have it, the rest goes in pieces. */
import type { LeavingQueue } from './rows.ts';
import { leavingQueueOf } from './rows.ts';
import { sql } from './store-statements.ts';
import type { Transactions } from './transactions.ts';

/** Deliveries that are deleted at once: some 20 ms. */
const forgottenRows = 5000;

export class EndedQueues {
  readonly #transactions: Transactions;
  /** Nobody gets anything of these any more. */
  readonly #ended: Set<number>;
  readonly #leaving: Map<number, LeavingQueue>;

  constructor(transactions: Transactions) {
    this.#transactions = transactions;
    this.#ended = new Set(transactions.read(sql.endedSessions).map((row) => Number(row['session'])));
    const leaving = transactions.read(sql.leaving).map(leavingQueueOf);
    this.#leaving = new Map(leaving.map((queue) => [queue.session, queue]));
  }

  get leaving(): LeavingQueue[] {
    return [...this.#leaving.values()];
  }

  /** @returns false if there is nothing that others may get */
  leave(queue: LeavingQueue): boolean {
    const { session, identity, seenUpTo } = queue;
    if (this.#transactions.read(sql.hasShared, session).length === 0) return false;
    this.#leaving.set(session, queue);
    this.#transactions.write(sql.leave, session, identity, seenUpTo);
    return true;
  }

  /** What others were to get of it they have. */
  left(session: number): void {
    this.#leaving.delete(session);
    this.#transactions.write(sql.left, session);
    this.#ended.add(session);
  }

  /** Its session is gone. */
  add(session: number): void {
    if (!this.#leaving.has(session)) this.#ended.add(session);
  }

  /** Whether some of it is left that nobody gets. */
  has(session: number): boolean {
    return this.#ended.has(session);
  }

  /** Deletes a bounded piece, oldest sessions first. @returns whether there may be more */
  forget(): boolean {
    for (let left = forgottenRows; left > 0;) {
      const [session] = this.#ended;
      if (session === undefined) return false;
      const piece = this.#transactions.readOne(sql.queuePiece, session, left);
      const deliveries = Number(piece['deliveries']);
      if (deliveries < left) this.#ended.delete(session);
      left -= Math.max(1, deliveries);
      if (deliveries === 0) continue;
      const last = Number(piece['last']);
      this.#transactions.write(sql.releaseQueuePiece, session, last);
      this.#transactions.write(sql.deleteDeliveries, session, 0, last);
      this.#transactions.write(sql.deleteDone);
    }
    return this.#ended.size > 0;
  }
}
