/** The outbox: envelopes that wait, in order, until a broker has acknowledged them. Durable before it says so. */
import assert from 'node:assert/strict';
import type { CommandResult } from '../domain/command.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import type { OutboxStore, SourcePosition, StoredCommand, StoredEnvelope } from './outbox-store.ts';
import { openOutboxStore, OutboxError } from './outbox-store.ts';
import type { StreamState } from './outbox-streams.ts';
import { OutboxStreams } from './outbox-streams.ts';
import type { OutgoingTopic, Part, Seal, StreamUsage } from './stream.ts';

export interface OutboxOptions {
  readonly file: string;
  /** Of all devices together. */
  readonly envelopesMax: number;
  /** `refuse`: `put` fails. `drop-oldest`: the oldest envelope of all goes, and leaves a gap in its device's sequence. */
  readonly whenFull: 'refuse' | 'drop-oldest';
}

/** Of one stream. */
export interface OutboxCounts {
  readonly sealed: number;
  readonly delivered: number;
  readonly dropped: number;
  readonly pending: number;
}

/** Deliveries alone do not hurry: a lost one is sent once more, and recognised. */
const deliveryFlushMs = 100;
const deliveriesMax = 1024;
/** Answers to commands are few, and find room beyond a full outbox. */
const resultsMax = 1000;
/** Unexpired commands that a device remembers. */
const commandsMax = 10_000;
/** Ids are kept beyond the expiry, in case the device's clock is set back. */
const commandMemoryMs = 7 * 24 * 3_600_000;

interface Put {
  readonly device: NamespacePath;
  readonly topicName: OutgoingTopic;
  readonly envelopes: readonly {
    readonly stream: string;
    readonly sequence: number;
    readonly envelope: Uint8Array;
  }[];
  readonly commandResult: CommandResult | undefined;
  readonly position: SourcePosition | undefined;
  readonly resolve: (sequences: readonly number[]) => void;
  readonly reject: (error: unknown) => void;
}

/** @throws OutboxError `outbox.in_use`, `outbox.version`, `outbox.storage` */
export function openOutbox(options: OutboxOptions, devices: readonly NamespacePath[]): Outbox {
  return new Outbox(openOutboxStore(options.file), options, devices);
}

export class Outbox {
  readonly #store: OutboxStore;
  readonly #options: OutboxOptions;
  readonly #streams: OutboxStreams;
  #puts: Put[] = [];
  #deliveries: { stream: string; sequence: number }[] = [];
  #pending = 0;
  #flushPlanned = false;
  #deliveryTimer: NodeJS.Timeout | undefined;
  #waitingForRoom: (() => void)[] = [];
  #committed: (device: NamespacePath) => void = () => {};
  #removed: (device: NamespacePath) => void = () => {};
  #closed = false;
  #failures = 0;
  /** Set when a commit failed and what is on disk could not be read back. */
  #unknown = false;

  constructor(store: OutboxStore, options: OutboxOptions, devices: readonly NamespacePath[]) {
    this.#store = store;
    this.#options = options;
    this.#streams = new OutboxStreams(store);
    this.#load(devices);
  }

  /** Tells the publisher that a device has more to send. */
  onCommitted(listener: (device: NamespacePath) => void): void {
    this.#committed = listener;
  }

  /** Tells that something of a device was delivered, and is no longer on the disk. */
  onRemoved(listener: (device: NamespacePath) => void): void {
    this.#removed = listener;
  }

