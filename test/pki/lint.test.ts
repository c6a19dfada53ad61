import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { lint } from '../../pki/authority/lint.ts';
import type { LintQuestion } from '../../pki/authority/lint.ts';
import { profiles } from '../../pki/authority/profiles.ts';
import type { ProfileName } from '../../pki/authority/profiles.ts';
import type { AuthorityPosition } from '../../pki/discipline.ts';
import { clientAuth, rogueCertificate, serverAuth } from './rogue-authority.ts';
import type { Rogue, RogueRequest } from './rogue-authority.ts';

const nowMs = Date.now();
const hourMs = 3_600_000;
const root = rogueCertificate({ commonName: 'root', ca: { pathLength: 2 } });
const master = rogueCertificate({ issuer: root, commonName: 'ms-acc-1', ca: { pathLength: 1 } });
const notAuthority = rogueCertificate({ issuer: root, commonName: 'ms-acc-1', keyUsage: ['keyCertSign'] });
const masterPosition: AuthorityPosition = { position: 'namespace', path: 'ms-acc-1' };
const rootPosition: AuthorityPosition = { position: 'root' };

interface Case {
  readonly profile?: ProfileName;
  readonly issuer?: Rogue;
  readonly position?: AuthorityPosition;
  readonly draft?: RogueRequest;
}

function question({
  profile = 'tls-client',
  issuer = master,
  position = masterPosition,
  draft = {},
}: Case): LintQuestion {
  const { certificate } = rogueCertificate({
    issuer,
    commonName: 'ms-acc-1',
    extendedKeyUsage: [clientAuth],
    notBeforeMs: issuer.certificate.notBeforeMs,
    notAfterMs: nowMs + hourMs,
    ...draft,
  });
  const above = { certificate: issuer.certificate, position };
  return { draft: certificate, profile: profiles[profile], issuer: above, atMs: nowMs };
}

test('lint: lets pass what is right', () => {
  lint(question({}));
  lint(question({ profile: 'tls-broker', draft: { extendedKeyUsage: [serverAuth, clientAuth] } }));
  lint(question({ profile: 'sig', draft: { extendedKeyUsage: [] } }));
  lint(question({ profile: 'enc', draft: { keyUsage: ['keyAgreement'], extendedKeyUsage: [] } }));
  const keyPair = generateKeyPairSync('ml-kem-768');
  const kem: RogueRequest = { keyPair, keyUsage: ['keyEncipherment'], extendedKeyUsage: [] };
  lint(question({ profile: 'kem', draft: kem }));
  const account: RogueRequest = { ca: { pathLength: 0 }, commonName: 'ms-acc-1/acc-1', extendedKeyUsage: [] };
  lint(question({ profile: 'account-authority', draft: account }));
  lint({ draft: root.certificate, profile: profiles.root, issuer: undefined, atMs: nowMs });
});

for (const [fault, refused] of [
  ['on no curve of ours', { draft: { curve: 'secp256k1' } }],
  ['basic constraints differ', { draft: { ca: {} } }],
  ['path length differs', { profile: 'account-authority', draft: { ca: {}, commonName: 'ms-acc-1/acc-1' } }],
  ['key usage differs', { draft: { keyUsage: ['digitalSignature', 'keyAgreement'] } }],
  ['key usage differs', { draft: { keyUsage: [] } }],
  ['extended key usage differs', { draft: { extendedKeyUsage: [serverAuth, clientAuth] } }],
  [
    'critical extension',
    { draft: { extensions: [{ oid: '1.2.3', isCritical: true, value: Buffer.of(5, 0) }] } },
  ],
  ['serial number is shorter', { draft: { serialNumber: Buffer.alloc(15, 1) } }],
  ['never be valid', { draft: { notBeforeMs: nowMs + hourMs, notAfterMs: nowMs + hourMs } }],
  ['never be valid', { draft: { notAfterMs: nowMs - hourMs } }],
  ['ms-acc-1 may not give that name', { draft: { commonName: 'ms-acc-10' } }],
  ['root may not give that name', { issuer: root, position: rootPosition }],
  ['may not give that name', { profile: 'account-authority', draft: { ca: { pathLength: 0 } } }],
  ['issuer is not a CA', { issuer: notAuthority }],
  ['not below that of its issuer', { profile: 'master-account-authority', draft: { ca: { pathLength: 1 } } }],
  ['before its issuer', { draft: { notBeforeMs: master.certificate.notBeforeMs - 1000 } }],
  ['longer than its issuer', { draft: { notAfterMs: master.certificate.notAfterMs + 1000 } }],
  ['names another issuer', { draft: { issuerDer: root.certificate.subjectDer } }],
  [
    "key is its issuer's",
    { draft: { keyPair: { privateKey: master.key, publicKey: master.certificate.publicKey } } },
  ],
] as const satisfies readonly (readonly [string, Case])[]) {
  test(`lint: refuses: ${fault}`, () => {
    assert.throws(() => lint(question(refused)), { code: 'pki.lint', message: new RegExp(fault) });
  });
}

test('lint: a server below the account, an issuer that expired and one without a key identifier are refused', () => {
  const account = rogueCertificate({ issuer: master, commonName: 'ms-acc-1/acc-1', ca: { pathLength: 0 } });
  const device = question({
    profile: 'tls-broker',
    issuer: account,
    position: { position: 'namespace', path: 'ms-acc-1/acc-1' },
    draft: { commonName: 'ms-acc-1/acc-1/dev-1', extendedKeyUsage: [serverAuth, clientAuth] },
  });
  assert.throws(() => lint(device), { code: 'pki.lint', message: /: a device cannot be a server$/ });
  const old = rogueCertificate({ issuer: root, commonName: 'ms-acc-1', ca: {}, notAfterMs: nowMs - hourMs });
  assert.throws(() => lint(question({ issuer: old })), {
    code: 'pki.lint',
    message: /its issuer has expired/,
  });
  const right = question({});
  const issuer = {
    certificate: { ...master.certificate, subjectKeyIdentifier: undefined },
    position: masterPosition,
  };
  assert.throws(() => lint({ ...right, issuer }), { code: 'pki.lint', message: /authority key identifier/ });
});

test('lint: a key of ML-KEM is for its own profile, and no other key is', () => {
  const keyPair = generateKeyPairSync('ml-kem-768');
  const draft = { keyUsage: ['keyEncipherment'], extendedKeyUsage: [] } as const;
  const small = generateKeyPairSync('ml-kem-512');
  for (const wrong of [
    question({ profile: 'kem', draft }),
    question({ profile: 'kem', draft: { ...draft, keyPair: small } }),
    question({ profile: 'sig', draft: { keyPair, extendedKeyUsage: [] } }),
  ]) {
    assert.throws(() => lint(wrong), { code: 'pki.lint', message: /not of the kind that its profile has/ });
  }
});

test('lint: an RSA key is refused', () => {
  const keyPair = generateKeyPairSync('rsa', { modulusLength: 2048 });
  assert.throws(() => lint(question({ draft: { keyPair } })), {
    code: 'pki.lint',
    message: /no curve of ours/,
  });
});

test('lint: names every fault at once', () => {
  const wrong = question({ draft: { commonName: 'MRO-Admin', curve: 'secp256k1', keyUsage: [] } });
  assert.throws(() => lint(wrong), {
    message: /"MRO-Admin": its key .*; its key usage .*; ms-acc-1 may not/,
  });
});
