import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { topicText } from '../../../broker/packets/topic-text.ts';

test('topicText: whatever came before, it is the text of these octets, or undefined if they are no UTF-8', () => {
  // Few different ones, short and long, so that many come again; and octets of every kind.
  const octets = fc.oneof(
    fc
      .constantFrom('', 'a', 'b', 'ms-acc-1/acc-1/dev-1/status', 'ü/€/😀', '\uFEFFa', 'x'.repeat(300))
      .map((text) => Buffer.from(text)),
    fc.uint8Array({ maxLength: 3 }).map((bytes) => Buffer.from(bytes)),
  );
  fc.assert(
    fc.property(fc.array(octets, { minLength: 1, maxLength: 50 }), (topics) => {
      const data = Buffer.concat(topics);
      let start = 0;
      for (const topic of topics) {
        const expected = isUtf8(topic) ? topic.toString('utf8') : undefined;
        assert.equal(topicText(data, start, start + topic.length), expected);
        start += topic.length;
      }
    }),
  );
});

test('topicText: two topics with one hash keep each their own text', () => {
  // 31 * 'A' + 'a' = 31 * 'B' + 'B'.
  const data = Buffer.from('AaBBAaBB');
  for (const [start, text] of ['Aa', 'BB', 'Aa', 'BB'].entries())
    assert.equal(topicText(data, 2 * start, 2 * start + 2), text);
});

test('topicText: what it knows does not change with the chunk that it was read from', () => {
  const data = Buffer.from('once/and/again');
  assert.equal(topicText(data, 0, data.length), 'once/and/again');
  data.fill('#');
  assert.equal(topicText(data, 0, data.length), '##############');
  assert.equal(topicText(Buffer.from('once/and/again'), 0, data.length), 'once/and/again');
});
