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
