/** What can go wrong with the database, by what the caller should do about it. */

export type DatabaseErrorCode =
  | 'database.url' // not a URL that we understand
  | 'database.unavailable' // gone, locked, full or read-only: the same call may succeed later
  | 'database.newer' // a later version of this program has already changed the tables
  | 'database.conflict'; // a name or id that is already there

export class DatabaseError extends Error {
  override readonly name = 'DatabaseError';
  readonly code: DatabaseErrorCode;
  constructor(code: DatabaseErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

// https://www.sqlite.org/rescode.html: the primary codes after which the same statement may succeed later.
const sqliteUnavailable: ReadonlySet<number> = new Set([
  5, // SQLITE_BUSY
  6, // SQLITE_LOCKED
  8, // SQLITE_READONLY
  10, // SQLITE_IOERR
  13, // SQLITE_FULL
  14, // SQLITE_CANTOPEN
]);
const sqliteConflict: ReadonlySet<unknown> = new Set([
  1555, // SQLITE_CONSTRAINT_PRIMARYKEY
  2067, // SQLITE_CONSTRAINT_UNIQUE
]);

// https://mariadb.com/kb/en/mariadb-error-code-reference/, and the operating system's own.
const mysqlUnavailable: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ENOENT', // the socket is not there
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENOTFOUND',
  'PROTOCOL_CONNECTION_LOST',
  'ER_CON_COUNT_ERROR',
  'ER_SERVER_SHUTDOWN',
  'ER_QUERY_INTERRUPTED',
  'ER_CONNECTION_KILLED',
  'ER_DISK_FULL',
  'ER_RECORD_FILE_FULL',
  'ER_OPTION_PREVENTS_STATEMENT', // read-only
  'ER_LOCK_DEADLOCK',
  'ER_LOCK_WAIT_TIMEOUT',
]);
const mysqlTransient: ReadonlySet<string> = new Set(['ER_LOCK_DEADLOCK', 'ER_LOCK_WAIT_TIMEOUT']);

function fieldOf(error: unknown, field: string): unknown {
  if (typeof error !== 'object' || error === null || !(field in error)) return undefined;
  return Object.getOwnPropertyDescriptor(error, field)?.value;
}

function sqliteCode(error: unknown): number | undefined {
  const code = fieldOf(error, 'errcode');
  return typeof code === 'number' ? code & 0xff : undefined;
}

function mysqlCode(error: unknown): string {
  const code = fieldOf(error, 'code');
  return typeof code === 'string' ? code : '';
}

/** @returns whether the database is gone, locked, full or read-only, so that waiting and trying again is the answer */
export function isUnavailable(error: unknown): boolean {
  if (error instanceof DatabaseError) return error.code === 'database.unavailable';
  const code = sqliteCode(error);
  if (code !== undefined) return sqliteUnavailable.has(code);
  if (mysqlUnavailable.has(mysqlCode(error))) return true;
  // mysql2 gives these no code of their own.
  return error instanceof Error && /closed state|connection is in|Pool is closed/i.test(error.message);
}

/** @returns whether a unique key refused a row */
export function isConflict(error: unknown): boolean {
  return sqliteConflict.has(fieldOf(error, 'errcode')) || mysqlCode(error) === 'ER_DUP_ENTRY';
}

/** @returns whether two transactions met and this one was rolled back, so that it may simply run again */
export function isTransient(error: unknown): boolean {
  return mysqlTransient.has(mysqlCode(error));
}

const mysqlThere: ReadonlySet<string> = new Set(['ER_DUP_FIELDNAME', 'ER_DUP_KEYNAME']);

/** @returns whether a DDL statement found its column or index in place */
export function isThereAlready(error: unknown): boolean {
  return mysqlThere.has(mysqlCode(error));
}
