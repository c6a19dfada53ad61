/** One process at a time on a data directory whose database is open for more than one connection. */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { lockFile } from '../../runtime/file-lock.ts';
import type { FileLock } from '../../runtime/file-lock.ts';
import { BrokerError } from '../errors.ts';

/** @throws BrokerError `broker.store_locked` */
export function lockDirectory(directory: string): FileLock {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const file = path.join(directory, 'broker.lock');
  const lock = lockFile(file);
  if (lock !== undefined) return lock;
  throw new BrokerError('broker.store_locked', `cannot lock ${file}: another process has it`);
}
