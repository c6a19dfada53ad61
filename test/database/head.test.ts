import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { columnsOf, decodePairs, encodePairs, findNumber, measurable } from '../../database/head.ts';
import type { ChannelPair } from '../../database/head.ts';

const value = fc.oneof(
  fc.double(),
  fc.boolean(),
  fc.string({ unit: 'grapheme' }),
  fc.constantFrom(-0, NaN, Infinity, -Infinity, '],[7,8', '"', '[7,1]', ',["'),
);
const pairs: fc.Arbitrary<ChannelPair[]> = fc
  .uniqueArray(fc.tuple(fc.integer({ min: 1, max: 40 }), value), { selector: ([id]) => id, maxLength: 40 })
  .chain((made) =>
    fc.constantFrom(
      made,
      made.toSorted(([a], [b]) => a - b),
    ),
  );

test('encodePairs: any pairs come back', () => {
  fc.assert(
    fc.property(pairs, (made) => {
      const found = new Map(decodePairs(encodePairs(made)));
      assert.equal(found.size, made.length);
      for (const [id, wanted] of made) assert.ok(Object.is(found.get(id), wanted), `${id}`);
    }),
    { numRuns: 2000 },
  );
});

test('findNumber: finds what decoding finds', () => {
  fc.assert(
    fc.property(pairs, fc.integer({ min: 1, max: 41 }), (made, id) => {
      const wanted = measurable(new Map(made).get(id) ?? null);
      assert.ok(Object.is(findNumber(encodePairs(made), id), wanted));
    }),
    { numRuns: 5000 },
  );
});

test('encodePairs: channels whose ids follow one another share a group', () => {
  const texts: ChannelPair[] = [
    [3, 'a'],
    [4, 'b'],
  ];
  assert.equal(
    String(encodePairs([[1, 1.5], [2, -0], ...texts, [5, true]])),
    '[[1,1.5,-0],[5,true],[3,"a","b"]]',
  );
  assert.equal(String(encodePairs([])), '[]');
  assert.deepEqual(decodePairs(Buffer.from('[[1,2],[2,3]]')), [
    [1, 2],
    [2, 3],
  ]);
});

test('columnsOf: each channel has what decoding finds, in every snapshot, whatever its neighbours are', () => {
  fc.assert(
    fc.property(fc.array(pairs, { maxLength: 6 }), (snapshots) => {
      const payloads = snapshots.map(encodePairs);
      const columns = columnsOf(payloads);
      const ids = new Set(snapshots.flatMap((made) => made.map(([id]) => id)));
      assert.deepEqual(new Set(columns.keys()), ids);
      for (const [id, column] of columns) {
        assert.equal(column.length, snapshots.length);
        for (const [index, made] of snapshots.entries())
          assert.ok(Object.is(column[index], new Map(made).get(id) ?? null), `${id} in ${index}`);
      }
    }),
    { numRuns: 1000 },
  );
});
