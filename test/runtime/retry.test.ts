import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { backoffMs } from '../../runtime/retry.ts';

test('backoffMs: never above the ceiling, never below a tenth of it', () => {
  fc.assert(
    fc.property(fc.nat(1000), fc.double({ min: 0, max: 0.999, noNaN: true }), (attempt, random) => {
      const wait = backoffMs(attempt, { firstMs: 100, maxMs: 5000 }, () => random);
      const ceiling = Math.min(5000, 100 * 2 ** Math.min(attempt, 30));
      assert.ok(wait >= Math.round(ceiling / 10) && wait <= ceiling);
    }),
  );
});
