/** Plain SQL for where it counts: the same text on both engines, prepared on SQLite, many rows at a time on MySQL. */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { Pool } from 'mysql2';
import type { PoolConnection, ResultSetHeader, RowDataPacket } from 'mysql2/promise';
import type { Database, SqliteDatabase } from './connect.ts';
import { isTransient } from './errors.ts';
import { bindable, whenFree } from './sqlite-dialect.ts';

export type SqlValue = string | number | Uint8Array | null;

/** What one transaction may do. `?` stands for a value. */
export interface Statements {
  all<R>(text: string, values: readonly SqlValue[]): Promise<R[]>;
  /** @param text - has one `in (?)`, which takes any number of keys */
  allIn<R>(text: string, keys: readonly SqlValue[]): Promise<R[]>;
  /** @returns the id of the row that an insert made */
  run(text: string, values: readonly SqlValue[]): Promise<number>;
  insertMany(
    table: string,
    columns: readonly string[],
    rows: readonly (readonly SqlValue[])[],
  ): Promise<void>;
  /** Inserts, or where the key is there already, sets every other column. */
  upsertMany(
    table: string,
    key: string,
    columns: readonly string[],
    rows: readonly (readonly SqlValue[])[],
  ): Promise<void>;
}

/** Rows of one MySQL statement that is prepared: it keeps one for each power of two up to here, for each table. */
const rowsPreparedMax = 256;
/** Rows of one MySQL statement: keeps it far below the smallest usual max_allowed_packet, 16 MiB. */
const rowsPerStatementMax = 500;
const bytesPerStatementMax = 4 * 1024 * 1024;
const attemptsMax = 5;

/** Runs `work` in one writing transaction; it may run more than once, because MySQL breaks deadlocks. */
export async function inTransaction<T>(
  database: Database,
  work: (statements: Statements) => Promise<T>,
): Promise<T> {
  if (database.engine === 'sqlite') return onSqlite(database, 'begin immediate', work);
  for (let attempt = 1; ; attempt++) {
    try {
      return await onMysql(database.pool, 'start transaction', work, async (connection) => {
        await connection.query('commit');
      });
    } catch (error) {
      if (!isTransient(error) || attempt === attemptsMax) throw error;
    }
  }
}

/** Runs `work`, which only reads, on the state of one moment: what moves between tables meanwhile is seen once. */
export async function inSnapshot<T>(
  database: Database,
  work: (statements: Statements) => Promise<T>,
): Promise<T> {
  if (database.engine === 'sqlite') return onSqlite(database, 'begin', work);
  // Without `read only`, which TiDB's grammar does not take beside it.
  const begin = 'start transaction with consistent snapshot';
  return onMysql(database.readers, begin, work, (connection) => {
    // Nothing waits for the end of what has only read: whoever has the connection next comes after it.
    connection.query('commit').catch(() => connection.destroy());
  });
}

function onSqlite<T>(
  database: SqliteDatabase,
  begin: string,
  work: (statements: Statements) => Promise<T>,
): Promise<T> {
  return database.exclusively(async (raw) => {
    await whenFree(() => raw.exec(begin));
    try {
      const result = await work(sqliteStatements(raw));
      raw.exec('commit');
      return result;
    } catch (error) {
      // SQLite rolls back by itself after some errors, such as a full disk.
      if (raw.isTransaction) raw.exec('rollback');
      throw error;
    }
  });
}

const preparedOf = new WeakMap<DatabaseSync, Map<string, StatementSync>>();

function prepare(raw: DatabaseSync, text: string): StatementSync {
  const prepared = preparedOf.get(raw) ?? new Map<string, StatementSync>();
  preparedOf.set(raw, prepared);
  const known = prepared.get(text);
  if (known !== undefined) return known;
  const statement = raw.prepare(text);
  prepared.set(text, statement);
  return statement;
}

/** The texts are constants of this folder, so the prepared statements stay few. */
function sqliteStatements(raw: DatabaseSync): Statements {
  const each = (text: string, rows: readonly (readonly SqlValue[])[]): Promise<void> => {
    const statement = prepare(raw, text);
    for (const row of rows) statement.run(...row.map(bindable));
    return Promise.resolve();
  };
  return {
    all: async <R>(text: string, values: readonly SqlValue[]) =>
      prepare(raw, text).all(...values.map(bindable)) as R[],
    allIn: async <R>(text: string, keys: readonly SqlValue[]) => {
      const statement = prepare(raw, text);
      return keys.flatMap((key) => statement.all(bindable(key)) as R[]);
    },
    run: async (text, values) => Number(prepare(raw, text).run(...values.map(bindable)).lastInsertRowid),
    insertMany: (table, columns, rows) => each(`insert into ${quoted(table)} ${valuesClause(columns)}`, rows),
    upsertMany: (table, key, columns, rows) => {
      const sets = columns
        .filter((column) => column !== key)
        .map((column) => `${quoted(column)} = excluded.${quoted(column)}`);
      return each(
        `insert into ${quoted(table)} ${valuesClause(columns)} on conflict (${quoted(key)}) do update set ${sets.join(', ')}`,
        rows,
      );
    },
  };
}

