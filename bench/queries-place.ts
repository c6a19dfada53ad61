/** Where the bench of the queries keeps a database: a folder that stays, with a MariaDB of its own if that is the engine. */
import { mkdirSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { connectDatabase } from '../database/connect.ts';
import type { Database, MysqlDatabase } from '../database/connect.ts';
import { startMariadb } from '../scripts/mariadb.ts';
import { mariadbSettings } from './engines.ts';
import type { Engine } from './engines.ts';

export interface Place {
  readonly database: Database;
  /** The files of the database, after everything has been written to them. */
  bytes(): number;
  close(): Promise<void>;
}

export const mariadbPlaceText = `MariaDB with ${mariadbSettings.join(' ')}, over its Unix socket; every page read once`;

/** A server that has just started would read each page from the disk at the first question for it. */
export async function readOnce({ pool }: MysqlDatabase, table: string, column: string): Promise<void> {
  await pool.promise().query(`select max(length(${column})) from ${table}`);
}

/** @param name - of what it holds; another for each */
export async function openPlace(engine: Engine, parent: string, name: string): Promise<Place> {
  const folder = path.join(parent, `${engine}-${name}`);
  mkdirSync(folder, { recursive: true });
  if (engine === 'sqlite') {
    const database = await connectDatabase(`sqlite:${path.join(folder, 'plombe.db')}`);
    return { database, bytes: () => sizeOf(folder, /\.db$/), close: () => database.close() };
  }
  const server = await startMariadb(folder, mariadbSettings);
  const database = await connectDatabase(server.socketUrl);
  return {
    database,
    bytes: () => sizeOf(path.join(folder, 'data', 'plombe_test'), /\.ibd$/),
    close: async () => {
      await database.close();
      await server.stop();
    },
  };
}

function sizeOf(folder: string, pattern: RegExp): number {
  return readdirSync(folder)
    .filter((name) => pattern.test(name))
    .reduce((sum, name) => sum + statSync(path.join(folder, name)).size, 0);
}
