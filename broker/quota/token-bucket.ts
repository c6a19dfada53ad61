/** A rate with a burst: what is spent beyond it is owed, and who owes waits. */

/** Credit gathers for as long, so that a burst after silence is no offence. */
export const burstSeconds = 10;

export class TokenBucket {
  #credit: number;
  #atMs: number;

  /** @param nowMs - of a clock that never goes back */
  constructor(perSecond: number, nowMs: number) {
    this.#credit = perSecond * burstSeconds;
    this.#atMs = nowMs;
  }

  /**
   * Spends whatever the balance is.
   *
   * @param perSecond - asked at each use, for a reload may change it
   * @returns milliseconds until nothing is owed
   */
  spend(count: number, perSecond: number, nowMs: number): number {
    this.#gather(perSecond, nowMs);
    this.#credit -= count;
    return this.#credit >= 0 ? 0 : Math.ceil((-this.#credit / perSecond) * 1000);
  }

  /** @returns whether one could be had; if not, nothing is spent */
  take(perSecond: number, nowMs: number): boolean {
    this.#gather(perSecond, nowMs);
    if (this.#credit < 1) return false;
    this.#credit--;
    return true;
  }

  #gather(perSecond: number, nowMs: number): void {
    const gathered = this.#credit + ((nowMs - this.#atMs) / 1000) * perSecond;
    this.#credit = Math.min(gathered, perSecond * burstSeconds);
    this.#atMs = nowMs;
  }
}
