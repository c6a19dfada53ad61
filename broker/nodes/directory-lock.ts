/** One process at a time on a data directory whose database is open for more than one connection. */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describeSystemError } from '../../runtime/config.ts';
import { BrokerError } from '../errors.ts';

/**
 * A lock of SQLite on a file of its own, so that the end of the process, whatever it was, is the end of the lock.
 *
 * @throws BrokerError `broker.store_locked`
 */
export function lockDirectory(directory: string): { unlock(): void } {
  const file = path.join(directory, 'broker.lock');
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const database = new DatabaseSync(file, { timeout: 0 });
  try {
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
  } catch (cause) {
    database.close();
    throw new BrokerError('broker.store_locked', `cannot lock ${file}: ${describeSystemError(cause)}`, {
      cause,
    });
  }
  return { unlock: () => database.close() };
}
