import assert from 'node:assert/strict';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import test from 'node:test';
import * as fc from 'fast-check';
import { derOf } from '../../pki/ber.ts';
import {
  derElement,
  derInteger,
  derNull,
  derObjectIdentifier,
  derOctetString,
  derSequence,
} from '../../pki/der-writer.ts';
import { decryptByPassphrase, encryptByPassphrase, iterationsMax } from '../../pki/pbes2.ts';
import { isMacOf, macAlgorithms, macOf } from '../../pki/pkcs12-mac.ts';
import { readPkcs12, writePkcs12 } from '../../pki/pkcs12.ts';
import { PkiError } from '../../pki/errors.ts';
import { rogueCertificate } from './rogue-authority.ts';

const root = rogueCertificate({ commonName: 'root', ca: { pathLength: 2 } });
const master = rogueCertificate({ issuer: root, commonName: 'ms-acc-1', ca: { pathLength: 1 } });
const leaf = rogueCertificate({ issuer: master, commonName: 'ms-acc-1' });
const chain = [leaf.certificate, master.certificate];
const passphrase = 'correct horse';
const file = writePkcs12({ key: leaf.key, chain }, passphrase);

test('PKCS #12: what is written is read, in order and without strangers', () => {
  for (const curve of ['P-256', 'brainpoolP512r1'] as const) {
    const one = rogueCertificate({ issuer: master, commonName: 'ms-acc-1/acc-1', curve });
    const stranger = rogueCertificate({ issuer: root, commonName: 'vendor-broker' });
    const written = writePkcs12(
      { key: one.key, chain: [one.certificate, stranger.certificate, root.certificate, master.certificate] },
      'gehéim€',
    );
    const read = readPkcs12(written, 'gehéim€');
    assert.ok(read.key.equals(one.key));
    assert.deepEqual(
      read.chain.map(({ sha256 }) => sha256),
      [one, master, root].map(({ certificate }) => certificate.sha256),
    );
  }
});

test('PKCS #12: the same key twice is two different files', () => {
  assert.notDeepEqual(writePkcs12({ key: leaf.key, chain }, passphrase), file);
});

test('PKCS #12: another passphrase is called wrong', () => {
  for (const wrong of ['', 'Correct horse', `${passphrase} `])
    assert.throws(() => readPkcs12(file, wrong), { code: 'pki.wrong_passphrase' });
});

const oid = {
  data: '1.2.840.113549.1.7.1',
  encryptedData: '1.2.840.113549.1.7.6',
  envelopedData: '1.2.840.113549.1.7.3',
  keyBag: '1.2.840.113549.1.12.10.1.1',
  certificateBag: '1.2.840.113549.1.12.10.1.3',
  secretBag: '1.2.840.113549.1.12.10.1.5',
  sha1: '1.3.14.3.2.26',
  sha256: '2.16.840.1.101.3.4.2.1',
};
const contentInfo = (type: string, content: Buffer): Buffer =>
  derSequence(derObjectIdentifier(type), derElement(0xa0, content));
const bag = (type: string, value: Buffer): Buffer =>
  derSequence(derObjectIdentifier(type), derElement(0xa0, value));
const certificateBag = (type = '1.2.840.113549.1.9.22.1', der = leaf.certificate.der): Buffer =>
  bag(oid.certificateBag, derSequence(derObjectIdentifier(type), derElement(0xa0, derOctetString(der))));
const plainKey = (key = leaf.key): Buffer => bag(oid.keyBag, key.export({ type: 'pkcs8', format: 'der' }));
const dataOf = (...bags: Buffer[]): Buffer => contentInfo(oid.data, derOctetString(derSequence(...bags)));

interface Shape {
  readonly contents?: readonly Buffer[];
  readonly version?: number;
  readonly macOid?: string;
  readonly macParameters?: Buffer;
  readonly iterations?: number;
  readonly saltBytes?: number;
  readonly type?: string;
}

/** A file that somebody else made, whose passphrase is right. */
function fileOf({
  contents = [dataOf(plainKey(), certificateBag())],
  version = 3,
  macOid = oid.sha256,
  macParameters = derNull(),
  iterations = 3,
  saltBytes = 8,
  type = oid.data,
}: Shape): Buffer {
  const safe = derSequence(...contents);
  const algorithm = macAlgorithms.get(macOid) ?? { hash: 'sha256', hashBytes: 32, blockBytes: 64 };
  const salt = randomBytes(saltBytes);
  const mac = macOf(safe, passphrase, { algorithm, salt, iterations: Math.min(iterations, 10) });
  return derSequence(
    derInteger(version),
    contentInfo(type, derOctetString(safe)),
    derSequence(
      derSequence(derSequence(derObjectIdentifier(macOid), macParameters), derOctetString(mac)),
      derOctetString(salt),
      ...(iterations === 1 ? [] : [derInteger(iterations)]),
    ),
  );
}

