/** What can go wrong with the database, by what the caller should do about it. */

export type DatabaseErrorCode =
  | 'database.url' // not a URL that we understand
  | 'database.unavailable' // gone, locked, full or read-only: the same call may succeed later
  | 'database.replaced' // the file is another one than was opened: only a new start helps
  | 'database.newer' // a later version of this program has already changed the tables
  | 'database.older' // tables of an earlier version, where they are not to be changed
  | 'database.foreign' // a database without our tables
  | 'database.damaged' // a backup that is not sound
  | 'database.conflict'; // something that is already there, or in use

export class DatabaseError extends Error {
  override readonly name = 'DatabaseError';
  readonly code: DatabaseErrorCode;
  constructor(code: DatabaseErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Why a database takes nothing at the moment. */
export type DatabaseFault =
  | 'locked'
  | 'full'
  | 'read_only'
  | 'gone' // no server, or no file
  | 'replaced' // by another file, which this program must not write into as if it were the same
  | 'failing' // input or output errors
  | 'damaged'; // somebody must restore it; what is acknowledged before is lost

// https://www.sqlite.org/rescode.html: the primary codes after which the same statement may succeed later.
const sqliteFaults: ReadonlyMap<number, DatabaseFault> = new Map([
  [5, 'locked'], // SQLITE_BUSY
  [6, 'locked'], // SQLITE_LOCKED
  [8, 'read_only'], // SQLITE_READONLY
  [10, 'failing'], // SQLITE_IOERR
  [11, 'damaged'], // SQLITE_CORRUPT
  [13, 'full'], // SQLITE_FULL
  [14, 'gone'], // SQLITE_CANTOPEN
  [26, 'damaged'], // SQLITE_NOTADB
]);
const sqliteError = 1;
const ownFaults: Readonly<Partial<Record<DatabaseErrorCode, DatabaseFault>>> = {
  'database.unavailable': 'gone',
  'database.replaced': 'replaced',
};
const sqliteConflict: ReadonlySet<unknown> = new Set([
  1555, // SQLITE_CONSTRAINT_PRIMARYKEY
  2067, // SQLITE_CONSTRAINT_UNIQUE
]);

// https://mariadb.com/kb/en/mariadb-error-code-reference/, and the operating system's own.
const mysqlFaults: ReadonlyMap<string, DatabaseFault> = new Map([
  ['ECONNREFUSED', 'gone'],
  ['ECONNRESET', 'gone'],
  ['EPIPE', 'gone'],
  ['ENOENT', 'gone'], // the socket is not there
  ['ETIMEDOUT', 'gone'],
  ['EHOSTUNREACH', 'gone'],
  ['ENOTFOUND', 'gone'],
  ['EAI_AGAIN', 'gone'],
  ['PROTOCOL_CONNECTION_LOST', 'gone'],
  ['ER_CON_COUNT_ERROR', 'gone'],
  ['ER_BAD_DB_ERROR', 'gone'],
  ['ER_NO_SUCH_TABLE', 'damaged'],
  ['ER_SERVER_SHUTDOWN', 'gone'],
  ['ER_QUERY_INTERRUPTED', 'gone'],
  ['ER_CONNECTION_KILLED', 'gone'],
  ['ER_DISK_FULL', 'full'],
  ['ER_RECORD_FILE_FULL', 'full'],
  ['ER_OPTION_PREVENTS_STATEMENT', 'read_only'],
  ['ER_LOCK_DEADLOCK', 'locked'],
  ['ER_LOCK_WAIT_TIMEOUT', 'locked'],
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

/** @returns why waiting and trying again is the answer, or undefined if it is not */
export function faultOf(error: unknown): DatabaseFault | undefined {
  if (error instanceof DatabaseError) {
    const fault = ownFaults[error.code];
    // What could not be opened says why.
    return fault === undefined ? undefined : (faultOf(error.cause) ?? fault);
  }
  const code = sqliteCode(error);
  // An empty file, such as another program makes where ours was moved away.
  if (code === sqliteError && error instanceof Error && error.message.startsWith('no such table'))
    return 'damaged';
  if (code !== undefined) return sqliteFaults.get(code);
  const fault = mysqlFaults.get(mysqlCode(error));
  if (fault !== undefined) return fault;
  // mysql2 gives these no code of their own.
  const isClosed =
    error instanceof Error && /closed state|connection is in|Pool is closed/i.test(error.message);
  return isClosed ? 'gone' : undefined;
}

/** @returns whether the database is gone, locked, full or read-only, so that waiting and trying again is the answer */
export function isUnavailable(error: unknown): boolean {
  return faultOf(error) !== undefined;
}

// The classes of SQLSTATE that speak of values: cardinality, data, integrity (ISO/IEC 9075-2 §24.1).
const valueStates: ReadonlySet<string> = new Set(['21', '22', '23']);
/** Those that speak of values in a class of another name. */
const valueErrors: ReadonlySet<string> = new Set([
  'ER_TRUNCATED_WRONG_VALUE_FOR_FIELD',
  'WARN_DATA_TRUNCATED',
  'ER_NET_PACKET_TOO_LARGE', // of several rows at once, or of one
]);
const sqliteValueErrors: ReadonlySet<number> = new Set([
  18, // SQLITE_TOOBIG
  19, // SQLITE_CONSTRAINT
  20, // SQLITE_MISMATCH
]);

/** @returns whether these values are refused, so that others may be taken; false where a database says no to everything */
export function isRefusal(error: unknown): boolean {
  if (faultOf(error) !== undefined) return false;
  const code = sqliteCode(error);
  if (code !== undefined) return sqliteValueErrors.has(code);
  const state = fieldOf(error, 'sqlState');
  if (typeof state !== 'string') return true; // no word of a database's
  return valueStates.has(state.slice(0, 2)) || valueErrors.has(mysqlCode(error));
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
