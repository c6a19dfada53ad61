/** Opens the file of the broker's durable state, and brings an older one forward. */
import type { DatabaseSync } from 'node:sqlite';
import { describeSystemError } from '../../runtime/config.ts';
import type { SqliteFileErrorCode } from '../../runtime/sqlite-file.ts';
import { openSqliteFile, SqliteFileError } from '../../runtime/sqlite-file.ts';
import type { BrokerErrorCode } from '../errors.ts';
import { BrokerError } from '../errors.ts';
import type { Recovery } from './recovery.ts';
import { foldLog, writtenFrames } from './recovery.ts';
import { migrations, schema, schemaVersion } from './store-schema.ts';

export interface StoreFileOptions {
  readonly durability: 'disk' | 'os';
  /** The file grows to this and then refuses writes, as a full disk does. */
  readonly bytesMax?: number;
  /** Shared: another connection of this process may read the file; whoever opens it has locked the directory. */
  readonly locking?: 'exclusive' | 'shared';
}

const pageBytes = 8192;
/** Of the write-ahead log before it is folded into the file; a tenth of a second at full speed. */
const checkpointPages = 2000;

const errorCodes: Readonly<Record<SqliteFileErrorCode, BrokerErrorCode>> = {
  'sqlite.newer': 'broker.store_too_new',
  'sqlite.in_use': 'broker.store_locked',
  'sqlite.failed': 'broker.store_failed',
};

export interface OpenedStoreFile {
  readonly database: DatabaseSync;
  readonly recovery: Recovery;
}

/** @throws BrokerError `broker.store_locked`, `broker.store_too_new`, `broker.store_failed` */
export function openStoreFile(
  file: string,
  { durability, bytesMax, locking = 'exclusive' }: StoreFileOptions,
): OpenedStoreFile {
  const pragmas = [
    `page_size = ${pageBytes}`,
    `locking_mode = ${locking === 'shared' ? 'NORMAL' : 'EXCLUSIVE'}`, // two brokers on one directory would each believe in their own copy of the queues
    'journal_mode = WAL',
    // FULL syncs the log at every commit. NORMAL leaves that to the system: the end of the process loses nothing.
    `synchronous = ${durability === 'disk' ? 'FULL' : 'NORMAL'}`,
    `wal_autocheckpoint = ${checkpointPages}`,
    'cache_size = -32768',
    ...(bytesMax === undefined ? [] : [`max_page_count = ${Math.ceil(bytesMax / pageBytes)}`]),
  ];
  try {
    const frames = writtenFrames(`${file}-wal`);
    const database = openSqliteFile(file, { pragmas, schema, schemaVersion });
    const recoveredPages = Math.min(frames, recover(file, database));
    migrate(file, database);
    return { database, recovery: { recoveredPages, discardedPages: frames - recoveredPages } };
  } catch (cause) {
    if (cause instanceof BrokerError) throw cause;
    if (!(cause instanceof SqliteFileError)) throw storeError(file, cause);
    throw new BrokerError(errorCodes[cause.code], cause.message, { cause });
  }
}

function recover(file: string, database: DatabaseSync): number {
  try {
    return foldLog(database);
  } catch (cause) {
    database.close();
    throw storeError(file, cause);
  }
}

/** Brings the tables of an older version to this one, all or nothing. */
function migrate(file: string, database: DatabaseSync): void {
  try {
    for (;;) {
      const version = Number(database.prepare('PRAGMA user_version').get()?.['user_version']);
      const statements = migrations.get(version);
      if (statements === undefined) return;
      database.exec(`BEGIN; ${statements} PRAGMA user_version = ${version + 1}; COMMIT`);
    }
  } catch (cause) {
    database.close(); // what was not committed is undone
    throw storeError(file, cause);
  }
}

export function storeError(file: string, cause: unknown): BrokerError {
  return new BrokerError('broker.store_failed', `cannot use ${file}: ${describeSystemError(cause)}`, {
    cause,
  });
}
