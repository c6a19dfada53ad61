/** How much room the store has left: nothing more is taken while some of it remains, so that who reads can still empty it. */

/** Why nothing more is stored. */
export type NoRoom =
  | 'store_bytes_max' // the file is near `limits.storeBytesMax`
  | 'disk_free' // less than `limits.diskFreeBytesMin` is left of the disk
  | 'write_failed'; // a write found no room, whatever the figures say: a quota, for example

/** What the open store says of itself. */
export interface Meter {
  /** Bytes of the file that hold anything, and of what is about to be written to it. */
  readonly usedBytes: () => number;
  /** Of the disk that the file is on, for this process. */
  readonly freeBytes: () => number;
}

export interface RoomOptions {
  readonly limits: { readonly storeBytesMax: number; readonly diskFreeBytesMin: number };
  readonly onChange: (state: RoomState) => void;
  /** Milliseconds that never go back. */
  readonly monotonicMs: () => number;
}

export interface RoomState {
  /** Undefined while there is room. */
  readonly full: NoRoom | undefined;
  readonly usedBytes: number;
  readonly freeBytes: number;
}

/** Of `storeBytesMax`: here it stops, and there it takes up again. What lies above is for acknowledgements and wills. */
const marks = { high: 0.9, low: 0.8 } as const;
/** Of `diskFreeBytesMin`, before it takes up again. */
const freeAgain = 1.25;
/** After a write that found no room: room may have been made meanwhile, which no figure shows. */
const patience = { firstMs: 1000, maxMs: 60_000, forgottenMs: 600_000 } as const;

/** Outlives the stores whose room it is, for a store whose write failed is opened anew. */
export class StoreRoom {
  readonly #options: RoomOptions;
  #meter: Meter | undefined;
  #state: RoomState = { full: undefined, usedBytes: 0, freeBytes: 0 };
  /** What may still be taken before it has to be measured again. */
  #leftBytes = 0;
  #failures = 0;
  #failedMs = -Infinity;

  constructor(options: RoomOptions) {
    this.#options = options;
  }

  get isFull(): boolean {
    return this.#state.full !== undefined;
  }

  get state(): RoomState {
    return this.#state;
  }

  /** A store was opened. */
  watch(meter: Meter): void {
    this.#meter = meter;
    this.look();
  }

  /** The store is closed: nothing can be measured. */
  unwatch(): void {
    this.#meter = undefined;
  }

  /** So many bytes are about to be stored. Measures only when they may have been too many. */
  took(bytes: number): void {
    this.#leftBytes -= bytes;
    if (this.#leftBytes < 0 && !this.isFull) this.look();
  }

  /** A write found no room, although it should have. */
  writeFailed(): void {
    const nowMs = this.#options.monotonicMs();
    if (nowMs - this.#failedMs > patience.forgottenMs) this.#failures = 0;
    this.#failures++;
    this.#failedMs = nowMs;
  }

  /** Measures. Called every second too, for others write on the same disk. */
  look(): void {
    if (this.#meter === undefined) return;
    const { limits, onChange } = this.#options;
    const usedBytes = this.#meter.usedBytes();
    const freeBytes = this.#meter.freeBytes();
    const before = this.#state.full;
    const full = this.#reason(usedBytes, freeBytes);
    this.#state = { full, usedBytes, freeBytes };
    const { storeBytesMax, diskFreeBytesMin } = limits;
    // What is stored is written twice: to the log, and from there to the file.
    const leftOnDisk = (freeBytes - diskFreeBytesMin) / 2;
    this.#leftBytes = Math.min(storeBytesMax * marks.high - usedBytes, leftOnDisk);
    if (full !== before) onChange(this.#state);
  }

  /** Once full, it is so until there is some more room than was missing, or every message would change it. */
  #reason(usedBytes: number, freeBytes: number): NoRoom | undefined {
    if (this.#isFailing()) return 'write_failed';
    const { storeBytesMax, diskFreeBytesMin } = this.#options.limits;
    const { full } = this.#state;
    if (freeBytes < diskFreeBytesMin * (full === 'disk_free' ? freeAgain : 1)) return 'disk_free';
    const mark = full === 'store_bytes_max' ? marks.low : marks.high;
    return usedBytes >= storeBytesMax * mark ? 'store_bytes_max' : undefined;
  }

  #isFailing(): boolean {
    if (this.#failures === 0) return false;
    const waitMs = Math.min(patience.firstMs * 2 ** (this.#failures - 1), patience.maxMs);
    return this.#options.monotonicMs() - this.#failedMs < waitMs;
  }
}
