/** The words in which the two engines' table definitions differ. */

export type Engine = 'sqlite' | 'mysql';

/** One forward step. On MySQL every statement commits by itself, so each must bear running twice (`if not exists`). */
export interface Migration {
  /** For example `001-telemetry`; recorded, so never changed. */
  readonly name: string;
  readonly statements: (words: DdlWords) => readonly string[];
}

export interface DdlWords {
  readonly engine: Engine;
  /** An integer primary key that counts up by itself. */
  readonly id: string;
  /** Up to 2^53: ids, sequences, milliseconds. */
  readonly integer: string;
  readonly real: string;
  /** Compared byte by byte on both engines. */
  readonly text: (lengthMax: number) => string;
  /** Text of up to 64 KiB, not indexed. */
  readonly longText: string;
  readonly bytes: (lengthMax: number) => string;
  /** Bytes of up to 16 MiB, not indexed. */
  readonly longBytes: string;
  /** What ends a table whose rows rest in the order of its primary key. */
  readonly clustered: string;
  /** What ends a table with an `id`. */
  readonly plain: string;
  /** An index, inside a table's parentheses on MySQL and after them on SQLite. */
  readonly index: (table: string, name: string, columns: string) => string;
}

const mysqlTable = 'engine = InnoDB default character set utf8mb4 collate utf8mb4_bin';
/** For TiDB alone, whose servers else hand out ids in blocks of their own, out of the order of commits. */
const tidbIdsInOrder = '/*T![auto_id_cache] auto_id_cache 1 */';

export const ddlWords: Readonly<Record<Engine, DdlWords>> = {
  sqlite: {
    engine: 'sqlite',
    id: 'integer primary key autoincrement',
    integer: 'integer',
    real: 'real',
    text: () => 'text',
    longText: 'text',
    bytes: () => 'blob',
    longBytes: 'blob',
    clustered: 'without rowid',
    plain: '',
    index: (table, name, columns) => `create index if not exists ${table}_${name} on ${table} (${columns})`,
  },
  mysql: {
    engine: 'mysql',
    id: 'bigint not null auto_increment primary key',
    integer: 'bigint',
    real: 'double',
    text: (lengthMax) => `varchar(${lengthMax})`,
    longText: 'text',
    bytes: (lengthMax) => `varbinary(${lengthMax})`,
    longBytes: 'mediumblob',
    clustered: mysqlTable,
    plain: `${mysqlTable} ${tidbIdsInOrder}`,
    index: (table, name, columns) => `index ${table}_${name} (${columns})`,
  },
};

/** TiDB has no JSON_TABLE, which the view of all values is made of. Everything else works without it. */
export function isBeyond(version: string, statement: string): boolean {
  return isTidb(version) && statement.startsWith('create or replace view v_value');
}

/** @param version - what `select version()` says */
export function isTidb(version: string): boolean {
  return version.includes('-TiDB-');
}

/**
 * One table and its indexes.
 *
 * @param lines - columns and keys
 * @param indexes - name → columns
 */
export function tableStatements(
  words: DdlWords,
  name: string,
  lines: readonly string[],
  options: { readonly clustered?: true; readonly indexes?: Readonly<Record<string, string>> } = {},
): string[] {
  const indexes = Object.entries(options.indexes ?? {}).map(([index, columns]) =>
    words.index(name, index, columns),
  );
  const tail = options.clustered === true ? words.clustered : words.plain;
  // MySQL has no `create index if not exists`, so there the indexes stand inside the table.
  const inside = words.engine === 'mysql' ? [...lines, ...indexes] : lines;
  const table = `create table if not exists ${name} (\n  ${inside.join(',\n  ')}\n) ${tail}`.trimEnd();
  return words.engine === 'mysql' ? [table] : [table, ...indexes];
}
