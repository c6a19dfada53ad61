import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import test from 'node:test';
import * as fc from 'fast-check';
import { contentBytesMax, envelopeBytesMax, recipientsMax } from '../../domain/limits.ts';
import { readEnvelopeInfo, writeEnvelopeInfo } from '../../cms/envelope-info.ts';
import { envelopeDigest, readEnvelope } from '../../cms/envelope.ts';
import { inspect } from '../../cms/inspect.ts';
import type { SharedInfoFlavour } from '../../cms/kdf.ts';
import { fileEnvelopeBytesMax } from '../../cms/limits.ts';
import { createOpener } from '../../cms/open.ts';
import type { OpenerSettings } from '../../cms/open.ts';
import { originatorsOf } from '../../cms/originator.ts';
import { createSealer } from '../../cms/seal.ts';
import type { SealFormat } from '../../cms/seal-format.ts';
import type { SealedEnvelope, SealOptions } from '../../cms/seal.ts';
import { addSignature } from '../../cms/sign.ts';
import { curveNames } from '../../pki/certificate.ts';
import type { Certificate, CurveName } from '../../pki/certificate.ts';
import { DerFault, DerReader } from '../../pki/der.ts';
import { rogueCertificate } from '../pki/rogue-authority.ts';
import { replaced } from './attacker.ts';
import { contextOf, makeIdentity } from './identities.ts';
import type { Identity } from './identities.ts';

const commonName = 'ms-acc-1/acc-1/dev-1';
/** One originator with an ENC key on each curve, and one SIG key. */
const devices = curveNames.map((curve) => makeIdentity(commonName, curve));
const signature = makeIdentity(commonName).signatureKey;
const originators = originatorsOf(
  devices.map(({ originator }) => ({ ...originator, signature: signature.certificate })),
);
const keyAgreement = devices.map(({ recipient }) => recipient);
/** Three readers on each curve. */
const readers = curveNames.flatMap((curve) =>
  Array.from({ length: 3 }, (_, index) => makeIdentity(`reader-${index}`, curve)),
);
const flavours: readonly SharedInfoFlavour[] = ['rfc5753', 'bc'];
const allowed = { allowUnsigned: true, kdfFlavours: flavours };

const keyBytes = fc.constantFrom(16, 24, 32);
const identifierKind = fc.constantFrom('keyIdentifier', 'issuerAndSerial');
const anyFormat: fc.Arbitrary<SealFormat> = fc
  .record(
    {
      kdfFlavour: fc.constantFrom(...flavours),
      kdfHash: fc.constantFrom('sha256', 'sha384', 'sha512'),
      contentKeyBytes: keyBytes,
      keyWrapBytes: keyBytes,
      originator: fc.oneof(identifierKind, fc.constant('publicKey')),
      recipient: identifierKind,
      compress: fc.boolean(),
    },
    { requiredKeys: [] },
  )
  .filter(({ contentKeyBytes = 32, keyWrapBytes = 32 }) => keyWrapBytes >= contentKeyBytes);

function openerFor(reader: Identity, changes: Partial<OpenerSettings> = {}) {
  return createOpener({ recipient: reader.recipient, originators, policy: allowed, ...changes });
}

function certificatesOf(identities: readonly Identity[]): Certificate[] {
  return identities.map(({ recipient }) => recipient.certificate);
}

function onCurve(curve: CurveName): Identity {
  const found = devices.find(({ recipient }) => recipient.certificate.curve === curve);
  assert.ok(found);
  return found;
}

test('seal: in any format, for recipients on any curves, everyone named opens and nobody else', () => {
  fc.assert(
    fc.property(
      anyFormat,
      fc.subarray(readers, { minLength: 1, maxLength: 5 }),
      fc.uint8Array({ maxLength: 2000 }),
      fc.constantFrom('signed', 'bare', 'plain'),
      (chosenFormat, chosen, content, form) => {
        const format =
          form === 'plain'
            ? ({ ...chosenFormat, attributes: 'plain', compress: false } as const)
            : chosenFormat;
        const keys = form === 'signed' ? { signature, keyAgreement } : { keyAgreement };
        const { envelope } = createSealer(keys, { format }).seal(
          content,
          certificatesOf(chosen),
          contextOf(),
        );
        const stranger = readers.find((reader) => !chosen.includes(reader));
        assert.ok(stranger);
        assert.throws(() => openerFor(stranger).open(envelope), { code: 'cms.not_a_recipient' });
        for (const reader of chosen) {
          const opened = openerFor(reader).open(envelope);
          assert.deepEqual(opened.content, Buffer.from(content));
          assert.equal(opened.originator.commonName, commonName);
          assert.equal(opened.recipients.length, chosen.length);
          assert.equal(opened.topic, form === 'plain' ? undefined : contextOf().topic);
        }
      },
    ),
    { numRuns: 40 },
  );
});

