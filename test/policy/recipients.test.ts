import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { PolicyRecipient } from '../../domain/policy.ts';
import { createAuthority } from '../../pki/authority/authority.ts';
import type { Certificate } from '../../pki/certificate.ts';
import type { E2eIdentity } from '../../pki/identity.ts';
import { loadE2eIdentity } from '../../pki/identity.ts';
import { verifyPath } from '../../pki/path.ts';
import { readersOf } from '../../policy/recipients.ts';

const insurer = 'ms-acc-1/insurer';
const folder = mkdtempSync(path.join(tmpdir(), 'plombe-recipients-'));
let own: E2eIdentity;
let foreign: E2eIdentity;
before(async () => {
  for (const tree of ['own', 'foreign']) {
    const authority = createAuthority({ directory: path.join(folder, tree) });
    await authority.issue({ path: insurer, outputDirectory: path.join(folder, `${tree}-insurer`) });
  }
  own = loadE2eIdentity(path.join(folder, 'own-insurer'));
  foreign = loadE2eIdentity(path.join(folder, 'foreign-insurer'));
});
after(() => rmSync(folder, { recursive: true }));

const dayMs = 24 * 3_600_000;

function resolve(recipient: PolicyRecipient, atMs = Date.now()): readonly Certificate[] {
  const { roots, keyAgreement } = own;
  const configured = [
    verifyPath({ chain: keyAgreement.chain, roots, atMs: Date.now(), purpose: 'key-agreement' }),
  ];
  return readersOf(recipient, { configured, roots, atMs }).map(({ certificate }) => certificate);
}

function chainOf({ keyAgreement }: E2eIdentity): Uint8Array[] {
  return keyAgreement.chain.map(({ der }) => der);
}

test('readersOf: by the name of the configuration, by a chain of our tree, or pinned from anywhere', () => {
  const expected = [own.keyAgreement.certificate.sha256];
  const digestsOf = (found: readonly Certificate[]): Buffer[] => found.map(({ sha256 }) => sha256);
  assert.deepEqual(digestsOf(resolve({ name: insurer, trust: 'configured', certificates: [] })), expected);
  assert.deepEqual(
    digestsOf(resolve({ name: insurer, trust: 'chain', certificates: chainOf(own) })),
    expected,
  );
  const [leaf = Buffer.alloc(0)] = chainOf(foreign);
  assert.deepEqual(digestsOf(resolve({ name: 'A stranger', trust: 'pinned', certificates: [leaf] })), [
    foreign.keyAgreement.certificate.sha256,
  ]);
});

test('readersOf: nobody under another name, from another tree, for another use, or out of time', () => {
  const [leaf = Buffer.alloc(0)] = chainOf(foreign);
  const signature = own.signature.certificate.der;
  const refused: readonly (readonly [string, PolicyRecipient, number?])[] = [
    ['policy.unknown_recipient', { name: 'ms-acc-1', trust: 'configured', certificates: [] }],
    ['policy.unknown_recipient', { name: 'ms-acc-1', trust: 'chain', certificates: chainOf(own) }],
    ['pki.untrusted', { name: insurer, trust: 'chain', certificates: chainOf(foreign) }],
    [
      'pki.key_usage',
      { name: insurer, trust: 'chain', certificates: own.signature.chain.map(({ der }) => der) },
    ],
    ['policy.unknown_recipient', { name: insurer, trust: 'pinned', certificates: [signature] }],
    ['policy.unknown_recipient', { name: insurer, trust: 'pinned', certificates: [chainOf(own)[1] ?? leaf] }],
    ['pki.malformed_certificate', { name: insurer, trust: 'pinned', certificates: [Buffer.from('no')] }],
    [
      'policy.unknown_recipient',
      { name: insurer, trust: 'pinned', certificates: [leaf] },
      Date.now() - dayMs,
    ],
    [
      'policy.unknown_recipient',
      { name: insurer, trust: 'pinned', certificates: [leaf] },
      Date.now() + 9999 * dayMs,
    ],
    ['pki.expired', { name: insurer, trust: 'chain', certificates: chainOf(own) }, Date.now() + 9999 * dayMs],
  ];
  for (const [code, recipient, atMs] of refused) {
    assert.throws(
      () => resolve(recipient, atMs),
      { code },
      JSON.stringify([code, recipient.name, recipient.trust]),
    );
  }
});