  /**
   * Takes up a device that came after the start.
   *
   * @param former - who it was before: of the file that it is fed from, it has taken in as much
   * @throws OutboxError `outbox.storage`
   */
  addDevice(device: NamespacePath, former: NamespacePath | undefined): void {
    if (!this.#streams.devices().includes(device)) this.#load([device]);
    const state = this.#streams.of(device);
    const known = former === undefined ? undefined : this.#streams.find(former);
    if (state.nextSequence > 1 || state.position !== undefined || known?.position === undefined) return;
    state.position = known.position;
    this.#store.transaction(() => this.#store.updateStream(state));
  }

  /**
   * Leaves a device alone that can deliver nothing any more. What waits stays in the file, and counts no longer.
   *
   * @returns how many envelopes that are
   */
  setAside(device: string): number {
    this.#flush();
    const left = this.#streams.remove(device);
    this.#pending -= left;
    return left;
  }

  /** @returns every stream of a device that there ever was, the main one first */
  streamsOf(device: NamespacePath): readonly string[] {
    return this.#streams.ofDevice(device).map(({ stream }) => stream);
  }

  /** @param stream - of its device, which is made if it is not there. @throws OutboxError `outbox.storage` */
  usageOf(device: NamespacePath, stream: string): StreamUsage | undefined {
    return this.#streams.made(device, stream).usage;
  }

  counts(stream: string): OutboxCounts {
    const { nextSequence, delivered, dropped, pending } = this.#streams.of(stream);
    return { sealed: nextSequence - 1, delivered, dropped, pending };
  }

  /** @returns up to which number a broker has taken everything; what was dropped is nobody's any more */
  sentUpTo(stream: string): number {
    const noted = new Set(this.#deliveries.flatMap((one) => (one.stream === stream ? one.sequence : [])));
    const { sealed, pending } = this.counts(stream);
    const stored = this.pendingAfter(stream, 0, noted.size + 1);
    const waiting = stored.find(({ sequence }) => !noted.has(sequence));
    // Behind what is stored there is what waits for its commit.
    return waiting === undefined ? sealed - (pending - noted.size) : waiting.sequence - 1;
  }

  /** Of all devices. */
  get pending(): number {
    return this.#pending;
  }

  /** The same without those whose delivery is noted and not yet stored. */
  get undelivered(): number {
    return Math.max(0, this.#pending - this.#deliveries.length);
  }

  /** How many commits have failed: what was put before may have to be put again before what comes next. */
  get failures(): number {
    return this.#failures;
  }

  /** The last line of a file that was taken in for a device; 0 if none of this content was. */
  takenUpTo(device: NamespacePath, source: string): number {
    const { position } = this.#streams.of(device);
    return position?.source === source ? position.line : 0;
  }

  get full(): boolean {
    return this.#pending >= this.#options.envelopesMax;
  }

  /** Resolves when there may be room again, or when `signal` says that nobody waits any longer. */
  room(signal: AbortSignal): Promise<void> {
    if (!this.full || this.#closed || signal.aborted) return Promise.resolve();
    this.#planFlush(); // what was delivered makes room at once
    return new Promise((resolve) => {
      const done = (): void => {
        signal.removeEventListener('abort', done);
        resolve();
      };
      signal.addEventListener('abort', done);
      this.#waitingForRoom.push(done);
    });
  }

  /**
   * Seals at once and stores with the next commit; all that is put in one turn of the event loop is one commit.
   *
   * @param seal - as in `Part`
   * @param position - where the sample stands in a file, remembered in the same commit
   * @returns the sequence number, once the envelope and the number are durable
   * @throws OutboxError `outbox.full`, `outbox.storage`, `outbox.closed`
   */
  async put(device: NamespacePath, seal: Seal, position?: SourcePosition): Promise<number> {
    const [sequence] = await this.putParts(device, [{ stream: device, seal }], position);
    return sequence ?? assert.fail('one part has one number');
  }

  /**
   * The same for what each of several streams gets of one sample: all or nothing, also if the power fails. None at all is
   * possible too; then the position is remembered.
   *
   * @param parts - of different streams
   */
  putParts(
    device: NamespacePath,
    parts: readonly Part[],
    position?: SourcePosition,
  ): Promise<readonly number[]> {
    // A few beyond the limit do no harm: what is sealed together is stored together.
    if (this.full && this.#options.whenFull === 'refuse' && parts.length > 0) {
      const message = `${this.#pending} envelopes wait; the outbox takes ${this.#options.envelopesMax}`;
      return Promise.reject(new OutboxError('outbox.full', message));
    }
    return this.#put(device, 'snapshots', parts, { position });
  }

  /**
   * The same for the answer to a command, which is remembered in the same commit.
   *
   * @throws OutboxError `outbox.full` even with room for answers alone used up
   */
  async putResult(device: NamespacePath, commandResult: CommandResult, seal: Seal): Promise<void> {
    if (this.#pending >= this.#options.envelopesMax + resultsMax) {
      throw new OutboxError('outbox.full', `${this.#pending} envelopes wait`);
    }
    await this.#put(device, 'commands/result', [{ stream: device, seal }], { commandResult });
  }

  /** @returns durable envelopes above `sequence`, oldest first */
  pendingAfter(stream: string, sequence: number, limit: number): StoredEnvelope[] {
    return this.#store.envelopesAfter(this.#streams.of(stream).id, sequence, limit);
  }

  /** A broker has acknowledged the envelope. */
  delivered(stream: string, sequence: number): void {
    if (this.#closed) return; // it will be sent once more, and recognised
    this.#deliveries.push({ stream, sequence });
    if (this.#deliveries.length >= deliveriesMax || this.#waitingForRoom.length > 0) this.#planFlush();
    else this.#deliveryTimer ??= setTimeout(() => this.#flush(), deliveryFlushMs);
  }

  /**
   * Notes, durably, that a command is about to be executed.
   *
   * @returns what is known of it from before, or undefined if it is new
   * @throws OutboxError `outbox.storage`; `outbox.full` if the device remembers as many commands as it can
   */
  claimCommand(
    device: NamespacePath,
    commandId: string,
    expiresAtMs: number,
    nowMs: number,
  ): StoredCommand | undefined {
    const { id } = this.#streams.of(device);
    const known = this.#store.command(id, commandId);
    if (known !== undefined) return known;
    this.#store.transaction(() => this.#store.forgetCommands(nowMs - commandMemoryMs));
    if (this.#store.countCommands(id) >= commandsMax) {
      throw new OutboxError(
        'outbox.full',
        `${device} remembers ${commandsMax} commands that have not expired`,
      );
    }
    this.#store.transaction(() => this.#store.addCommand(id, commandId, expiresAtMs));
    return undefined;
  }

  /** Stores what is under way and closes the file. */
  close(): void {
    if (this.#closed) return;
    this.#flush();
    this.#closed = true;
    clearTimeout(this.#deliveryTimer);
    this.#store.close();
    this.#wakeWaiting();
  }

  #load(devices: readonly NamespacePath[]): void {
    this.#streams.load(devices);
    this.#pending = this.#streams.pending();
  }

  #put(
    device: NamespacePath,
    topicName: OutgoingTopic,
    parts: readonly Part[],
    { commandResult, position }: { commandResult?: CommandResult; position?: SourcePosition | undefined },
  ): Promise<readonly number[]> {
    return new Promise((resolve, reject) => {
      if (this.#closed) throw new OutboxError('outbox.closed', 'the outbox is closed');
      this.#reloadIfUnknown();
      const sealed = parts.flatMap(({ stream, seal }) => {
        const state = this.#streams.made(device, stream);
        const sequence = state.nextSequence;
        const made = seal({ sequence, previousDigest: state.previousDigest });
        return made === undefined ? [] : [{ state, sequence, ...made }];
      });
      if (sealed.length === 0 && position === undefined) return resolve([]);
      // Only now, for none of them may be there if one cannot be sealed.
      for (const { state, digest, usage } of sealed) {
        state.nextSequence += 1;
        state.previousDigest = Buffer.from(digest);
        state.usage = usage ?? state.usage;
        state.pending += 1;
        this.#pending += 1;
      }
      const envelopes = sealed.map(({ state: { stream }, sequence, envelope }) => {
        return { stream, sequence, envelope };
      });
      this.#puts.push({ device, topicName, envelopes, commandResult, position, resolve, reject });
      this.#planFlush();
    });
  }

  #planFlush(): void {
    if (this.#flushPlanned) return;
    this.#flushPlanned = true;
    setImmediate(() => this.#flush());
  }

  #flush(): void {
    this.#flushPlanned = false;
    clearTimeout(this.#deliveryTimer);
    this.#deliveryTimer = undefined;
    if (this.#closed || (this.#puts.length === 0 && this.#deliveries.length === 0)) return;
    const puts = this.#puts;
    this.#puts = [];
    try {
      this.#store.transaction(() => this.#write(puts));
    } catch (error) {
      this.#fail(puts, error);
      return;
    }
    const delivered = new Set(this.#deliveries.map(({ stream }) => this.#streams.of(stream).device));
    this.#deliveries = [];
    for (const put of puts) put.resolve(put.envelopes.map(({ sequence }) => sequence));
    for (const device of new Set(puts.map((put) => put.device))) this.#committed(device);
    for (const device of delivered) this.#removed(device);
    if (!this.full) this.#wakeWaiting();
  }

  #write(puts: readonly Put[]): void {
    const changed = new Set<StreamState>();
    for (const { stream, sequence } of this.#deliveries) {
      const state = this.#streams.of(stream);
      // What was dropped while it was on the wire is no longer there, and was counted.
      if (!this.#store.removeEnvelope(state.id, sequence)) continue;
      state.delivered += 1;
      this.#forget(state, changed);
    }
    for (const { device, topicName, envelopes, commandResult, position } of puts) {
      const main = this.#streams.of(device);
      main.position = position ?? main.position;
      changed.add(main);
      for (const { stream, sequence, envelope } of envelopes) {
        const state = this.#streams.of(stream);
        changed.add(state);
        this.#store.addEnvelope(state.id, sequence, topicName, envelope);
        if (commandResult !== undefined) this.#store.finishCommand(state.id, commandResult, sequence);
      }
    }
    if (this.#options.whenFull === 'drop-oldest') this.#dropOldest(changed);
    for (const state of changed) this.#store.updateStream(state);
  }

  #dropOldest(changed: Set<StreamState>): void {
    const excess = this.#pending - this.#options.envelopesMax;
    if (excess <= 0) return;
    const states = new Map(Array.from(this.#streams.all(), (state) => [state.id, state]));
    for (const streamId of this.#store.removeOldest(excess)) {
      const state = states.get(streamId);
      if (state === undefined) continue; // of a device that is no longer configured
      state.dropped += 1;
      this.#forget(state, changed);
    }
  }

  #forget(state: StreamState, changed: Set<StreamState>): void {
    state.pending -= 1;
    this.#pending -= 1;
    changed.add(state);
  }

  /** Nothing was stored, so nothing of it may count: the numbers are again those on disk. */
  #fail(puts: readonly Put[], error: unknown): void {
    this.#unknown = true;
    this.#failures += 1;
    for (const put of puts) put.reject(error);
    try {
      this.#reloadIfUnknown();
    } catch {
      // The next put tries again, and says why it cannot.
    }
    if (this.#deliveries.length > 0) this.#deliveryTimer ??= setTimeout(() => this.#flush(), deliveryFlushMs);
  }

  #reloadIfUnknown(): void {
    if (!this.#unknown) return;
    try {
      this.#load(this.#streams.devices());
    } catch (cause) {
      throw new OutboxError('outbox.storage', `cannot read the outbox: ${String(cause)}`, { cause });
    }
    this.#unknown = false;
  }

  #wakeWaiting(): void {
    const waiting = this.#waitingForRoom;
    this.#waitingForRoom = [];
    for (const resolve of waiting) resolve();
  }
}