test('seal: from one recipient to a hundred, on one curve and on all', () => {
  const crowd = Array.from({ length: recipientsMax }, (_, index) => {
    const curve = index % 5 === 0 ? (curveNames[(index / 5) % curveNames.length] ?? 'P-256') : 'P-256';
    return makeIdentity(`reader-${index}`, curve);
  });
  for (const count of [1, 2, 17, recipientsMax]) {
    const chosen = crowd.slice(0, count);
    const content = randomBytes(1024);
    const { envelope } = createSealer({ signature, keyAgreement }).seal(
      content,
      certificatesOf(chosen),
      contextOf(),
    );
    const curves = new Set(chosen.map(({ recipient }) => recipient.certificate.curve));
    assert.equal(readEnvelope(envelope).authEnveloped.keyAgreements.length, curves.size);
    for (const reader of chosen) assert.deepEqual(openerFor(reader).open(envelope).content, content);
  }
  const oneTooMany = certificatesOf([...crowd, makeIdentity('reader-101')]);
  assert.throws(
    () => createSealer({ signature, keyAgreement }).seal(randomBytes(1), oneTooMany, contextOf()),
    {
      code: 'cms.unsupported',
    },
  );
});

test('seal: large contents come back, with the bound for files or deflated', () => {
  const [reader] = readers;
  assert.ok(reader);
  const bound = { envelopeBytesMax: fileEnvelopeBytesMax };
  for (const content of [randomBytes(1024 * 1024), randomBytes(contentBytesMax)]) {
    const seal = (options: SealOptions): SealedEnvelope =>
      createSealer({ signature, keyAgreement }, options).seal(content, certificatesOf([reader]), contextOf());
    assert.throws(() => seal({}), { code: 'cms.unsupported' });
    const { envelope, digest } = seal(bound);
    assert.ok(envelope.length > envelopeBytesMax);
    const released = addSignature(envelope, makeIdentity('ms-acc-1').signatureKey, 0, bound);
    assert.ok(openerFor(reader, bound).open(released).content.equals(content));
    assert.deepEqual(envelopeDigest(envelope, bound), digest);
    assert.equal(inspect(envelope, bound).envelopeBytes, envelope.length);
    for (const read of [() => openerFor(reader).open(envelope), () => inspect(envelope)]) {
      assert.throws(read, { code: 'cms.malformed' });
    }
  }
  const flat = Buffer.alloc(contentBytesMax, 7);
  const { envelope } = createSealer({ signature, keyAgreement }).seal(
    flat,
    certificatesOf([reader]),
    contextOf(),
  );
  assert.ok(openerFor(reader).open(envelope).content.equals(flat));
});

test('seal: no content at all comes back, in every form', () => {
  const [reader] = readers;
  assert.ok(reader);
  for (const format of [{}, { attributes: 'plain' }] as const) {
    const sealer = createSealer({ keyAgreement }, { format });
    const { envelope } = sealer.seal(Buffer.alloc(0), certificatesOf([reader]), contextOf());
    assert.deepEqual(openerFor(reader).open(envelope).content, Buffer.alloc(0));
  }
});

test('seal: each choice of format is on the wire', () => {
  const [reader] = readers;
  assert.ok(reader);
  const sealed = (format: SealFormat) =>
    createSealer({ keyAgreement: onCurve('P-256').recipient }, { format }).seal(
      Buffer.alloc(400),
      certificatesOf([reader]),
      contextOf(),
    ).envelope;
  const plain = inspect(sealed({ attributes: 'plain' }));
  assert.deepEqual(
    [plain.info, plain.contentBytes, plain.signingTimeMs],
    [undefined, 400, contextOf().signingTimeMs],
  );
  assert.equal(inspect(sealed({ compress: false })).contentBytes, 400);
  const small = inspect(sealed({ kdfHash: 'sha512', contentKeyBytes: 16, keyWrapBytes: 24 }));
  assert.equal(small.contentEncryption, 'AES-128-GCM');
  assert.deepEqual(
    small.agreements.map((one) => [one.keyAgreement, one.keyWrap]),
    [['mqvSha512', 'aes192Wrap']],
  );
  const { issuerDer, serialNumber } = reader.recipient.certificate;
  const [named] = inspect(sealed({ originator: 'publicKey', recipient: 'issuerAndSerial' })).agreements;
  assert.deepEqual(named?.recipients, [{ kind: 'issuerAndSerial', issuerDer, serialNumber }]);
  assert.deepEqual(named?.originator, {
    kind: 'publicKey',
    point: onCurve('P-256').recipient.certificate.publicPoint,
    curveOid: Buffer.from('2a8648ce3d030107', 'hex'),
  });
  const flavour = createOpener({
    recipient: reader.recipient,
    originators,
    policy: { allowUnsigned: true, kdfFlavours: ['rfc5753'] },
  });
  assert.throws(() => flavour.open(sealed({ kdfFlavour: 'bc' })), { code: 'cms.rejected' });
});

