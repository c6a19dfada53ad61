import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import type { TestContext } from 'node:test';
import { createAuthority } from '../../pki/authority/authority.ts';
import type { Authority } from '../../pki/authority/authority.ts';
import { BrokerLists } from '../../pki/broker-lists.ts';
import { verifyPath } from '../../pki/path.ts';
import type { VerifiedIdentity } from '../../pki/path.ts';
import { RecordedLog } from '../runtime/recorded-log.ts';
import { temporaryDirectory, tlsBundleOf } from './lists.ts';

const name = 'vendor-broker';

interface Desk {
  readonly authority: Authority;
  readonly broker: VerifiedIdentity;
  readonly directory: string;
  readonly recorded: RecordedLog;
  readonly open: () => BrokerLists;
}

async function openDesk(context: TestContext): Promise<Desk> {
  const authority = createAuthority({ directory: path.join(temporaryDirectory(context), 'pki') });
  const directory = temporaryDirectory(context);
  const roots = [authority.roots.tls];
  const { certificates } = await authority.issue({ path: name, kinds: ['tls'], hosts: ['localhost'] });
  const broker = verifyPath({
    chain: certificates.tls?.chain ?? [],
    roots,
    atMs: Date.now(),
    purpose: 'tls-server',
  });
  const recorded = new RecordedLog();
  const open = (): BrokerLists => new BrokerLists({ directory, roots, clock: Date.now, log: recorded.log });
  return { authority, broker, directory, recorded, open };
}

test('BrokerLists: a broker that is revoked stays it, over restarts and whatever is told later', async (context) => {
  const { authority, broker, directory, recorded, open } = await openDesk(context);
  const first = open();
  first.requireUnrevoked(broker); // no list is here, and it is from a broker that one comes
  const before = tlsBundleOf(authority);
  first.take(before);
  first.requireUnrevoked(broker);
  await authority.revoke({ target: { path: name } });
  first.take(tlsBundleOf(authority));
  const later = open();
  for (const lists of [first, later]) {
    for (const payload of [before, tlsBundleOf(authority), Buffer.alloc(0), Buffer.from('nonsense')])
      lists.take(payload);
    assert.throws(() => lists.requireUnrevoked(broker), { code: 'pki.revoked' });
  }
  assert.deepEqual(
    recorded.records.map(({ event, ...fields }) => [event, fields['reason']]),
    [
      ['crl.applied', undefined],
      ['crl.applied', undefined],
      ['crl.refused', 'pki.crl_rollback'],
      ['crl.refused', 'pki.malformed_crl'],
      ['crl.refused', 'pki.crl_rollback'],
      ['crl.refused', 'pki.malformed_crl'],
    ],
  );
  writeFileSync(path.join(directory, 'tls-crl.pem'), 'damaged');
  assert.throws(open, /tls-crl\.pem/);
});

test('BrokerLists: what cannot be stored counts all the same, and is said', async (context) => {
  const { authority, broker, directory, recorded, open } = await openDesk(context);
  const lists = open();
  // A directory of the file's name: also root cannot replace it by a file.
  mkdirSync(path.join(directory, 'tls-crl.pem', 'in the way'), { recursive: true });
  await authority.revoke({ target: { path: name } });
  lists.take(tlsBundleOf(authority));
  assert.throws(() => lists.requireUnrevoked(broker), { code: 'pki.revoked' });
  assert.equal(recorded.records.at(-1)?.['reason'], 'not_kept');
});

test('BrokerLists: a fault of our own is not taken for one of the lists', async (context) => {
  const { authority, directory, recorded } = await openDesk(context);
  const roots = new Proxy([authority.roots.tls], {
    get: () => {
      throw new TypeError('ours');
    },
  });
  const lists = new BrokerLists({ directory, roots, clock: Date.now, log: recorded.log });
  assert.throws(() => lists.take(tlsBundleOf(authority)), TypeError);
});
