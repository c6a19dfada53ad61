/** Every bound of an envelope, hit exactly and by one more. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { deflateRawSync } from 'node:zlib';
import { derSetOf } from '../../../cms/der-writer.ts';
import { attribute, readAttributes } from '../../../cms/attributes.ts';
import { commitmentBytes } from '../../../cms/commitment.ts';
import { readEnvelopeInfo, writeEnvelopeInfo } from '../../../cms/envelope-info.ts';
import type { EnvelopeInfo } from '../../../cms/envelope-info.ts';
import { envelopeDigest, writeContentInfo } from '../../../cms/envelope.ts';
import {
  otherRecipientTag,
  readHybridRecipient,
  writeHybridRecipient,
} from '../../../cms/hybrid-recipient-info.ts';
import type { WrittenHybrid } from '../../../cms/hybrid-recipient-info.ts';
import { keyWrapIdentifiers } from '../../../cms/algorithms.ts';
import { inspect } from '../../../cms/inspect.ts';
import {
  attributesMax,
  certificatesMax,
  fileEnvelopeBytesMax,
  hybridMaterialBytesMax,
  keyIdentifierBytesMax,
  segmentDepthMax,
  segmentsMax,
  signersMax,
  userKeyingMaterialBytesMax,
} from '../../../cms/limits.ts';
import { oids } from '../../../cms/oid.ts';
import { createSealer } from '../../../cms/seal.ts';
import { addSignature } from '../../../cms/sign.ts';
import { writeIdentifier } from '../../../cms/identifier.ts';
import { writeRecipient } from '../../../cms/recipient-info.ts';
import { contentBytesMax, envelopeBytesMax, recipientsMax, topicBytesMax } from '../../../domain/limits.ts';
import { Generator } from '../../../fuzz/generator.ts';
import { copyOf, element } from '../../../fuzz/tlv.ts';
import type { Tlv } from '../../../fuzz/tlv.ts';
import { derElement, derOctetString, derSequence } from '../../../pki/der-writer.ts';
import { DerFault, derTag, readOnly } from '../../../pki/der.ts';
import { contextOf, makeIdentity, signingTimeMs } from '../identities.ts';
import {
  at,
  auditor,
  backend,
  bare,
  childrenOf,
  device,
  edited,
  fill,
  laxOpener,
  openerFor,
  seal,
  signedBy,
  written,
} from './messages.ts';

const malformed = { code: 'cms.malformed' };
const unsupported = { code: 'cms.unsupported' };
const rejected = { code: 'cms.rejected' };
const noise = new Generator(11).octets(10_000);
const { certificate } = backend.recipient;

/** Within a bare envelope. */
const enveloped = [1, 0];
const recipientInfos = [...enveloped, 1];
const agreement = [...recipientInfos, 0];
const encryptedKeys = [...agreement, 4];
const firstRecipient = [...encryptedKeys, 0, 0];

/** The bare message with one element that `change` makes as large as it is told. */
function sized(path: readonly number[], change: (found: Tlv, size: number) => void) {
  return (size: number) => edited(bare, (root) => change(at(root, ...path), size));
}

test('envelopeBytesMax: an envelope of that size is sealed and opened, a larger one by neither', () => {
  const sealer = createSealer({ keyAgreement: device.recipient }, { format: { compress: false } });
  const large = createSealer(
    { keyAgreement: device.recipient },
    { format: { compress: false }, envelopeBytesMax: fileEnvelopeBytesMax },
  );
  const sealedIn = (from: typeof sealer, bytes: number) =>
    from.seal(Buffer.alloc(bytes, 7), [certificate], contextOf()).envelope;
  const overhead = sealedIn(sealer, 200_000).length - 200_000;
  const exact = sealedIn(sealer, envelopeBytesMax - overhead);
  assert.equal(exact.length, envelopeBytesMax);
  assert.equal(laxOpener.open(exact).content.length, envelopeBytesMax - overhead);
  assert.throws(() => sealedIn(sealer, envelopeBytesMax - overhead + 1), unsupported);
  const over = sealedIn(large, envelopeBytesMax - overhead + 1);
  assert.equal(over.length, envelopeBytesMax + 1);
  for (const read of [() => laxOpener.open(over), () => inspect(over), () => envelopeDigest(over)]) {
    assert.throws(read, malformed);
  }
  const bound = { envelopeBytesMax: over.length };
  assert.equal(inspect(over, bound).envelopeBytes, over.length);
  assert.throws(() => inspect(over, { envelopeBytesMax: over.length - 1 }), malformed);
});

