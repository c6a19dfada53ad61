/** The outbox: envelopes that wait, in order, until a broker has acknowledged them. Durable before it says so. */
import type { CommandResult } from '../domain/command.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import type {
  OutboxStore,
  OutgoingTopic,
  SourcePosition,
  StoredCommand,
  StoredEnvelope,
} from './outbox-store.ts';
import { openOutboxStore, OutboxError } from './outbox-store.ts';

export interface OutboxOptions {
  readonly file: string;
  /** Of all devices together. */
  readonly envelopesMax: number;
  /** `refuse`: `put` fails. `drop-oldest`: the oldest envelope of all goes, and leaves a gap in its device's sequence. */
  readonly whenFull: 'refuse' | 'drop-oldest';
}

/** Where an envelope stands among its device's. */
export interface Place {
  readonly sequence: number;
  /** Of the device's envelope before; undefined for the first. */
  readonly previousDigest: Buffer | undefined;
}

export interface SealedEnvelope {
  readonly envelope: Uint8Array;
  readonly digest: Uint8Array;
}

export type Seal = (place: Place) => SealedEnvelope;

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

interface DeviceState {
  readonly path: NamespacePath;
  readonly id: number;
  nextSequence: number;
  previousDigest: Buffer | undefined;
  delivered: number;
  dropped: number;
  position: SourcePosition | undefined;
  /** Includes what waits for its commit. */
  pending: number;
}

interface Put {
  readonly device: NamespacePath;
  readonly sequence: number;
  readonly topicName: OutgoingTopic;
  readonly envelope: Uint8Array;
  readonly commandResult: CommandResult | undefined;
  readonly position: SourcePosition | undefined;
  readonly resolve: (sequence: number) => void;
  readonly reject: (error: unknown) => void;
}

/** @throws OutboxError `outbox.in_use`, `outbox.version`, `outbox.storage` */
export function openOutbox(options: OutboxOptions, devices: readonly NamespacePath[]): Outbox {
  return new Outbox(openOutboxStore(options.file), options, devices);
}

export class Outbox {
  readonly #store: OutboxStore;
  readonly #options: OutboxOptions;
  readonly #devices = new Map<NamespacePath, DeviceState>();
  #puts: Put[] = [];
  #deliveries: { device: NamespacePath; sequence: number }[] = [];
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
    if (!this.#devices.has(device)) this.#load([device]);
    const state = this.#state(device);
    const known = former === undefined ? undefined : this.#devices.get(former);
    if (state.nextSequence > 1 || state.position !== undefined || known?.position === undefined) return;
    state.position = known.position;
    this.#store.transaction(() => this.#store.updateDevice(state));
  }

