/** A fresh database of each engine for a test, and its removal. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import type { TestContext } from 'node:test';
import { randomBytes } from 'node:crypto';
import mysql from 'mysql2/promise';
import type { Database } from '../../database/connect.ts';
import { connectDatabase } from '../../database/connect.ts';
import { migrate } from '../../database/migrate.ts';
import type { StorageForm } from '../../database/schema.ts';
import { chooseStorage, storageForms } from '../../database/storage-of.ts';

export const engines = ['sqlite', 'mysql'] as const;
export type EngineName = (typeof engines)[number];

/** @returns the URL of an empty database that is gone when the test is over */
export async function freshUrl(context: TestContext, engine: EngineName): Promise<string> {
  if (engine === 'sqlite') {
    const folder = mkdtempSync(path.join(tmpdir(), 'plombe-database-'));
    context.after(() => rmSync(folder, { recursive: true, force: true }));
    return `sqlite:${path.join(folder, 'plombe.db')}`;
  }
  const server = process.env['PLOMBE_TEST_MYSQL_URL'];
  if (server === undefined || server === '') {
    throw new Error(
      'PLOMBE_TEST_MYSQL_URL is not set. It names a MariaDB or MySQL server on which tests may create databases, ' +
        'for example mysql://root@localhost/mysql?socketPath=/tmp/mariadb.sock',
    );
  }
  const url = new URL(server);
  const name = `plombe_${randomBytes(6).toString('hex')}`;
  await onServer(url, `create database ${name} character set utf8mb4 collate utf8mb4_bin`);
  context.after(() => onServer(url, `drop database ${name}`));
  url.pathname = `/${name}`;
  return url.href;
}

async function onServer(url: URL, statement: string): Promise<void> {
  const socketPath = url.searchParams.get('socketPath');
  const connection = await mysql.createConnection({
    ...(socketPath === null ? { host: url.hostname, port: Number(url.port || 3306) } : { socketPath }),
    user: decodeURIComponent(url.username),
    password: decodeURIComponent(url.password),
  });
  try {
    await connection.query(statement);
  } finally {
    await connection.end();
  }
}

/** @returns a migrated database, closed and removed when the test is over */
export async function freshDatabase(
  context: TestContext,
  engine: EngineName,
  form: StorageForm = 'chunks',
): Promise<Database> {
  const url = await freshUrl(context, engine);
  const database = await connectDatabase(url);
  urls.set(database, url);
  context.after(() => database.close());
  await migrate(database);
  await chooseStorage(database, form);
  return database;
}

const urls = new WeakMap<Database, string>();

/** @returns where another program would find what `freshDatabase` made */
export function urlOf(database: Database): string {
  const url = urls.get(database);
  if (url === undefined) throw new Error('only what freshDatabase made has a URL here');
  return url;
}

/** Registers one test for each engine, `name [engine]`. */
export function testBoth(
  name: string,
  body: (context: TestContext, engine: EngineName) => Promise<void>,
): void {
  for (const engine of engines) {
    void test(`${name} [${engine}]`, (context) => body(context, engine));
  }
}

/** Registers one test for each engine and each form of storage, `name [engine, form]`. */
export function testForms(
  name: string,
  body: (context: TestContext, engine: EngineName, form: StorageForm) => Promise<void>,
): void {
  for (const form of storageForms) {
    for (const engine of engines) {
      void test(`${name} [${engine}, ${form}]`, (context) => body(context, engine, form));
    }
  }
}
