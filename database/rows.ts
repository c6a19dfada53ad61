/** Tables as rows, whatever they mean: for what treats all of them alike. */
import type { Pool, PoolConnection } from 'mysql2';
import type { Database } from './connect.ts';
import { bindable } from './sqlite-dialect.ts';
import { inSnapshot } from './statements.ts';
import type { SqlValue } from './statements.ts';

export interface Table {
  readonly name: string;
  readonly columns: readonly string[];
  /** In the order of the key. */
  readonly key: readonly string[];
}

export type Row = Readonly<Record<string, SqlValue>>;

const sqliteTables = `select name from sqlite_schema where type = 'table' and name not like 'sqlite_%' order by name`;
const mysqlTables = `select table_name as name from information_schema.tables
  where table_schema = database() and table_type = 'BASE TABLE' order by table_name`;
const oneTable = {
  sqlite: `select name from sqlite_schema where type = 'table' and name = ?`,
  mysql: `select table_name as name from information_schema.tables where table_schema = database() and table_name = ?`,
} as const;
const sqliteColumns = 'select name, pk from pragma_table_info(?) order by cid';
const mysqlColumns = `select c.column_name as name, coalesce(s.seq_in_index, 0) as pk from information_schema.columns c
  left join information_schema.statistics s on s.table_schema = c.table_schema and s.table_name = c.table_name
    and s.column_name = c.column_name and s.index_name = 'PRIMARY'
  where c.table_schema = database() and c.table_name = ? order by c.ordinal_position`;

/** @returns every table of the database, by name */
export async function readTables(database: Database): Promise<Table[]> {
  const isSqlite = database.engine === 'sqlite';
  return inSnapshot(database, async (statements) => {
    const names = await statements.all<{ name: string }>(isSqlite ? sqliteTables : mysqlTables, []);
    const tables: Table[] = [];
    for (const { name } of names) {
      const columns = await statements.all<{ name: string; pk: number }>(
        isSqlite ? sqliteColumns : mysqlColumns,
        [name],
      );
      const key = columns.filter(({ pk }) => pk > 0).toSorted((a, b) => a.pk - b.pk);
      tables.push({
        name,
        columns: columns.map((column) => column.name),
        key: key.map((column) => column.name),
      });
    }
    return tables;
  });
}

export async function hasTable(database: Database, name: string): Promise<boolean> {
  const found = await inSnapshot(database, (statements) => statements.all(oneTable[database.engine], [name]));
  return found.length > 0;
}

/** Names come from the database itself, and `user` is a word of SQL's. */
export function quotedName(database: Database, name: string): string {
  const mark = database.engine === 'sqlite' ? '"' : '`';
  return `${mark}${name.replaceAll(mark, mark + mark)}${mark}`;
}

/**
 * One row after another in the order of the key. The connection is taken until the end.
 *
 * @param after - values of the key: only what follows
 */
export async function* streamRows(
  database: Database,
  table: Table,
  after?: readonly SqlValue[],
): AsyncGenerator<Row> {
  const name = (text: string): string => quotedName(database, text);
  // (a, b) > (x, y), spelled out: MySQL finds no range for the short form.
  const following = table.key.map(
    (column, index) =>
      `(${[...table.key.slice(0, index).map((before) => `${name(before)} = ?`), `${name(column)} > ?`].join(' and ')})`,
  );
  const values = after === undefined ? [] : table.key.flatMap((_, index) => after.slice(0, index + 1));
  const where = after === undefined ? '' : ` where ${following.join(' or ')}`;
  const order = table.key.length === 0 ? '' : ` order by ${table.key.map(name).join(', ')}`;
  const sql = `select ${table.columns.map(name).join(', ')} from ${name(table.name)}${where}${order}`;
  if (database.engine === 'sqlite') {
    const raw = await database.exclusively((connection) => connection);
    for (const row of raw.prepare(sql).iterate(...values.map(bindable))) yield row as Row;
    return;
  }
  const connection = await takeConnection(database.pool);
  let isWhole = false;
  try {
    for await (const row of connection.query(sql, [...values]).stream()) yield row as Row;
    isWhole = true;
  } finally {
    // Rows that nobody has read would be the answer to the next question.
    if (isWhole) connection.release();
    else connection.destroy();
  }
}

/** The one of callbacks: its promised sister cannot stream. */
function takeConnection(pool: Pool): Promise<PoolConnection> {
  return new Promise((resolve, reject) => {
    pool.getConnection((error, connection) => (error === null ? resolve(connection) : reject(error)));
  });
}

export async function countRows(database: Database, { name }: Table): Promise<number> {
  return inSnapshot(database, async (statements) => {
    const [row] = await statements.all<{ n: number }>(
      `select count(*) as n from ${quotedName(database, name)}`,
      [],
    );
    return row?.n ?? 0;
  });
}