test('envelopeBytesMax: what a released envelope becomes is held to it too', () => {
  const signed = seal();
  const released = addSignature(signed, auditor.signatureKey, signingTimeMs);
  // A signature is a few octets shorter or longer from one time to the next.
  const enough = { envelopeBytesMax: released.length + 8 };
  assert.ok(addSignature(signed, auditor.signatureKey, signingTimeMs, enough).length > signed.length);
  const tooLittle = { envelopeBytesMax: released.length - 40 };
  assert.throws(() => addSignature(signed, auditor.signatureKey, signingTimeMs, tooLittle), unsupported);
});

test('fileEnvelopeBytesMax: no bound may be above', () => {
  assert.equal(inspect(bare, { envelopeBytesMax: fileEnvelopeBytesMax }).envelopeBytes, bare.length);
  assert.throws(() => inspect(bare, { envelopeBytesMax: fileEnvelopeBytesMax + 1 }), {
    code: 'ERR_ASSERTION',
  });
});

test('contentBytesMax: content of that size opens, deflated or not; more is rejected', () => {
  const file = openerFor(backend, { envelopeBytesMax: fileEnvelopeBytesMax });
  for (const [encoding, encode] of [
    ['identity', (octets: Buffer) => octets],
    ['deflate', (octets: Buffer) => deflateRawSync(octets)],
  ] as const) {
    const make = (bytes: number) => signedBy(written({ octets: encode(Buffer.alloc(bytes, 1)), encoding }));
    assert.equal(file.open(make(contentBytesMax)).content.length, contentBytesMax);
    assert.throws(() => file.open(make(contentBytesMax + 1)), rejected);
  }
});

test('recipientsMax: that many are read, sealed for, and no more', () => {
  const copies = sized(encryptedKeys, (found, count) => {
    const [first, second] = childrenOf(found);
    assert.ok(first && second);
    found.children = [first, ...Array.from({ length: count - 1 }, () => copyOf(second))];
  });
  assert.equal(laxOpener.open(copies(recipientsMax)).recipients.length, recipientsMax);
  assert.throws(() => laxOpener.open(copies(recipientsMax + 1)), malformed);
  // Of any kind, in any number of infos.
  const infos = sized(recipientInfos, (found, count) => {
    const others = Array.from({ length: count - 2 }, (_, index) =>
      element(0xa2 + (index % 3), [element(0x02, Buffer.of(1))]),
    );
    childrenOf(found).push(
      ...others.map((other) => (other.tag === 0xa4 ? element(0xa4, [element(0x06, Buffer.of(1))]) : other)),
    );
  });
  assert.equal(laxOpener.open(infos(recipientsMax)).otherRecipients, recipientsMax - 2);
  assert.throws(() => laxOpener.open(infos(recipientsMax + 1)), malformed);
  const empty = sized(recipientInfos, (found, count) => {
    const none = copyOf(at(found, 0));
    fill(at(none, 4), Buffer.alloc(0));
    childrenOf(found).push(...Array.from({ length: count - 2 }, () => copyOf(none)));
  });
  assert.equal(laxOpener.open(empty(recipientsMax)).recipients.length, 2);
  assert.throws(() => laxOpener.open(empty(recipientsMax + 1)), malformed);
  const many = Array.from(
    { length: recipientsMax + 1 },
    (_, i) => makeIdentity(`r-${i}`).recipient.certificate,
  );
  assert.equal(inspect(seal({}, {}, many.slice(1))).agreements[0]?.recipients.length, recipientsMax);
  assert.throws(() => seal({}, {}, many), unsupported);
});

test('certificatesMax: in the originator info and in SignedData', () => {
  const { der } = device.recipient.certificate;
  const set = (count: number) => element(0xa0, Buffer.concat(Array.from({ length: count }, () => der)));
  const inOriginatorInfo = sized(enveloped, (found, count) => {
    childrenOf(found).splice(1, 0, element(0xa0, [set(count)]));
  });
  const inSignedData = (count: number) =>
    edited(seal(), (root) => void childrenOf(at(root, ...enveloped)).splice(3, 0, set(count)));
  for (const make of [inOriginatorInfo, inSignedData]) {
    assert.equal(inspect(make(certificatesMax)).certificates.length, certificatesMax);
    assert.ok(laxOpener.open(make(certificatesMax)).content.length > 0);
    assert.throws(() => laxOpener.open(make(certificatesMax + 1)), malformed);
  }
});

