/** A process that takes policies, each newer than the one before, until it is killed, and says on stdout which hold. */
import { readFileSync, writeSync } from 'node:fs';
import { decode } from 'cborg';
import { parseNamespacePath } from '../../domain/namespace.ts';
import { parseCertificate } from '../../pki/certificate.ts';
import { RevocationLists } from '../../pki/revocation-lists.ts';
import { Policies } from '../../policy/policies.ts';
import { createLog } from '../../runtime/log.ts';
import { createMetrics } from '../../runtime/observe.ts';

const [directory = '', input = ''] = process.argv.slice(2);
const { root, messages }: { root: Uint8Array; messages: Uint8Array[] } = decode(readFileSync(input));
const device = parseNamespacePath('ms-acc-1/acc-1/dev-1');
if (device === undefined) throw new RangeError('no device');
const [metrics, log, roots] = [
  createMetrics(),
  createLog('writer', 'silent'),
  [parseCertificate(Buffer.from(root))],
];
const lists = new RevocationLists({ directory, roots, stalePolicy: { action: 'warn' }, metrics, log });
const policies = new Policies({ directory, roots, lists, clock: () => Date.now(), metrics, log });
for (const message of messages) {
  policies.take(device, Buffer.from(message));
  const [held] = policies.of(device);
  writeSync(1, `${held?.number ?? 0}\n`); // synchronous: what is written is with the parent, whatever comes next
}
