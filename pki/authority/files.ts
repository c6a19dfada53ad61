/** Writes files so that a power cut leaves the old content or the new, and never half of it. */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';

export const secretMode = 0o600;
export const publicMode = 0o644;
const directoryMode = 0o700;

/** Creates or replaces a file, and its directories where they are missing. */
export function writeFileAtomic(path: string, content: string, mode: number): void {
  makeDirectory(dirname(path));
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    writeDurably(temporary, 'wx', content, mode);
    renameSync(temporary, path);
  } catch (cause) {
    rmSync(temporary, { force: true });
    throw cause;
  }
  syncDirectory(dirname(path));
}

/** Appends whole lines, all of them or none; they are on the disk when it returns. */
export function appendDurably(path: string, lines: string): void {
  const size = existsSync(path) ? statSync(path).size : 0;
  try {
    writeDurably(path, 'a', lines, secretMode);
  } catch (cause) {
    if (existsSync(path)) truncateSync(path, size); // what fitted on a full disk
    throw cause;
  }
}

export function makeDirectory(path: string): void {
  mkdirSync(path, { recursive: true, mode: directoryMode });
}

function writeDurably(path: string, flags: 'wx' | 'a', content: string, mode: number): void {
  const file = openSync(path, flags, mode);
  try {
    const bytes = Buffer.from(content, 'utf8');
    for (let written = 0; written < bytes.length;) written += writeSync(file, bytes, written);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** Makes a rename durable. Windows cannot open a directory, and journals renames itself. */
function syncDirectory(path: string): void {
  if (process.platform === 'win32') return;
  const directory = openSync(path, 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}
