/** The active node's side of the shared log: each transaction becomes an entry, and is promised once Redis has it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { errorText } from '../../domain/error-text.ts';
import type { Log } from '../../runtime/log.ts';
import { backoffMs } from '../../runtime/retry.ts';
import type { Journal, Mark, StoredValue } from '../store/journal.ts';
import { EntryWriter, emptyEntry } from './entry.ts';
import type { Place, SharedLog } from './shared-log.ts';

export interface ReplicatorOptions {
  readonly log: Log;
  readonly sharedLog: Pick<SharedLog, 'append' | 'rebase'>;
  /** The node's copy when it got the lease, with the epoch of its last entry. */
  readonly place: Place;
  /** Of the lease. */
  readonly epoch: number;
  /** Whether so much waits that nothing more may be read from publishers. */
  readonly onHold: (isHeld: boolean) => void;
  /** Another node is active by now: nothing that waits will ever be promised. */
  readonly onFenced: () => void;
}

interface Entry {
  readonly position: number;
  readonly octets: Buffer;
}

/** What waits for Redis; beyond that nothing more is read. */
const waitingEntriesMax = 4096;
const waitingBytesMax = 16 * 1024 * 1024;
/** Of one command. */
const batchEntriesMax = 512;
const batchBytesMax = 8 * 1024 * 1024;
/** Entries that are kept after they were confirmed, for a Redis that comes back without them. */
const ringBytesMax = 16 * 1024 * 1024;
const ringEntriesMax = 16_384;
/** Dropped together, for each time what is left moves. */
const ringDropEntries = 1024;
const retry = { firstMs: 50, maxMs: 1000 };

export class Replicator implements Journal {
  readonly #options: ReplicatorOptions;
  readonly #writer = new EntryWriter();
  /** In order and without gaps: confirmed ones, then those that wait. */
  #ring: Entry[] = [];
  #ringBytes = 0;
  #waitingBytes = 0;
  #position: number;
  #confirmed: number;
  #promises: { readonly position: number; readonly release: () => void }[] = [];
  #isSending = false;
  #isHeld = false;
  #isOver = false;
  #failure: string | undefined;
  #roundTripMs = 0;

  constructor(options: ReplicatorOptions) {
    this.#options = options;
    this.#position = options.place.position;
    this.#confirmed = options.place.position;
  }

