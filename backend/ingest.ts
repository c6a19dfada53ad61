/**
 * The way of an envelope: queued, opened by a thread, stored with others in one commit by another, and only then acknowledged.
 * What is not acknowledged bounds what is in memory: at the limit nothing more is read from the broker.
 */
import type { DeadLetter, DroppedLetters } from '../database/dead-letters.ts';
import type { StoreOutcome } from '../database/ingest.ts';
import type { Clock } from '../domain/clock.ts';
import { envelopeBytesMax } from '../domain/limits.ts';
import type { Log } from '../runtime/log.ts';
import { backoffMs } from '../runtime/retry.ts';
import { passingReasons } from './decryptor.ts';
import type { Feed } from './feed.ts';
import { countRejected } from './measures.ts';
import type { BackendMeasures } from './measures.ts';
import type { Verdict } from './opener-messages.ts';
import type { OpenedPart, OpenJob } from './opener.ts';
import type { KnownLayout } from './packed-arrivals.ts';
import type { QueuedMessage } from './queued-message.ts';
import type { StoreAnswer, Stored, StoreRequest } from './store-messages.ts';

export interface IngestOptions {
  /** Hands an envelope to a thread; what becomes of it comes by `opened`. */
  readonly open: (message: QueuedMessage) => void;
  readonly store: (request: StoreRequest) => Promise<StoreAnswer>;
  /** Told to the threads that open. */
  readonly learn: (layouts: readonly KnownLayout[]) => void;
  readonly measures: BackendMeasures;
  readonly feed: Feed;
  readonly clock: Clock;
  readonly log: Log;
  /** Counts up with every certificate and every revocation list that is learnt. */
  readonly trustGeneration: () => number;
  /** Called when envelopes of a device were put aside, and something was learnt between opening and that. */
  readonly onMissedTrust: (path: string) => void;
  /** Called when there are as many as there may be, and when there is room again. */
  readonly onFull: (isFull: boolean) => void;
  /** Called when the database turned out to be older than it was. */
  readonly onRestored: () => void;
  /** Called when the database is another file than was opened: nothing more can be stored before a new start. */
  readonly onReplaced: () => void;
  readonly queueMax?: number;
}

/** Received and not committed: what the threads work through in half a second. */
export const queueMaxDefault = 2048;
const queueBytesMax = 256 * envelopeBytesMax;
/** Enough to spread the cost of one fsync, few enough that others have their turn at the database. */
const batchMax = 256;
/** How long a batch waits for more, while there is more on the way. */
const lingerMs = 4;
const stopTimeoutMs = 10_000;
/** A database that has not answered for so long is away, whatever its connection says. */
const lookTimeoutMs = 10_000;
const retry = { firstMs: 100, maxMs: 5000 };

/** What a thread opened in one go. */
interface Chunk {
  readonly parts: readonly OpenedPart[];
  readonly packed: Uint8Array | undefined;
}

type Unavailable = Extract<StoreAnswer, { readonly kind: 'unavailable' }>;

interface Taken {
  readonly job: OpenJob;
  readonly verdict: Verdict;
  /** Of those that were opened. */
  readonly outcome: StoreOutcome | undefined;
}

export class Ingest {
  readonly #options: IngestOptions;
  readonly #queueMax: number;
  #queued = 0;
  #queuedBytes = 0;
  #isFull = false;
  #opened: Chunk[] = [];
  /** In `#opened`. */
  #openedCount = 0;
  #running: Promise<void> | undefined;
  #stopping = false;
  #wake: (() => void) | undefined;
  #onChange: (() => void) | undefined;
  #databaseFault: string | undefined;
  #isLooking = false;

  constructor(options: IngestOptions) {
    this.#options = options;
    this.#queueMax = options.queueMax ?? queueMaxDefault;
    options.measures.databaseAvailable.set(1);
  }

  /** Received and not committed. */
  get queued(): number {
    return this.#queued;
  }

  /** Why the database takes nothing at the moment; undefined while it does. */
  get databaseFault(): string | undefined {
    return this.#databaseFault;
  }

  /** Whether whoever can wait should. */
  get isFull(): boolean {
    return this.#isFull;
  }

