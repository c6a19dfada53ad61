/** How much happens in a minute, averaged over 1, 5 and 15 of them, as Mosquitto's `$SYS/broker/load` has it. */

export const loadSpansMinutes = [1, 5, 15] as const;
export type LoadSpanMinutes = (typeof loadSpansMinutes)[number];

/** Exponentially weighted averages of the growth of counters. */
export class LoadAverages {
  readonly #counters: ReadonlyMap<string, () => number>;
  readonly #last = new Map<string, number>();
  readonly #averages = new Map<string, number>();
  #lastMs: number;

  /** @param counters - by name; each only grows */
  constructor(counters: ReadonlyMap<string, () => number>, nowMs: number) {
    this.#counters = counters;
    this.#lastMs = nowMs;
    for (const [name, count] of counters) this.#last.set(name, count());
  }

  /** To be called every few seconds. @param nowMs - of a clock that never goes back */
  update(nowMs: number): void {
    const minutes = (nowMs - this.#lastMs) / 60_000;
    if (minutes <= 0) return;
    this.#lastMs = nowMs;
    for (const [name, count] of this.#counters) {
      const value = count();
      const perMinute = (value - (this.#last.get(name) ?? 0)) / minutes;
      this.#last.set(name, value);
      for (const span of loadSpansMinutes) {
        const decay = Math.exp(-minutes / span);
        const before = this.perMinute(name, span);
        this.#averages.set(`${name} ${span}`, perMinute + decay * (before - perMinute));
      }
    }
  }

  perMinute(name: string, span: LoadSpanMinutes): number {
    return this.#averages.get(`${name} ${span}`) ?? 0;
  }
}
