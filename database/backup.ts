/** Backup of the embedded database while it is written, and the way back. */
import { closeSync, copyFileSync, existsSync, fsyncSync, openSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { backup, DatabaseSync } from 'node:sqlite';
import { DatabaseError } from './errors.ts';

export interface BackupProgress {
  readonly pages: number;
  readonly pagesTotal: number;
}

const pagesAtOnce = 1000;
const busyTimeoutMs = 10_000;

/**
 * Copies the database as it is at this moment, whoever writes to it meanwhile, and checks the copy.
 *
 * @param source - the file of the database
 * @param target - a file that is not there yet; it appears when it is whole
 * @returns its pages
 * @throws DatabaseError `database.conflict` if the target is there, `database.damaged` if the copy is not sound
 */
export async function backupDatabase(
  source: string,
  target: string,
  onProgress: (progress: BackupProgress) => void = () => undefined,
): Promise<number> {
  if (existsSync(target)) throw new DatabaseError('database.conflict', `${target} is there already`);
  requireFile(source);
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
    requireSound(partial);
    moveDurably(partial, target);
    return pages;
  } finally {
    raw.close();
    rmSync(partial, { force: true });
  }
}

/**
 * Puts a backup in the place of a database that no program has open.
 *
 * @param nowMs - names the file that what was there before is kept as
 * @returns that file, or undefined if there was none
 * @throws DatabaseError `database.conflict` if a program has it open, `database.damaged` if the backup is not sound
 */
export function restoreDatabase(source: string, target: string, nowMs: number): string | undefined {
  requireFile(source);
  const partial = `${target}.partial`;
  copyFileSync(source, partial);
  try {
    requireSound(partial);
    const before = existsSync(target) ? setAside(target, nowMs) : undefined;
    moveDurably(partial, target);
    return before;
  } finally {
    rmSync(partial, { force: true });
  }
}

/** Without its write-ahead log the file is all there is of it, so it can be moved. */
function setAside(file: string, nowMs: number): string {
  const raw = new DatabaseSync(file);
  try {
    // To leave the write-ahead log a connection must be alone with the file (https://www.sqlite.org/wal.html §3.3).
    raw.exec('pragma journal_mode = delete');
  } catch (cause) {
    throw new DatabaseError('database.conflict', `a program has ${file} open: stop it first`, { cause });
  } finally {
    raw.close();
  }
  const aside = `${file}.before-${new Date(nowMs).toISOString().replaceAll(/[-:]/g, '').slice(0, 15)}Z`;
  renameSync(file, aside);
  return aside;
}

function requireFile(file: string): void {
  if (!existsSync(file)) throw new DatabaseError('database.unavailable', `there is no file ${file}`);
}

function requireSound(file: string): void {
  const raw = new DatabaseSync(file);
  try {
    const faults = raw.prepare('pragma quick_check').all();
    if (faults.length === 1 && faults[0]?.['quick_check'] === 'ok') return;
    throw new DatabaseError('database.damaged', `${file}: ${String(faults[0]?.['quick_check'])}`);
  } catch (cause) {
    if (cause instanceof DatabaseError) throw cause;
    throw new DatabaseError('database.damaged', `${file} is no sound database`, { cause });
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
