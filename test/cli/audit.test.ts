import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { signHead } from '../../ledger/tree-head.ts';
import { certificatesToPem } from '../../pki/certificate.ts';
import { makeParties, openAt, owner, passage, timeMs } from '../ledger/written.ts';
import { plombe } from '../system/process.ts';

test('plombe audit: verifies a ledger, proves an entry and a continuation, and says what is wrong', async (context) => {
  const parties = await makeParties(context);
  const { folder, roots } = parties;
  const [file, root, head, proof] = ['egress.ledger', 'root.pem', 'head.p7', 'proof.json'].map((name) =>
    path.join(folder, name),
  ) as [string, string, string, string];
  const signer = parties.signerOf(owner);
  const ledger = openAt(file);
  ledger.append([1, 2, 3, 6].map((sequence) => passage(sequence)));
  ledger.appendHead(signer, timeMs);
  writeFileSync(head, signHead(ledger.head, signer, timeMs));
  writeFileSync(root, certificatesToPem(roots));
  ledger.append([passage(7)]);
  ledger.appendHead(signer, timeMs);
  ledger.close();

  const verified = await plombe('audit', 'verify', file, '--root', root, '--head', head);
  assert.deepEqual([verified.status, verified.stderr], [0, '']);
  assert.match(
    verified.stdout,
    /5 envelopes, 5000 bytes, 0 alarms; 6 entries in all\ngaps: 1\n {2}ms-acc-1\/acc-1\/dev-1 #4 to #5\n/,
  );
  assert.match(
    verified.stdout,
    /no number was used twice\nroot [0-9a-f]{64}\n6 entries with root [0-9a-f]{64} signed by ms-acc-1 at .*\nok\n$/,
  );

  assert.equal((await plombe('audit', 'prove', file, '3', '--output', proof)).status, 0);
  const checked = await plombe('audit', 'check-proof', proof, '--root', root);
  assert.equal(checked.status, 0, checked.stderr);
  assert.match(checked.stdout, /^Entry 3 is in the ledger:[^]*"sequence": 3,/);
  assert.equal((await plombe('audit', 'consistency', file, '5', '--output', proof)).status, 0);
  assert.match((await plombe('audit', 'check-proof', proof, '--head', head)).stdout, /^The tree of 5 leaves/);
  writeFileSync(proof, readFileSync(proof, 'utf8').replace('"size": 5', '"size": 4'));
  const refused = await plombe('audit', 'check-proof', proof);
  assert.deepEqual([refused.status, refused.stdout], [1, '']);

  const bytes = readFileSync(file);
  const at = bytes.indexOf('vendor-snapshot-service', bytes.indexOf('vendor-snapshot-service') + 1);
  bytes.write('v', at + 7);
  writeFileSync(file, bytes);
  const damaged = await plombe('audit', 'verify', file, '--json');
  assert.equal(damaged.status, 1);
  const { fault } = JSON.parse(damaged.stdout) as { fault: { reason: string; leaf: number } };
  assert.deepEqual([fault.reason, fault.leaf], ['damaged', 2]);
  assert.equal((await plombe('audit', 'prove', file, 'x')).status, 2);
});
