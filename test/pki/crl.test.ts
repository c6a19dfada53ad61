import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import * as fc from 'fast-check';
import { createAuthority } from '../../pki/authority/authority.ts';
import { encodeCrlToBeSigned, signToBeSigned } from '../../pki/authority/encode.ts';
import { certificatesToPem } from '../../pki/certificate.ts';
import { crlBundleToPem, packBundle, updateFromBundle } from '../../pki/crl-bundle.ts';
import { crlsFromPem, crlToPem, parseCrl, reasonCodes, requireIssuedBy } from '../../pki/crl.ts';
import type { CrlReason } from '../../pki/crl.ts';
import {
  derElement,
  derInteger,
  derObjectIdentifier,
  derOctetString,
  derSequence,
  derTrue,
} from '../../pki/der-writer.ts';
import { RevocationIndex } from '../../pki/revocation.ts';
import { rogueCertificate, rogueCrl, stolenAuthority } from './rogue-authority.ts';

const directory = mkdtempSync(join(tmpdir(), 'plombe-crl-'));
after(() => rmSync(directory, { recursive: true, force: true }));

const revokedAtMs = Date.UTC(2026, 0, 31, 12, 0, 7);
const reasons = Object.keys(reasonCodes) as CrlReason[];
const root = rogueCertificate({ commonName: 'root', ca: { pathLength: 2 } });
const master = rogueCertificate({ issuer: root, commonName: 'ms-acc-1', ca: { pathLength: 1 } });
const account = rogueCertificate({ issuer: master, commonName: 'ms-acc-1/acc-1', ca: { pathLength: 0 } });

function entry(reason: CrlReason = 'keyCompromise') {
  return { serialNumber: Buffer.concat([Buffer.of(1), randomBytes(16)]), revokedAtMs, reason };
}

test('parseCrl: reads back every field and every reason', () => {
  const entries = reasons.map(entry);
  const crl = rogueCrl({
    issuer: master,
    number: 7,
    entries,
    thisUpdateMs: 1_000,
    nextUpdateMs: Date.UTC(2051, 1, 2),
  });
  assert.equal(crl.number, 7);
  assert.equal(crl.issuerCommonName, 'ms-acc-1');
  assert.deepEqual(crl.issuerDer, master.certificate.subjectDer);
  assert.deepEqual(crl.authorityKeyIdentifier, master.certificate.subjectKeyIdentifier);
  assert.equal(crl.thisUpdateMs, 1_000);
  assert.equal(crl.nextUpdateMs, Date.UTC(2051, 1, 2));
  assert.deepEqual(
    [...crl.revoked],
    entries.map(({ serialNumber, reason }) => [serialNumber.toString('hex'), { revokedAtMs, reason }]),
  );
  assert.equal(rogueCrl({ issuer: master, number: 0 }).revoked.size, 0);
});

function at(name: string): string {
  return join(directory, name);
}

test('parseCrl: reads a list of OpenSSL, with a reason and without', () => {
  const config = `[ca]
default_ca = one
[one]
database = ${at('index')}
crlnumber = ${at('number')}
certificate = ${at('ca.pem')}
private_key = ${at('ca.key')}
default_md = sha384
default_crl_days = 3
crl_extensions = extensions
[extensions]
authorityKeyIdentifier = keyid
`;
  writeFileSync(at('config'), config);
  writeFileSync(at('number'), '2A\n');
  const dates = '350101000000Z\t260131120007Z';
  writeFileSync(
    at('index'),
    `R\t${dates}\t00F1\tunknown\t/CN=a\nR\t${dates},keyCompromise\t02\tunknown\t/CN=b\n`,
  );
  writeFileSync(at('ca.pem'), certificatesToPem([master.certificate]));
  writeFileSync(at('ca.key'), master.key.export({ type: 'pkcs8', format: 'pem' }));
  execFileSync('openssl', ['ca', '-gencrl', '-config', at('config'), '-out', at('crl.pem')], {
    stdio: 'pipe',
  });
  const [crl] = crlsFromPem(readFileSync(at('crl.pem')));
  assert.ok(crl);
  requireIssuedBy(crl, master.certificate);
  assert.equal(crl.number, 42);
  assert.deepEqual(
    [...crl.revoked],
    [
      ['02', { revokedAtMs, reason: 'keyCompromise' }],
      ['00f1', { revokedAtMs, reason: 'unspecified' }],
    ],
  );
});

