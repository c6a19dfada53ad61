/** Does a snapshot travel the whole way, from six devices through two brokers into the database, unless its owner is asked first? */
import assert from 'node:assert/strict';
import test from 'node:test';
import type { DemoSummary } from '../../cli/demo/summary.ts';
import { plombe } from './process.ts';

test('demo: stores what was sealed and released, refuses the intruder, runs every workflow, and stops by itself', async () => {
  const { status, stdout, stderr } = await plombe('demo', '--for', '20', '--json');
  assert.equal(status, 0, `${stderr}${stdout}`);
  const summary = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as DemoSummary;
  assert.ok(summary.sealed > 0);
  assert.equal(summary.stored + summary.held, summary.sealed);
  assert.deepEqual([summary.lost, summary.denied, summary.duplicated, summary.devices], [0, 0, 0, 6]);
  assert.ok(summary.refused >= 2, 'a subscription and a publish were denied');
  for (const [kind, count] of Object.entries(summary.workflows))
    assert.ok(count > 0, `no ${kind} workflow ran`);
  assert.match(summary.dashboardUrl, /^http:\/\/127\.0\.0\.1:\d+$/);
  assert.match(stderr, /refused: \S+ may not subscribe ms-acc-1/);
  assert.match(stderr, /refused: \S+ may not publish ms-acc-1/);
});
