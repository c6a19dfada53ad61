import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { measurable } from '../../database/head.ts';
import { parseNumbers } from '../../database/number-parser.ts';
import { decodeNumbers, encodeColumn } from '../../database/payload.ts';

const short = fc
  .integer({ min: -1e9, max: 1e9 })
  .chain((digits) => fc.integer({ min: 0, max: 6 }).map((decimals) => digits / 10 ** decimals));

void test('parseNumbers: is JSON.parse, to the last bit', () => {
  for (const json of ['[]', '[0]', '[-0]', '[0.1,0.3,-12.5]', '[9007199254740991]'])
    assert.deepEqual([...(parseNumbers(Buffer.from(json)) ?? [NaN])], JSON.parse(json));
  assert.deepEqual([...(parseNumbers(Buffer.from('[null,1,null]')) ?? [])], [NaN, 1, NaN]);
  fc.assert(
    fc.property(fc.array(fc.oneof(short, fc.constant(-0))), (numbers) => {
      const json = `[${numbers.map((one) => (Object.is(one, -0) ? '-0' : String(one))).join(',')}]`;
      const found = parseNumbers(Buffer.from(json));
      if (found !== undefined) assert.deepEqual([...found], JSON.parse(json));
      else assert.match(json, /e|\d{16}/);
    }),
    { numRuns: 500 },
  );
});

void test('parseNumbers: leaves alone what it would not read as JSON.parse does', () => {
  for (const json of ['[1e21]', '[1E5]', '[true]', '["1"]', '[["NaN"]]', '[90071992547409931]', '[nan]'])
    assert.equal(parseNumbers(Buffer.from(json)), undefined, json);
});

void test('decodeNumbers: is what statistics take of each value', () => {
  const value = fc.oneof(fc.double(), short, fc.boolean(), fc.string(), fc.constant(null));
  fc.assert(
    fc.property(fc.array(value, { maxLength: 50 }), (column) => {
      const wanted = column.map((one) => measurable(one) ?? NaN);
      assert.deepEqual([...decodeNumbers(encodeColumn(column))], wanted);
    }),
    { numRuns: 500 },
  );
});
