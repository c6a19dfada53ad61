/** Holds a publisher back that is faster than it may be: its bytes wait in its own buffers, and none is lost. */
import type { Allowance } from './publish-rates.ts';

export interface ThrottleOptions {
  readonly allowance: Allowance;
  /** How long it may go on like that. */
  readonly overRateSeconds: () => number;
  readonly monotonicMs: () => number;
  /** @param isFirst - it kept to its rate before */
  readonly onHeld: (isFirst: boolean) => void;
  readonly onReleased: () => void;
  /** It went on for too long. */
  readonly onExceeded: () => void;
}

/** How often is asked whether all is paid: others spend from the same allowance. */
const askAgainMs = 1000;
/** Who reads on for as long without being held keeps to its rate again. */
const calmMs = 1000;

export class Throttle {
  readonly #options: ThrottleOptions;
  #timer: NodeJS.Timeout | undefined;
  #overSinceMs: number | undefined;
  #releasedMs = 0;

  constructor(options: ThrottleOptions) {
    this.#options = options;
  }

  /** Whether nothing is read from it now. */
  get isHolding(): boolean {
    return this.#timer !== undefined;
  }

  /** What was read of it, at once. */
  spend(messages: number, bytes: number): void {
    const waitMs = this.#options.allowance.spend(messages, bytes);
    if (waitMs === 0 || this.isHolding) return;
    const { monotonicMs, onHeld, onExceeded, overRateSeconds } = this.#options;
    const nowMs = monotonicMs();
    const isFirst = this.#overSinceMs === undefined || nowMs - this.#releasedMs > calmMs;
    if (isFirst || this.#overSinceMs === undefined) this.#overSinceMs = nowMs;
    if (nowMs - this.#overSinceMs >= overRateSeconds() * 1000) return onExceeded();
    this.#wait(waitMs);
    return onHeld(isFirst);
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #wait(waitMs: number): void {
    this.#timer = setTimeout(() => this.#ask(), Math.min(waitMs, askAgainMs));
  }

  #ask(): void {
    const { allowance, monotonicMs, onReleased } = this.#options;
    const waitMs = allowance.spend(0, 0);
    if (waitMs > 0) return this.#wait(waitMs);
    this.#timer = undefined;
    this.#releasedMs = monotonicMs();
    return onReleased();
  }
}
