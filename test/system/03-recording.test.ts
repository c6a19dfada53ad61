/** Does a whole recording arrive, each row once? NASA C-MAPSS FD001: 20,631 cycles of 100 engines. */
import assert from 'node:assert/strict';
import path from 'node:path';
import test from 'node:test';
import type { DemoSummary } from '../../cli/demo/summary.ts';
import { plombe } from './process.ts';

const recording = path.resolve(import.meta.dirname, '../../../shared/data/cmapss/train_FD001.txt.gz');

test('demo --replay: FD001 is stored whole, none twice, and every kind of workflow has run', async () => {
  const { status, stdout, stderr } = await plombe(
    'demo',
    '--replay',
    recording,
    '--format',
    'cmapss',
    '--json',
  );
  assert.equal(status, 0, `${stderr}${stdout}`);
  const summary = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as DemoSummary;
  assert.deepEqual(
    [summary.devices, summary.sealed, summary.stored, summary.lost, summary.duplicated],
    [100, 20_631, 20_631, 0, 0],
  );
  for (const [kind, count] of Object.entries(summary.workflows))
    assert.ok(count > 0, `no ${kind} workflow ran`);
});
