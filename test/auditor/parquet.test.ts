import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { parquetPieces } from '../../auditor/parquet.ts';
import { readParquet } from './parquet-reader.ts';

const naughty = JSON.parse(
  readFileSync(path.resolve(import.meta.dirname, '../../../shared/data/naughty_strings/blns.json'), 'utf8'),
) as string[];

test('parquetPieces: every kind of cell comes back, from several row groups and as many pieces', async () => {
  const columns = { entry: 'count', at: 'time', channel: 'text', value: 'value' } as const;
  const values = [1.5, -0, 0, true, false, 'text', '', NaN, Infinity, -Infinity, Number.MIN_VALUE, undefined];
  const rows = Array.from({ length: 1000 }, (_, row) => ({
    entry: row === 7 ? undefined : Number.MAX_SAFE_INTEGER - row,
    at: row === 8 ? undefined : new Date(row * 1e9 - 1),
    channel: `channel.${row % 5}`,
    value: values[row % values.length],
  }));
  const { pieces, groups, rows: found } = await readParquet(parquetPieces(columns, rows, 300));
  assert.deepEqual(groups, [300, 300, 300, 100]);
  assert.equal(pieces, 4, 'the last with the footer');
  const only = (value: unknown, type: string): unknown => (typeof value === type ? value : null);
  // Strict: -0 is not 0, and NaN is NaN.
  assert.deepEqual(
    found,
    rows.map(({ entry, at, channel, value }) => ({
      entry: entry === undefined ? null : BigInt(entry),
      at: at ?? null,
      channel,
      number: only(value, 'number'),
      text: only(value, 'string'),
      flag: only(value, 'boolean'),
    })),
  );
});

test('parquetPieces: -0 is kept where a column has few values', async () => {
  const rows = Array.from({ length: 500 }, (_, row) => ({ value: row % 2 === 0 ? 0 : -0 }));
  const { rows: found } = await readParquet(parquetPieces({ value: 'value' }, rows));
  assert.deepEqual(
    found.map(({ number }) => number),
    rows.map(({ value }) => value),
  );
});

test('parquetPieces: naughty strings come back as they were', async () => {
  const rows = naughty.map((text) => ({ name: text, value: text }));
  const { groups, rows: found } = await readParquet(
    parquetPieces({ name: 'text', value: 'value' }, rows, 100),
  );
  assert.ok(groups.length > 3);
  assert.deepEqual(
    found.map(({ name, text }) => [name, text]),
    naughty.map((text) => [text, text]),
  );
});

test('parquetPieces: a table without rows is a file with its columns', async () => {
  const { metadata, groups, rows } = await readParquet(parquetPieces({ entry: 'count', value: 'value' }, []));
  assert.deepEqual(
    metadata.schema.map(({ name }) => name),
    ['schema', 'entry', 'number', 'text', 'flag'],
  );
  assert.deepEqual([metadata.num_rows, groups, rows], [0n, [], []]);
});

test('parquetPieces: columns without any value, and times that no date reaches', async () => {
  const latest = 8.64e15;
  const times = [new Date(latest), latest + 1, Number.MAX_SAFE_INTEGER, 1e300, Infinity, NaN];
  const rows = times.map((at) => ({ at }));
  const { rows: found } = await readParquet(
    parquetPieces({ at: 'time', entry: 'count', value: 'value' }, rows),
  );
  const wanted = [new Date(latest), BigInt(latest) + 1n, BigInt(Number.MAX_SAFE_INTEGER), null, null, null];
  const none = { entry: null, number: null, text: null, flag: null };
  assert.deepEqual(
    found,
    wanted.map((at) => ({ at, ...none })),
  );
});

test('parquetPieces: a row group has thousands of rows', async () => {
  const rows = Array.from({ length: 4001 }, (_, entry) => ({ entry }));
  const { groups } = await readParquet(parquetPieces({ entry: 'count' }, rows));
  assert.deepEqual(groups, [4000, 1]);
});

test('parquetPieces: long texts end a row group early', async () => {
  const rows = Array.from({ length: 50 }, (_, row) => ({ detail: String(row).padEnd(200_000, '.') }));
  const { groups, rows: found } = await readParquet(parquetPieces({ detail: 'text' }, rows));
  assert.deepEqual(groups, [21, 21, 8]);
  assert.deepEqual(
    found.map(({ detail }) => detail),
    rows.map(({ detail }) => detail),
  );
});
