import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { createTimeOrderedIds } from '../../bpm/time-ordered-id.ts';

const fixed = (bytes: number): Uint8Array => new Uint8Array(bytes).fill(0xff);

void test('createTimeOrderedIds: the time, version 7, the counter, the variant', () => {
  // The time of RFC 9562 appendix A.6.
  const next = createTimeOrderedIds(() => 0x017f22e279b0, fixed);
  assert.equal(next(), '017f22e2-79b0-7000-bfff-ffffffffffff');
  assert.equal(next(), '017f22e2-79b0-7001-bfff-ffffffffffff');
});

void test('createTimeOrderedIds: each is greater than the one before, whatever the clock does', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 1, maxLength: 50 }), (steps) => {
      let nowMs = 1000;
      const next = createTimeOrderedIds(() => nowMs, fixed);
      let last = '';
      for (const step of steps) {
        nowMs += step - 2;
        const id = next();
        assert.ok(id > last);
        last = id;
      }
    }),
  );
});

void test('createTimeOrderedIds: more of them than the counter has in one millisecond', () => {
  const next = createTimeOrderedIds(() => 1, fixed);
  const ids = Array.from({ length: 10_000 }, next);
  assert.deepEqual(ids.toSorted(), ids);
  assert.equal(new Set(ids).size, ids.length);
});
