/** A program's own SQLite file: opened or made with its tables, written in transactions, and every fault with a code. */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describeSystemError } from './config.ts';
import { sqliteBusy, sqliteResultOf } from './sqlite-result.ts';

export type SqliteFileErrorCode =
  | 'sqlite.in_use' // another process has it open, and one of the two wants it alone
  | 'sqlite.newer' // a later version of the program made it
  | 'sqlite.failed'; // the disk is full or broken, or the file is no database

export class SqliteFileError extends Error {
  override readonly name = 'SqliteFileError';
  readonly code: SqliteFileErrorCode;
  constructor(code: SqliteFileErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export interface SqliteFileSettings {
  /** Exclusive: no other process may have it open. Shared: who finds it locked waits a moment for its turn. */
  readonly locking: 'exclusive' | 'shared';
  /** Run in this order before anything is read, for example `synchronous = FULL`. */
  readonly pragmas: readonly string[];
  /** The statements that make the tables in an empty file. */
  readonly schema: string;
  /** From 1; kept in the file as its `user_version`. */
  readonly schemaVersion: number;
}

/**
 * For the others' turn with a shared file. It has to do for the one that finds a log of a killed process, and reads it
 * back while everybody else stands before a locked file (https://sqlite.org/wal.html, "Sometimes Queries Return SQLITE_BUSY").
 */
const patienceMs = 5_000;

/**
 * Makes the folders and the file, with its log, if they are not there. An exclusive file is locked on return.
 *
 * @throws SqliteFileError
 */
export function openSqliteFile(file: string, settings: SqliteFileSettings): DatabaseSync {
  let database: DatabaseSync | undefined;
  try {
    mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
    const { locking, pragmas } = settings;
    database = new DatabaseSync(file, { timeout: locking === 'shared' ? patienceMs : 0 });
    const lockingMode = `locking_mode = ${locking === 'shared' ? 'NORMAL' : 'EXCLUSIVE'}`;
    database.exec(
      [lockingMode, ...pragmas, 'journal_mode = WAL'].map((pragma) => `PRAGMA ${pragma};`).join('\n'),
    );
    prepareSchema(database, file, settings);
    return database;
  } catch (cause) {
    database?.close();
    if (cause instanceof SqliteFileError) throw cause;
    if (sqliteResultOf(cause) === sqliteBusy) {
      throw new SqliteFileError('sqlite.in_use', `cannot open ${file}: another process has it open`, {
        cause,
      });
    }
    throw new SqliteFileError('sqlite.failed', `cannot open ${file}: ${describeSystemError(cause)}`, {
      cause,
    });
  }
}

/** Opens a shared file that another process may be writing. @throws what SQLite throws, for example if it is not there */
export function readSqliteFile(file: string): DatabaseSync {
  return new DatabaseSync(file, { readOnly: true, timeout: patienceMs });
}

/** Whether the tables are there: whoever makes a file makes them a moment later. */
export function hasTables(database: DatabaseSync): boolean {
  return versionOf(database) > 0;
}

/** Runs `work` in one transaction. @throws what `work` or SQLite throws, after which nothing has changed */
export function inTransaction(database: DatabaseSync, work: () => void): void {
  database.exec('BEGIN IMMEDIATE');
  try {
    work();
    database.exec('COMMIT');
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK');
    throw error;
  }
}

/** @param column - of a STRICT table, declared BLOB NOT NULL @returns the same memory */
export function bytesOf(column: unknown): Buffer {
  assert.ok(column instanceof Uint8Array, 'a column of bytes');
  return Buffer.from(column.buffer, column.byteOffset, column.byteLength);
}

function prepareSchema(
  database: DatabaseSync,
  file: string,
  { schema, schemaVersion }: SqliteFileSettings,
): void {
  database.exec('BEGIN EXCLUSIVE');
  const version = versionOf(database);
  if (version > schemaVersion) {
    const versions = `it has version ${version}, this program knows ${schemaVersion}`;
    throw new SqliteFileError('sqlite.newer', `cannot open ${file}: ${versions}`);
  }
  if (version === 0) database.exec(`${schema} PRAGMA user_version = ${schemaVersion};`);
  database.exec('COMMIT');
}

function versionOf(database: DatabaseSync): number {
  return Number(database.prepare('PRAGMA user_version').get()?.['user_version']);
}
