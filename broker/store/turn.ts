/** One turn of the event loop: all that it wrote is committed together, and only then do its answers leave. */
import { BrokerError } from '../errors.ts';
import type { Store } from './store.ts';

/** Whatever holds packets back until the commit. */
export interface Flushable {
  /** Sends them. */
  flush(): void;
  /** Sets them apart from those of the turns that follow. @returns what sends them */
  setApart(): () => void;
}

/**
 * Calls back once all that was committed until now may be promised, in the order of the calls; never, if it never may.
 * Where several nodes share the state, a commit on this one's disk alone is no promise.
 */
export type Confirm = (release: () => void) => void;

export class Turn {
  #store: Store | undefined;
  readonly #confirm: Confirm | undefined;
  readonly #onFailure: (error: BrokerError) => void;
  #isScheduled = false;
  #isFailed = false;
  #flushables = new Set<Flushable>();
  #afterCommit: (() => void)[] = [];
  #finishing: (() => void)[] = [];

  /**
   * @param onFailure - the commit failed: nothing of the turn may leave, and nothing more will be committed
   * @param confirm - what a promise waits for beside the commit
   */
  constructor(onFailure: (error: BrokerError) => void, confirm?: Confirm) {
    this.#onFailure = onFailure;
    this.#confirm = confirm;
  }

  begin(store: Store): void {
    this.#store = store;
  }

  /** Asks for a commit at the end of this turn: after every socket that has bytes now was read. */
  schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.#end());
  }

  /** `flushable` has packets that leave after the commit. */
  flushLater(flushable: Flushable): void {
    this.#flushables.add(flushable);
    this.schedule();
  }

  /** Runs once all that was written until now is durable; not at all if that fails. */
  afterCommit(work: () => void): void {
    this.#afterCommit.push(work);
    this.schedule();
  }

  /** Ends the turn now, for stopping; resolves when its answers have left, or never will. */
  finish(): Promise<void> {
    this.#end();
    return new Promise((resolve) => {
      if (this.#confirm === undefined || this.#isFailed) return resolve();
      this.#finishing.push(resolve);
      return this.#confirm(resolve);
    });
  }

  /** Runs what may write to the store: if a write fails, so does the turn, and not the process. */
  guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error;
      this.fail(error);
    }
  }

  /** A write within the turn failed, so its commit must not happen. */
  fail(error: BrokerError): void {
    if (this.#isFailed) return;
    this.#isFailed = true;
    this.#flushables.clear();
    this.#afterCommit = [];
    this.#onFailure(error);
    for (const resolve of this.#finishing) resolve();
  }

  #end(): void {
    this.#isScheduled = false;
    if (this.#isFailed) return;
    this.guard(() => this.#store?.commit());
    if (this.#isFailed) return;
    const flushables = this.#flushables;
    const works = this.#afterCommit;
    this.#flushables = new Set();
    this.#afterCommit = [];
    if (this.#confirm === undefined) {
      for (const flushable of flushables) flushable.flush();
      for (const work of works) this.guard(work);
      return;
    }
    const sendings = Array.from(flushables, (flushable) => flushable.setApart());
    this.#confirm(() => {
      for (const send of sendings) send();
      for (const work of works) this.guard(work);
    });
  }
}