test('signersMax: signatures, and announced digests', () => {
  assert.equal(inspect(signedBy(written({}), signersMax)).signers.length, signersMax);
  assert.ok(laxOpener.open(signedBy(written({}), signersMax)));
  assert.throws(() => laxOpener.open(signedBy(written({}), signersMax + 1)), malformed);
  const announcing = (count: number) =>
    edited(seal(), (root) => {
      const algorithms = Array.from({ length: count }, (_, index) =>
        element(0x30, [element(0x06, Buffer.of(0x2a, index))]),
      );
      at(root, 1, 0, 1).children = algorithms;
    });
  for (const [count, message] of [
    [signersMax, /not those of the signers/],
    [signersMax + 1, /more than 8/],
  ] as const) {
    assert.throws(() => laxOpener.open(announcing(count)), { ...malformed, message });
  }
});

test('attributesMax: attributes in a set, values in an attribute', () => {
  const value = element(0x04, Buffer.of(1));
  const kind = (index: number) => element(0x06, Buffer.of(0x2a, 0x03, index));
  const attributes = sized(enveloped, (found, count) => {
    const members = Array.from({ length: count }, (_, index) =>
      element(0x30, [kind(index), element(0x31, [copyOf(value)])]),
    );
    childrenOf(found).push(element(0xa2, members));
  });
  const values = sized(enveloped, (found, count) => {
    const members = Array.from({ length: count }, () => copyOf(value));
    childrenOf(found).push(element(0xa2, [element(0x30, [kind(1), element(0x31, members)])]));
  });
  for (const make of [attributes, values]) {
    assert.ok(laxOpener.open(make(attributesMax)).content.length > 0);
    assert.throws(() => laxOpener.open(make(attributesMax + 1)), malformed);
    assert.throws(() => laxOpener.open(make(0)), malformed);
  }
  const large = derSetOf(
    Array.from({ length: attributesMax + 1 }, (_, i) =>
      attribute(Buffer.of(0x2a, i), derOctetString(noise.subarray(0, 100))),
    ),
  );
  assert.throws(() => readAttributes(readOnly(large, derTag.set, 'attributes'), 'attributes'), DerFault);
});

test('segmentsMax, segmentDepthMax: how an OCTET STRING may come', () => {
  const sealer = createSealer({ keyAgreement: device.recipient }, { format: { compress: false } });
  const inSegments = (count: number, depth: number, empty = 0) =>
    edited(sealer.seal(noise.subarray(0, count), [certificate], contextOf()).envelope, (root) => {
      const found = at(root, ...enveloped, 2, 2);
      const segments = Array.from(found.octets, (octet) => element(0x04, Buffer.of(octet)));
      for (let left = empty; left > 0; left--) segments.push(element(0x24, []));
      let nested = segments;
      for (let level = 1; level < depth; level++) nested = [element(0x24, nested)];
      Object.assign(found, { tag: 0xa0, children: nested, length: 'indefinite' });
    });
  assert.equal(laxOpener.open(inSegments(segmentsMax, 1)).content.length, segmentsMax);
  assert.throws(() => laxOpener.open(inSegments(segmentsMax + 1, 1)), malformed);
  // One that holds others counts as one.
  assert.equal(laxOpener.open(inSegments(segmentsMax - 1, 2)).content.length, segmentsMax - 1);
  assert.throws(() => laxOpener.open(inSegments(segmentsMax, 2)), malformed);
  assert.equal(laxOpener.open(inSegments(92, 1, segmentsMax - 92)).content.length, 92);
  assert.throws(() => laxOpener.open(inSegments(92, 1, segmentsMax - 91)), malformed);
  assert.equal(laxOpener.open(inSegments(10, segmentDepthMax)).content.length, 10);
  assert.throws(() => laxOpener.open(inSegments(10, segmentDepthMax + 1)), malformed);
});