test('parseCrl: ten thousand entries are read and each is found', () => {
  const entries = Array.from({ length: 10_000 }, () => entry());
  const crl = rogueCrl({ issuer: master, number: 1, entries });
  const index = new RevocationIndex();
  assert.equal(index.add(crl, master.certificate), true);
  assert.equal(index.crlOf(master.certificate)?.revoked.size, 10_000);
  for (const { serialNumber } of entries) {
    assert.deepEqual(index.lookUp(master.certificate, serialNumber), {
      revokedAtMs,
      reason: 'keyCompromise',
    });
  }
  assert.equal(index.lookUp(master.certificate, Buffer.concat([Buffer.of(1), Buffer.alloc(16)])), undefined);
  writeFileSync(join(directory, 'large.pem'), crlToPem(crl));
  const listing = execFileSync('openssl', ['crl', '-in', join(directory, 'large.pem'), '-noout', '-text'], {
    maxBuffer: 64 * 1024 * 1024,
  });
  assert.equal(listing.toString().match(/Serial Number:/g)?.length, 10_000);
});

test('parseCrl: truncations, longer inputs and arbitrary bytes are malformed', () => {
  const { der } = rogueCrl({ issuer: master, number: 1, entries: [entry(), entry('unspecified')] });
  for (let length = 0; length < der.length; length++) {
    assert.throws(() => parseCrl(der.subarray(0, length)), { code: 'pki.malformed_crl' });
  }
  assert.throws(() => parseCrl(Buffer.concat([der, Buffer.of(0)])), { code: 'pki.malformed_crl' });
  assert.throws(() => parseCrl(Buffer.alloc(48 * 1024 * 1024 + 1)), { code: 'pki.malformed_crl' });
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      assert.throws(() => parseCrl(bytes), { name: 'PkiError', code: 'pki.malformed_crl' });
    }),
  );
  for (const pem of ['', 'hello', crlToPem({ der }).slice(0, -20)]) {
    assert.throws(() => crlsFromPem(pem), { code: 'pki.malformed_crl' });
  }
});

test('requireIssuedBy: a list with any flipped bit is refused', () => {
  const { der } = rogueCrl({ issuer: master, number: 1, entries: [entry()] });
  fc.assert(
    fc.property(fc.nat(der.length * 8 - 1), (bit) => {
      const flipped = Buffer.from(der);
      flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      assert.throws(() => requireIssuedBy(parseCrl(flipped), master.certificate), { name: 'PkiError' });
    }),
    { numRuns: 500 },
  );
});

/** A list whose to-be-signed part was rebuilt with other parts. */
function patchedCrl(change: (toBeSigned: Buffer) => Buffer, entries = [entry()]): Buffer {
  const template = { issuer: master.certificate, number: 1, thisUpdateMs: 0, nextUpdateMs: 1_000, entries };
  return signToBeSigned(change(encodeCrlToBeSigned(template, master.key)), master.key);
}

/** Replaces bytes by as many others. */
function replacing(find: Buffer, put: Buffer): (bytes: Buffer) => Buffer {
  return (bytes) => {
    const at = bytes.indexOf(find);
    assert.ok(at >= 0 && find.length === put.length);
    return Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at + find.length)]);
  };
}

function extensions(...list: { oid: string; critical?: boolean; value: Buffer }[]): Buffer {
  return derSequence(
    ...list.map(({ oid, critical, value }) =>
      derSequence(derObjectIdentifier(oid), ...(critical ? [derTrue()] : []), derOctetString(value)),
    ),
  );
}

