/** The way of an envelope: queued, opened, stored with others in one commit, and only then acknowledged. */
import type { ChangeName } from '../database/changes.ts';
import { finishCommand } from '../database/commands.ts';
import type { Database } from '../database/connect.ts';
import { storeDeadLetters } from '../database/dead-letters.ts';
import type { DeadLetter } from '../database/dead-letters.ts';
import { isUnavailable } from '../database/errors.ts';
import { createIngest } from '../database/ingest.ts';
import type { Arrival, BatchResult, StoreOutcome } from '../database/ingest.ts';
import type { Clock } from '../domain/clock.ts';
import { envelopeBytesMax } from '../domain/limits.ts';
import type { Log } from '../runtime/log.ts';
import { backoffMs } from '../runtime/retry.ts';
import { passingReasons } from './decryptor.ts';
import type { Decryptor, Opened, SealedMessage } from './decryptor.ts';
import type { Feed, StoredEvent } from './feed.ts';
import { countRejected } from './measures.ts';
import type { BackendMeasures } from './measures.ts';

export interface QueuedMessage extends SealedMessage {
  /** Called when what it led to is committed, whether it was taken or refused. */
  readonly acknowledge: () => void;
  /** Why it is a dead letter already: if it is refused for the same reason again there is nothing to write. */
  readonly putAsideFor?: string;
}

export interface IngestOptions {
  readonly database: Database;
  readonly decrypt: Decryptor;
  readonly measures: BackendMeasures;
  readonly feed: Feed;
  readonly clock: Clock;
  readonly log: Log;
  /** Counts up with every certificate and every revocation list that is learnt. */
  readonly trustGeneration: () => number;
  /** Called when envelopes of a device were put aside, and something was learnt between opening and that. */
  readonly onMissedTrust: (path: string) => void;
  readonly queueMax?: number;
}

/** Received and not committed; what comes on top stays with the broker, which sends it again. */
const queueMaxDefault = 4096;
const queueBytesMax = 256 * envelopeBytesMax;
/** Enough to spread the cost of one fsync, few enough to be opened in the blink of an eye. */
const batchMax = 128;
/** Between these many opened envelopes the event loop gets a turn. */
const openedPerTurn = 16;
const retry = { firstMs: 100, maxMs: 5000 };

interface Placed {
  readonly message: QueuedMessage;
  /** When it was opened. */
  readonly generation: number;
  readonly opened: Opened;
}

export class Ingest {
  readonly #options: IngestOptions;
  readonly #store: ReturnType<typeof createIngest>;
  readonly #queueMax: number;
  #queue: QueuedMessage[] = [];
  #queueBytes = 0;
  #working = 0;
  #running: Promise<void> | undefined;
  #stopping = false;
  #wake: (() => void) | undefined;
  #databaseFault: string | undefined;

  constructor(options: IngestOptions) {
    this.#options = options;
    this.#store = createIngest(options.database);
    this.#queueMax = options.queueMax ?? queueMaxDefault;
  }

  /** Received and not committed. */
  get queued(): number {
    return this.#queue.length + this.#working;
  }

  /** Why the database takes nothing at the moment; undefined while it does. */
  get databaseFault(): string | undefined {
    return this.#databaseFault;
  }

  /** Takes a message, or leaves it unacknowledged when the queue is full. @returns whether it took it */
  offer(message: QueuedMessage): boolean {
    if (this.#stopping || this.queued >= this.#queueMax || this.#queueBytes >= queueBytesMax) {
      this.#options.measures.overflowed.inc();
      return false;
    }
    this.#queue.push(message);
    this.#queueBytes += message.payload.length;
    this.#options.measures.queue.set(this.queued);
    this.#running ??= this.#run();
    return true;
  }