test('userKeyingMaterialBytesMax: as inspect reads it, and as open does', () => {
  const material = sized([...agreement, 2, 0], (found, bytes) => fill(found, Buffer.alloc(bytes, 1)));
  assert.equal(inspect(material(userKeyingMaterialBytesMax)).agreements.length, 1);
  assert.throws(() => inspect(material(userKeyingMaterialBytesMax + 1)), malformed);
  assert.throws(() => laxOpener.open(material(userKeyingMaterialBytesMax)), malformed);
});

test('hybridMaterialBytesMax: a writer and a reader keep to it', () => {
  const name = (bytes: number) =>
    writeRecipient({
      kind: 'issuerAndSerial',
      issuerDer: derElement(derTag.sequence, Buffer.alloc(bytes)),
      serialNumber: Buffer.of(1),
    });
  const key = writeIdentifier({ kind: 'keyIdentifier', keyIdentifier: Buffer.alloc(20, 1) });
  const hybrid = (bytes: number): WrittenHybrid => ({
    originator: key,
    recipient: name(bytes),
    kemRecipient: key,
    ephemeralPoint: certificate.publicPoint ?? Buffer.alloc(0),
    ciphertext: Buffer.alloc(1088, 2),
    keyWrap: keyWrapIdentifiers[32],
    kekBytes: 32,
  });
  const wrap = (info: Buffer) => {
    length = info.length;
    return Buffer.alloc(40);
  };
  let length = 0;
  writeHybridRecipient(hybrid(500), wrap);
  // Lengths of 256 to 65,535 take two octets, so one octet of name is one octet of material.
  const overhead = materialBytes(writeHybridRecipient(hybrid(500), wrap)) - 500;
  const exact = writeHybridRecipient(hybrid(hybridMaterialBytesMax - overhead), wrap);
  assert.equal(materialBytes(exact), hybridMaterialBytesMax);
  // Node's HKDF takes 1,024 octets of info.
  assert.ok(length <= 1024, `${length} octets`);
  const read = (octets: Buffer) => readHybridRecipient(readOnly(octets, otherRecipientTag, 'recipient'));
  assert.equal(read(exact)?.ciphertext.length, 1088);
  assert.throws(() => writeHybridRecipient(hybrid(hybridMaterialBytesMax - overhead + 1), wrap), unsupported);
  const larger = edited(exact, (root) => {
    const issuer = at(root, 1, 6, 0, 0, 1, 0);
    fill(issuer, Buffer.concat([issuer.octets, Buffer.alloc(1)]));
  });
  assert.equal(materialBytes(larger), hybridMaterialBytesMax + 1);
  assert.throws(() => read(larger), DerFault);
});

function materialBytes(recipientInfo: Buffer): number {
  let bytes = 0;
  edited(recipientInfo, (root) => (bytes = at(root, 1, 6, 0).octets.length));
  return bytes;
}

test('keyIdentifierBytesMax: of a recipient, an originator and a signer', () => {
  const signed = seal();
  const recipient = sized([...firstRecipient, 0], (found, bytes) => fill(found, Buffer.alloc(bytes, 1)));
  const originator = sized([...agreement, 1, 0], (found, bytes) => fill(found, Buffer.alloc(bytes, 1)));
  const signer = (bytes: number) =>
    edited(signed, (root) => fill(at(root, 1, 0, -1, 0, 1), Buffer.alloc(bytes, 1)));
  for (const make of [recipient, originator, signer]) {
    assert.ok(inspect(make(keyIdentifierBytesMax)));
    assert.throws(() => inspect(make(keyIdentifierBytesMax + 1)), malformed);
    assert.throws(() => inspect(make(0)), malformed);
  }
});

test('a serial number has 20 octets, a signature of ours 144 at most', () => {
  const named = seal({ recipient: 'issuerAndSerial' }, {}, [certificate], { keyAgreement: device.recipient });
  const serial = (octets: Buffer) => edited(named, (root) => fill(at(root, ...firstRecipient, 1), octets));
  assert.ok(inspect(serial(Buffer.alloc(20, 1))));
  for (const wrong of [
    Buffer.alloc(21, 1),
    Buffer.alloc(0),
    Buffer.alloc(20, 0xff),
    Buffer.alloc(9, 0),
    Buffer.alloc(60_000, 1),
  ]) {
    assert.throws(() => inspect(serial(wrong)), malformed);
  }
  const signature = (bytes: number) =>
    edited(seal(), (root) => fill(at(root, 1, 0, -1, 0, -1), Buffer.alloc(bytes, 1)));
  assert.throws(() => laxOpener.open(signature(144)), rejected);
  assert.throws(() => laxOpener.open(signature(145)), malformed);
});

