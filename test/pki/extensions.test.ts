import assert from 'node:assert/strict';
import { test } from 'node:test';
import { signToBeSigned } from '../../pki/authority/encode.ts';
import { parseCertificate } from '../../pki/certificate.ts';
import {
  derBitString,
  derElement,
  derInteger,
  derObjectIdentifier,
  derOctetString,
  derSequence,
  derTime,
  derTrue,
} from '../../pki/der-writer.ts';
import { readCommonName } from '../../pki/name.ts';
import { rogueCertificate } from './rogue-authority.ts';

const base = rogueCertificate({ commonName: 'ms-acc-1' });
const name = base.certificate.subjectDer;
const key = base.certificate.publicKey.export({ type: 'spki', format: 'der' });
const algorithm = derSequence(derObjectIdentifier('1.2.840.10045.4.3.2'));
const derFalse = derElement(0x01, Buffer.of(0));

interface Parts {
  readonly version?: Buffer;
  readonly serial?: Buffer;
  readonly keyInfo?: Buffer;
  readonly tail?: readonly Buffer[];
  readonly innerAlgorithm?: Buffer;
}

/** A certificate of hand-made parts. */
function handMade({
  version = derElement(0xa0, derInteger(2)),
  serial = derInteger(5),
  keyInfo = key,
  tail = [],
  innerAlgorithm = algorithm,
}: Parts) {
  const validity = derSequence(derTime(0), derTime(1_000));
  const toBeSigned = derSequence(version, serial, innerAlgorithm, name, validity, name, keyInfo, ...tail);
  return parseCertificate(signToBeSigned(toBeSigned, base.key));
}

function extension(oid: string, value: Buffer, ...critical: readonly Buffer[]): Buffer {
  return derSequence(derObjectIdentifier(oid), ...critical, derOctetString(value));
}

function withExtensions(...extensions: readonly Buffer[]) {
  return handMade({ tail: [derElement(0xa3, derSequence(...extensions))] });
}

const keyUsage = '2.5.29.15';
const basicConstraints = '2.5.29.19';
const extendedKeyUsage = '2.5.29.37';

test('parseCertificate: without extensions it is no CA and for nothing', () => {
  const certificate = handMade({});
  assert.equal(certificate.isAuthority, false);
  assert.equal(certificate.keyUsage, undefined);
  assert.equal(certificate.extendedKeyUsage, undefined);
  assert.equal(certificate.subjectKeyIdentifier, undefined);
  assert.deepEqual(certificate.unknownCriticalExtensions, []);
});

test('commonName: a PrintableString has only the characters of one', () => {
  for (const [text, expected] of [
    ['ms-acc-1', 'ms-acc-1'],
    ['ms_acc_1', undefined],
    ['ms-acc-\u00e9', undefined],
  ] as const) {
    const value = derElement(0x13, Buffer.from(text, 'latin1'));
    const attribute = derSequence(derObjectIdentifier('2.5.4.3'), value);
    assert.equal(readCommonName(derSequence(derElement(0x31, attribute))), expected);
  }
});

test('parseCertificate: an authority key identifier without a key identifier has none', () => {
  assert.equal(withExtensions(extension('2.5.29.35', derSequence())).authorityKeyIdentifier, undefined);
});

test('parseCertificate: a key usage of two octets reaches its ninth bit, and an empty one has none', () => {
  const both = withExtensions(extension(keyUsage, derBitString(Buffer.of(0x08, 0x80), 7), derTrue()));
  assert.deepEqual([...(both.keyUsage ?? [])], ['keyAgreement', 'decipherOnly']);
  assert.equal(withExtensions(extension(keyUsage, derBitString(Buffer.alloc(0)))).keyUsage?.size, 0);
});

test('parseCertificate: a key on no named curve of ours has neither curve nor point', () => {
  const { publicPoint } = base.certificate;
  assert.ok(publicPoint);
  const x = publicPoint.subarray(1, 33);
  const compressed = Buffer.concat([Buffer.of(2 + ((publicPoint.at(-1) ?? 0) & 1)), x]);
  const p256 = [derObjectIdentifier('1.2.840.10045.2.1'), derObjectIdentifier('1.2.840.10045.3.1.7')];
  const certificate = handMade({ keyInfo: derSequence(derSequence(...p256), derBitString(compressed)) });
  assert.equal(certificate.curve, undefined);
  assert.equal(certificate.publicPoint, undefined);
});

for (const [fault, make] of [
  [
    'two signature algorithms',
    () => handMade({ innerAlgorithm: derSequence(derObjectIdentifier('1.2.840.10045.4.3.3')) }),
  ],
  ['version 1', () => handMade({ version: Buffer.alloc(0) })],
  ['version 2', () => handMade({ version: derElement(0xa0, derInteger(1)) })],
  ['a negative serial number', () => handMade({ serial: derElement(0x02, Buffer.of(0x80)) })],
  ['a serial number of 21 octets', () => handMade({ serial: derElement(0x02, Buffer.alloc(21, 1)) })],
  [
    'a public key that is none',
    () => handMade({ keyInfo: derSequence(algorithm, derBitString(Buffer.of(4))) }),
  ],
  ['something after the extensions', () => handMade({ tail: [derElement(0xa3, derSequence()), derTrue()] })],
  ['one extension twice', () => withExtensions(extension('1.2.3', derTrue()), extension('1.2.3', derTrue()))],
  [
    'an extension that says that it is not critical',
    () => withExtensions(extension('1.2.3', derTrue(), derFalse)),
  ],
  [
    '65 extensions',
    () => withExtensions(...Array.from({ length: 65 }, (_, n) => extension(`1.2.${n}`, derTrue()))),
  ],
  ['cA that says FALSE', () => withExtensions(extension(basicConstraints, derSequence(derFalse)))],
  ['a path length without cA', () => withExtensions(extension(basicConstraints, derSequence(derInteger(0))))],
  [
    'a negative path length',
    () => withExtensions(extension(basicConstraints, derSequence(derTrue(), derElement(2, Buffer.of(255))))),
  ],
  ['no extended key usage in the list', () => withExtensions(extension(extendedKeyUsage, derSequence()))],
  [
    '65 extended key usages',
    () => {
      const purposes = Array.from({ length: 65 }, (_, n) => derObjectIdentifier(`1.2.${n}`));
      return withExtensions(extension(extendedKeyUsage, derSequence(...purposes)));
    },
  ],
  [
    'bytes after a key usage',
    () => withExtensions(extension(keyUsage, Buffer.concat([derBitString(Buffer.of(0x80), 7), derTrue()]))),
  ],
] as const) {
  test(`parseCertificate: ${fault} is malformed`, () => {
    assert.throws(make, { code: 'pki.malformed_certificate' });
  });
}
