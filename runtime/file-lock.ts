/** One process at a time: a lock of SQLite on a file of its own, which ends with the process, however that ends. */
import { DatabaseSync } from 'node:sqlite';
import { sqliteBusy, sqliteResultOf } from './sqlite-result.ts';

export interface FileLock {
  unlock(): void;
}

/**
 * Nobody has to judge whether such a lock is stale.
 *
 * @param file - made if it is not there, in a folder that is
 * @returns undefined if another process has it
 * @throws the error of SQLite if there can be no such file
 */
export function lockFile(file: string): FileLock | undefined {
  const database = new DatabaseSync(file, { timeout: 0 });
  try {
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE'); // and no other file beside it
    return { unlock: () => database.close() };
  } catch (cause) {
    database.close();
    if (sqliteResultOf(cause) === sqliteBusy) return undefined;
    throw cause;
  }
}