/** A whole list of hand-made parts. */
function handMadeCrl(listExtensions: Buffer, entries: Buffer[] = [], version = 1): Buffer {
  const algorithm = derSequence(derObjectIdentifier('1.2.840.10045.4.3.2'));
  const time = derElement(0x17, Buffer.from('260101000000Z'));
  const toBeSigned = derSequence(
    derInteger(version),
    algorithm,
    master.certificate.subjectDer,
    time,
    time,
    ...(entries.length === 0 ? [] : [derSequence(...entries)]),
    derElement(0xa0, listExtensions),
  );
  return signToBeSigned(toBeSigned, master.key);
}

const number = { oid: '2.5.29.20', value: derInteger(1) };
const time = derElement(0x17, Buffer.from('260101000000Z'));

test('parseCrl: a delta list, a partial list and a moved entry are not used', () => {
  assert.equal(parseCrl(handMadeCrl(extensions(number))).number, 1);
  const code = 'pki.unknown_critical_extension';
  // Also where whoever made it forgot to say so: a delta taken for a whole list would forget all the rest.
  for (const critical of [true, false]) {
    for (const oid of ['2.5.29.27', '2.5.29.28']) {
      const list = handMadeCrl(extensions(number, { oid, critical, value: derInteger(1) }));
      assert.throws(() => parseCrl(list), { code });
    }
    const moved = derSequence(
      derInteger(5),
      time,
      extensions({ oid: '2.5.29.29', critical, value: derSequence() }),
    );
    assert.throws(() => parseCrl(handMadeCrl(extensions(number), [moved])), { code });
  }
});

test('parseCrl: no number, another version, a serial twice and a reason that takes back are malformed', () => {
  const plain = derSequence(derInteger(5), time);
  const reason = (value: Buffer): Buffer =>
    derSequence(derInteger(5), time, extensions({ oid: '2.5.29.21', value }));
  const ours = extensions(number);
  for (const [fault, list] of [
    ['no number', handMadeCrl(extensions({ oid: '1.2.3', value: derInteger(1) }))],
    [
      'large number',
      handMadeCrl(extensions({ oid: '2.5.29.20', value: derElement(2, Buffer.of(1, 0, 0, 0, 0)) })),
    ],
    ['version 1', handMadeCrl(ours, [], 0)],
    ['serial twice', handMadeCrl(ours, [plain, plain])],
    ['removeFromCRL', handMadeCrl(ours, [reason(derElement(0x0a, Buffer.of(8)))])],
    ['certificateHold', handMadeCrl(ours, [reason(derElement(0x0a, Buffer.of(6)))])],
    ['two octets', handMadeCrl(ours, [reason(derElement(0x0a, Buffer.of(1, 1)))])],
    ['other date', patchedCrl(replacing(Buffer.from('260131120007Z'), Buffer.from('260132120007Z')))],
    [
      'other algorithm',
      patchedCrl(replacing(Buffer.from('ce3d040302', 'hex'), Buffer.from('ce3d040303', 'hex'))),
    ],
  ] as const) {
    assert.throws(() => parseCrl(list), { code: 'pki.malformed_crl' }, fault);
  }
  const other = handMadeCrl(ours, [
    derSequence(derInteger(5), time, extensions({ oid: '1.2.3', value: derInteger(0) })),
  ]);
  assert.equal(parseCrl(other).revoked.get('05')?.reason, 'unspecified');
});

test('requireIssuedBy: another CA, a CA that may not, another key and another algorithm are told apart', () => {
  const crl = rogueCrl({ issuer: master, number: 1 });
  requireIssuedBy(crl, master.certificate);
  assert.throws(() => requireIssuedBy(crl, root.certificate), { code: 'pki.untrusted' });
  const mute = rogueCertificate({ commonName: 'ms-acc-1', ca: {}, keyUsage: ['keyCertSign'] });
  const endEntity = rogueCertificate({ commonName: 'ms-acc-1', keyUsage: ['cRLSign'] });
  for (const issuer of [mute, endEntity]) {
    assert.throws(() => requireIssuedBy(rogueCrl({ issuer, number: 1 }), issuer.certificate), {
      code: 'pki.key_usage',
    });
  }
  const forged = rogueCrl({ issuer: master, number: 2, key: root.key });
  assert.throws(() => requireIssuedBy(forged, master.certificate), { code: 'pki.bad_signature' });
  const sha256 = Buffer.from('06082a8648ce3d040302', 'hex');
  const bytes = Buffer.from(crl.der);
  for (let at = bytes.indexOf(sha256); at >= 0; at = bytes.indexOf(sha256, at + 1))
    bytes.writeUInt8(1, at + 9);
  assert.throws(() => requireIssuedBy(parseCrl(bytes), master.certificate), {
    code: 'pki.unsupported_algorithm',
  });
});

