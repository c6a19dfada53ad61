/** Keeps two processes from working in one authority's directory at a time. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PkiError } from '../errors.ts';
import { makeDirectory, secretMode } from './files.ts';

/** Whoever holds the lock signs and writes a few files. */
const patienceMs = 2_000;
const lookMs = 5;

/**
 * Runs `work` while holding the lock, and waits for it a moment. A lock whose process is gone is taken over.
 *
 * @throws PkiError `pki.authority_busy`
 */
export function withLock<Result>(directory: string, work: () => Result): Result {
  makeDirectory(directory);
  const path = join(directory, 'authority.lock');
  for (let waitedMs = 0; !tryLock(path); waitedMs += lookMs) {
    if (!isHeld(path)) {
      rmSync(path, { force: true });
    } else if (waitedMs >= patienceMs) {
      throw new PkiError(
        'pki.authority_busy',
        `another process works in ${directory}; if none does, remove ${path}`,
      );
    } else {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, lookMs);
    }
  }
  try {
    return work();
  } finally {
    rmSync(path, { force: true });
  }
}

function tryLock(path: string): boolean {
  try {
    writeFileSync(path, `${process.pid}\n`, { flag: 'wx', mode: secretMode });
    return true;
  } catch (cause) {
    if (isCoded(cause, 'EEXIST')) return false;
    throw cause;
  }
}

function isHeld(path: string): boolean {
  const text = readIfThere(path)?.trim();
  if (text === undefined) return true; // released just now
  if (text === '') return true; // its owner has created it and not yet written its number
  const pid = Number(text);
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return isCoded(cause, 'EPERM'); // it lives, and is another user's
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    if (isCoded(cause, 'ENOENT')) return undefined;
    throw cause;
  }
}

function isCoded(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
