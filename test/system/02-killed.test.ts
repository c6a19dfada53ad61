/** Any one process of the demo is killed with SIGKILL and comes back: is anything lost, or stored twice? */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import type { DemoSummary } from '../../cli/demo/summary.ts';
import { childrenOf, startPlombe, until } from './process.ts';

/** By the end of what runs it, and what it logs whenever it has started. */
const victims = {
  'vendor/broker.yaml': 'broker.listening',
  'vendor/backend.yaml': 'backend.listening',
  'vendor/bpm.yaml': 'bpm.started',
  'vendor/registrar.yaml': 'registrar.started',
  'ms-acc-1/broker.yaml': 'broker.listening',
  'ms-acc-2/auditor.yaml': 'auditor.started',
  'ms-acc-1/agent-1.yaml': 'agent.started',
  'ms-acc-3/agent-2.yaml': 'agent.started',
};

test('demo: one program after another is killed; nothing is lost and nothing stored twice', async (context) => {
  const directory = mkdtempSync(path.join(tmpdir(), 'plombe-killed-'));
  const demo = startPlombe(['demo', '--dir', directory, '--json']);
  context.after(async () => {
    demo.process.kill('SIGTERM');
    await demo.finished;
    rmSync(directory, { recursive: true, force: true });
  });
  const pid = demo.process.pid ?? 0;
  const stored = (): number =>
    Number([...demo.output().matchAll(/\b6 devices, .* delivered, (\d+) stored/g)].at(-1)?.[1]);
  const starts = (victim: string, event: string): number => {
    const log = path.join(directory, 'logs', `${victim.replace('/', '-').replace('.yaml', '')}.log`);
    return readFileSync(log, 'utf8').split(`"${event}"`).length - 1;
  };
  await until('every device has stored something', () => stored() >= 10);
  for (const victim of Object.keys(victims)) {
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
  for (const [victim, event] of Object.entries(victims))
    await until(`${victim} has started again`, () => starts(victim, event) >= 2);
  const before = stored();
  await until('more is stored, and a person is asked', () => {
    return stored() > before + 30 && demo.output().includes('held: sign in at');
  });
  demo.process.kill('SIGTERM');
  const { status, stdout, stderr } = await demo.finished;
  assert.equal(status, 0, `${stderr}${stdout}`);
  const summary = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as DemoSummary;
  assert.ok(summary.restarts >= Object.keys(victims).length);
  assert.deepEqual([summary.lost, summary.denied, summary.duplicated], [0, 0, 0]);
  assert.ok(summary.held >= 1, 'what waits for a person waits over the death of its auditor');
  assert.equal(summary.stored + summary.held, summary.sealed);
});
