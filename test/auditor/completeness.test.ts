import assert from 'node:assert/strict';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import test from 'node:test';
import * as fc from 'fast-check';
import { measureAuditor } from '../../auditor/measures.ts';
import { ledgerFileName, openRecord } from '../../auditor/record.ts';
import { indexFileName } from '../../auditor/record-index.ts';
import type { Completeness } from '../../domain/audit-view.ts';
import { verifyLedger } from '../../ledger/verify.ts';
import { createMetrics } from '../../runtime/observe.ts';
import { temporaryFolder } from '../device-agent/collector/files.ts';
import { digestOf, passage, timeMs } from '../ledger/written.ts';
import { pathOf } from '../domain/policies.ts';
import { openStage } from './page-stage.ts';
import { device, publishPolicy, sealed, until } from './premises.ts';

const owner = pathOf('ms-acc-1');

test('StreamNumbers: whatever comes in whatever order, the gaps are those that the verification finds', (context) => {
  const folder = temporaryFolder(context);
  let run = 0;
  const came = fc.record({ sequence: fc.integer({ min: 1, max: 12 }), isOther: fc.boolean() });
  fc.assert(
    fc.property(fc.array(fc.array(came, { maxLength: 4 }), { maxLength: 5 }), (batches) => {
      const directory = path.join(folder, String(run++));
      const record = openRecord(directory, owner, timeMs);
      for (const [index, batch] of batches.entries()) {
        record.append(
          batch.map(({ sequence, isOther }, place) => ({
            passage: passage(sequence, {
              digest: digestOf(`${index} ${place}`),
              ...(isOther ? { topic: `${device}/shared/insurer/snapshots` } : {}),
            }),
            channelNames: undefined,
          })),
        );
      }
      const { numbers } = record.index;
      const plain = ({ stream, from, to }: { stream: string; from: number; to: number }) =>
        `${stream} ${from} ${to}`;
      const found = numbers.gaps(100).map(plain).toSorted();
      assert.equal(numbers.gapCount, found.length);
      record.close();
      const wanted = verifyLedger(path.join(directory, ledgerFileName)).gaps.map(plain).toSorted();
      assert.deepEqual(found, wanted);
      // An index of an earlier version has not followed them.
      const index = new DatabaseSync(path.join(directory, indexFileName));
      index.exec('DROP TABLE gap; DROP TABLE stream; DROP TABLE stream_use');
      index.close();
      const again = openRecord(directory, owner, timeMs);
      assert.deepEqual(again.index.numbers.gaps(100).map(plain).toSorted(), wanted);
      again.close();
    }),
    { numRuns: 40 },
  );
});

test('auditor: a gap, a fork and a missing number that comes after all are told as they happen, and shown', async (context) => {
  const { bench, auditor, vera } = await openStage(context);
  await publishPolicy(bench, 1, { auto: ['*'] });
  const one = sealed(bench, 1);
  const two = sealed(bench, 2, { previous: one });
  const four = sealed(bench, 4);
  await bench.send(one, four);
  const { from, to, stream } = await bench.recorded.event('audit.gap');
  assert.deepEqual([stream, from, to], [device, 2, 3]);
  await bench.send(two, sealed(bench, 2, { previous: one }));
  const closed = await bench.recorded.event('audit.gap_closed');
  assert.deepEqual([closed['stream'], closed['from'], closed['to']], [device, 2, 2]);
  const alarm = await bench.recorded.event('audit.alarm');
  assert.deepEqual([alarm['reason'], alarm['sequence']], ['audit.sequence_reused', 2]);
  await until(() => auditor.state().entries === 4);
  assert.equal(auditor.state().gaps, 1);
  const completenessOf = async (address: string): Promise<Completeness> =>
    (await vera.get(address)).body as Completeness;
  const all = await completenessOf('/api/completeness');
  assert.deepEqual(all.devices, [{ device, gaps: 1, forks: 1 }]);
  const [gap] = all.gaps;
  assert.deepEqual([gap?.stream, gap?.from, gap?.to, typeof gap?.sinceMs], [device, 3, 3, 'number']);
  const [fork] = all.forks;
  assert.deepEqual([fork?.stream, fork?.sequence, fork?.detail], [device, 2, alarm['detail']]);
  assert.deepEqual(await completenessOf(`/api/completeness?device=${device}`), all);
  const other = await completenessOf('/api/completeness?device=ms-acc-1/acc-1/dev-10');
  assert.deepEqual(other, { devices: [], gaps: [], forks: [] });
  assert.equal((await vera.get('/api/completeness?device=ms-acc-1')).status, 400);
});

test('StreamForks: what was held and then decided counts once, whatever else is wrong', (context) => {
  const record = openRecord(temporaryFolder(context), owner, timeMs);
  context.after(() => record.close());
  const wrong = (sequence: number, reason: string, outcome: 'held' | 'denied') => ({
    passage: passage(sequence, { digest: digestOf(`${sequence}`), outcome, alarm: { reason, detail: '' } }),
    channelNames: undefined,
  });
  record.append([
    wrong(1, 'audit.sequence_reused', 'held'),
    wrong(2, 'policy.rate', 'denied'),
    wrong(3, 'audit.chain_broken', 'denied'),
  ]);
  record.appendDecision(wrong(1, 'audit.sequence_reused', 'denied').passage);
  const { forks } = record.index;
  assert.deepEqual(
    forks.list(10).map(({ sequence, reason }) => [sequence, reason]),
    [
      [1, 'audit.sequence_reused'],
      [3, 'audit.chain_broken'],
    ],
  );
  assert.deepEqual(forks.byStream(10), [{ stream: device, count: 2 }]);
});

test('measureAuditor: what waits and since when, how large the ledger is, and how far the vendor is behind', async (context) => {
  const directory = temporaryFolder(context);
  const record = openRecord(directory, owner, timeMs);
  context.after(() => record.close());
  record.append([1, 2, 4].map((sequence) => ({ passage: passage(sequence), channelNames: undefined })));
  const metrics = createMetrics();
  const gate = { size: 2, oldestMs: timeMs };
  measureAuditor(metrics, { record, gate, countersigned: () => 3, clock: () => timeMs + 90_000 });
  const text = await metrics.registry.metrics();
  for (const [name, value] of [
    ['held_envelopes', 2],
    ['held_oldest_seconds', 90],
    ['ledger_leaves', 4],
    ['ledger_bytes', record.bytes],
    ['countersigned_leaves', 3],
    ['countersigned_lag_leaves', 1],
    ['gaps_open', 1],
  ] as const) {
    assert.match(text, new RegExp(`^plombe_auditor_${name} ${value}$`, 'm'));
  }
});