test('RevocationIndex: takes a newer list, knows the same again, and refuses an older or a second of one number', () => {
  const index = new RevocationIndex();
  const second = rogueCrl({ issuer: master, number: 2, entries: [entry()] });
  assert.equal(index.add(second, master.certificate), true);
  assert.equal(index.add(second, master.certificate), false);
  for (const older of [1, 2]) {
    const crl = rogueCrl({ issuer: master, number: older });
    assert.throws(() => index.add(crl, master.certificate), { code: 'pki.crl_rollback' });
  }
  const forged = rogueCrl({ issuer: master, number: 9, key: root.key });
  assert.throws(() => index.add(forged, master.certificate), { code: 'pki.bad_signature' });
  assert.equal(index.crlOf(master.certificate), second);
  assert.equal(index.add(rogueCrl({ issuer: master, number: 3 }), master.certificate), true);
  assert.equal(index.crlOf(master.certificate)?.number, 3);
  assert.equal(index.size, 1);
});

test('RevocationIndex: a CA of the same name and key identifier, but another key, has lists of its own', () => {
  const index = new RevocationIndex();
  const other = rogueCertificate({ issuer: root, commonName: 'ms-acc-1', ca: {} });
  const revoked = entry();
  index.add(rogueCrl({ issuer: other, number: 99, entries: [revoked] }), other.certificate);
  assert.equal(index.lookUp(master.certificate, revoked.serialNumber), undefined);
  assert.equal(index.add(rogueCrl({ issuer: master, number: 1 }), master.certificate), true);
  assert.equal(index.size, 2);
});

function bundle(...numbers: readonly [number, number, number]): string {
  const authorities = [root, master, account];
  return crlBundleToPem(
    authorities.map((issuer, index) => ({
      authority: issuer.certificate,
      crl: rogueCrl({ issuer, number: numbers[index] ?? 0, thisUpdateMs: 0 }),
    })),
  );
}

test('updateFromBundle: takes every list over, then only the new ones', () => {
  const index = new RevocationIndex();
  const first = bundle(1, 1, 1);
  assert.deepEqual(updateFromBundle(index, first, [root.certificate]), { updated: 3, unchanged: 0 });
  assert.deepEqual(updateFromBundle(index, Buffer.from(first), [root.certificate]), {
    updated: 0,
    unchanged: 3,
  });
  const next = crlToPem(rogueCrl({ issuer: root, number: 2 }));
  assert.deepEqual(updateFromBundle(index, next, [root.certificate]), { updated: 1, unchanged: 0 });
  assert.equal(index.crlOf(root.certificate)?.number, 2);
  assert.equal(index.crlOf(account.certificate)?.number, 1);
});

