/** What the write-ahead log holds when the store is opened: it becomes part of the file, or is the torn end of a write. */
import { closeSync, openSync, readSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';

/** What an end that was no clean one has left; pages. */
export interface Recovery {
  /** Of whole transactions: they are there. */
  readonly recoveredPages: number;
  /** After the last whole transaction: torn or damaged, so they count as never written. */
  readonly discardedPages: number;
}

// https://sqlite.org/fileformat2.html#walformat
const headerBytes = 32;
const frameHeaderBytes = 24;
const pageBytesOffset = 8;
const saltOffset = { header: 16, frame: 8 } as const;
const saltBytes = 8;

/** @returns how many frames were written to a log since it was last begun anew, whole or not */
export function writtenFrames(logFile: string): number {
  let descriptor: number;
  try {
    descriptor = openSync(logFile, 'r');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return 0;
    throw error;
  }
  try {
    const header = Buffer.alloc(headerBytes);
    if (readSync(descriptor, header, 0, headerBytes, 0) < headerBytes) return 0;
    const stride = frameHeaderBytes + header.readUInt32BE(pageBytesOffset);
    const salt = header.subarray(saltOffset.header, saltOffset.header + saltBytes);
    const frame = Buffer.alloc(frameHeaderBytes);
    const frameSalt = frame.subarray(saltOffset.frame, saltOffset.frame + saltBytes);
    let firstSalt: Buffer | undefined;
    let frames = 0;
    for (
      let offset = headerBytes;
      readSync(descriptor, frame, 0, frameHeaderBytes, offset) > 0;
      offset += stride
    ) {
      // One damaged place must not hide the others, so either of two copies will do.
      firstSalt ??= Buffer.from(frameSalt);
      // What is older than the last beginning has other salts.
      if (frameSalt.equals(salt) || frameSalt.equals(firstSalt)) frames++;
    }
    return frames;
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Makes the log's whole transactions part of the file, and the log empty. After a failed fsync nobody knows which of
 * the log's pages the disk has, and the system calls them clean: only what is written again is sure to get there.
 *
 * @returns the pages of whole transactions
 * @throws the system's error, or that of SQLite
 */
export function foldLog(database: DatabaseSync): number {
  const log = database.prepare('PRAGMA wal_checkpoint(PASSIVE)').get()?.['log'];
  database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  return Math.max(0, Number(log));
}
