/** A disk that takes nothing more, in this process: the files below some folders, and the SQLite files there. */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { DatabaseSync } from 'node:sqlite';

const full = new Set<FullDisk>();

export class FullDisk {
  readonly #folder: string;
  #writesLeft = Infinity;

  constructor(folder: string) {
    this.#folder = folder;
    full.add(this);
  }

  /** @param writes - that still succeed: of files, and transactions */
  fill(writes = 0): void {
    this.#writesLeft = writes;
  }

  empty(): void {
    this.#writesLeft = Infinity;
  }

  remove(): void {
    full.delete(this);
  }

  requireRoom(file: string, failure: () => Error): void {
    if (!file.startsWith(this.#folder)) return;
    if (this.#writesLeft <= 0) throw failure();
    this.#writesLeft -= 1;
  }
}

function noSpace(): Error {
  return Object.assign(new Error('ENOSPC: no space left on device, write'), {
    code: 'ENOSPC',
    syscall: 'write',
  });
}

function sqliteFull(): Error {
  return Object.assign(new Error('database or disk is full'), { code: 'ERR_SQLITE_ERROR', errcode: 13 });
}

const files = new Map<number, string>();
const { openSync } = fs;
fs.openSync = (file, ...rest) => {
  const descriptor = openSync(file, ...rest);
  files.set(descriptor, String(file));
  return descriptor;
};
const writeSync = fs.writeSync as (...given: unknown[]) => number;
fs.writeSync = (descriptor: number, ...rest: unknown[]) => {
  for (const disk of full) disk.requireRoom(files.get(descriptor) ?? '', noSpace);
  return writeSync(descriptor, ...rest);
};
syncBuiltinESMExports();

const exec: (this: DatabaseSync, sql: string) => void = Reflect.get(DatabaseSync.prototype, 'exec');
DatabaseSync.prototype.exec = function (this: DatabaseSync, sql: string): void {
  if (sql === 'COMMIT') for (const disk of full) disk.requireRoom(this.location() ?? '', sqliteFull);
  exec.call(this, sql);
};
