import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import * as fc from 'fast-check';
import type { Authority, IssuedIdentity } from '../../pki/authority/authority.ts';
import { createAuthority } from '../../pki/authority/authority.ts';
import { encodeName } from '../../pki/authority/encode.ts';
import { certificateKinds } from '../../pki/authority/profiles.ts';
import type { CertificateKind } from '../../pki/authority/profiles.ts';
import type { Certificate } from '../../pki/certificate.ts';
import { parseCertificate } from '../../pki/certificate.ts';
import { purposeNames, requireUnrevoked, verifyPath } from '../../pki/path.ts';
import type { PathQuestion, Purpose } from '../../pki/path.ts';
import { RevocationIndex } from '../../pki/revocation.ts';
import { clientAuth, rogueCertificate, rogueCrl, serverAuth, stolenAuthority } from './rogue-authority.ts';
import type { Rogue, RogueRequest } from './rogue-authority.ts';

const directory = mkdtempSync(join(tmpdir(), 'plombe-path-'));
const nowMs = Date.now();
const dayMs = 86_400_000;
let authority: Authority;
let device: IssuedIdentity;
let root: Rogue;
let vendor: Rogue;
let master: Rogue;
let account: Rogue;

before(async () => {
  authority = createAuthority({ directory: join(directory, 'pki'), clock: () => nowMs });
  device = await authority.issue({ path: 'ms-acc-1/acc-1/dev-1' });
  root = stolenAuthority(authority, 'tls', 'root');
  vendor = stolenAuthority(authority, 'tls', 'vendor');
  master = stolenAuthority(authority, 'tls', 'ms-acc-1');
  account = stolenAuthority(authority, 'tls', 'ms-acc-1/acc-1');
});
after(() => rmSync(directory, { recursive: true, force: true }));

function chainOf(identity: IssuedIdentity, kind: CertificateKind): readonly Certificate[] {
  const chain = identity.certificates[kind]?.chain;
  assert.ok(chain);
  return chain;
}

function verifyTls(chain: readonly Certificate[], question: Partial<PathQuestion> = {}) {
  return verifyPath({ chain, roots: [authority.roots.tls], atMs: nowMs, purpose: 'tls-client', ...question });
}

/** A leaf for a TLS client, by whoever. */
function tlsLeaf(request: RogueRequest): Certificate {
  return rogueCertificate({ extendedKeyUsage: [clientAuth], ...request }).certificate;
}

/** The same certificate with something replaced in its bytes. */
function patched(certificate: Certificate, find: Buffer, put: Buffer): Certificate {
  const at = certificate.der.lastIndexOf(find);
  assert.ok(at >= 0 && find.length === put.length);
  const der = Buffer.from(certificate.der);
  put.copy(der, at);
  return parseCertificate(der);
}

const purposesOf: Record<CertificateKind, Purpose> = {
  tls: 'tls-client',
  sig: 'signature',
  enc: 'key-agreement',
  kem: 'key-encapsulation',
};

for (const [path, kind, hosts] of [
  ['ms-acc-1/acc-1/dev-2', 'device', undefined],
  ['ms-acc-1/acc-1', 'account', undefined],
  ['ms-acc-1', 'master-account', ['broker.example', '192.0.2.1']],
  ['vendor-snapshot-service', 'service', undefined],
  ['vendor-broker', 'service', ['localhost', '::1']],
  ['MRO-Admin', 'service', undefined],
] as const) {
  test(`verifyPath: ${path} is a ${kind}, by each of its certificates and for its purpose alone`, async () => {
    const kinds = certificateKinds;
    const identity = await authority.issue({ path, kinds, ...(hosts ? { hosts } : {}) });
    for (const certificateKind of kinds) {
      const chain = chainOf(identity, certificateKind);
      const roots = [certificateKind === 'tls' ? authority.roots.tls : authority.roots.e2e];
      for (const purpose of purposeNames) {
        const question = { chain, roots, atMs: nowMs, purpose };
        const isRight =
          purpose === purposesOf[certificateKind] ||
          (purpose === 'tls-server' && certificateKind === 'tls' && hosts !== undefined);
        if (!isRight) {
          assert.throws(
            () => verifyPath(question),
            { code: 'pki.key_usage' },
            `${certificateKind} for ${purpose}`,
          );
          continue;
        }
        const verified = verifyPath(question);
        assert.equal(verified.commonName, path);
        assert.equal(verified.kind, kind);
        assert.deepEqual(verified.path, path.split('/'));
        assert.equal(verified.certificate, chain[0]);
        assert.deepEqual(verified.chain, chain);
        assert.equal(verified.root, roots[0]);
        assert.deepEqual(verified.warnings, []);
      }
    }
  });
}