  /** Commits what it can and drops the rest, which is not acknowledged and therefore comes again. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#wake?.();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#queue.length > 0 && !(this.#stopping && this.#databaseFault !== undefined)) {
      await turn(); // what arrived in one piece is committed together
      const messages = this.#queue.splice(0, batchMax);
      this.#working = messages.length;
      this.#queueBytes -= messages.reduce((sum, { payload }) => sum + payload.length, 0);
      await this.#take(await this.#open(messages));
      this.#working = 0;
      this.#options.measures.queue.set(this.queued);
    }
    this.#running = undefined;
  }

  async #open(messages: readonly QueuedMessage[]): Promise<Placed[]> {
    const placed: Placed[] = [];
    for (const message of messages) {
      const generation = this.#options.trustGeneration();
      placed.push({ message, generation, opened: this.#options.decrypt(message) });
      if (placed.length % openedPerTurn === 0) await turn();
    }
    return placed;
  }

  async #take(placed: readonly Placed[]): Promise<void> {
    const stored = await this.#storeOpened(placed);
    if (stored === undefined) return;
    const outcomes = new Map(stored.outcomes);
    const letters = placed.flatMap((item) => letterOf(item, outcomes.get(item)));
    for (const { reason, devicePath, detail } of letters) {
      countRejected(this.#options.measures, reason);
      this.#options.log.warn({ device: devicePath, reason, detail }, 'envelope.refused');
    }
    const kept = await this.#untilAvailable(() => storeDeadLetters(this.#options.database, letters));
    if (!kept) return;
    const generation = this.#options.trustGeneration();
    const missed = new Set<string>();
    for (const { message, opened, generation: openedAt } of placed) {
      const isWaiting = opened.kind === 'refused' && passingReasons.has(opened.reason);
      if (isWaiting && openedAt !== generation) missed.add(opened.devicePath);
      // What was put aside before stays there.
      if (!(isWaiting && message.putAsideFor === opened.reason)) message.acknowledge();
    }
    for (const path of missed) this.#options.onMissedTrust(path);
    this.#options.log.debug({ envelopes: placed.length, refused: letters.length }, 'batch.committed');
  }

  /** @returns undefined if the program stops before the database took them */
  async #storeOpened(
    placed: readonly Placed[],
  ): Promise<{ readonly outcomes: readonly (readonly [Placed, StoreOutcome])[] } | undefined> {
    const items = placed.flatMap((item) => (item.opened.kind === 'opened' ? [{ item, ...item.opened }] : []));
    if (items.length === 0) return { outcomes: [] };
    const startMs = performance.now();
    const result = await this.#storeOrSplit(items.map(({ arrival }) => arrival));
    if (result === undefined) return undefined;
    const { measures, clock } = this.#options;
    measures.commitSeconds.observe((performance.now() - startMs) / 1000);
    measures.batchEnvelopes.observe(items.length);
    const nowMs = clock();
    const outcomes = items.map(({ item }, index) => [item, outcomeAt(result, index)] as const);
    for (const [index, { arrival, result: answer, signingTimeMs }] of items.entries()) {
      const { outcome } = outcomeAt(result, index);
      if (outcome === 'stored' && arrival.snapshot !== undefined) {
        measures.stored.inc();
        measures.tally.stored += 1;
        if (signingTimeMs !== undefined)
          measures.lagSeconds.observe(Math.max(0, nowMs - signingTimeMs) / 1000);
      } else if (outcome === 'duplicate') {
        measures.redelivered.inc();
        measures.tally.redelivered += 1;
      }
      // Also for a repetition: the program may have been killed between the two commits.
      if (answer !== undefined && (outcome === 'stored' || outcome === 'duplicate')) {
        const finish = (): Promise<unknown> =>
          finishCommand(this.#options.database, arrival.device, answer, nowMs).then((finished) => {
            if (finished) measures.commands.inc({ state: answer.outcome });
          });
        if (!(await this.#untilAvailable(finish))) return undefined;
      }
    }
    this.#announce(
      items.map(({ arrival }) => arrival),
      result,
    );
    return { outcomes };
  }

  /** A batch that the database refuses for good is stored one by one, so that one bad row does not stop the rest. */
  async #storeOrSplit(arrivals: readonly Arrival[]): Promise<BatchResult | undefined> {
    try {
      const { value } = await this.#available(() => this.#store.storeBatch(arrivals));
      return value;
    } catch (error) {
      this.#options.log.error({ error: String(error), envelopes: arrivals.length }, 'batch.refused');
    }
    const outcomes: StoreOutcome[] = [];
    const stored = new Map<string, number>();
    const changed = new Set<ChangeName>();
    for (const arrival of arrivals) {
      try {
        const { value } = await this.#available(() => this.#store.storeBatch([arrival]));
        if (value === undefined) return undefined;
        outcomes.push(...value.outcomes);
        for (const [path, count] of value.stored) stored.set(path, count);
        for (const what of value.changed) changed.add(what);
      } catch (error) {
        this.#options.log.error({ device: arrival.device, error: String(error) }, 'envelope.store_failed');
        outcomes.push({ outcome: 'refused', reason: 'store_failed' });
      }
    }
    return { outcomes, stored, changed };
  }

  async #untilAvailable(work: () => Promise<unknown>): Promise<boolean> {
    const { done } = await this.#available(work);
    return done;
  }

  /** Repeats `work` until the database is there again; nothing is acknowledged meanwhile. */
  async #available<T>(
    work: () => Promise<T>,
  ): Promise<
    { readonly done: true; readonly value: T } | { readonly done: false; readonly value: undefined }
  > {
    for (let attempt = 0; ; attempt++) {
      try {
        const value = await work();
        this.#databaseFault = undefined;
        return { done: true, value };
      } catch (error) {
        if (!isUnavailable(error)) throw error;
        this.#databaseFault = String(error);
        this.#options.measures.storeFailures.inc();
        this.#options.log.error({ error: String(error), attempt }, 'database.unavailable');
        if (this.#stopping) return { done: false, value: undefined };
        await this.#pause(backoffMs(attempt, retry));
      }
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

  #announce(arrivals: readonly Arrival[], { stored, changed }: BatchResult): void {
    const events = new Map<string, StoredEvent>();
    for (const { device, sequence, snapshot } of arrivals) {
      const count = stored.get(device);
      const before = events.get(device);
      if (snapshot === undefined || count === undefined || (before?.sequence ?? 0) > sequence) continue;
      events.set(device, { path: device, sequence, timeMs: snapshot.timeMs, stored: count });
    }
    if (events.size > 0) this.#options.feed.stored([...events.values()]);
    for (const what of changed) this.#options.feed.changed(what);
  }
}

function outcomeAt(result: BatchResult, index: number): StoreOutcome {
  const outcome = result.outcomes[index];
  if (outcome === undefined) throw new Error('storeBatch gives one outcome for each arrival');
  return outcome;
}

/** @returns what is to be kept of a message that was not taken */
function letterOf({ message, opened }: Placed, outcome: StoreOutcome | undefined): DeadLetter[] {
  const { topic, payload, receivedMs } = message;
  if (opened.kind === 'refused') {
    const { reason, detail, devicePath } = opened;
    if (message.putAsideFor === reason) return [];
    return [{ topic, payload, receivedMs, reason, detail, devicePath }];
  }
  const devicePath = opened.arrival.device;
  const detail = `sequence ${opened.arrival.sequence}`;
  if (outcome?.outcome !== 'equivocation' && outcome?.outcome !== 'refused') return [];
  const reason = outcome.outcome === 'refused' ? outcome.reason : outcome.outcome;
  return [{ topic, payload, receivedMs, reason, detail, devicePath }];
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