  /** The last entry, confirmed or not. */
  get place(): Place {
    return { lineage: this.#options.place.lineage, position: this.#position, epoch: this.#options.epoch };
  }

  get confirmed(): number {
    return this.#confirmed;
  }

  /** Why Redis takes nothing; undefined if it does. */
  get failure(): string | undefined {
    return this.#failure;
  }

  get roundTripMs(): number {
    return this.#roundTripMs;
  }

  /** The first entry of an epoch says that there is one. Resolves when Redis has it. */
  begin(): Promise<void> {
    this.#push(emptyEntry());
    return new Promise((resolve) => this.confirm(resolve));
  }

  record(statement: string, values: readonly StoredValue[]): void {
    this.#writer.add(statement, values);
  }

  mark(): Mark {
    return { position: this.#position + 1, epoch: this.#options.epoch };
  }

  committed(): void {
    this.#push(this.#writer.take());
  }

  /** Calls back once Redis has all that was committed until now, in the order of the calls. */
  confirm(release: () => void): void {
    if (this.#confirmed === this.#position && this.#promises.length === 0) return release();
    this.#promises.push({ position: this.#position, release });
    return undefined;
  }

  /** Redis says what it has: if that is less than it had confirmed, it gets the rest again. */
  compare(position: number | undefined): void {
    if (this.#isSending || (position !== undefined && position >= this.#confirmed)) return;
    this.#options.log.error({ confirmed: this.#confirmed, redis: position }, 'node.log_lost');
    // What follows finds out how much of it is still here.
    this.#sendAgainAfter(this.#confirmed - 1);
    this.#isSending = true;
    void this.#send();
  }

  /** Sends nothing more, and keeps no promise any more. */
  stop(): void {
    this.#isOver = true;
    this.#promises = [];
  }

  #push(octets: Buffer): void {
    this.#position++;
    this.#ring.push({ position: this.#position, octets });
    this.#waitingBytes += octets.length;
    this.#ringBytes += octets.length;
    this.#holdIfFull();
    if (this.#isSending) return;
    this.#isSending = true;
    void this.#send();
  }

  /** One command at a time: what is committed meanwhile goes with the next. */
  async #send(): Promise<void> {
    for (let attempt = 0; this.#confirmed < this.#position && !this.#isOver;) {
      const batch = this.#nextBatch();
      const startMs = performance.now();
      try {
        await this.#append(batch);
        this.#roundTripMs = performance.now() - startMs;
        this.#failure = undefined;
        attempt = 0;
      } catch (error) {
        this.#failure = errorText(error);
        if (attempt === 0) this.#options.log.error({ reason: this.#failure }, 'node.append_failed');
        await sleep(backoffMs(attempt++, retry));
      }
    }
    this.#isSending = false;
  }

  async #append(batch: readonly Entry[]): Promise<void> {
    const { sharedLog, log, onFenced } = this.#options;
    const first = batch[0]?.position ?? 0;
    const place = this.place;
    const appended = await sharedLog.append(
      place,
      first,
      batch.map(({ octets }) => octets),
    );
    if (this.#isOver) return;
    if (appended.kind === 'ok') return this.#confirmTo(first + batch.length - 1);
    if (appended.kind === 'fenced') return onFenced();
    const oldest = this.#ring[0]?.position ?? this.#position + 1;
    const lost = appended.kind === 'behind' ? appended.position : undefined;
    log.error({ confirmed: this.#confirmed, redis: lost }, 'node.log_lost');
    if (lost !== undefined && lost + 1 >= oldest) {
      this.#sendAgainAfter(lost);
      return;
    }
    if ((await sharedLog.rebase(place, this.#baseBefore(oldest))) === 'fenced') return onFenced();
    log.error({ position: oldest - 1 }, 'node.log_rebased');
    this.#sendAgainAfter(oldest - 1);
  }

  /** What was promised stays so; it is only sent again. */
  #sendAgainAfter(position: number): void {
    this.#confirmed = position;
    this.#waitingBytes = this.#ring
      .filter((entry) => entry.position > position)
      .reduce((sum, { octets }) => sum + octets.length, 0);
  }

  #baseBefore(position: number): Mark {
    const { place, epoch } = this.#options;
    return { position: position - 1, epoch: position - 1 === place.position ? place.epoch : epoch };
  }

  #nextBatch(): Entry[] {
    const oldest = this.#ring[0]?.position ?? 0;
    const start = this.#confirmed + 1 - oldest;
    let bytes = 0;
    let end = start;
    while (end < this.#ring.length && end - start < batchEntriesMax) {
      bytes += this.#ring[end]?.octets.length ?? 0;
      if (bytes > batchBytesMax && end > start) break;
      end++;
    }
    return this.#ring.slice(start, end);
  }

  #confirmTo(position: number): void {
    const oldest = this.#ring[0]?.position ?? 0;
    for (let at = this.#confirmed + 1; at <= position; at++) {
      this.#waitingBytes -= this.#ring[at - oldest]?.octets.length ?? 0;
    }
    this.#confirmed = position;
    this.#shortenRing();
    let kept = 0;
    while ((this.#promises[kept]?.position ?? Infinity) <= position) kept++;
    const released = this.#promises.splice(0, kept);
    if (this.#isHeld && !this.#isFull(0.5)) this.#hold(false);
    for (const { release } of released) release();
  }

  /** One is always left, so that the place before it is known. */
  #shortenRing(): void {
    if (this.#ringBytes <= ringBytesMax && this.#ring.length <= ringEntriesMax) return;
    const oldest = this.#ring[0]?.position ?? 0;
    const confirmed = this.#confirmed - oldest;
    const dropped = this.#ring.splice(0, Math.min(ringDropEntries, confirmed));
    for (const { octets } of dropped) this.#ringBytes -= octets.length;
  }

  #isFull(share: number): boolean {
    return (
      this.#position - this.#confirmed >= waitingEntriesMax * share ||
      this.#waitingBytes >= waitingBytesMax * share
    );
  }

  #holdIfFull(): void {
    if (!this.#isHeld && this.#isFull(1)) this.#hold(true);
  }

  #hold(isHeld: boolean): void {
    this.#isHeld = isHeld;
    this.#options.onHold(isHeld);
  }
}