test('verifyPath: a root at the end of the chain, as TLS stacks append it, is ignored', () => {
  const chain = chainOf(device, 'tls');
  assert.equal(verifyTls([...chain, authority.roots.tls]).commonName, 'ms-acc-1/acc-1/dev-1');
  assert.equal(verifyTls([...chain, authority.roots.tls]).chain.length, 3);
});

test('verifyPath: the issuers may come in any order, and others with them', () => {
  const [leaf, ...issuers] = chainOf(device, 'tls');
  assert.ok(leaf);
  const other = rogueCertificate({ issuer: root, commonName: 'ms-acc-2', ca: {} }).certificate;
  const sent = [...issuers, authority.roots.tls, other];
  fc.assert(
    fc.property(fc.shuffledSubarray(sent, { minLength: sent.length }), (order) => {
      assert.deepEqual(verifyTls([leaf, ...order]).chain, [leaf, ...issuers]);
    }),
  );
  // Which of them is the peer is not for the order to leave open.
  assert.throws(() => verifyTls([...issuers, leaf]), { code: 'pki.key_usage' });
});

test('verifyPath: an issuer that is in the chain is not said to be missing from it', () => {
  const [leaf, issuer, above] = chainOf(device, 'tls');
  assert.ok(leaf && issuer && above);
  assert.throws(() => verifyTls([leaf, above]), {
    code: 'pki.untrusted',
    message: /"ms-acc-1\/acc-1\/dev-1" leads to no pinned root: ms-acc-1\/acc-1 is not in the chain/,
  });
  assert.throws(() => verifyTls([leaf, issuer, leaf, issuer]), {
    code: 'pki.untrusted',
    message: /"ms-acc-1\/acc-1" leads to no pinned root: ms-acc-1 is not in the chain/,
  });
});

test('verifyPath: the right root is found among two of one name', () => {
  const twin = rogueCertificate({
    subjectDer: authority.roots.tls.subjectDer,
    ca: { pathLength: 2 },
  }).certificate;
  const chain = chainOf(device, 'tls');
  assert.equal(verifyTls(chain, { roots: [twin, authority.roots.tls] }).root, authority.roots.tls);
  assert.throws(() => verifyTls(chain, { roots: [twin] }), { code: 'pki.untrusted' });
});

test('verifyPath: an empty chain, another root, a missing and a foreign issuer are untrusted', () => {
  const chain = chainOf(device, 'tls');
  const [leaf, issuer] = chain;
  assert.ok(leaf && issuer);
  for (const broken of [[], [leaf], [leaf, issuer], [leaf, ...chain.slice(2)], chain.toReversed().slice(1)]) {
    assert.throws(() => verifyTls(broken), { code: 'pki.untrusted' });
  }
  assert.throws(() => verifyTls(chain, { roots: [] }), { code: 'pki.untrusted' });
  assert.throws(() => verifyTls(chain, { roots: [authority.roots.e2e] }), { code: 'pki.untrusted' });
  assert.throws(() => verifyTls(chainOf(device, 'sig'), { purpose: 'signature' }), { code: 'pki.untrusted' });
});

test('verifyPath: a leaf whose signature is altered, or made by another key, is a bad signature', () => {
  const [leaf, ...issuers] = chainOf(device, 'tls');
  assert.ok(leaf);
  const name = Buffer.from('ms-acc-1/acc-1/dev-1');
  const renamed = patched(leaf, name, Buffer.from('ms-acc-1/acc-1/dev-9'));
  assert.equal(renamed.commonName, 'ms-acc-1/acc-1/dev-9');
  assert.throws(() => verifyTls([renamed, ...issuers]), { code: 'pki.bad_signature' });
  const thief = { certificate: account.certificate, key: rogueCertificate({}).key };
  const forged = tlsLeaf({ issuer: thief, commonName: 'ms-acc-1/acc-1/dev-1' });
  assert.throws(() => verifyTls([forged, ...issuers]), { code: 'pki.bad_signature' });
  const forgedRoot = { certificate: root.certificate, key: rogueCertificate({}).key };
  const service = tlsLeaf({ issuer: forgedRoot, commonName: 'vendor-broker' });
  assert.throws(() => verifyTls([service]), { code: 'pki.bad_signature' });
});