  /** Takes a message; when it stops, leaves it to the broker. */
  offer(message: QueuedMessage): void {
    if (this.#stopping) return;
    this.#count(1, message.payload.length);
    this.#options.open(message);
  }

  /** Takes what a thread made of envelopes; those of one device come in the order in which they were offered. */
  opened(parts: readonly OpenedPart[], packed: Uint8Array | undefined): void {
    if (parts.length === 0) return;
    this.#opened.push({ parts, packed });
    this.#openedCount += parts.length;
    this.#onChange?.();
    this.#running ??= this.#run();
  }

  /** Commits what it can and drops the rest, which is not acknowledged and therefore comes again. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#wake?.();
    const timer = setTimeout(() => {
      this.#queued = 0; // whoever opens them does not answer
      this.#onChange?.();
    }, stopTimeoutMs);
    while (this.#queued > 0 && this.#databaseFault === undefined) {
      await (this.#running ?? new Promise<void>((resolve) => (this.#onChange = resolve)));
    }
    clearTimeout(timer);
    await this.#running;
  }

  /** Removes what was kept longer than it is to be, a little at a time. */
  async purge(): Promise<void> {
    for (let isDone = false; !isDone && !this.#stopping;) {
      const answer = await this.#options.store({ kind: 'purge', nowMs: this.#options.clock() });
      isDone = answer.kind !== 'purged' || answer.isDone;
    }
  }

  /** Asks whether the database is there, while nothing is stored that would find out. */
  async look(): Promise<void> {
    if (this.#isLooking || this.#running !== undefined || this.#stopping) return;
    this.#isLooking = true;
    const silent: Unavailable = {
      kind: 'unavailable',
      fault: 'gone',
      detail: `no answer for ${lookTimeoutMs} ms`,
    };
    const timer = setTimeout(() => this.#seen(silent), lookTimeoutMs);
    try {
      const answer = await this.#options.store({ kind: 'look' });
      if (this.#running === undefined) this.#seen(answer);
    } finally {
      clearTimeout(timer);
      this.#isLooking = false;
    }
  }

  #seen(answer: StoreAnswer): void {
    if (answer.kind === 'unavailable' && this.#databaseFault === undefined) this.#complain(answer);
    this.#noteFault(answer);
  }

  #noteFault(answer: StoreAnswer): void {
    const { measures, log } = this.#options;
    const before = this.#databaseFault;
    this.#databaseFault = answer.kind === 'unavailable' ? `${answer.fault}: ${answer.detail}` : undefined;
    measures.databaseAvailable.set(this.#databaseFault === undefined ? 1 : 0);
    if (before !== undefined && this.#databaseFault === undefined) log.info({}, 'database.available');
  }

  #complain({ fault, detail }: Unavailable, attempt = 0): void {
    if (fault === 'replaced') this.#options.onReplaced();
    this.#options.log.error({ reason: fault, error: detail, attempt }, 'database.unavailable');
  }

  #count(envelopes: number, bytes: number): void {
    this.#queued += envelopes;
    this.#queuedBytes += bytes;
    this.#options.measures.queue.set(this.#queued);
    // There is room again at half of the limit, so that it does not stop and go with every batch.
    const share = this.#isFull ? 0.5 : 1;
    const isFull = this.#queued > this.#queueMax * share || this.#queuedBytes > queueBytesMax * share;
    if (isFull === this.#isFull) return;
    this.#isFull = isFull;
    if (isFull) this.#options.measures.pauses.inc();
    this.#options.onFull(isFull);
  }

  async #run(): Promise<void> {
    while (this.#opened.length > 0 && !(this.#stopping && this.#databaseFault !== undefined)) {
      if (this.#openedCount < batchMax && this.#queued > this.#openedCount) await this.#pause(lingerMs);
      await this.#take(this.#nextBatch());
    }
    this.#running = undefined;
    this.#onChange?.();
  }

  #nextBatch(): readonly Chunk[] {
    let count = 0;
    const chunks = this.#opened.findIndex(({ parts }) => (count += parts.length) >= batchMax);
    const batch = this.#opened.splice(0, chunks < 0 ? this.#opened.length : chunks + 1);
    this.#openedCount -= batch.reduce((sum, { parts }) => sum + parts.length, 0);
    return batch;
  }

  async #take(batch: readonly Chunk[]): Promise<void> {
    const taken = await this.#store(batch);
    if (taken === undefined) return;
    const letters = taken.flatMap(letterOf);
    for (const { reason, devicePath, detail } of letters) {
      countRejected(this.#options.measures, reason);
      this.#options.log.warn({ device: devicePath, reason, detail }, 'envelope.refused');
    }
    if (letters.length > 0) {
      const answer = await this.#ask({ kind: 'letters', letters });
      if (answer?.kind !== 'kept') return;
      this.#noteDropped(answer.dropped);
    }
    const generation = this.#options.trustGeneration();
    const missed = new Set<string>();
    let bytes = 0;
    for (const { job, verdict } of taken) {
      const { message } = job;
      const isWaiting = verdict.kind === 'refused' && passingReasons.has(verdict.reason);
      if (isWaiting && job.generation !== generation) missed.add(verdict.devicePath);
      // What was put aside before stays there.
      if (!(isWaiting && message.putAsideFor === verdict.reason)) message.acknowledge();
      bytes += message.payload.length;
    }
    this.#count(-taken.length, -bytes);
    for (const path of missed) this.#options.onMissedTrust(path);
    this.#options.log.debug({ envelopes: taken.length, refused: letters.length }, 'batch.committed');
  }

  /** Some may have been waiting for certificates or lists, and were acknowledged. */
  #noteDropped(dropped: DroppedLetters): void {
    for (const [reason, letters] of Object.entries(dropped)) {
      this.#options.measures.lettersDropped.inc({ reason }, letters);
      this.#options.log.error({ reason, letters }, 'letters.dropped');
    }
  }

  /** @returns undefined if the program stops before the database took them */
  async #store(batch: readonly Chunk[]): Promise<readonly Taken[] | undefined> {
    const packed = batch.flatMap((chunk) => (chunk.packed === undefined ? [] : [chunk.packed]));
    const parts = batch.flatMap((chunk) => chunk.parts);
    if (packed.length === 0) return parts.map((part) => ({ ...part, outcome: undefined }));
    const answer = await this.#ask({ kind: 'store', packed, nowMs: this.#options.clock() });
    if (answer === undefined) return undefined;
    if (answer.kind !== 'stored') throw new Error(`the store answered ${answer.kind}`);
    let next = 0;
    const taken = parts.map((part) => ({
      ...part,
      outcome: part.verdict.kind === 'opened' ? outcomeAt(answer, next++) : undefined,
    }));
    this.#measure(taken, answer);
    return taken;
  }

  #measure(taken: readonly Taken[], { outcomes, seconds, finished, events, changed, ...rest }: Stored): void {
    const { measures, clock, feed, log } = this.#options;
    measures.commitSeconds.observe(seconds);
    measures.batchEnvelopes.observe(outcomes.length);
    const nowMs = clock();
    for (const { verdict, outcome } of taken) {
      if (verdict.kind !== 'opened' || outcome === undefined) continue;
      if (outcome.outcome === 'duplicate') {
        measures.redelivered.inc();
        measures.tally.redelivered += 1;
      }
      if (outcome.outcome !== 'stored' || !verdict.isSnapshot) continue;
      measures.stored.inc();
      measures.tally.stored += 1;
      if (verdict.signingTimeMs !== undefined)
        measures.lagSeconds.observe(Math.max(0, nowMs - verdict.signingTimeMs) / 1000);
    }
    if (rest.kindChanges > 0) measures.kindChanges.inc(rest.kindChanges);
    for (const state of finished) measures.commands.inc({ state });
    for (const error of rest.faults) log.error({ error }, 'envelope.store_failed');
    if (rest.restored !== undefined) {
      const { batchesMissing, seenMs } = rest.restored;
      measures.restored.inc();
      log.error({ batchesMissing, since: new Date(seenMs).toISOString() }, 'database.restored');
      this.#options.onRestored();
    }
    if (rest.learnt.length > 0) this.#options.learn(rest.learnt);
    if (events.length > 0) feed.stored(events);
    for (const what of changed) feed.changed(what);
  }

