/** Lines of CSV (RFC 4180). */
import { csvLineEnd, csvText } from '../domain/csv.ts';

export type Cell = string | number | boolean | Date | undefined;

/** @returns with its end */
export function csvLine(cells: readonly Cell[]): string {
  return cells.map(cellOf).join(',') + csvLineEnd;
}

function cellOf(value: Cell): string {
  if (value === undefined) return '';
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return csvText(typeof value === 'string' ? value : value.toISOString());
}

/** By whoever's clock, which may say anything; a date ends with the year 275760 (ECMAScript §21.4.1.1). */
export function timeCell(ms: number | undefined): Date | number | undefined {
  if (ms === undefined) return undefined;
  return Math.abs(ms) <= 8.64e15 ? new Date(ms) : ms;
}