/** In MySQL's way, which SQLite reads too (https://www.sqlite.org/lang_keywords.html): a name may be a reserved word. */
function quoted(name: string): string {
  return `\`${name}\``;
}

function valuesClause(columns: readonly string[]): string {
  return `(${columns.map(quoted).join(', ')}) values (${columns.map(() => '?').join(', ')})`;
}

async function onMysql<T>(
  pool: Pool,
  begin: string,
  work: (statements: Statements) => Promise<T>,
  commit: (connection: PoolConnection) => void | Promise<void>,
): Promise<T> {
  const connection = await pool.promise().getConnection();
  let broken = false;
  try {
    await connection.query(begin);
    try {
      const result = await work(mysqlStatements(connection));
      await commit(connection);
      return result;
    } catch (error) {
      await connection.query('rollback').catch(() => {
        broken = true; // the connection is gone, and with it the transaction
      });
      throw error;
    }
  } finally {
    if (broken) connection.destroy();
    else connection.release();
  }
}

function mysqlStatements(connection: PoolConnection): Statements {
  const inSlices = async (
    head: string,
    tail: string,
    rows: readonly (readonly SqlValue[])[],
  ): Promise<void> => {
    // In a text, bytes are hexadecimal: twice as many, and two to three times the server's time.
    if (rows.some((row) => row.some((value) => value instanceof Uint8Array))) {
      for (const slice of powerSlices(rows)) {
        const values = slice.map((row) => `(${row.map(() => '?').join(', ')})`);
        await connection.execute(`${head} values ${values.join(', ')}${tail}`, slice.flatMap(mysqlRow));
      }
      return;
    }
    for (const slice of slices(rows))
      await connection.query(`${head} values ?${tail}`, [slice.map(mysqlRow)]);
  };
  return {
    all: async <R>(text: string, values: readonly SqlValue[]) => {
      const [rows] = await connection.query<RowDataPacket[]>(text, mysqlRow(values));
      return rows as R[];
    },
    allIn: async <R>(text: string, keys: readonly SqlValue[]) => {
      if (keys.length === 0) return [];
      const [rows] = await connection.query<RowDataPacket[]>(text, [mysqlRow(keys)]);
      return rows as R[];
    },
    run: async (text, values) => {
      const [result] = await connection.query<ResultSetHeader>(text, mysqlRow(values));
      return result.insertId;
    },
    insertMany: (table, columns, rows) =>
      inSlices(`insert into ${quoted(table)} (${columns.map(quoted).join(', ')})`, '', rows),
    upsertMany: (table, key, columns, rows) => {
      const sets = columns
        .filter((column) => column !== key)
        .map((column) => `${quoted(column)} = values(${quoted(column)})`);
      return inSlices(
        `insert into ${quoted(table)} (${columns.map(quoted).join(', ')})`,
        ` on duplicate key update ${sets.join(', ')}`,
        rows,
      );
    },
  };
}

/** mysql2 writes a Buffer as a literal, and any other Uint8Array as an object. */
function mysqlRow(values: readonly SqlValue[]): (string | number | Buffer | null)[] {
  return values.map((value) =>
    value instanceof Uint8Array ? Buffer.from(value.buffer, value.byteOffset, value.byteLength) : value,
  );
}

/** @returns each of as many rows as a power of two, so that few different statements are prepared */
function* powerSlices(rows: readonly (readonly SqlValue[])[]): Generator<readonly (readonly SqlValue[])[]> {
  for (let at = 0; at < rows.length;) {
    let size = rowsPreparedMax;
    while (size > 1 && (at + size > rows.length || bytesOf(rows.slice(at, at + size)) > bytesPerStatementMax))
      size /= 2;
    yield rows.slice(at, at + size);
    at += size;
  }
}

function bytesOf(rows: readonly (readonly SqlValue[])[]): number {
  return rows.reduce((sum, row) => sum + bytesOfRow(row), 0);
}

function bytesOfRow(row: readonly SqlValue[]): number {
  return row.reduce<number>((sum, value) => sum + (value instanceof Uint8Array ? 2 * value.length : 32), 0);
}

function* slices(rows: readonly (readonly SqlValue[])[]): Generator<(readonly SqlValue[])[]> {
  let slice: (readonly SqlValue[])[] = [];
  let bytes = 0;
  for (const row of rows) {
    slice.push(row);
    bytes += bytesOfRow(row);
    if (slice.length === rowsPerStatementMax || bytes >= bytesPerStatementMax) {
      yield slice;
      slice = [];
      bytes = 0;
    }
  }
  if (slice.length > 0) yield slice;
}
