import assert from 'node:assert/strict';
import test from 'node:test';
import { Recent } from '../../cms/recent.ts';

test('Recent: makes each entry once, and forgets what was used longest ago', () => {
  const made: string[] = [];
  const recent = new Recent<string>(2);
  const get = (key: string) =>
    recent.get(key, () => {
      made.push(key);
      return key.toUpperCase();
    });
  for (const key of ['a', 'b', 'a', 'c', 'a', 'b']) assert.equal(get(key), key.toUpperCase());
  assert.deepEqual(made, ['a', 'b', 'c', 'b']);
});
