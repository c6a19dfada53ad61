import assert from 'node:assert/strict';
import { copyFileSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import test from 'node:test';
import type { TestContext } from 'node:test';
import { ledgerFileName, openRecord } from '../../auditor/record.ts';
import { indexFileName } from '../../auditor/record-index.ts';
import type { NamespacePath } from '../../domain/namespace.ts';
import { parseNamespacePath } from '../../domain/namespace.ts';
import { temporaryFolder } from '../device-agent/collector/files.ts';
import { owner, passage, timeMs } from '../ledger/written.ts';

const scope = ((): NamespacePath => {
  const parsed = parseNamespacePath(owner);
  assert.ok(parsed);
  return parsed;
})();

/** @param bytes - of an envelope, so that records of two folders differ in length */
function recorded(context: TestContext, envelopes: number, bytes: number): string {
  const folder = temporaryFolder(context);
  const record = openRecord(folder, scope, timeMs);
  for (let sequence = 1; sequence <= envelopes; sequence++)
    record.append([{ passage: passage(sequence, { bytes }), channelNames: ['level'] }]);
  record.close();
  return folder;
}

test('openRecord: the ledger of another auditor in its place is refused, and not taken for what a crash has left', (context) => {
  const [here, elsewhere] = [recorded(context, 3, 10), recorded(context, 30, 100_000)];
  copyFileSync(path.join(elsewhere, ledgerFileName), path.join(here, ledgerFileName));
  assert.throws(() => openRecord(here, scope, timeMs), { code: 'record.damaged' });
  assert.deepEqual(
    readFileSync(path.join(here, ledgerFileName)),
    readFileSync(path.join(elsewhere, ledgerFileName)),
  );
});

test('openRecord: an index of an earlier version learns which ledger it is of', (context) => {
  const [here, elsewhere] = [recorded(context, 3, 10), recorded(context, 3, 10)];
  const index = new DatabaseSync(path.join(here, indexFileName));
  index.exec('DROP TABLE mark');
  index.close();
  const record = openRecord(here, scope, timeMs);
  record.append([{ passage: passage(4), channelNames: ['level'] }]);
  record.close();
  openRecord(here, scope, timeMs).close();
  copyFileSync(path.join(elsewhere, ledgerFileName), path.join(here, ledgerFileName));
  assert.throws(() => openRecord(here, scope, timeMs), { code: 'record.damaged' });
});

test('EgressRecord: what the ledger took when the index failed is new to who tries it again, once', (context) => {
  const folder = temporaryFolder(context);
  const record = openRecord(folder, scope, timeMs);
  const entries = [1, 2].map((sequence) => ({ passage: passage(sequence), channelNames: ['level'] }));
  const index = new DatabaseSync(path.join(folder, indexFileName));
  index.exec("CREATE TRIGGER full BEFORE INSERT ON leaf BEGIN SELECT RAISE(ABORT, 'disk full'); END");
  for (let attempt = 1; attempt <= 2; attempt++)
    assert.throws(() => record.append(entries), { code: 'record.storage' });
  index.exec('DROP TRIGGER full');
  index.close();
  const numbers = (): unknown[] => record.append(entries).map(({ number }) => number);
  // They count against limits and are kept, as they would have been the first time.
  assert.deepEqual(
    [numbers(), numbers()],
    [
      [2, 3], // behind the ledger's first leaf and the names of the channels
      [undefined, undefined],
    ],
  );
  assert.equal(record.counts().entries, 2);
  record.close();
});