test('createSealer: refuses choices that contradict each other, and keys that are not one identity’s', () => {
  const unsupported = { code: 'cms.unsupported' };
  const refused: SealFormat[] = [
    { contentKeyBytes: 32, keyWrapBytes: 24 },
    { keyWrapBytes: 16 },
    { attributes: 'plain', compress: true },
  ];
  for (const format of refused) assert.throws(() => createSealer({ keyAgreement }, { format }), unsupported);
  const plain = { format: { attributes: 'plain' } } as const;
  assert.throws(() => createSealer({ signature, keyAgreement }, plain), unsupported);
  const sameCurve = [onCurve('P-256').recipient, makeIdentity(commonName).recipient];
  const otherName = [onCurve('P-256').recipient, makeIdentity('ms-acc-1', 'P-384').recipient];
  for (const keys of [[], sameCurve, otherName]) {
    assert.throws(() => createSealer({ keyAgreement: keys }), unsupported);
  }
});

test('open: of an originator with several ENC certificates, each that was used is bound', () => {
  const [first, second] = [onCurve('P-256'), onCurve('P-384')];
  const [one, two] = [makeIdentity('reader-1'), makeIdentity('reader-2', 'P-384')];
  const sealer = createSealer({ signature, keyAgreement });
  const both = inspect(sealer.seal(Buffer.alloc(9), certificatesOf([one, two]), contextOf()).envelope);
  const hashes = [first, second].map(({ recipient }) => recipient.certificate.sha256);
  assert.deepEqual(
    both.info?.originatorHashes,
    hashes.toSorted((a, b) => a.compare(b)),
  );
  const alone = inspect(sealer.seal(Buffer.alloc(9), certificatesOf([two]), contextOf()).envelope);
  assert.deepEqual(alone.info?.originatorHashes, [second.recipient.certificate.sha256]);
});

test('open: with several certificates bound, the one that the reader knows must be among them', () => {
  const { key, certificate } = onCurve('P-256').recipient;
  const renewed = rogueCertificate({
    commonName,
    keyUsage: ['keyAgreement'],
    keyPair: { privateKey: key, publicKey: certificate.publicKey },
  }).certificate;
  const [one, two] = [makeIdentity('reader-1'), makeIdentity('reader-2', 'P-384')];
  const { envelope } = createSealer({ signature, keyAgreement }).seal(
    Buffer.alloc(9),
    certificatesOf([one, two]),
    contextOf(),
  );
  const known = [renewed, onCurve('P-384').recipient.certificate].map((enc) => ({
    commonName,
    signature: signature.certificate,
    keyAgreement: enc,
  }));
  const changed = { originators: originatorsOf(known) };
  assert.throws(() => openerFor(one, changed).open(envelope), { code: 'cms.rejected' });
  assert.equal(openerFor(two, changed).open(envelope).content.length, 9);
});

test('readEnvelopeInfo: takes one to six hashes, each once and in order', () => {
  const info = {
    topic: 'ms-acc-1',
    sequence: 1,
    previousDigest: undefined,
    contentType: 'octets',
    encoding: 'identity',
    commitment: Buffer.alloc(32),
  } as const;
  const hashes = Array.from({ length: 7 }, (_, index) => Buffer.alloc(32, index + 1));
  const written = (originatorHashes: readonly Buffer[]) =>
    new DerReader(writeEnvelopeInfo({ ...info, originatorHashes })).next();
  for (let count = 1; count <= 6; count++) {
    const chosen = hashes.slice(0, count);
    assert.deepEqual(readEnvelopeInfo(written(chosen.toReversed())).originatorHashes, chosen);
  }
  const [one = Buffer.alloc(0), two = Buffer.alloc(0)] = hashes;
  for (const wrong of [[], hashes, [one, one], [Buffer.alloc(31)], [Buffer.alloc(33)]]) {
    assert.throws(() => readEnvelopeInfo(written(wrong)), DerFault);
  }
  const swapped = replaced(written([one, two]).der, Buffer.concat([one, two]), Buffer.concat([two, one]));
  assert.throws(() => readEnvelopeInfo(new DerReader(swapped).next()), DerFault);
});
