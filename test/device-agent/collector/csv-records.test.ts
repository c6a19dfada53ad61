import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { readCsvRecords, recordLengthMax } from '../../../device-agent/collector/csv-records.ts';
import { gathered, inPieces } from './files.ts';

async function recordsOf(text: string, pieceLength = 1000, delimiter?: string) {
  return (await gathered(readCsvRecords(inPieces(text, pieceLength), delimiter))).flat();
}

const field = (text: string): string =>
  /[",\r\n]/.test(text) || text === '' ? `"${text.replaceAll('"', '""')}"` : text;

function written(rows: readonly (readonly string[])[], end: string): string {
  return rows.map((row) => row.map(field).join(',') + end).join('');
}

const cell = fc.string({ unit: fc.constantFrom('a', '1', ' ', ',', '"', '\n', '\r', 'é'), maxLength: 6 });
// One empty cell alone would be an empty line.
const table = fc.array(fc.array(cell, { minLength: 2, maxLength: 4 }), { maxLength: 6 });

test('readCsvRecords: reads what RFC 4180 writes, however it is cut into pieces', async () => {
  const end = fc.constantFrom('\n', '\r\n');
  await fc.assert(
    fc.asyncProperty(table, end, fc.integer({ min: 1, max: 7 }), async (rows, lineEnd, pieceLength) => {
      const records = await recordsOf(written(rows, lineEnd), pieceLength);
      assert.deepEqual(
        records.map((record) => ('fields' in record ? record.fields : record)),
        rows,
      );
    }),
  );
});

test('readCsvRecords: a record has the line on which it begins', async () => {
  assert.deepEqual(await recordsOf('a,b\r\n"x\r\ny",2\r\n\r\nc,d'), [
    { line: 1, fields: ['a', 'b'] },
    { line: 2, fields: ['x\r\ny', '2'] },
    { line: 5, fields: ['c', 'd'] },
  ]);
});

test('readCsvRecords: a stray quote costs its line and not the rest', async () => {
  for (const pieceLength of [1, 4, 1000]) {
    assert.deepEqual(await recordsOf('a,b\n1,x"y\n"1"2,3\n4,5\n"6,7\n8,9\n', pieceLength), [
      { line: 1, fields: ['a', 'b'] },
      { line: 2, fault: 'bad-quotes' },
      { line: 3, fault: 'bad-quotes' },
      { line: 4, fields: ['4', '5'] },
      { line: 5, fault: 'bad-quotes' },
      { line: 6, fields: ['8', '9'] },
    ]);
  }
});

test('readCsvRecords: a record that is too long is left out, and what follows keeps its line', async () => {
  const long = 'x'.repeat(3 * recordLengthMax);
  assert.deepEqual(await recordsOf(`a,b\n${long},1\nc,d\n`, 10_000), [
    { line: 1, fields: ['a', 'b'] },
    { line: 2, fault: 'line-too-long' },
    { line: 3, fields: ['c', 'd'] },
  ]);
});

test('readCsvRecords: takes another delimiter', async () => {
  assert.deepEqual(await recordsOf('a;"b;c"\n', 1000, ';'), [{ line: 1, fields: ['a', 'b;c'] }]);
});
