import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { SubscriptionTree } from '../../../broker/routing/subscription-tree.ts';
import { filterCovers } from '../../../domain/topic.ts';

const level = fc.constantFrom('a', 'b', '', '$s');
const topic = fc.array(level, { minLength: 1, maxLength: 4 }).map((levels) => levels.join('/'));
const filter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { minLength: 0, maxLength: 4 }), fc.boolean())
  .filter(([levels, hash]) => levels.length > 0 || hash)
  .map(([levels, hash]) => [...levels, ...(hash ? ['#'] : [])].join('/'));

test('SubscriptionTree: finds exactly the filters that cover the topic, after any additions and removals', () => {
  fc.assert(
    fc.property(fc.array(filter, { maxLength: 12 }), fc.array(filter), topic, (added, removed, name) => {
      const tree = new SubscriptionTree<string>();
      for (const one of added) tree.add(one, one);
      for (const one of removed) tree.remove(one, one);
      const left = new Set(added.filter((one) => !removed.includes(one)));
      const expected = [...left].filter((one) => filterCovers(one, name));
      assert.deepEqual(tree.match(name).toSorted(), expected.toSorted());
    }),
    { numRuns: 2000 },
  );
});