  /** Asks until the database is there again; nothing is acknowledged meanwhile. @returns undefined if the program stops */
  async #ask(request: StoreRequest): Promise<StoreAnswer | undefined> {
    const { store, measures } = this.#options;
    for (let attempt = 0; ; attempt++) {
      const answer = await store(request);
      this.#noteFault(answer);
      if (answer.kind !== 'unavailable') return answer;
      measures.storeFailures.inc({ reason: answer.fault });
      this.#complain(answer, attempt);
      if (this.#stopping) return undefined;
      await this.#pause(backoffMs(attempt, retry));
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function outcomeAt({ outcomes }: Stored, index: number): StoreOutcome {
  const outcome = outcomes[index];
  if (outcome === undefined) throw new Error('the store gives one outcome for each arrival');
  return outcome;
}

/** @returns what is to be kept of a message that was not taken */
function letterOf({ job: { message }, verdict, outcome }: Taken): DeadLetter[] {
  const { topic, payload, receivedMs } = message;
  if (verdict.kind === 'refused') {
    const { reason, detail, devicePath } = verdict;
    if (message.putAsideFor === reason) return [];
    return [{ topic, payload: Uint8Array.from(payload), receivedMs, reason, detail, devicePath }];
  }
  if (outcome?.outcome !== 'equivocation' && outcome?.outcome !== 'refused') return [];
  const reason = outcome.outcome === 'refused' ? outcome.reason : outcome.outcome;
  const { device: devicePath, sequence } = verdict;
  const detail = `sequence ${sequence}`;
  return [{ topic, payload: Uint8Array.from(payload), receivedMs, reason, detail, devicePath }];
}