test('verifyPath: every certificate of the chain must be valid at that time', () => {
  const chain = chainOf(device, 'tls');
  const [leaf] = chain;
  assert.ok(leaf);
  assert.equal(verifyTls(chain, { atMs: leaf.notAfterMs }).kind, 'device');
  assert.equal(verifyTls(chain, { atMs: leaf.notBeforeMs }).kind, 'device');
  assert.throws(() => verifyTls(chain, { atMs: leaf.notAfterMs + 1 }), { code: 'pki.expired' });
  assert.throws(() => verifyTls(chain, { atMs: leaf.notBeforeMs - 1 }), { code: 'pki.not_yet_valid' });
  const expired = rogueCertificate({
    issuer: root,
    commonName: 'ms-acc-2',
    ca: {},
    notAfterMs: nowMs - dayMs,
  });
  const below = tlsLeaf({ issuer: expired, commonName: 'ms-acc-2' });
  assert.throws(() => verifyTls([below, expired.certificate]), { code: 'pki.expired' });
});

test('verifyPath: an end entity, a CA without keyCertSign and a root that is no CA issue nothing', () => {
  const endEntity = rogueCertificate({ issuer: root, commonName: 'ms-acc-2' });
  const unsigning = rogueCertificate({ issuer: root, commonName: 'ms-acc-2', ca: {}, keyUsage: ['cRLSign'] });
  const silent = rogueCertificate({ issuer: root, commonName: 'ms-acc-2', ca: {}, keyUsage: [] });
  const merelyUsage = rogueCertificate({ issuer: root, commonName: 'ms-acc-2', keyUsage: ['keyCertSign'] });
  for (const issuer of [endEntity, unsigning, silent, merelyUsage]) {
    const leaf = tlsLeaf({ issuer, commonName: 'ms-acc-2' });
    assert.throws(() => verifyTls([leaf, issuer.certificate]), { code: 'pki.not_an_authority' });
  }
  const plain = rogueCertificate({ commonName: 'no root' });
  const leaf = tlsLeaf({ issuer: plain, commonName: 'vendor-broker' });
  assert.throws(() => verifyTls([leaf], { roots: [plain.certificate] }), { code: 'pki.not_an_authority' });
});

test('verifyPath: a path length is kept, and no chain is longer than the tenant tree', () => {
  const short = rogueCertificate({ issuer: root, commonName: 'ms-acc-2', ca: { pathLength: 0 } });
  const below = rogueCertificate({ issuer: short, commonName: 'ms-acc-2/acc-1', ca: {} });
  const leaf = tlsLeaf({ issuer: below, commonName: 'ms-acc-2/acc-1/dev-1' });
  assert.throws(() => verifyTls([leaf, below.certificate, short.certificate]), { code: 'pki.path_length' });

  const deeper = rogueCertificate({ issuer: account, commonName: 'ms-acc-1/acc-1/dev-1', ca: {} });
  const deepest = tlsLeaf({ issuer: deeper, commonName: 'ms-acc-1/acc-1/dev-1' });
  const chain = [deepest, deeper.certificate, account.certificate, master.certificate];
  assert.throws(() => verifyTls(chain), { code: 'pki.path_length' });
});

test('verifyPath: an unknown critical extension anywhere is refused, one that is not critical is not', () => {
  const oid = '1.3.6.1.4.1.99999.1';
  const extension = (isCritical: boolean) => [{ oid, isCritical, value: Buffer.of(5, 0) }];
  const issuers = [account.certificate, master.certificate];
  const commonName = 'ms-acc-1/acc-1/dev-1';
  const critical = tlsLeaf({ issuer: account, commonName, extensions: extension(true) });
  assert.throws(() => verifyTls([critical, ...issuers]), {
    code: 'pki.unknown_critical_extension',
    message: /99999/,
  });
  const harmless = tlsLeaf({ issuer: account, commonName, extensions: extension(false) });
  assert.equal(verifyTls([harmless, ...issuers]).kind, 'device');
  const ca = rogueCertificate({ issuer: root, commonName: 'ms-acc-2', ca: {}, extensions: extension(true) });
  const below = tlsLeaf({ issuer: ca, commonName: 'ms-acc-2' });
  assert.throws(() => verifyTls([below, ca.certificate]), { code: 'pki.unknown_critical_extension' });
});