const info: EnvelopeInfo = {
  topic: 't',
  sequence: 7,
  previousDigest: undefined,
  originatorHashes: [Buffer.alloc(32, 1)],
  contentType: 'octets',
  encoding: 'identity',
  commitment: Buffer.alloc(commitmentBytes),
};

function readInfo(octets: Buffer): EnvelopeInfo {
  return readEnvelopeInfo(readOnly(octets, derTag.sequence, 'info'));
}

test('topicBytesMax: octets of UTF-8, for the sealer and the reader', () => {
  const longest = 'ü'.repeat(topicBytesMax / 2);
  const sealed = seal({}, { topic: longest });
  assert.equal(laxOpener.open(sealed).topic, longest);
  assert.throws(() => seal({}, { topic: `${longest}x` }), { code: 'ERR_ASSERTION' });
  assert.equal(readInfo(writeEnvelopeInfo({ ...info, topic: longest })).topic, longest);
  for (const topic of ['', `${longest}x`, 'x'.repeat(100_000)]) {
    assert.throws(() => readInfo(writeEnvelopeInfo({ ...info, topic })), DerFault);
  }
});

test('EnvelopeInfo: numbers at their bounds, and above', () => {
  const withSequence = (hex: string) =>
    edited(writeEnvelopeInfo(info), (root) => fill(at(root, 2), Buffer.from(hex, 'hex')));
  assert.equal(readInfo(withSequence('1fffffffffffff')).sequence, Number.MAX_SAFE_INTEGER);
  for (const hex of [
    '20000000000000',
    '7fffffffffffffff',
    '00ffffffffffffffff',
    `01${'00'.repeat(8)}`,
    '01'.repeat(50_000),
    'ff',
    '0001',
    '',
  ]) {
    assert.throws(() => readInfo(withSequence(hex)), DerFault, hex.slice(0, 20));
  }
  for (const [index, code] of [
    [4, 3],
    [5, 1],
  ] as const) {
    const withCode = (octets: Buffer) =>
      edited(writeEnvelopeInfo(info), (root) => fill(at(root, index), octets));
    assert.ok(readInfo(withCode(Buffer.of(code))));
    for (const wrong of [Buffer.of(code + 1), Buffer.alloc(5, 1), Buffer.alloc(70_000, 1)]) {
      assert.throws(() => readInfo(withCode(wrong)), DerFault);
    }
  }
  const hashes = (count: number) =>
    writeEnvelopeInfo({
      ...info,
      originatorHashes: Array.from({ length: count }, (_, i) => Buffer.alloc(32, i + 1)),
    });
  assert.equal(readInfo(hashes(6)).originatorHashes.length, 6);
  for (const count of [0, 7]) assert.throws(() => readInfo(hashes(count)), DerFault);
  assert.throws(
    () => readInfo(writeEnvelopeInfo({ ...info, originatorHashes: [Buffer.alloc(32), Buffer.alloc(32)] })),
    DerFault,
  );
});

test('an object identifier of any length is refused in a short sentence', () => {
  for (const octets of [
    Buffer.alloc(65, 0x7f),
    Buffer.alloc(200_000, 0xff),
    Buffer.alloc(200_000, 1),
    Buffer.alloc(0),
  ]) {
    for (const path of [
      [...agreement, 3, 0],
      [...agreement, 3, 1, 0],
      [...enveloped, 2, 0],
      [...enveloped, 2, 1, 0],
    ]) {
      const changed = edited(bare, (root) => fill(at(root, ...path), octets));
      assert.throws(
        () => laxOpener.open(changed),
        (error: Error & { code?: string }) => {
          assert.equal(error.code, 'cms.unsupported');
          assert.ok(error.message.length < 200, `${error.message.length} characters`);
          return true;
        },
      );
    }
    const named = edited(bare, (root) => fill(at(root, ...agreement, 3, 0), octets));
    assert.ok((inspect(named).agreements[0]?.keyAgreement.length ?? 0) < 200);
  }
  const outer = edited(bare, (root) => fill(at(root, 0), Buffer.alloc(200_000, 0xff)));
  assert.throws(() => laxOpener.open(outer), malformed);
  assert.throws(() => laxOpener.open(writeContentInfo(oids.data, derSequence())), malformed);
});
