/** The result codes of SQLite (https://sqlite.org/rescode.html), which say what a program may do about an error. */

/** Another connection has the lock. */
export const sqliteBusy = 5;
/** What is written contradicts what is there. */
export const sqliteConstraint = 19;

/** @returns the extended code, whose low octet is the primary one; undefined for an error that is not SQLite's */
export function sqliteResultOf(error: unknown): number | undefined {
  const isCoded = error instanceof Error && 'errcode' in error && typeof error.errcode === 'number';
  return isCoded ? Number(error.errcode) : undefined;
}
