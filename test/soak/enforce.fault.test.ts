import assert from 'node:assert/strict';
import test from 'node:test';
import { soakEnforce } from '../../soak/enforce.ts';

test('enforce: auditor, customer’s broker and agents are killed, and what was released is all that left, once and in order', async () => {
  const { violations, figures } = await soakEnforce({
    minutes: 0,
    seed: 1,
    kills: 0,
    connections: 0,
    rate: 0,
    onProgress: () => undefined,
  });
  assert.deepEqual(violations, []);
  const count = (name: string): number => Number(figures[name]);
  for (const victim of ['customer/auditor', 'customer/broker', 'agent-free', 'agent-asked']) {
    assert.equal(count(victim), 1, victim);
  }
  assert.ok(count('crossed') > 5 && count('decided') > 0, JSON.stringify(figures));
  assert.ok(count('crossed') < count('sealed'), 'some were denied');
});