test('updateFromBundle: one fault, and the index stays as it was', () => {
  const index = new RevocationIndex();
  updateFromBundle(index, bundle(5, 5, 5), [root.certificate]);
  const stranger = rogueCertificate({ commonName: 'ms-acc-1/acc-2', ca: {} });
  const outside = rogueCertificate({ issuer: master, commonName: 'ms-acc-2/acc-1', ca: {} });
  const forged = rogueCrl({ issuer: account, number: 9, key: master.key });
  const endEntity = rogueCertificate({ issuer: root, commonName: 'ms-acc-3', keyUsage: ['cRLSign'] });
  const listOf = (issuer: typeof stranger): string =>
    crlBundleToPem([{ authority: issuer.certificate, crl: rogueCrl({ issuer, number: 9 }) }]);
  for (const [code, pem] of [
    ['pki.crl_rollback', bundle(6, 4, 6)],
    ['pki.malformed_crl', certificatesToPem([root.certificate])],
    ['pki.malformed_certificate', `${bundle(6, 6, 6)}-----BEGIN CERTIFICATE-----\n`],
    ['pki.untrusted', bundle(6, 6, 6) + listOf(stranger)],
    ['pki.untrusted', bundle(6, 6, 6) + crlToPem(rogueCrl({ issuer: stranger, number: 1 }))],
    ['pki.path_discipline', bundle(6, 6, 6) + listOf(outside)],
    ['pki.not_an_authority', bundle(6, 6, 6) + listOf(endEntity)],
    ['pki.bad_signature', bundle(6, 6, 6) + certificatesToPem([account.certificate]) + crlToPem(forged)],
  ] as const) {
    assert.throws(() => updateFromBundle(index, pem, [root.certificate]), { code }, code);
    for (const issuer of [root, master, account]) assert.equal(index.crlOf(issuer.certificate)?.number, 5);
  }
});

test("updateFromBundle: takes an authority's own bundle, and knows what it revoked", async () => {
  const authority = createAuthority({ directory: join(directory, 'pki') });
  const issued = await authority.issue({ path: 'ms-acc-1/acc-1/dev-1' });
  await authority.revoke({ target: { path: 'ms-acc-1/acc-1/dev-1' }, reason: 'keyCompromise' });
  for (const [pki, kind] of [
    ['tls', 'tls'],
    ['e2e', 'sig'],
    ['e2e', 'enc'],
  ] as const) {
    const index = new RevocationIndex();
    const pem = readFileSync(join(authority.directory, pki, 'crl.pem'));
    assert.deepEqual(updateFromBundle(index, pem, [authority.roots[pki]]), { updated: 4, unchanged: 0 });
    const issuer = stolenAuthority(authority, pki, 'ms-acc-1/acc-1').certificate;
    const leaf = issued.certificates[kind]?.chain[0];
    assert.ok(leaf);
    assert.equal(index.lookUp(issuer, leaf.serialNumber)?.reason, 'keyCompromise');
  }
});

test('updateFromBundle: the lists of a root that is not pinned are said to be that, although its name is that of one that is', () => {
  const [here, elsewhere] = ['here', 'elsewhere'].map((name) =>
    createAuthority({ directory: join(directory, name) }),
  );
  assert.ok(here && elsewhere);
  const lists = readFileSync(join(elsewhere.directory, 'e2e', 'crl.pem'));
  assert.throws(() => updateFromBundle(new RevocationIndex(), lists, [here.roots.e2e]), {
    code: 'pki.untrusted',
    message: /"Plombe E2E root" is a root that is not pinned/,
  });
});

test('packBundle: a large bundle is carried small, and read as it was; what is not whole is malformed', () => {
  const crl = rogueCrl({ issuer: master, number: 1, entries: Array.from({ length: 10_000 }, () => entry()) });
  const pem = Buffer.from(crlBundleToPem([{ authority: master.certificate, crl }]));
  const packed = packBundle(pem);
  assert(packed.length < 256 * 1024, `${packed.length} bytes`);
  const index = new RevocationIndex();
  const roots = [root.certificate];
  assert.deepEqual(updateFromBundle(index, packed, roots), { updated: 1, unchanged: 0 });
  assert.equal(index.crlOf(master.certificate)?.revoked.size, 10_000);
  for (const bad of [
    packed.subarray(0, -9),
    packed.subarray(0, 2),
    gzipSync(Buffer.alloc(100 * 1024 * 1024)),
  ]) {
    assert.throws(() => updateFromBundle(index, bad, roots), { code: 'pki.malformed_crl' });
  }
  const small = Buffer.from(
    crlBundleToPem([{ authority: master.certificate, crl: rogueCrl({ issuer: master, number: 2 }) }]),
  );
  assert.equal(packBundle(small), small);
});
