/** Keeps two processes from working in one authority's directory at a time. */
import { join } from 'node:path';
import { describeSystemError } from '../../runtime/config.ts';
import { lockFile } from '../../runtime/file-lock.ts';
import type { FileLock } from '../../runtime/file-lock.ts';
import { sqliteResultOf } from '../../runtime/sqlite-result.ts';
import { PkiError } from '../errors.ts';
import { makeDirectory } from './files.ts';

/** Whoever holds the lock signs and writes a few files. */
const patienceMs = 2_000;
const lookMs = 5;

/**
 * Runs `work` while holding the lock, and waits for it a moment.
 *
 * @throws PkiError `pki.authority_busy`, `pki.storage`
 */
export function withLock<Result>(directory: string, work: () => Result): Result {
  let lock: FileLock | undefined;
  try {
    makeDirectory(directory);
    lock = takeLock(directory);
    return work();
  } catch (cause) {
    const isSystems = cause instanceof Error && 'syscall' in cause;
    if (!isSystems && sqliteResultOf(cause) === undefined) throw cause;
    const file = isSystems && 'path' in cause ? String(cause.path) : directory;
    throw new PkiError('pki.storage', `${file}: ${describeSystemError(cause)}`, { cause });
  } finally {
    lock?.unlock();
  }
}

function takeLock(directory: string): FileLock {
  for (let waitedMs = 0; waitedMs <= patienceMs; waitedMs += lookMs) {
    const lock = lockFile(join(directory, 'lock.sqlite'));
    if (lock !== undefined) return lock;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, lookMs);
  }
  throw new PkiError('pki.authority_busy', `another process works in ${directory}`);
}
