/** Opens the file of the broker's durable state, and brings an older one forward. */
import path from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { describeSystemError } from '../../runtime/config.ts';
import type { SqliteFileErrorCode } from '../../runtime/sqlite-file.ts';
import { openSqliteFile, SqliteFileError } from '../../runtime/sqlite-file.ts';
import { sqliteResultOf } from '../../runtime/sqlite-result.ts';
import type { BrokerErrorCode } from '../errors.ts';
import { BrokerError } from '../errors.ts';
import { requireSound } from './damage.ts';
import type { Recovery } from './recovery.ts';
import { foldLog, writtenFrames } from './recovery.ts';
import { migrations, schema, schemaVersion } from './store-schema.ts';

/** @returns where the state of a data folder is */
export function storeFileIn(directory: string): string {
  return path.join(directory, 'broker.sqlite');
}

export interface StoreFileOptions {
  readonly durability: 'disk' | 'os';
  /** The file grows to this and then refuses writes, as a full disk does. */
  readonly bytesMax?: number;
  /**
   * Exclusive, or two brokers on one directory would each believe in their own copy of the queues. Shared: another
   * connection of this process may read the file; whoever opens it has locked the directory.
   */
  readonly locking?: 'exclusive' | 'shared';
}

export const pageBytes = 8192;
/** Of the write-ahead log before it is folded into the file: a tenth of a second at full speed; while room is scarce, less. */
export const checkpointPages = { usual: 2000, scarce: 50 } as const;

const errorCodes: Readonly<Record<Exclude<SqliteFileErrorCode, 'sqlite.failed'>, BrokerErrorCode>> = {
  'sqlite.newer': 'broker.store_too_new',
  'sqlite.in_use': 'broker.store_locked',
};

/** The low octet of the codes that SQLite gives (https://sqlite.org/rescode.html). */
const resultCodes: ReadonlyMap<number, BrokerErrorCode> = new Map([
  [11, 'broker.store_damaged'], // SQLITE_CORRUPT
  [13, 'broker.store_full'], // SQLITE_FULL: no space on the disk, or `max_page_count`
  [26, 'broker.store_damaged'], // SQLITE_NOTADB
]);
/** SQLITE_IOERR_WRITE, as a quota or a limit on the size of files ends it; the disk may be broken as well. */
const writeFailed = 778;

export interface OpenedStoreFile {
  readonly database: DatabaseSync;
  readonly recovery: Recovery;
}

/**
 * @throws BrokerError `broker.store_locked`, `broker.store_too_new`, `broker.store_damaged`, `broker.store_full`,
 *   `broker.store_failed`
 */
export function openStoreFile(
  file: string,
  { durability, bytesMax, locking = 'exclusive' }: StoreFileOptions,
): OpenedStoreFile {
  const pragmas = [
    `page_size = ${pageBytes}`,
    // FULL syncs the log at every commit. NORMAL leaves that to the system: the end of the process loses nothing.
    `synchronous = ${durability === 'disk' ? 'FULL' : 'NORMAL'}`,
    `wal_autocheckpoint = ${checkpointPages.usual}`,
    'cache_size = -32768',
    ...(bytesMax === undefined ? [] : [`max_page_count = ${Math.ceil(bytesMax / pageBytes)}`]),
  ];
  try {
    const frames = writtenFrames(`${file}-wal`);
    const database = openSqliteFile(file, { locking, pragmas, schema, schemaVersion });
    const closing = closingOnFailure(file, database);
    closing(() => requireSound(file, database));
    const recoveredPages = Math.min(
      frames,
      closing(() => foldLog(database)),
    );
    closing(() => migrate(database));
    closing(() => prove(database));
    return { database, recovery: { recoveredPages, discardedPages: frames - recoveredPages } };
  } catch (cause) {
    if (cause instanceof BrokerError) throw cause;
    if (!(cause instanceof SqliteFileError)) throw storeError(file, cause);
    const code = cause.code === 'sqlite.failed' ? codeOf(cause.cause) : errorCodes[cause.code];
    throw new BrokerError(code, cause.message, { cause });
  }
}

/** @returns what runs a step of the opening, and leaves the file to others if it fails */
function closingOnFailure(file: string, database: DatabaseSync): <T>(step: () => T) => T {
  return (step) => {
    try {
      return step();
    } catch (cause) {
      database.close(); // what was not committed is undone
      throw cause instanceof BrokerError ? cause : storeError(file, cause);
    }
  };
}

/** Brings the tables of an older version to this one, all or nothing. */
function migrate(database: DatabaseSync): void {
  for (;;) {
    const version = Number(database.prepare('PRAGMA user_version').get()?.['user_version']);
    const statements = migrations.get(version);
    if (statements === undefined) return;
    database.exec(`BEGIN; ${statements} PRAGMA user_version = ${version + 1}; COMMIT`);
  }
}

/** Nothing is said to work before a commit has: till then a disk that takes no more looks like a good one. */
function prove(database: DatabaseSync): void {
  database.exec(`PRAGMA user_version = ${schemaVersion}`); // written, although the file has it
  foldLog(database);
}

export function storeError(file: string, cause: unknown): BrokerError {
  return new BrokerError(codeOf(cause), `cannot use ${file}: ${describeSystemError(cause)}`, { cause });
}

/** Whether it was a write that found no room, as far as anybody can tell. */
export function isWantOfRoom({ code, cause }: BrokerError): boolean {
  return code === 'broker.store_full' || sqliteResultOf(cause) === writeFailed;
}

function codeOf(cause: unknown): BrokerErrorCode {
  const code = sqliteResultOf(cause);
  return (code === undefined ? undefined : resultCodes.get(code & 0xff)) ?? 'broker.store_failed';
}
