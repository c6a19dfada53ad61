import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { limitsType } from '../../../broker/limits.ts';
import { noBytes } from '../../../broker/routing/message.ts';
import { RetainedMessages } from '../../../broker/routing/retained.ts';
import { filterCovers, isTopicFilter } from '../../../domain/topic.ts';

/** A store that keeps nothing. */
const store = { retained: () => [], putRetained: () => undefined, deleteRetained: () => undefined };
const level = fc.constantFrom('a', 'b', 'ab', '');
const topic = fc.array(level, { minLength: 1, maxLength: 5 }).map((levels) => levels.join('/'));
const filter = fc
  .array(fc.oneof(level, fc.constant('+'), fc.constant('#')), { minLength: 1, maxLength: 5 })
  .map((levels) => levels.join('/'))
  .filter(isTopicFilter);

test('RetainedMessages: a filter finds exactly what it covers, in order, after any puts and deletions', () => {
  const step = fc.record({ topic, isDeleted: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), fc.array(filter, { maxLength: 10 }), (steps, filters) => {
      const retained = new RetainedMessages(store, limitsType.parse({}));
      const model = new Set<string>();
      for (const one of steps) {
        const payload = Buffer.from(one.isDeleted ? '' : 'x');
        const content = { topic: one.topic, payload, properties: noBytes, expiresMs: undefined };
        assert.equal(retained.put({ ...content, qos: 1, retain: true, origin: 'client' }), undefined);
        if (one.isDeleted) model.delete(one.topic);
        else model.add(one.topic);
        assert.equal(retained.get(one.topic)?.topic, one.isDeleted ? undefined : one.topic);
      }
      assert.equal(retained.size, model.size);
      assert.deepEqual(new Set(retained.topicsFrom('client')), model);
      for (const asked of filters) {
        const wanted = [...model].filter((name) => filterCovers(asked, name)).toSorted();
        assert.deepEqual(
          retained.matching(asked).map((message) => message.topic),
          wanted,
        );
      }
    }),
    { numRuns: 300 },
  );
});
