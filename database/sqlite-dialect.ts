/** Kysely over `node:sqlite`: one connection, whose users take turns. */
import type { DatabaseSync, SQLInputValue } from 'node:sqlite';
import { CompiledQuery, SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler } from 'kysely';
import type { DatabaseConnection, Dialect, Driver, QueryResult } from 'kysely';
import { sqliteBusy, sqliteResultOf } from '../runtime/sqlite-result.ts';

/** Lets one user at a time have the connection, in the order in which they asked. */
export class Turns {
  #last: Promise<void> = Promise.resolve();

  /** @returns when it is the caller's turn; the result ends the turn and must be called exactly once */
  async take(): Promise<() => void> {
    const before = this.#last;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#last = promise;
    await before;
    return resolve;
  }
}

/** Shorter than a program that stores without end leaves the lock free between two batches. */
const busyWaitMs = 2;
const busyWaitsMax = 5000;

/**
 * Runs `work` again while another connection has the write lock. SQLite could wait by itself, but it would stop
 * the event loop, and with it the other connection if that one is in this process.
 */
export async function whenFree<T>(work: () => T): Promise<T> {
  for (let waits = 0; ; waits++) {
    try {
      return work();
    } catch (error) {
      if (sqliteResultOf(error) !== sqliteBusy || waits === busyWaitsMax) throw error;
      await new Promise((resolve) => {
        setTimeout(resolve, busyWaitMs);
      });
    }
  }
}

/**
 * @param raw - an open connection; closed by `destroy`
 * @param turns - shared with whoever else uses `raw`
 */
export function sqliteDialect(raw: DatabaseSync, turns: Turns): Dialect {
  return {
    createAdapter: () => new SqliteAdapter(),
    createDriver: () => sqliteDriver(raw, turns),
    createIntrospector: (database) => new SqliteIntrospector(database),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  };
}

function sqliteDriver(raw: DatabaseSync, turns: Turns): Driver {
  const ends = new WeakMap<DatabaseConnection, () => void>();
  return {
    init: () => Promise.resolve(),
    acquireConnection: async () => {
      const end = await turns.take();
      const connection = sqliteConnection(raw);
      ends.set(connection, end);
      return connection;
    },
    // A transaction that reads first and writes later would fail with SQLITE_BUSY if another process wrote
    // in between (https://www.sqlite.org/isolation.html), so every one asks for the write lock at once.
    beginTransaction: (connection) => run(connection, 'begin immediate'),
    commitTransaction: (connection) => run(connection, 'commit'),
    rollbackTransaction: async (connection) => {
      // SQLite rolls back by itself after some errors, such as a full disk.
      if (raw.isTransaction) await run(connection, 'rollback');
    },
    releaseConnection: (connection) => {
      ends.get(connection)?.();
      return Promise.resolve();
    },
    destroy: () => {
      raw.close();
      return Promise.resolve();
    },
  };
}

async function run(connection: DatabaseConnection, sql: string): Promise<void> {
  await connection.executeQuery(CompiledQuery.raw(sql));
}

function sqliteConnection(raw: DatabaseSync): DatabaseConnection {
  return {
    executeQuery: <R>(query: CompiledQuery): Promise<QueryResult<R>> =>
      whenFree(() => execute<R>(raw, query)),
    streamQuery: () => {
      throw new Error('streaming is not used over node:sqlite: its rows come one by one from iterate()');
    },
  };
}

function execute<R>(raw: DatabaseSync, query: CompiledQuery): QueryResult<R> {
  const statement = raw.prepare(query.sql);
  const parameters = query.parameters.map(bindable);
  const names = statement.columns().map(({ name }) => name);
  if (names.length > 0) {
    // node:sqlite's own objects have no prototype, which deepEqual and some libraries trip over; to copy them takes as long
    // again as to read them, and lists do not (2,000 devices: 7.4 ms, and 3.3).
    statement.setReturnArrays(true);
    const rows = statement.all(...parameters) as unknown as readonly (readonly unknown[])[];
    return { rows: rows.map((values) => rowOf(names, values) as R) };
  }
  const { changes, lastInsertRowid } = statement.run(...parameters);
  return { rows: [], numAffectedRows: BigInt(changes), insertId: BigInt(lastInsertRowid) };
}

function rowOf(names: readonly string[], values: readonly unknown[]): Record<string, unknown> {
  const row: Record<string, unknown> = {};
  for (const [index, name] of names.entries()) row[name] = values[index];
  return row;
}

/** node:sqlite binds every number as REAL, and integer arithmetic with it would not be one. */
export function bindable(value: unknown): SQLInputValue {
  if (value === null || typeof value === 'string' || typeof value === 'bigint') return value;
  if (typeof value === 'number') {
    return Number.isSafeInteger(value) && !Object.is(value, -0) ? BigInt(value) : value;
  }
  if (typeof value === 'boolean') return value ? 1n : 0n;
  if (value instanceof Uint8Array) return value;
  throw new TypeError(`cannot bind a value of type ${typeof value}`);
}
