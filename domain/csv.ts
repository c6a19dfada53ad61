/** Texts in CSV (RFC 4180) that no program takes for anything else. */

/** RFC 4180 §2 */
export const csvLineEnd = '\r\n';

/** @returns it as it stands in a line; an empty one is nothing, as if it were not there */
export function csvText(said: string): string {
  // What comes from a device must not become a formula where the file is opened (OWASP, "CSV Injection"; also in full width).
  const text = /^[=+\-@\t\r\n＝＋－＠]/.test(said) ? `'${said}` : said;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text; // RFC 4180 §2, rules 5 to 7
}