test('verifyPath: one key never does two jobs, and a CA is no end entity', () => {
  const issuers = [account.certificate, master.certificate];
  const leaf = (request: RogueRequest) =>
    tlsLeaf({ issuer: account, commonName: 'ms-acc-1/acc-1/dev-1', ...request });
  for (const [wrong, purpose] of [
    [leaf({ keyUsage: [] }), 'tls-client'],
    [leaf({ keyUsage: ['digitalSignature', 'keyAgreement'] }), 'tls-client'],
    [leaf({ extendedKeyUsage: [] }), 'tls-client'],
    [leaf({ extendedKeyUsage: [serverAuth] }), 'tls-client'],
    [leaf({ extendedKeyUsage: ['2.5.29.37.0'] }), 'tls-client'],
    [leaf({ extendedKeyUsage: [clientAuth] }), 'tls-server'],
    [leaf({ extendedKeyUsage: [clientAuth] }), 'signature'],
    [leaf({ keyUsage: ['keyAgreement'], extendedKeyUsage: [] }), 'signature'],
    [leaf({ keyUsage: ['digitalSignature'], extendedKeyUsage: [] }), 'key-agreement'],
  ] as const) {
    assert.throws(() => verifyTls([wrong, ...issuers], { purpose }), { code: 'pki.key_usage' });
  }
  assert.throws(() => verifyTls([account.certificate, master.certificate]), { code: 'pki.key_usage' });
});

test('verifyPath: another curve and another signature algorithm are unsupported', () => {
  const issuers = [account.certificate, master.certificate];
  const leaf = tlsLeaf({ issuer: account, commonName: 'ms-acc-1/acc-1/dev-1', curve: 'secp256k1' });
  assert.throws(() => verifyTls([leaf, ...issuers]), { code: 'pki.unsupported_algorithm' });
  const [real] = chainOf(device, 'tls');
  assert.ok(real);
  // ecdsa-with-SHA1, in both places: 1.2.840.10045.4.1 is one octet shorter, so another unknown of the same length.
  const sha256 = Buffer.from('06082a8648ce3d040302', 'hex');
  const sha224 = Buffer.from('06082a8648ce3d040301', 'hex');
  const der = Buffer.from(real.der);
  for (let at = der.indexOf(sha256); at >= 0; at = der.indexOf(sha256, at + 1)) sha224.copy(der, at);
  assert.throws(() => verifyTls([parseCertificate(der), ...issuers]), { code: 'pki.unsupported_algorithm' });
});

test('verifyPath: a key for key encapsulation is of ML-KEM-768, and one for the rest is not', () => {
  const below = { issuer: account, commonName: 'ms-acc-1/acc-1/dev-1' };
  const keyPair = generateKeyPairSync('ml-kem-768');
  for (const [request, purpose] of [
    [{ ...below, keyUsage: ['keyEncipherment'] }, 'key-encapsulation'],
    [
      { ...below, keyUsage: ['keyEncipherment'], keyPair: generateKeyPairSync('ml-kem-1024') },
      'key-encapsulation',
    ],
    [{ ...below, keyUsage: ['keyAgreement'], keyPair }, 'key-agreement'],
    [{ ...below, keyUsage: ['digitalSignature'], keyPair }, 'signature'],
  ] as const satisfies readonly (readonly [RogueRequest, Purpose])[]) {
    const chain = [rogueCertificate(request).certificate, account.certificate, master.certificate];
    assert.throws(() => verifyTls(chain, { purpose }), { code: 'pki.unsupported_algorithm' });
  }
});

test('verifyPath: a root that is an RSA key is unsupported', () => {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const name = encodeName('RSA root');
  const signer = rogueCertificate({ commonName: 'RSA root' });
  const rsaRoot = rogueCertificate({
    issuer: { ...signer },
    subjectDer: name,
    ca: {},
    keyPair: { privateKey, publicKey },
  });
  const leaf = tlsLeaf({
    issuer: { certificate: rsaRoot.certificate, key: signer.key },
    commonName: 'vendor-broker',
  });
  assert.throws(() => verifyTls([leaf], { roots: [rsaRoot.certificate] }), {
    code: 'pki.unsupported_algorithm',
  });
});