  /**
   * Leaves a device alone that can deliver nothing any more. What waits stays in the file, and counts no longer.
   *
   * @returns how many envelopes that are
   */
  setAside(device: string): number {
    this.#flush();
    const state = Array.from(this.#devices.values()).find(({ path }) => path === device);
    if (state === undefined) return 0;
    this.#devices.delete(state.path);
    this.#pending -= state.pending;
    return state.pending;
  }

  counts(device: NamespacePath): OutboxCounts {
    const { nextSequence, delivered, dropped, pending } = this.#state(device);
    return { sealed: nextSequence - 1, delivered, dropped, pending };
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
    const { position } = this.#state(device);
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
   * @param seal - called before `put` returns; if it throws, no sequence number is used
   * @param position - where the sample stands in a file, remembered in the same commit
   * @returns the sequence number, once the envelope and the number are durable
   * @throws OutboxError `outbox.full`, `outbox.storage`, `outbox.closed`
   */
  put(device: NamespacePath, seal: Seal, position?: SourcePosition): Promise<number> {
    if (this.full && this.#options.whenFull === 'refuse') {
      const message = `${this.#pending} envelopes wait; the outbox takes ${this.#options.envelopesMax}`;
      return Promise.reject(new OutboxError('outbox.full', message));
    }
    return this.#put(device, 'snapshots', seal, { position });
  }

  /**
   * The same for the answer to a command, which is remembered in the same commit.
   *
   * @throws OutboxError `outbox.full` even with room for answers alone used up
   */
  putResult(device: NamespacePath, commandResult: CommandResult, seal: Seal): Promise<number> {
    if (this.#pending >= this.#options.envelopesMax + resultsMax) {
      return Promise.reject(new OutboxError('outbox.full', `${this.#pending} envelopes wait`));
    }
    return this.#put(device, 'commands/result', seal, { commandResult });
  }

  /** @returns durable envelopes above `sequence`, oldest first */
  pendingAfter(device: NamespacePath, sequence: number, limit: number): StoredEnvelope[] {
    return this.#store.envelopesAfter(this.#state(device).id, sequence, limit);
  }

  /** A broker has acknowledged the envelope. */
  delivered(device: NamespacePath, sequence: number): void {
    if (this.#closed) return; // it will be sent once more, and recognised
    this.#deliveries.push({ device, sequence });
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
    const { id } = this.#state(device);
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

  #load(devices: Iterable<NamespacePath>): void {
    this.#store.transaction(() => {
      for (const path of devices) {
        this.#devices.set(path, { path, ...this.#store.device(path) });
      }
    });
    this.#pending = Array.from(this.#devices.values()).reduce((sum, { pending }) => sum + pending, 0);
  }

  #state(device: NamespacePath): DeviceState {
    const state = this.#devices.get(device);
    if (state === undefined) throw new RangeError(`${device} is not a device of this outbox`);
    return state;
  }

  #put(
    device: NamespacePath,
    topicName: OutgoingTopic,
    seal: Seal,
    { commandResult, position }: { commandResult?: CommandResult; position?: SourcePosition | undefined },
  ): Promise<number> {
    return new Promise((resolve, reject) => {
      if (this.#closed) throw new OutboxError('outbox.closed', 'the outbox is closed');
      this.#reloadIfUnknown();
      const state = this.#state(device);
      const sequence = state.nextSequence;
      const { envelope, digest } = seal({ sequence, previousDigest: state.previousDigest });
      state.nextSequence += 1;
      state.previousDigest = Buffer.from(digest);
      state.pending += 1;
      this.#pending += 1;
      this.#puts.push({ device, sequence, topicName, envelope, commandResult, position, resolve, reject });
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
    const delivered = new Set(this.#deliveries.map(({ device }) => device));
    this.#deliveries = [];
    for (const put of puts) put.resolve(put.sequence);
    for (const device of new Set(puts.map((put) => put.device))) this.#committed(device);
    for (const device of delivered) this.#removed(device);
    if (!this.full) this.#wakeWaiting();
  }

  #write(puts: readonly Put[]): void {
    const changed = new Set<DeviceState>();
    for (const { device, sequence } of this.#deliveries) {
      const state = this.#state(device);
      // What was dropped while it was on the wire is no longer there, and was counted.
      if (!this.#store.removeEnvelope(state.id, sequence)) continue;
      state.delivered += 1;
      this.#forget(state, changed);
    }
    for (const put of puts) {
      const state = this.#state(put.device);
      changed.add(state);
      state.position = put.position ?? state.position;
      this.#store.addEnvelope(state.id, put.sequence, put.topicName, put.envelope);
      if (put.commandResult !== undefined)
        this.#store.finishCommand(state.id, put.commandResult, put.sequence);
    }
    if (this.#options.whenFull === 'drop-oldest') this.#dropOldest(changed);
    for (const state of changed) this.#store.updateDevice(state);
  }

  #dropOldest(changed: Set<DeviceState>): void {
    const excess = this.#pending - this.#options.envelopesMax;
    if (excess <= 0) return;
    const states = new Map(Array.from(this.#devices.values(), (state) => [state.id, state]));
    for (const deviceId of this.#store.removeOldest(excess)) {
      const state = states.get(deviceId);
      if (state === undefined) continue; // of a device that is no longer configured
      state.dropped += 1;
      this.#forget(state, changed);
    }
  }

  #forget(state: DeviceState, changed: Set<DeviceState>): void {
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
      this.#load([...this.#devices.keys()]);
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
