import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import type { SqliteFileSettings } from '../../runtime/sqlite-file.ts';
import { bytesOf, inTransaction, openSqliteFile, readSqliteFile } from '../../runtime/sqlite-file.ts';

const directory = mkdtempSync(path.join(tmpdir(), 'plombe-sqlite-'));
after(() => rmSync(directory, { recursive: true, force: true }));
const settings: SqliteFileSettings = {
  locking: 'exclusive',
  pragmas: ['synchronous = FULL'],
  schema: 'CREATE TABLE thing (content BLOB NOT NULL) STRICT;',
  schemaVersion: 2,
};

test('openSqliteFile: makes folders and tables once, and finds them again', () => {
  const file = path.join(directory, 'a', 'b', 'things.sqlite');
  const first = openSqliteFile(file, settings);
  first.prepare('INSERT INTO thing VALUES (?)').run(Buffer.of(1, 2));
  first.close();
  const second = openSqliteFile(file, settings);
  assert.deepEqual(bytesOf(second.prepare('SELECT content FROM thing').get()?.['content']), Buffer.of(1, 2));
  assert.equal(second.prepare('PRAGMA user_version').get()?.['user_version'], 2);
  assert.equal(second.prepare('PRAGMA journal_mode').get()?.['journal_mode'], 'wal');
  second.close();
});

test('openSqliteFile: an exclusive file is locked at once, before anything is written', () => {
  const file = path.join(directory, 'locked.sqlite');
  openSqliteFile(file, settings).close();
  const holder = openSqliteFile(file, settings);
  assert.throws(() => openSqliteFile(file, settings), { code: 'sqlite.in_use', message: /another process/ });
  holder.close();
  openSqliteFile(file, settings).close();
});

test('openSqliteFile, readSqliteFile: who finds a shared file locked waits for its turn', async () => {
  const file = path.join(directory, 'shared.sqlite');
  const shared: SqliteFileSettings = { ...settings, locking: 'shared' };
  openSqliteFile(file, shared).close();
  for (const open of [() => openSqliteFile(file, shared), () => readSqliteFile(file)]) {
    // As it is while another one reads the log of a killed process back.
    const holder = new Worker(
      `const { DatabaseSync } = require('node:sqlite');
       const { parentPort, workerData } = require('node:worker_threads');
       const database = new DatabaseSync(workerData);
       database.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
       parentPort.postMessage('locked');
       setTimeout(() => database.close(), 300);`,
      { eval: true, workerData: file },
    );
    await once(holder, 'message');
    const ended = once(holder, 'exit');
    const database = open();
    assert.equal(database.prepare('SELECT count(*) AS things FROM thing').get()?.['things'], 0);
    database.close();
    await ended;
  }
});

test('openSqliteFile: a later version, no database, and a place where no file can be', () => {
  const newer = path.join(directory, 'newer.sqlite');
  openSqliteFile(newer, { ...settings, schemaVersion: 3 }).close();
  assert.throws(() => openSqliteFile(newer, settings), {
    code: 'sqlite.newer',
    message: /newer\.sqlite: it has version 3, this program knows 2$/,
  });
  const text = path.join(directory, 'text');
  writeFileSync(text, 'this is no database, and long enough to be seen as none'.repeat(20));
  assert.throws(() => openSqliteFile(text, settings), { code: 'sqlite.failed', message: /not a database/ });
  assert.throws(() => openSqliteFile(path.join(text, 'x.sqlite'), settings), {
    code: 'sqlite.failed',
    message: /x\.sqlite: /,
  });
});

test('inTransaction: what fails half-way has changed nothing, and the next one works', () => {
  const database = openSqliteFile(path.join(directory, 'half.sqlite'), settings);
  const add = database.prepare('INSERT INTO thing VALUES (?)');
  const count = (): unknown => database.prepare('SELECT count(*) AS things FROM thing').get()?.['things'];
  const half = (): void => {
    add.run(Buffer.of(1));
    throw new RangeError('half-way');
  };
  assert.throws(() => inTransaction(database, half), RangeError);
  assert.equal(count(), 0);
  inTransaction(database, () => void add.run(Buffer.of(1)));
  assert.equal(count(), 1);
  database.close();
});

test('bytesOf: what is not bytes is an error of ours', () => {
  for (const column of [null, undefined, 'text', 1])
    assert.throws(() => bytesOf(column), { code: 'ERR_ASSERTION' });
});
