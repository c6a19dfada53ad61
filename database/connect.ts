/** The two engines behind one door: SQLite in the process, or MySQL and MariaDB by a URL. */
import { X509Certificate } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { Kysely, MysqlDialect } from 'kysely';
import type { Transaction } from 'kysely';
import mysql from 'mysql2';
import type { Pool, PoolOptions, SslOptions } from 'mysql2';
import { describeSystemError } from '../runtime/config.ts';
import { chunkValues, inflatePayload } from './payload.ts';
import { DatabaseError, isTransient } from './errors.ts';
import type { Schema } from './schema.ts';
import { sqliteDialect, Turns, whenFree } from './sqlite-dialect.ts';

interface Shared {
  readonly kysely: Kysely<Schema>;
  /**
   * Runs `work` in one transaction. Inside it use what it is given, never `kysely`: on SQLite that would wait
   * for the transaction itself. It may run more than once, because MySQL breaks a deadlock by rolling one back.
   */
  transaction<T>(work: (transaction: Transaction<Schema>) => Promise<T>): Promise<T>;
  /** Waits for what is running, then closes. */
  close(): Promise<void>;
}

export interface SqliteDatabase extends Shared {
  readonly engine: 'sqlite';
  /** Has the connection alone until `work` is done, for prepared statements on the hot path. */
  exclusively<T>(work: (raw: DatabaseSync) => T | Promise<T>): Promise<T>;
}

export interface MysqlDatabase extends Shared {
  readonly engine: 'mysql';
  readonly pool: Pool;
  /** For what only reads, in transactions of one moment's state: their isolation is asked for once a connection. */
  readonly readers: Pool;
}

export type Database = SqliteDatabase | MysqlDatabase;

export interface ConnectOptions {
  /** MySQL only: of those that write, and as many of those that read. */
  readonly connectionsMax?: number;
  /** SQLite only: a file that is not there is not made. */
  readonly mustExist?: true;
}

/** How long SQLite itself may stop the event loop for another's lock; `whenFree` waits longer without that. */
const busyTimeoutMs = 2;
/**
 * 32 MiB in place of SQLite's 4: the newest snapshots are sealed and gone before they would be written a second time, and
 * there are fewer waits for the disk. It takes a twentieth of the time of storing away.
 */
const checkpointPages = 8192;
/** The write-ahead log is cut back to this when it is begun anew. */
const journalBytesMax = 64 * 1024 * 1024;
const connectionsMaxDefault = 8;
const connectTimeoutMs = 10_000;
const transactionAttemptsMax = 5;

/**
 * @param url - `sqlite:/absolute/file.db`, `sqlite::memory:`, or `mysql://user:password@host:port/database`,
 *   the latter with `?socketPath=/file` for a Unix socket, or with `?ca=/file` for TLS with a server whose certificate one of
 *   these CAs (PEM) has issued for the name in the URL
 * @throws DatabaseError `database.url`, `database.unavailable`
 */
