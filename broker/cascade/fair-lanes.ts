/**
 * Whose turn it is: deficit round robin over lanes, in which those that have just become busy come first, after
 * FQ-CoDel's new and old flows (RFC 8290 §4.1, §4.2). So a backlog of days in one lane delays the others by one quantum.
 */

/** What the scheduler keeps of a lane. */
export interface Turns {
  /** Bytes that it may still send in this round. */
  credit: number;
  list: 'none' | 'new' | 'old';
}

/** Bytes of one turn; an envelope is smaller, as a rule. */
const quantum = 8 * 1024;

export class FairLanes<L extends Turns> {
  readonly #new = new Set<L>();
  readonly #old = new Set<L>();

  /** A lane has something to send; no change for one that had already. */
  add(lane: L): void {
    if (lane.list !== 'none') return;
    lane.list = 'new';
    lane.credit = quantum;
    this.#new.add(lane);
  }

  /** A lane that has been waiting since before this process began. */
  addOld(lane: L): void {
    this.#toOld(lane);
  }

  /** @returns the lane whose turn it is, or undefined if none has anything */
  next(): L | undefined {
    for (;;) {
      const lane = first(this.#new) ?? first(this.#old);
      if (lane === undefined || lane.credit > 0) return lane;
      lane.credit += quantum;
      this.#toOld(lane);
    }
  }

  sent(lane: L, bytes: number): void {
    lane.credit -= bytes;
  }

  /** It has nothing to send now. */
  emptied(lane: L): void {
    // One that was new takes its place behind the old ones once, or it could overtake them again and again (§4.2).
    if (lane.list === 'new' && this.#old.size > 0) this.#toOld(lane);
    else this.remove(lane);
  }

  /** It must wait for something else than its turn. */
  remove(lane: L): void {
    this.#new.delete(lane);
    this.#old.delete(lane);
    lane.list = 'none';
  }

  #toOld(lane: L): void {
    this.#new.delete(lane);
    this.#old.delete(lane);
    this.#old.add(lane);
    lane.list = 'old';
  }
}

function first<T>(set: ReadonlySet<T>): T | undefined {
  for (const one of set) return one;
  return undefined;
}
