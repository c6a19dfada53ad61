/** Keeps two processes from working in one authority's directory at a time. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PkiError } from '../errors.ts';
import { makeDirectory, secretMode } from './files.ts';

/** Runs `work` while holding the lock. A lock whose process is gone is taken over. @throws PkiError `pki.authority_busy` */
export function withLock<Result>(directory: string, work: () => Result): Result {
  makeDirectory(directory);
  const path = join(directory, 'authority.lock');
  if (!tryLock(path)) {
    if (isHeld(path)) {
      throw new PkiError(
        'pki.authority_busy',
        `another process works in ${directory}; if none does, remove ${path}`,
      );
    }
    rmSync(path, { force: true });
    if (!tryLock(path)) throw new PkiError('pki.authority_busy', `another process works in ${directory}`);
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
  const text = readFileSync(path, 'utf8').trim();
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

function isCoded(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
