/** Keeps two processes from working in one authority's directory at a time. */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { PkiError } from '../errors.ts';
import { makeDirectory } from './files.ts';

/** Whoever holds the lock signs and writes a few files. */
const patienceMs = 2_000;
const lookMs = 5;
const sqliteBusy = 5; // https://sqlite.org/rescode.html#busy

/**
 * Runs `work` while holding the lock, and waits for it a moment. It is a lock of SQLite on a file of its own: the system
 * takes it back from a process that ends, however it ends, so that nobody has to judge whether one is stale.
 *
 * @throws PkiError `pki.authority_busy`
 */
export function withLock<Result>(directory: string, work: () => Result): Result {
  makeDirectory(directory);
  const lock = new DatabaseSync(join(directory, 'lock.sqlite'), { timeout: 0 });
  try {
    for (let waitedMs = 0; !tryLock(lock); waitedMs += lookMs) {
      if (waitedMs >= patienceMs) {
        throw new PkiError('pki.authority_busy', `another process works in ${directory}`);
      }
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, lookMs);
    }
    return work();
  } finally {
    lock.close();
  }
}

function tryLock(lock: DatabaseSync): boolean {
  try {
    lock.exec('BEGIN EXCLUSIVE');
    return true;
  } catch (cause) {
    if (cause instanceof Error && 'errcode' in cause && cause.errcode === sqliteBusy) return false;
    throw cause;
  }
}
