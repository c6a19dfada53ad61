/** Appends to a record for ever and says what is durable; a test kills it. */
import assert from 'node:assert/strict';
import { openRecord } from '../../auditor/record.ts';
import { parseNamespacePath } from '../../domain/namespace.ts';
import { loadE2eIdentity } from '../../pki/identity.ts';
import { owner, passage, timeMs } from '../ledger/written.ts';

const [directory = '', identity = ''] = process.argv.slice(2);
const scope = parseNamespacePath(owner);
assert.ok(scope);
const { signature } = loadE2eIdentity(identity);
const record = openRecord(directory, scope, timeMs);
for (let sequence = record.counts().entries + 1; ; sequence += 3) {
  record.append([0, 1, 2].map((more) => ({ passage: passage(sequence + more), channelNames: undefined })));
  process.stdout.write(`${sequence + 2}\n`);
  if (sequence % 4 === 0) record.appendHead(signature, timeMs);
}
