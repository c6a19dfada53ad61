/** Backup of the embedded database while it is written, and the way back. */
import {
  chmodSync,
  chownSync,
  closeSync,
  copyFileSync,
  existsSync,
  fsyncSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import path from 'node:path';
import { backup, DatabaseSync } from 'node:sqlite';
import { DatabaseError, faultOf } from './errors.ts';
import { requireOurFile } from './migrate.ts';

export interface BackupProgress {
  readonly pages: number;
  readonly pagesTotal: number;
}

const pagesAtOnce = 1000;
const logSuffix = '-wal';
/** What SQLite may keep beside a database, https://www.sqlite.org/tempfiles.html: it would be taken for the next one's. */
const suffixes = ['', logSuffix, '-shm', '-journal'];
const busyTimeoutMs = 10_000;

/**
 * Copies the database as it is at this moment, whoever writes to it meanwhile, and checks the copy.
 *
 * @param source - the file of the database
 * @param target - a file that is not there yet; it appears when it is whole
 * @returns its pages
 * @throws DatabaseError `database.conflict` if the target is there, `database.damaged` if the copy is not sound,
 *   `database.foreign` if it is no backend's
 */
export async function backupDatabase(
  source: string,
  target: string,
  onProgress: (progress: BackupProgress) => void = () => undefined,
): Promise<number> {
  if (existsSync(target)) throw new DatabaseError('database.conflict', `${target} is there already`);
  requireThere('file', source);
  requireThere('folder', path.dirname(target));
  const partial = `${target}.partial`;
  rmSync(partial, { force: true });
  const raw = new DatabaseSync(source, { readOnly: true, timeout: busyTimeoutMs });
  try {
    // A read transaction keeps the source as it is now; without one, every commit would begin the copy anew
    // (https://www.sqlite.org/backup.html, "File and Database Connection Locking").
    raw.exec('begin');
    raw.prepare('select count(*) from sqlite_schema').get();
    const pages = await backup(raw, partial, {
      rate: pagesAtOnce,
      progress: ({ totalPages, remainingPages }) =>
        onProgress({ pages: totalPages - remainingPages, pagesTotal: totalPages }),
    });
    raw.exec('commit');
    requireSound(partial, source);
    moveDurably(partial, target);
    return pages;
  } finally {
    raw.close();
    rmSync(partial, { force: true });
  }
}

/**
 * Puts a backup in the place of a database that no program has open, also of one that is damaged.
 *
 * @param source - with its write-ahead log, if it lies beside it
 * @param nowMs - names the file that what was there before is kept as
 * @returns that file, or undefined if there was none
 * @throws DatabaseError `database.conflict` if a program has it open, `database.damaged` if the backup is not sound,
 *   `database.foreign` or `database.newer` if no program of this version could work with it
 */
export function restoreDatabase(source: string, target: string, nowMs: number): string | undefined {
  requireThere('file', source);
  const partial = `${target}.partial`;
  const removePartial = (): void => suffixes.forEach((suffix) => rmSync(partial + suffix, { force: true }));
  removePartial();
  try {
    copyFileSync(source, partial);
    if (existsSync(source + logSuffix)) copyFileSync(source + logSuffix, partial + logSuffix);
    requireSound(partial, source);
    giveTo(partial, target);
    const before = setAside(target, nowMs);
    moveDurably(partial, target);
    return before;
  } finally {
    removePartial();
  }
}

/** Root restores what a service of another user works with. */
function giveTo(file: string, target: string): void {
  const former = statSync(target, { throwIfNoEntry: false });
  const { uid, gid } = former ?? statSync(path.dirname(target));
  const own = statSync(file);
  if (own.uid !== uid || own.gid !== gid) chownSync(file, uid, gid);
  if (former !== undefined) chmodSync(file, former.mode);
}

function setAside(file: string, nowMs: number): string | undefined {
  if (existsSync(file)) leaveLog(file);
  const aside = `${file}.before-${new Date(nowMs).toISOString().replaceAll(/[-:]/g, '').slice(0, 15)}Z`;
  for (const suffix of suffixes) if (existsSync(file + suffix)) renameSync(file + suffix, aside + suffix);
  return existsSync(aside) ? aside : undefined;
}

/** Without its write-ahead log the file is all there is of it; what is damaged keeps it. */
function leaveLog(file: string): void {
  const raw = new DatabaseSync(file);
  try {
    // To leave the write-ahead log a connection must be alone with the file (https://www.sqlite.org/wal.html §3.3).
    raw.exec('pragma journal_mode = delete');
  } catch (cause) {
    if (faultOf(cause) !== 'damaged')
      throw new DatabaseError('database.conflict', `a program has ${file} open: stop it first`, { cause });
  } finally {
    raw.close();
  }
}

function requireThere(what: 'file' | 'folder', name: string): void {
  if (!existsSync(name)) throw new DatabaseError('database.unavailable', `there is no ${what} ${name}`);
}

/** @param name - what people call it */
function requireSound(file: string, name: string): void {
  const raw = new DatabaseSync(file);
  try {
    const faults = raw.prepare('pragma quick_check').all();
    if (faults.length !== 1 || faults[0]?.['quick_check'] !== 'ok')
      throw new DatabaseError('database.damaged', `${name}: ${String(faults[0]?.['quick_check'])}`);
    requireOurFile(raw, name);
  } catch (cause) {
    if (cause instanceof DatabaseError) throw cause;
    throw new DatabaseError('database.damaged', `${name} is no sound database`, { cause });
  } finally {
    raw.close();
  }
}

/** First the bytes, then the name. */
function moveDurably(from: string, to: string): void {
  syncPath(from);
  renameSync(from, to);
  syncPath(path.dirname(to));
}

function syncPath(name: string): void {
  const descriptor = openSync(name, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
