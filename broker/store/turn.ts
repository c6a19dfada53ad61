/** One turn of the event loop: all that it wrote is committed together, and only then do its answers leave. */
import { BrokerError } from '../errors.ts';
import type { Store } from './store.ts';
import type { Batch } from './unwritten.ts';

/** Whatever holds packets back until the commit. */
export interface Flushable {
  /** Sends what promises nothing. */
  flushEarly(): void;
  /** Sends the rest. */
  flush(): void;
  /** Sets them apart from those of the turns that follow. @returns what sends them */
  setApart(): () => void;
}

/**
 * Calls back once all that was committed until now may be promised, in the order of the calls; never, if it never may.
 * Where several nodes share the state, a commit on this one's disk alone is no promise.
 */
export type Confirm = (release: () => void) => void;

/** A turn whose answers wait for acknowledgements, or for the commit that comes in their place. */
interface HeldTurn {
  readonly batch: Batch;
  readonly sendings: readonly (() => void)[];
  /** How often it was looked at. */
  looks: number;
}

/** About what a commit costs: a receiver that acknowledges nothing for so long is not waited for any more. */
const patienceMs = 5;
/** However steadily it goes on, no answer waits longer than this many times. */
const looksMax = 100;
/** What nobody waits for, as that an acknowledged message is no longer needed, is committed after this at the latest. */
const lazyMs = 100;

/**
 * A message that its receivers acknowledge soon need not be written: so its deliveries leave at the end of the turn, and the
 * answer to its publisher when all of them are acknowledged, or else after a commit (docs/decisions/0011-speed.md).
 */
export class Turn {
  #store: Store | undefined;
  readonly #confirm: Confirm | undefined;
  readonly #onFailure: (error: BrokerError) => void;
  #isScheduled = false;
  #count = 0;
  #isFailed = false;
  #flushables = new Set<Flushable>();
  #afterCommit: (() => void)[] = [];
  #finishing: (() => void)[] = [];
  #held: HeldTurn[] = [];
  #patienceTimer: NodeJS.Timeout | undefined;
  #lazyTimer: NodeJS.Timeout | undefined;

  /**
   * @param onFailure - the commit failed: nothing of the turn may leave, and nothing more will be committed
   * @param confirm - what a promise waits for beside the commit
   */
  constructor(onFailure: (error: BrokerError) => void, confirm?: Confirm) {
    this.#onFailure = onFailure;
    this.#confirm = confirm;
  }

  /** Turns that have ended. */
  get count(): number {
    return this.#count;
  }

  begin(store: Store): void {
    this.#store = store;
  }

  /** Asks for a commit at the end of this turn: after every socket that has bytes now was read. */
  schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.#end(false));
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
    this.#end(true);
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
    this.#stopTimers();
    this.#flushables.clear();
    this.#afterCommit = [];
    this.#held = [];
    this.#onFailure(error);
    for (const resolve of this.#finishing) resolve();
  }

  #end(isLast: boolean): void {
    this.#isScheduled = false;
    this.#count++;
    if (this.#isFailed) return;
    const flushables = this.#flushables;
    this.#flushables = new Set();
    for (const flushable of flushables) flushable.flushEarly();
    const isCommitNeeded = isLast || this.#isCommitNeeded();
    const batch = this.#store?.takeBatch();
    if (isCommitNeeded) return this.#commit(flushables);
    this.#releaseResolved();
    if (this.#held.length === 0 && (batch === undefined || batch.unresolved === 0)) {
      for (const flushable of flushables) flushable.flush();
    } else if (batch !== undefined) {
      const sendings = Array.from(flushables, (flushable) => flushable.setApart());
      this.#held.push({ batch, sendings, looks: 0 });
    }
    return this.#watch();
  }

  #isCommitNeeded(): boolean {
    // Several nodes confirm what was committed, so there is nothing to be had without a commit.
    if (this.#confirm !== undefined || this.#afterCommit.length > 0) return true;
    return this.#store?.isCommitNeeded === true;
  }

  /** In their order, for the answers on one connection have one [MQTT-4.6.0-2]. */
  #releaseResolved(): void {
    while (this.#held[0]?.batch.unresolved === 0) {
      for (const send of this.#held.shift()?.sendings ?? []) send();
    }
  }

  /** Commits in time what is not acknowledged. */
  #watch(): void {
    if (this.#store?.isDirty === true) this.#lazyTimer ??= setTimeout(() => this.#commit(new Set()), lazyMs);
    const [oldest] = this.#held;
    if (oldest === undefined || this.#patienceTimer !== undefined) return;
    const { unresolved } = oldest.batch;
    // What has arrived by the time is read first: a busy loop is no reason to doubt a receiver.
    this.#patienceTimer = setTimeout(() => setImmediate(() => this.#look(oldest, unresolved)), patienceMs);
  }

  #look(oldest: HeldTurn, unresolved: number): void {
    this.#patienceTimer = undefined;
    if (this.#isFailed) return;
    const isNewOldest = this.#held[0] !== oldest;
    const isMoving = isNewOldest || oldest.batch.unresolved < unresolved;
    if (isMoving && (isNewOldest || ++oldest.looks < looksMax)) return this.#watch();
    this.#store?.giveUp(oldest.batch);
    return this.#commit(new Set());
  }

  #stopTimers(): void {
    clearTimeout(this.#patienceTimer);
    clearTimeout(this.#lazyTimer);
    this.#patienceTimer = undefined;
    this.#lazyTimer = undefined;
  }

  #commit(flushables: ReadonlySet<Flushable>): void {
    this.#stopTimers();
    this.guard(() => this.#store?.commit());
    if (this.#isFailed) return;
    const works = this.#afterCommit;
    this.#afterCommit = [];
    this.#releaseResolved();
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