// Question: can a CA of the tree make an identity that is not its own?
for (const [question, issuers, commonName] of [
  ["a customer's CA makes another customer", () => [master], 'ms-acc-2'],
  ["a customer's CA makes a longer name that begins with its own", () => [master], 'ms-acc-10'],
  ["a customer's CA makes a name with another sign in place of the slash", () => [master], 'ms-acc-1-acc-1'],
  ["a customer's CA makes a device without its account's CA", () => [master], 'ms-acc-1/acc-1/dev-1'],
  ["a customer's CA makes a service", () => [master], 'vendor-snapshot-service'],
  ["a customer's CA makes the administrator", () => [master], 'MRO-Admin'],
  ["an account's CA makes its master account", () => [account, master], 'ms-acc-1'],
  ["an account's CA makes another account", () => [account, master], 'ms-acc-1/acc-2'],
  ["an account's CA makes another account's device", () => [account, master], 'ms-acc-1/acc-2/dev-1'],
  ["an account's CA makes a fourth segment", () => [account, master], 'ms-acc-1/acc-1/dev-1/x'],
  ["an account's CA makes an empty segment", () => [account, master], 'ms-acc-1/acc-1/'],
  ["an account's CA makes a segment that climbs", () => [account, master], 'ms-acc-1/acc-1/..'],
  ["the vendor's CA makes a customer", () => [vendor], 'ms-acc-1'],
  ["the vendor's CA makes its own name", () => [vendor], 'vendor'],
  ["the vendor's CA makes a service below itself", () => [vendor], 'vendor/x'],
  ["the vendor's CA makes a reserved name in another case", () => [vendor], 'mro-admin'],
  ['the root makes a customer without a CA', () => [], 'ms-acc-1'],
  ['the root makes an unnamed service', () => [], 'something'],
] as const) {
  test(`verifyPath: ${question}: no`, () => {
    const [issuer = root] = issuers();
    const leaf = tlsLeaf({ issuer, commonName });
    const chain = [leaf, ...issuers().map(({ certificate }) => certificate)];
    assert.throws(() => verifyTls(chain), { code: 'pki.path_discipline' });
  });
}

// Question: can a CA make another CA that is out of its place?
for (const [question, above, commonName, leafName] of [
  ['a service as a CA', () => [], 'vendor-broker', 'vendor-broker'],
  ['an account directly below the root', () => [], 'ms-acc-1/acc-1', 'ms-acc-1/acc-1'],
  ["the vendor's CA below a customer", () => [master], 'vendor', 'vendor-broker'],
  ['a customer below a customer', () => [master], 'ms-acc-2', 'ms-acc-2'],
  ['a customer below itself', () => [master], 'ms-acc-1', 'ms-acc-1/acc-1'],
  ["an account of another's", () => [master], 'ms-acc-2/acc-1', 'ms-acc-2/acc-1/dev-1'],
  ['a device as a CA', () => [], 'ms-acc-1/acc-1/dev-1', 'ms-acc-1/acc-1/dev-1'],
] as const) {
  test(`verifyPath: ${question}: no`, () => {
    const [issuer = root] = above();
    const ca = rogueCertificate({ issuer, commonName, ca: { pathLength: 0 } });
    const leaf = tlsLeaf({ issuer: ca, commonName: leafName });
    const chain = [leaf, ca.certificate, ...above().map(({ certificate }) => certificate)];
    assert.throws(() => verifyTls(chain), { code: 'pki.path_discipline' });
  });
}

test("verifyPath: nothing stands below the vendor's CA but services", () => {
  const open = rogueCertificate({ issuer: root, commonName: 'vendor', ca: {} });
  const ca = rogueCertificate({ issuer: open, commonName: 'vendor/x', ca: {} });
  const leaf = tlsLeaf({ issuer: ca, commonName: 'vendor-broker' });
  assert.throws(() => verifyTls([leaf, ca.certificate, open.certificate]), { code: 'pki.path_discipline' });
});

test('verifyPath: the root itself may issue a service', () => {
  assert.equal(verifyTls([tlsLeaf({ issuer: root, commonName: 'vendor-broker' })]).kind, 'service');
});