test('PKCS #12: unencrypted bags, any SHA-2 and no stated iterations are read', () => {
  for (const shape of [
    {},
    { iterations: 1 },
    { macOid: '2.16.840.1.101.3.4.2.2' },
    { macOid: '2.16.840.1.101.3.4.2.3', saltBytes: 200 },
    { contents: [dataOf(plainKey()), dataOf(certificateBag())] },
  ]) {
    assert.ok(readPkcs12(fileOf(shape), passphrase).key.equals(leaf.key));
  }
});

test('PKCS #12: a changed or shortened file is refused', () => {
  const cheap = fileOf({}); // of few iterations
  fc.assert(
    fc.property(fc.nat(cheap.length * 8 - 1), (bit) => {
      const flipped = Buffer.from(cheap);
      flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      assert.throws(() => readPkcs12(flipped, passphrase), PkiError);
    }),
  );
  for (let length = 0; length < cheap.length; length++)
    assert.throws(() => readPkcs12(cheap.subarray(0, length), passphrase), { code: 'pki.malformed_pkcs12' });
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      assert.throws(() => readPkcs12(bytes, passphrase), { code: 'pki.malformed_pkcs12' });
    }),
  );
});

test('PKCS #12: every other shape is refused with its reason', () => {
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const encrypted = (algorithm: Buffer, ciphertext: Buffer): Buffer =>
    contentInfo(
      oid.encryptedData,
      derSequence(derInteger(0), derSequence(derObjectIdentifier(oid.data), algorithm, ciphertext)),
    );
  const rc2 = derSequence(derObjectIdentifier('1.2.840.113549.1.12.1.6'), derSequence());
  const ours = encryptByPassphrase(Buffer.from('x'), 'another');
  const cases: readonly (readonly [Shape, string, RegExp])[] = [
    [{ version: 1 }, 'pki.malformed_pkcs12', /version 3/],
    [{ type: oid.envelopedData }, 'pki.malformed_pkcs12', /by a key/],
    [{ macOid: oid.sha1 }, 'pki.unsupported_algorithm', /SHA-1.*write it again/],
    [{ macOid: '1.2.3' }, 'pki.unsupported_algorithm', /1\.2\.3/],
    [{ macParameters: derElement(0x05, Buffer.of(0)) }, 'pki.malformed_pkcs12', /NULL that is not empty/],
    [{ iterations: iterationsMax + 1 }, 'pki.unsupported_algorithm', /iterations/],
    [{ saltBytes: 1025 }, 'pki.malformed_pkcs12', /salt/],
    [{ contents: [] }, 'pki.malformed_pkcs12', /0 keys/],
    [{ contents: [dataOf(plainKey(), plainKey())] }, 'pki.malformed_pkcs12', /2 keys/],
    [{ contents: [dataOf(plainKey(other), certificateBag())] }, 'pki.malformed_pkcs12', /no certificate of/],
    [{ contents: [dataOf(bag(oid.secretBag, derNull()))] }, 'pki.malformed_pkcs12', /a bag of type/],
    [{ contents: [dataOf(bag(oid.keyBag, derNull()))] }, 'pki.malformed_pkcs12', /no PKCS #8/],
    [{ contents: [dataOf(certificateBag('1.2.3'))] }, 'pki.malformed_pkcs12', /certificate of type/],
    [{ contents: [dataOf(certificateBag(undefined, Buffer.of(0)))] }, 'pki.malformed_certificate', /./],
    [{ contents: Array<Buffer>(17).fill(dataOf()) }, 'pki.malformed_pkcs12', /more than 16/],
    [
      { contents: [dataOf(...Array<Buffer>(101).fill(certificateBag()))] },
      'pki.malformed_pkcs12',
      /more than 100/,
    ],
    [{ contents: [contentInfo(oid.envelopedData, derNull())] }, 'pki.malformed_pkcs12', /content of type/],
    [{ contents: [encrypted(rc2, derElement(0x80))] }, 'pki.unsupported_algorithm', /40-bit RC2.*AES-256/],
    [{ contents: [encrypted(ours.algorithm, derNull())] }, 'pki.malformed_pkcs12', /missing/],
  ];
  for (const [shape, code, message] of cases)
    assert.throws(() => readPkcs12(fileOf(shape), passphrase), { code, message });
  assert.throws(() => readPkcs12(Buffer.alloc(1024 * 1024 + 1), passphrase), {
    code: 'pki.malformed_pkcs12',
  });
  const withoutMac = derSequence(derInteger(3), contentInfo(oid.data, derOctetString(derSequence())));
  assert.throws(() => readPkcs12(withoutMac, passphrase), { message: /nothing protects/ });
  const undecryptable = encrypted(ours.algorithm, derElement(0x80, randomBytes(17)));
  assert.throws(() => readPkcs12(fileOf({ contents: [undecryptable] }), passphrase), {
    message: /does not decrypt/,
  });
});

test('writePkcs12: a key without a certificate is our own fault', () => {
  assert.throws(() => writePkcs12({ key: leaf.key, chain: [] }, passphrase), RangeError);
});

test('isMacOf: a MAC of another length is none', () => {
  const algorithm = macAlgorithms.get(oid.sha256);
  assert.ok(algorithm);
  assert.equal(
    isMacOf(Buffer.alloc(20), Buffer.alloc(1), 'x', { algorithm, salt: Buffer.alloc(0), iterations: 1 }),
    false,
  );
});

test('PBES2: what a file may ask for has bounds, and what is old has a name', () => {
  const { algorithm, ciphertext } = encryptByPassphrase(Buffer.from('text'), passphrase);
  assert.deepEqual(decryptByPassphrase({ algorithm, ciphertext }, passphrase), Buffer.from('text'));
  const parameters = (...fields: Buffer[]): Buffer =>
    derSequence(
      derObjectIdentifier('1.2.840.113549.1.5.13'),
      derSequence(derSequence(derObjectIdentifier('1.2.840.113549.1.5.12'), derSequence(...fields)), aes(16)),
    );
  const aes = (nonceBytes: number, type = '2.16.840.1.101.3.4.1.2'): Buffer =>
    derSequence(derObjectIdentifier(type), derOctetString(Buffer.alloc(nonceBytes)));
  const salt = derOctetString(Buffer.alloc(8));
  const open = (der: Buffer) =>
    decryptByPassphrase({ algorithm: der, ciphertext: Buffer.alloc(17) }, passphrase);
  // 17 octets are no AES-CBC, so what is accepted ends in undefined.
  assert.equal(open(parameters(salt, derInteger(1))), undefined);
  assert.equal(open(parameters(salt, derInteger(1), derInteger(16))), undefined);
  const sha512 = derSequence(derObjectIdentifier('1.2.840.113549.2.11'), derNull());
  assert.equal(open(parameters(salt, derInteger(1), sha512)), undefined);
  const unsupported = { code: 'pki.unsupported_algorithm' };
  assert.throws(() => open(parameters(salt, derInteger(0))), unsupported);
  assert.throws(() => open(parameters(salt, derInteger(iterationsMax + 1))), unsupported);
  assert.throws(
    () => open(parameters(salt, derInteger(1), derSequence(derObjectIdentifier('1.2.3')))),
    unsupported,
  );
  assert.throws(() => open(parameters(derOctetString(Buffer.alloc(1025)), derInteger(1))), /salt/);
  const scheme = (kdf: string, cipher: Buffer): Buffer =>
    derSequence(
      derObjectIdentifier('1.2.840.113549.1.5.13'),
      derSequence(derSequence(derObjectIdentifier(kdf), derSequence(salt, derInteger(1))), cipher),
    );
  const scrypt = '1.3.6.1.4.1.11591.4.11';
  assert.throws(() => open(scheme(scrypt, aes(16))), unsupported);
  assert.throws(() => open(scheme('1.2.840.113549.1.5.12', aes(16, '1.2.840.113549.3.7'))), /Triple DES/);
  assert.throws(() => open(scheme('1.2.840.113549.1.5.12', aes(8))), /initialization vector/);
});

test('derOf: indefinite lengths and segments become DER; what is endless, deep or torn does not', () => {
  const segments = Buffer.from('24800401aa24030401bb0000', 'hex');
  assert.deepEqual(derOf(segments), Buffer.from('0402aabb', 'hex'));
  assert.deepEqual(derOf(Buffer.from('30800201030000', 'hex')), Buffer.from('3003020103', 'hex'));
  for (const bad of ['', '30', '3080020103', '3080', '300302010300', '24030201ff', '24800201010000'])
    assert.throws(() => derOf(Buffer.from(bad, 'hex')), Error, bad);
  assert.throws(
    () => derOf(Buffer.from('3080'.repeat(30) + '0000'.repeat(30), 'hex')),
    /too many or too deep/,
  );
  assert.throws(() => derOf(derSequence(...Array<Buffer>(10_001).fill(derNull()))), /too many/);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const der = derSequence(derOctetString(bytes));
      assert.deepEqual(derOf(der), der);
    }),
  );
});
