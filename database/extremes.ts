/** The farthest values beyond a threshold, device by device. */

export interface Threshold {
  readonly deviceType: string;
  readonly channel: string;
  readonly direction: 'above' | 'below';
  readonly value: number;
}

export interface Window {
  readonly fromMs: number;
  /** Inclusive. */
  readonly toMs: number;
}

/** Devices of one type within a scope: what `devicesOfType` takes. */
export type TypePlace = readonly [typeId: number, ...bounds: readonly string[]];

export class Extremes {
  readonly threshold: Threshold;
  /** By device id. */
  readonly #known = new Map<number, number>();

  constructor(threshold: Threshold) {
    this.threshold = threshold;
  }

  of(deviceId: number): number | undefined {
    return this.#known.get(deviceId);
  }

  add(deviceId: number, value: number | null | undefined): void {
    if (value === null || value === undefined || !isBeyond(value, this.threshold)) return;
    const known = this.#known.get(deviceId);
    if (known === undefined || isBeyond(value, { ...this.threshold, value: known }))
      this.#known.set(deviceId, value);
  }
}

export function isBeyond(value: number, { direction, value: limit }: Threshold): boolean {
  return direction === 'above' ? value > limit : value < limit;
}