export async function connectDatabase(url: string, options: ConnectOptions = {}): Promise<Database> {
  if (url.startsWith('sqlite:')) return connectSqlite(url.slice('sqlite:'.length), options);
  if (/^(mysql|mariadb):\/\//.test(url)) return connectMysql(url, options);
  throw new DatabaseError(
    'database.url',
    `wanted sqlite:FILE or mysql://…, got ${JSON.stringify(withoutPassword(url))}`,
  );
}

/** @returns the URL as it may be logged */
export function withoutPassword(url: string): string {
  return url.replace(/(:\/\/[^:/@]*):.*@/, '$1:…@'); // a password may have an @ of its own
}

async function connectSqlite(file: string, { mustExist }: ConnectOptions): Promise<SqliteDatabase> {
  const raw = await openSqlite(file, mustExist);
  const turns = new Turns();
  const kysely = new Kysely<Schema>({ dialect: sqliteDialect(raw, turns) });
  return {
    engine: 'sqlite',
    kysely,
    transaction: (work) => kysely.transaction().execute(work),
    exclusively: async (work) => {
      const end = await turns.take();
      try {
        return await work(raw);
      } finally {
        end();
      }
    },
    close: async () => {
      await turns.take(); // and keep the turn: nobody may follow
      if (raw.isOpen) raw.close();
    },
  };
}

/** To look first and open then would leave a moment in which the file can go. @see https://www.sqlite.org/uri.html */
function existing(file: string): URL {
  const url = pathToFileURL(file);
  url.searchParams.set('mode', 'rw');
  return url;
}

async function openSqlite(file: string, mustExist: true | undefined): Promise<DatabaseSync> {
  if (file !== ':memory:' && !path.isAbsolute(file)) {
    throw new DatabaseError(
      'database.url',
      `wanted an absolute path after sqlite:, got ${JSON.stringify(file)}`,
    );
  }
  try {
    const isFile = file !== ':memory:';
    if (isFile && !mustExist) mkdirSync(path.dirname(file), { recursive: true });
    const raw = new DatabaseSync(isFile && mustExist ? existing(file) : file, { timeout: busyTimeoutMs });
    try {
      // Before anything is written to a new file: its free pages can be given back (upkeep.ts).
      await whenFree(() => raw.exec('pragma auto_vacuum = incremental'));
      await whenFree(() => raw.exec('pragma journal_mode = wal'));
      raw.exec('pragma synchronous = full'); // an acknowledged snapshot survives a power cut, not only a crash
      raw.exec('pragma cache_size = -65536'); // KiB
      raw.exec(`pragma wal_autocheckpoint = ${checkpointPages}`);
      raw.exec(`pragma journal_size_limit = ${journalBytesMax}`);
      // The same name as MySQL's, so that the view of all values reads alike on both engines.
      raw.function('uncompress', { deterministic: true }, (payload) =>
        payload instanceof Uint8Array ? inflatePayload(payload) : null,
      );
      raw.function('chunk_values', { deterministic: true }, chunkValues);
      return raw;
    } catch (error) {
      raw.close();
      throw error;
    }
  } catch (cause) {
    throw new DatabaseError('database.unavailable', `cannot open ${file}: ${describeSystemError(cause)}`, {
      cause,
    });
  }
}

/** @param isolation - `read committed` sets no gap locks, which only cost us deadlocks */
function createPool(options: PoolOptions, isolation: 'read committed' | 'repeatable read'): Pool {
  const pool = mysql.createPool(options);
  pool.on('connection', (connection) => {
    // First on every connection, whatever the server's own is: strict types, UTC, and what stands alone is committed.
    connection.query(
      `set session sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', autocommit = 1`,
    );
    connection.query(`set session transaction isolation level ${isolation}`);
  });
  return pool;
}

function endPool(pool: Pool): Promise<void> {
  return new Promise((resolve, reject) => {
    pool.end((error) => (error === null || error === undefined ? resolve() : reject(error)));
  });
}

function connectMysql(url: string, options: ConnectOptions): MysqlDatabase {
  const settings = mysqlOptions(url, options);
  const pool = createPool(settings, 'read committed');
  const readers = createPool(settings, 'repeatable read');
  const kysely = new Kysely<Schema>({ dialect: new MysqlDialect({ pool }) });
  return {
    engine: 'mysql',
    kysely,
    pool,
    readers,
    transaction: async (work) => {
      for (let attempt = 1; ; attempt++) {
        try {
          return await kysely.transaction().execute(work);
        } catch (error) {
          if (!isTransient(error) || attempt === transactionAttemptsMax) throw error;
        }
      }
    },
    close: async () => {
      await Promise.all([endPool(pool), endPool(readers)]);
    },
  };
}

const realTypes: ReadonlySet<string> = new Set(['DOUBLE', 'FLOAT', 'NEWDECIMAL', 'DECIMAL']);

function realOf(text: string | null): number | null {
  return text === null ? null : Number(text);
}

function mysqlOptions(url: string, options: ConnectOptions): PoolOptions {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch (cause) {
    throw new DatabaseError('database.url', `not a URL: ${JSON.stringify(withoutPassword(url))}`, { cause });
  }
  const database = decodeURIComponent(parsed.pathname.slice(1));
  if (database === '')
    throw new DatabaseError('database.url', 'a mysql:// URL ends with the name of the database');
  const socketPath = parsed.searchParams.get('socketPath');
  const ssl = tlsOf(parsed);
  return {
    ...(socketPath === null
      ? {
          host: parsed.hostname.replaceAll(/[[\]]/g, ''),
          port: parsed.port === '' ? 3306 : Number(parsed.port),
        }
      : { socketPath }),
    ...(ssl === undefined ? {} : { ssl }),
    user: decodeURIComponent(parsed.username),
    password: decodeURIComponent(parsed.password),
    database,
    charset: 'utf8mb4_bin',
    timezone: 'Z',
    // Sums come as DECIMAL and counts as BIGINT; both are numbers to us as long as they are exact.
    supportBigNumbers: true,
    bigNumberStrings: false,
    // mysql2 computes a number from its digits by itself and misses by one in the last place.
    typeCast: (field, next) => (realTypes.has(field.type) ? realOf(field.string()) : next()),
    connectTimeout: connectTimeoutMs,
    connectionLimit: options.connectionsMax ?? connectionsMaxDefault,
  };
}

/** @returns undefined if TLS is not asked for; asked for, a server that has none is refused */
function tlsOf({ hostname, searchParams }: URL): SslOptions | undefined {
  const file = searchParams.get('ca');
  if (file === null) return undefined;
  if (!path.isAbsolute(file))
    throw new DatabaseError('database.url', `wanted an absolute path after ca=, got ${JSON.stringify(file)}`);
  // mysql2 would hold its certificate against the name localhost.
  if (searchParams.has('socketPath') || isIP(hostname.replaceAll(/[[\]]/g, '')) !== 0)
    throw new DatabaseError('database.url', 'ca= wants the server by the name in its certificate');
  try {
    const ca = readFileSync(file, 'utf8');
    void new X509Certificate(ca); // otherwise what is no certificate trusts nobody, and nobody says why
    return { ca, minVersion: 'TLSv1.2', rejectUnauthorized: true, verifyIdentity: true };
  } catch (cause) {
    throw new DatabaseError('database.url', `ca=${file}: ${describeSystemError(cause)}`, { cause });
  }
}
