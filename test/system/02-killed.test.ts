/** Any one process of the demo is killed with SIGKILL and comes back: is anything lost, or stored twice? */
import assert from 'node:assert/strict';
import test from 'node:test';
import type { DemoSummary } from '../../cli/demo/summary.ts';
import { childrenOf, startPlombe, until } from './process.ts';

const victims = [
  'vendor/broker.yaml',
  'vendor/backend.yaml',
  'vendor/bpm.yaml',
  'vendor/registrar.yaml',
  'ms-acc-1/broker.yaml',
  'ms-acc-2/auditor.yaml',
  'ms-acc-1/agent-1.yaml',
  'ms-acc-3/agent-2.yaml',
];

test('demo: one program after another is killed; nothing is lost and nothing stored twice', async () => {
  const demo = startPlombe(['demo', '--for', '45', '--json']);
  const pid = demo.process.pid ?? 0;
  await until('every device has stored something', () =>
    /\b6 devices, \d+ sealed, \d+ delivered, [1-9]\d+ stored/.test(demo.output()),
  );
  for (const victim of victims) {
    const find = (): number | undefined =>
      Array.from(childrenOf(pid)).find(([command]) => command.endsWith(victim))?.[1];
    const killed = find();
    assert.ok(killed !== undefined, `${victim} runs`);
    process.kill(killed, 'SIGKILL');
    await until(`${victim} runs again`, () => {
      const now = find();
      return now !== undefined && now !== killed;
    });
  }
  const { status, stdout, stderr } = await demo.finished;
  assert.equal(status, 0, stderr);
  const summary = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as DemoSummary;
  assert.ok(summary.restarts >= victims.length);
  assert.deepEqual([summary.lost, summary.denied, summary.duplicated], [0, 0, 0]);
  assert.ok(summary.held >= 1, 'what waits for a person waits over the death of its auditor');
  assert.equal(summary.stored + summary.held, summary.sealed);
});
