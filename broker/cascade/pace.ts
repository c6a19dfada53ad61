/** The bandwidth cap of the way up: so many bytes a second, and a burst. */

export interface PaceOptions {
  /** Undefined: no cap. */
  readonly bytesPerSecondMax: number | undefined;
  /** What may go at once after silence; the bytes of one second unless given. */
  readonly burstBytes: number | undefined;
  /** Milliseconds that never go back. */
  readonly monotonicMs: () => number;
}

export class Pace {
  readonly #options: PaceOptions;
  #credit: number;
  #atMs: number;

  constructor(options: PaceOptions) {
    this.#options = options;
    this.#credit = burstOf(options);
    this.#atMs = options.monotonicMs();
  }

  /** @returns milliseconds until the next packet may go; 0: now */
  waitMs(): number {
    const { bytesPerSecondMax, monotonicMs } = this.#options;
    if (bytesPerSecondMax === undefined) return 0;
    const nowMs = monotonicMs();
    const gathered = ((nowMs - this.#atMs) / 1000) * bytesPerSecondMax;
    this.#credit = Math.min(this.#credit + gathered, burstOf(this.#options));
    this.#atMs = nowMs;
    return this.#credit > 0 ? 0 : Math.ceil((-this.#credit / bytesPerSecondMax) * 1000) + 1;
  }

  /** A packet goes whole, and what it is too large is paid back by those after it. */
  spend(bytes: number): void {
    this.#credit -= bytes;
  }
}

function burstOf({ bytesPerSecondMax, burstBytes }: PaceOptions): number {
  return burstBytes ?? bytesPerSecondMax ?? Infinity;
}
