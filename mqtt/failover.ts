/** Which of several brokers a link tries next, how long it waits, and when it goes back to the one it prefers. Pure. */
import type { BackoffLimits } from '../runtime/retry.ts';
import { backoffMs } from '../runtime/retry.ts';

export interface FailoverOptions {
  /** How many brokers there are, the preferred first. */
  readonly brokers: number;
  readonly reconnect: BackoffLimits;
  /** Between two probes of those that are preferred to the one in use. */
  readonly probe: BackoffLimits;
  /** A number in [0, 1). */
  readonly random?: () => number;
}

/** So many probes in a row must find a preferred broker well before the link goes back to it. */
const healthyProbes = 2;

export class Failover {
  readonly #options: FailoverOptions;
  #next = 0;
  #attempt = 0;
  /** Times in a row that a return did not last, or that a probe failed. */
  #probeFailures = 0;
  #healthy: { broker: number; times: number } | undefined;
  #connectedMs = 0;
  #current: number | undefined;
  #hasReturned = false;

  constructor(options: FailoverOptions) {
    this.#options = options;
  }

  /** The broker to try now. */
  get next(): number {
    return this.#next;
  }

  /** Brokers that are preferred to the one in use. */
  get better(): readonly number[] {
    return Array.from({ length: this.#current ?? 0 }, (_, index) => index);
  }

  connected(nowMs: number): void {
    this.#current = this.#next;
    this.#connectedMs = nowMs;
    this.#healthy = undefined;
  }

  /** An attempt failed. @returns milliseconds to wait before the next one */
  failed(): number {
    const { brokers, reconnect, random } = this.#options;
    this.#next++;
    // The others are tried at once; only when none was there it waits longer.
    if (this.#next < brokers) return backoffMs(0, reconnect, random);
    this.#next = 0;
    return backoffMs(this.#attempt++, reconnect, random);
  }

  /** A connection that stood is gone. @returns milliseconds to wait before the next attempt */
  lost(nowMs: number): number {
    const { reconnect, probe, random } = this.#options;
    const lastedMs = nowMs - this.#connectedMs;
    // One that is closed as soon as it stands is no success.
    if (lastedMs >= reconnect.maxMs) this.#attempt = 0;
    const didReturnFail = this.#hasReturned && this.#current === 0 && lastedMs < probe.maxMs;
    if (didReturnFail) this.#probeFailures++;
    else if (this.#current === 0) this.#probeFailures = 0;
    this.#hasReturned = false;
    this.#current = undefined;
    this.#next = 0;
    return backoffMs(this.#attempt++, reconnect, random);
  }

  /** @returns milliseconds until the next probe */
  probeDelayMs(): number {
    return backoffMs(this.#probeFailures, this.#options.probe, this.#options.random);
  }

  /**
   * The best broker that a probe reached; undefined for none.
   *
   * @returns whether to go back to it now
   */
  probed(broker: number | undefined): boolean {
    if (broker === undefined) {
      this.#healthy = undefined;
      this.#probeFailures++;
      return false;
    }
    const times = this.#healthy?.broker === broker ? this.#healthy.times + 1 : 1;
    this.#healthy = { broker, times };
    return times >= healthyProbes;
  }

  /** The link leaves for the broker that its probes found well. */
  return(): void {
    this.#next = this.#healthy?.broker ?? 0;
    this.#current = undefined;
    this.#hasReturned = true;
    this.#attempt = 0;
  }
}
