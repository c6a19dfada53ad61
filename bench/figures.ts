/** Figures of a bench: what of many counts, and how it is written beside its goal. */
import { cpus, loadavg } from 'node:os';

/** @param share - from 0 to 1, for example 0.95 @returns NaN of no values */
export function quantileOf(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export function medianOf(values: readonly number[]): number {
  return quantileOf(values, 0.5);
}

/** Where the figures come from, and how busy it was. */
export function machineText(): string {
  const loads = loadavg().map((load) => load.toFixed(1));
  return `Node ${process.versions.node}, ${cpus().length} cores, load average before: ${loads.join(' ')}`;
}

export function figureLine(name: string, figure: string, remark = ''): string {
  return `  ${name.padEnd(36)} ${figure.padStart(30)}  ${remark}`.trimEnd();
}

export function goalText(isReached: boolean, goal: string): string {
  return `goal ${goal}: ${isReached ? 'reached' : 'missed'}`;
}

/** @returns for example `34,000` */
export function wholeText(value: number): string {
  return Math.round(value).toLocaleString('en');
}
