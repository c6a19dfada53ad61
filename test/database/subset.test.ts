/**
 * Is what we ask of MariaDB also MySQL's and TiDB's language? Neither is at hand, so it is read: what they reserve and MariaDB
 * does not, and what MariaDB alone has.
 */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import type { Database } from '../../database/connect.ts';
import { readTables } from '../../database/rows.ts';
import { freshDatabase } from './engines.ts';

const root = path.resolve(import.meta.dirname, '../..');
const folders = ['database', 'backend', 'bpm', 'cli'];

// https://dev.mysql.com/doc/mysqld-version-reference/en/keywords.html, 8.0 to 9.6, and
// https://docs.pingcap.com/tidb/stable/keywords/, without what MariaDB reserves too.
const reserved: ReadonlySet<string> = new Set(
  (
    'array cube cume_dist dense_rank empty external first_value function generated get grouping groups ilike io_after_gtids ' +
    'io_before_gtids json_table lag last_value lateral lead library manual master_bind nth_value ntile of optimizer_costs ' +
    'parallel percent_rank qualify rank row row_number stored system tablesample virtual window'
  ).split(' '),
);

const beyond: readonly (readonly [what: string, pattern: RegExp])[] = [
  ['RETURNING', /\breturning\b/],
  ['IF NOT EXISTS of a column or an index', /\badd (column|index|key) if (not )?exists\b/],
  ['CREATE OR REPLACE of what is no view', /\bcreate or replace (?!view)/],
  ['a sequence', /\b(create sequence|next value for|nextval|lastval)\b/],
  ['a subquery on the table that is changed', /\b(?:update|delete from) (\w+)\b.*\b(?:from|join) \1\b/],
  ['a system-versioned table', /\bsystem (time|versioning)\b/],
  ['FETCH FIRST', /\bfetch (first|next)\b/],
  ['a new name for values of an insert, or VALUE()', /\bas new\b|= value\(/],
  ['a type of its own', / (uuid|inet4|inet6|xmltype)\b(?! *\()/],
  ['a lock that TiDB has not', /\b(lock in share mode|skip locked|lock tables)\b/],
  ['a limit of a change, which SQLite has not', /^(update|delete)\b.*\blimit\b/],
];

/** Of literals that begin like one, and of Kysely's `sql`; what is put together at run time stands for itself. */
function statementsIn(source: string): string[] {
  const literal =
    /(?:'((?:select|insert|update|delete|create|alter)\b[^'\n]*)'|`((?:select|insert|update|delete|create|alter)\b(?:\\.|[^`\\])*)`|\bsql(?:<[^>]*>)?`([^`]*)`)/g;
  return Array.from(source.matchAll(literal), ([, plain, template, part]) =>
    (plain ?? template ?? part ?? '').replaceAll(/\s+/g, ' '),
  );
}

/** @returns the words that stand for themselves: not quoted, not behind a point, not in a text */
function bareWords(statement: string): string[] {
  const words = statement
    .replaceAll(/'[^']*'|\\?`[^`]*`|\$\{[^}]*\}/g, ' ')
    .match(/\.?[a-z_][a-z0-9_]*(?! ?\()/g);
  return words ?? [];
}

const statements = folders
  .flatMap((folder) =>
    globSync('**/*.ts', { cwd: path.join(root, folder) }).map((file) => `${folder}/${file}`),
  )
  .flatMap((file) =>
    statementsIn(readFileSync(path.join(root, file), 'utf8')).map((text) => ({ file, text })),
  );

test('statements: none has a name that MySQL or TiDB reserves, or words that are MariaDB’s alone', () => {
  assert.ok(statements.length > 150, `only ${statements.length} were found`);
  for (const { file, text } of statements) {
    for (const word of bareWords(text)) assert.ok(!reserved.has(word), `${word} in ${file}: ${text}`);
    for (const [what, pattern] of beyond) assert.doesNotMatch(text, pattern, `${what} in ${file}`);
  }
});

test('statements: the rules bite', () => {
  assert.deepEqual(
    bareWords("select d.stored, `stored`, 'stored', stored from device").filter((word) => reserved.has(word)),
    ['stored'],
  );
  const wrong = [
    'insert into t (a) values (?) returning id',
    'alter table t add column if not exists a bigint',
    'delete from t where id in (select id from t where a = ?)',
    'create or replace table t (a bigint)',
  ];
  for (const text of wrong)
    assert.ok(
      beyond.some(([, pattern]) => pattern.test(text)),
      text,
    );
});

test('migrate: no name in the tables is reserved unless it is quoted where the table is made', async (context) => {
  const database: Database = await freshDatabase(context, 'mysql');
  const tables = await readTables(database);
  const names = tables.flatMap(({ name, columns }) => [name, ...columns]);
  assert.ok(names.length > 200);
  const sources = globSync('database/migrations/*.ts', { cwd: root })
    .map((file) => readFileSync(path.join(root, file), 'utf8'))
    .join('\n');
  for (const name of new Set(names.filter((one) => reserved.has(one))))
    assert.ok(
      sources.includes(`\\\`${name}\\\``) && !new RegExp(`[\`'(, ]${name} \\$\\{`).test(sources),
      `${name} is bare in a migration`,
    );
});
