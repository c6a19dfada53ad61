/** Lines of CSV (RFC 4180) that no program takes for anything else. */

export type Cell = string | number | boolean | Date | undefined;

const lineEnd = '\r\n'; // RFC 4180 §2

/** @returns with its end */
export function csvLine(cells: readonly Cell[]): string {
  return cells.map(cellOf).join(',') + lineEnd;
}

function cellOf(value: Cell): string {
  if (value === undefined) return '';
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  const said = typeof value === 'string' ? value : value.toISOString();
  // What comes from a device must not become a formula where the file is opened (OWASP, "CSV Injection"; also in full width).
  const text = /^[=+\-@\t\r\n＝＋－＠]/.test(said) ? `'${said}` : said;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** By whoever's clock, which may say anything; a date ends with the year 275760 (ECMAScript §21.4.1.1). */
export function timeCell(ms: number | undefined): Date | number | undefined {
  if (ms === undefined) return undefined;
  return Math.abs(ms) <= 8.64e15 ? new Date(ms) : ms;
}