test('verifyPath: names chain by bytes, so the same name as another string type does not', () => {
  const printable = Buffer.from(master.certificate.subjectDer);
  printable.writeUInt8(0x13, printable.lastIndexOf(0x0c));
  const leaf = tlsLeaf({ issuer: master, issuerDer: printable, commonName: 'ms-acc-1' });
  assert.throws(() => verifyTls([leaf, master.certificate]), { code: 'pki.untrusted' });
});

function indexWith(
  ...lists: readonly { issuer: Rogue; entries?: Certificate[]; atMs?: number }[]
): RevocationIndex {
  const index = new RevocationIndex();
  for (const { issuer, entries = [], atMs = nowMs } of lists) {
    const revoked = entries.map(({ serialNumber }) => ({
      serialNumber,
      revokedAtMs: atMs,
      reason: 'keyCompromise' as const,
    }));
    index.add(rogueCrl({ issuer, number: 1, entries: revoked }), issuer.certificate);
  }
  return index;
}

test('verifyPath: a revoked certificate anywhere in the chain is refused, from its revocation on', () => {
  const chain = chainOf(device, 'tls');
  const issuers = [account, master, root];
  chain.forEach((certificate, revokedIndex) => {
    const atMs = Math.floor(nowMs / 1000) * 1000 - 60_000;
    const revocation = indexWith(
      ...issuers.map((issuer, index) => ({
        issuer,
        entries: index === revokedIndex ? [certificate] : [],
        atMs,
      })),
    );
    assert.throws(() => verifyTls(chain, { revocation }), { code: 'pki.revoked', message: /keyCompromise/ });
    assert.throws(() => verifyTls(chain, { revocation, atMs }), { code: 'pki.revoked' });
    const earlier = verifyTls(chain, { revocation, atMs: atMs - 1 });
    assert.equal(earlier.kind, 'device');
    assert.throws(() => requireUnrevoked(earlier, revocation, nowMs), { code: 'pki.revoked' });
  });
});

test("verifyPath: another CA's list with the same serial number revokes nothing", () => {
  const chain = chainOf(device, 'tls');
  const [leaf] = chain;
  assert.ok(leaf);
  const revocation = indexWith({ issuer: account }, { issuer: master, entries: [leaf] }, { issuer: root });
  assert.equal(verifyTls(chain, { revocation }).kind, 'device');
});

test('verifyPath: a missing or overdue list is refused, or reported, as the policy says', () => {
  const chain = chainOf(device, 'tls');
  const missing = indexWith({ issuer: account }, { issuer: root });
  assert.throws(() => verifyTls(chain, { revocation: missing }), {
    code: 'pki.stale_crl',
    message: /"ms-acc-1"/,
  });
  const warned = verifyTls(chain, { revocation: missing, stalePolicy: { action: 'warn' } });
  assert.equal(warned.warnings.length, 1);
  assert.match(warned.warnings[0] ?? '', /no CRL of certificate "ms-acc-1" is here/);

  const complete = indexWith({ issuer: account }, { issuer: master }, { issuer: root });
  assert.deepEqual(verifyTls(chain, { revocation: complete }).warnings, []);
  assert.throws(() => verifyTls(chain, { revocation: complete, atMs: nowMs + 8 * dayMs }), {
    code: 'pki.stale_crl',
  });
  const hour = {
    revocation: complete,
    stalePolicy: { action: 'refuse', staleAfterMs: 30 * 60_000 },
  } as const;
  assert.throws(() => verifyTls(chain, hour), { code: 'pki.stale_crl', message: /is stale since/ });
  const day = { revocation: complete, stalePolicy: { action: 'refuse', staleAfterMs: dayMs } } as const;
  assert.deepEqual(verifyTls(chain, day).warnings, []);
});

test('verifyPath: a stale list still revokes, whatever the policy', () => {
  const chain = chainOf(device, 'tls');
  const [leaf] = chain;
  assert.ok(leaf);
  const revocation = indexWith({ issuer: account, entries: [leaf] });
  const stalePolicy = { action: 'warn' } as const;
  assert.throws(() => verifyTls(chain, { revocation, stalePolicy, atMs: nowMs + 30 * dayMs }), {
    code: 'pki.revoked',
  });
});
