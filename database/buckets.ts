/** The points of a chart: values fall into equal parts of a range of time, and each part keeps its extremes and mean. */
import type { Series } from '../domain/view.ts';
import type { ChannelValue } from '../domain/snapshot.ts';
import { measurable } from './head.ts';
import type { Statistics } from './chunks/zone.ts';

export interface SeriesRange {
  readonly fromMs: number;
  /** Inclusive. */
  readonly toMs: number;
  /** 1 to `pointsMax`. */
  readonly points: number;
}

export const pointsMax = 10_000;

export type SeriesPoints = Omit<Series, 'channel' | 'unit'>;

/** Of one channel. Plain arrays by number of bucket: fifty thousand values take two milliseconds, in a Map six. */
export class Buckets {
  readonly #range: SeriesRange;
  readonly #widthMs: number;
  readonly #n: Float64Array;
  readonly #firstMs: Float64Array;
  readonly #min: Float64Array;
  readonly #max: Float64Array;
  readonly #sum: Float64Array;

  /** @throws RangeError */
  constructor(range: SeriesRange) {
    const { fromMs, toMs, points } = range;
    if (!(fromMs <= toMs) || !(points >= 1 && points <= pointsMax)) {
      throw new RangeError(`cannot draw ${points} points from ${fromMs} to ${toMs}`);
    }
    this.#range = range;
    this.#widthMs = (toMs - fromMs) / points || 1;
    this.#n = new Float64Array(points);
    this.#firstMs = new Float64Array(points).fill(Infinity);
    this.#min = new Float64Array(points).fill(Infinity);
    this.#max = new Float64Array(points).fill(-Infinity);
    this.#sum = new Float64Array(points);
  }

  /** @returns whether both ends lie in the range and in one bucket, so that their statistics are enough */
  holds(t0: number, t1: number): boolean {
    return t0 >= this.#range.fromMs && t1 <= this.#range.toMs && this.#indexOf(t0) === this.#indexOf(t1);
  }

  addStatistics(timeMs: number, { n, min, max, sum }: Statistics): void {
    this.#add(timeMs, n, min, max, sum);
  }

  /** Passes over what lies outside the range, and texts. */
  addValue(timeMs: number, value: ChannelValue | null | undefined): void {
    if (value === undefined || timeMs < this.#range.fromMs || timeMs > this.#range.toMs) return;
    const number = measurable(value);
    if (number !== undefined) this.#add(timeMs, 1, number, number, number);
  }

  /**
   * Passes over what lies outside the range, and NaN.
   *
   * @param offsets - rising, from `t0` on, and as many as values
   */
  addNumbers(t0: number, offsets: Float64Array, values: Float64Array): void {
    const { fromMs, toMs } = this.#range;
    let at = -1;
    let n = 0;
    let firstMs = 0;
    let min = Infinity;
    let max = -Infinity;
    let sum = 0;
    // As `addValue`, but one bucket is written once: times rise, so its values follow one another.
    for (let index = 0; index < values.length; index++) {
      const timeMs = t0 + (offsets[index] ?? NaN);
      const value = values[index] ?? NaN;
      if (!(timeMs >= fromMs && timeMs <= toMs) || Number.isNaN(value)) continue;
      const bucket = this.#indexOf(timeMs);
      if (bucket !== at) {
        if (n > 0) this.#add(firstMs, n, min, max, sum);
        at = bucket;
        n = 0;
        firstMs = timeMs;
        min = Infinity;
        max = -Infinity;
        sum = 0;
      }
      n += 1;
      sum += value;
      if (value < min) min = value;
      if (value > max) max = value;
    }
    if (n > 0) this.#add(firstMs, n, min, max, sum);
  }

  points(): SeriesPoints {
    const filled = Array.from(this.#n.keys()).filter((index) => this.#n[index] !== 0);
    const pick = (from: Float64Array): number[] => filled.map((index) => from[index] ?? NaN);
    const n = pick(this.#n);
    return {
      timesMs: pick(this.#firstMs),
      min: pick(this.#min),
      max: pick(this.#max),
      mean: pick(this.#sum).map((sum, index) => sum / (n[index] ?? 1)),
    };
  }

  #indexOf(timeMs: number): number {
    return Math.min(this.#range.points - 1, Math.floor((timeMs - this.#range.fromMs) / this.#widthMs));
  }

  #add(timeMs: number, n: number, min: number, max: number, sum: number): void {
    const index = this.#indexOf(timeMs);
    this.#n[index] = (this.#n[index] ?? 0) + n;
    this.#sum[index] = (this.#sum[index] ?? 0) + sum;
    if (timeMs < (this.#firstMs[index] ?? 0)) this.#firstMs[index] = timeMs;
    if (min < (this.#min[index] ?? 0)) this.#min[index] = min;
    if (max > (this.#max[index] ?? 0)) this.#max[index] = max;
  }
}
