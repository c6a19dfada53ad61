import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { contentBytesMax, envelopeBytesMax } from '../../domain/limits.ts';
import { envelopeDigest, readEnvelope } from '../../cms/envelope.ts';
import type { ContentType } from '../../cms/envelope-info.ts';
import { createOpener } from '../../cms/open.ts';
import type { OpenerSettings } from '../../cms/open.ts';
import { originatorsOf } from '../../cms/originator.ts';
import { createSealer } from '../../cms/seal.ts';
import type { SealContext } from '../../cms/seal.ts';
import { curveNames } from '../../pki/certificate.ts';
import { rogueCertificate } from '../pki/rogue-authority.ts';
import { fixtureCertificate, fixtureRecipient, fixtures } from './fixtures.ts';
import { authority, contextOf, makeIdentity, signingTimeMs } from './identities.ts';
import type { Identity } from './identities.ts';

const device = makeIdentity('ms-acc-1/acc-1/dev-1');
const backend = makeIdentity('vendor-snapshot-service');
const auditor = makeIdentity('ms-acc-1');
const stranger = makeIdentity('ms-acc-2');
const content = Buffer.from(
  JSON.stringify(Array.from({ length: 20 }, (_, v) => ({ n: 'fuel.temperature', v }))),
);
const certificates = [backend.recipient.certificate, auditor.recipient.certificate];

function seal(changes: Partial<SealContext> = {}, from: Identity = device): Buffer {
  return createSealer(from.sealKeys).seal(content, certificates, contextOf(changes)).envelope;
}

function openerFor(reader: Identity, changes: Partial<OpenerSettings> = {}) {
  return createOpener({
    recipient: reader.recipient,
    originators: originatorsOf([device.originator]),
    ...changes,
  });
}

for (const curve of curveNames) {
  test(`seal: every recipient opens to the same, ${curve}`, () => {
    const sender = makeIdentity('ms-acc-1/acc-1/dev-1', curve);
    const readers = [makeIdentity('vendor-snapshot-service', curve), makeIdentity('ms-acc-1', curve)];
    const previousDigest = Buffer.alloc(32, 3);
    const { envelope, digest } = createSealer(sender.sealKeys).seal(
      content,
      readers.map(({ recipient }) => recipient.certificate),
      contextOf({ previousDigest, sequence: 2n ** 53n - 1n }),
    );
    for (const reader of readers) {
      const originators = originatorsOf([sender.originator]);
      const opened = createOpener({ recipient: reader.recipient, originators }).open(envelope);
      assert.deepEqual(opened.content, content);
      assert.equal(opened.originator.commonName, 'ms-acc-1/acc-1/dev-1');
      assert.deepEqual(opened.digest, digest);
      assert.deepEqual(envelopeDigest(envelope), digest);
      assert.deepEqual(opened.previousDigest, previousDigest);
      assert.equal(opened.sequence, Number.MAX_SAFE_INTEGER);
      assert.equal(opened.topic, 'ms-acc-1/acc-1/dev-1/snapshots');
      assert.equal(opened.contentType, 'senml+cbor');
      assert.equal(opened.signingTimeMs, signingTimeMs);
      assert.deepEqual(
        opened.signers.map(({ certificate }) => certificate.sha256),
        [sender.signatureKey.certificate.sha256],
      );
      assert.deepEqual(
        opened.recipients,
        readers.map(({ recipient }) => ({
          kind: 'keyIdentifier',
          keyIdentifier: recipient.certificate.subjectKeyIdentifier,
        })),
      );
    }
  });
}

test('seal: any content, context and number of recipients comes back', () => {
  const readers = [backend, auditor, stranger];
  const contentTypes: readonly ContentType[] = ['octets', 'senml+cbor', 'senml+json', 'command+cbor'];
  const sealer = createSealer(device.sealKeys);
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 3000 }),
      fc.integer({ min: 1, max: 3 }),
      fc.string({ minLength: 1, maxLength: 60, unit: 'grapheme' }).filter((topic) => topic.isWellFormed()),
      fc.maxSafeNat(),
      fc.constantFrom(...contentTypes),
      (octets, count, topic, sequence, contentType) => {
        const chosen = readers.slice(0, count);
        const context = contextOf({ topic, sequence, contentType });
        const { envelope } = sealer.seal(
          octets,
          chosen.map(({ recipient }) => recipient.certificate),
          context,
        );
        for (const reader of readers) {
          const opener = openerFor(reader);
          if (!chosen.includes(reader)) {
            assert.throws(() => opener.open(envelope), { code: 'cms.not_a_recipient' });
            continue;
          }
          const opened = opener.open(envelope, { expectedTopic: topic });
          assert.deepEqual(opened.content, Buffer.from(octets));
          assert.deepEqual([opened.sequence, opened.contentType], [sequence, contentType]);
        }
      },
    ),
    { numRuns: 40 },
  );
});

test('seal: two envelopes of the same content have nothing secret in common', () => {
  const [first, second] = [seal(), seal()].map((envelope) => readEnvelope(envelope));
  assert.ok(first && second);
  assert.notDeepEqual(first.authEnveloped.algorithm.nonce, second.authEnveloped.algorithm.nonce);
  assert.notDeepEqual(
    first.authEnveloped.keyAgreements[0]?.userKeyingMaterial,
    second.authEnveloped.keyAgreements[0]?.userKeyingMaterial,
  );
  assert.notDeepEqual(first.authEnveloped.sealed.ciphertext, second.authEnveloped.sealed.ciphertext);
});

test('seal: with a given random source a bare envelope is always the same', () => {
  const fixture = fixtures.find(({ id }) => id === 'form-p256-rfc-min');
  assert.ok(fixture?.recipients[0]);
  const keyAgreement = fixtureRecipient(fixture.recipients[0]);
  let counter = 0;
  const random = (bytes: number) => Buffer.from(Array.from({ length: bytes }, () => ++counter & 0xff));
  const recipient = fixtureCertificate('pki/p256-rcpt2.crt.pem');
  const { envelope } = createSealer({ keyAgreement }, { random }).seal(
    Buffer.from('below the size that DEFLATE is tried on'),
    [recipient],
    contextOf(),
  );
  assert.equal(
    envelopeDigest(envelope).toString('hex'),
    '241c552a461d09402b0c4c50bb77fe56cf83dd5b9509e1a68488f557267d26ab',
  );
});

test('seal: small content is left as it is, larger content is deflated', () => {
  const sealer = createSealer(device.sealKeys);
  const encodingOf = (octets: Buffer) =>
    readEnvelope(sealer.seal(octets, certificates, contextOf()).envelope).authEnveloped.info?.encoding;
  assert.equal(encodingOf(Buffer.alloc(40)), 'identity');
  assert.equal(encodingOf(Buffer.alloc(400)), 'deflate');
  assert.equal(encodingOf(Buffer.from(Array.from({ length: 70 }, (_, i) => (i * 151) % 256))), 'identity');
});

test('seal: a recipient given twice is addressed once', () => {
  const twice = [backend.recipient.certificate, backend.recipient.certificate];
  const { envelope } = createSealer(device.sealKeys).seal(content, twice, contextOf());
  assert.equal(openerFor(backend).open(envelope).recipients.length, 1);
});

test('seal: refuses what no reader would take', () => {
  const sealer = createSealer(device.sealKeys);
  const other = makeIdentity('vendor-snapshot-service', 'P-384').recipient.certificate;
  const signing = backend.signatureKey.certificate;
  const unknownCurve = rogueCertificate({
    issuer: authority,
    curve: 'secp256k1',
    keyUsage: ['keyAgreement'],
  }).certificate;
  for (const recipients of [[], [other], [signing], [unknownCurve]]) {
    assert.throws(() => sealer.seal(content, recipients, contextOf()), { code: 'cms.unsupported' });
  }
  const huge = Buffer.alloc(contentBytesMax + 1);
  assert.throws(() => sealer.seal(huge, certificates, contextOf()), { code: 'cms.unsupported' });
  const noise = incompressible(envelopeBytesMax);
  assert.throws(() => sealer.seal(noise, certificates, contextOf()), { code: 'cms.unsupported' });
  for (const changes of [
    { topic: '' },
    { topic: 'x'.repeat(257) },
    { sequence: -1 },
    { sequence: 2 ** 53 },
  ]) {
    assert.throws(() => sealer.seal(content, certificates, contextOf(changes)), { code: 'ERR_ASSERTION' });
  }
});

test('createSealer, createOpener: refuse keys that do not belong together', () => {
  const { keyAgreement, signature } = device.sealKeys;
  assert.ok(signature);
  const mixed = [
    { keyAgreement: { ...keyAgreement, key: backend.recipient.key } },
    { keyAgreement: signature },
    { keyAgreement, signature: { ...signature, key: backend.recipient.key } },
    { keyAgreement, signature: keyAgreement },
    { keyAgreement, signature: backend.signatureKey },
  ];
  for (const keys of mixed) assert.throws(() => createSealer(keys), { code: 'cms.unsupported' });
  const recipient = { ...backend.recipient, key: auditor.recipient.key };
  assert.throws(() => openerFor(backend, { recipient }), { code: 'cms.unsupported' });
});

test('open: a bare envelope only if policy says so', () => {
  const { keyAgreement } = device.sealKeys;
  const { envelope } = createSealer({ keyAgreement }).seal(content, certificates, contextOf());
  assert.throws(() => openerFor(backend).open(envelope), { code: 'cms.unsigned' });
  const opened = openerFor(backend, { policy: { allowUnsigned: true } }).open(envelope);
  assert.deepEqual(opened.content, content);
  assert.deepEqual(opened.signers, []);
});

test('open: an envelope that came by another topic is refused', () => {
  const opener = openerFor(backend);
  assert.throws(() => opener.open(seal(), { expectedTopic: 'ms-acc-1/acc-1/dev-2/snapshots' }), {
    code: 'cms.wrong_topic',
  });
});

test('open: an originator who is not trusted is refused', () => {
  const opener = openerFor(backend, { originators: originatorsOf([auditor.originator]) });
  assert.throws(() => opener.open(seal()), { code: 'cms.untrusted_originator' });
});

test('open: a resolver that answers with somebody else does not mislead', () => {
  const originators = {
    byKeyIdentifier: () => auditor.originator,
    byIssuerAndSerial: () => auditor.originator,
    byPublicPoint: () => auditor.originator,
  };
  assert.throws(() => openerFor(backend, { originators }).open(seal()), { code: 'cms.untrusted_originator' });
});

test('open: an originator whose two certificates have different names is refused', () => {
  const { keyAgreement } = device.originator;
  const signature = device.signatureKey.certificate;
  for (const originator of [
    { commonName: 'ms-acc-1/acc-1/dev-2', keyAgreement, signature },
    { commonName: 'ms-acc-1/acc-1/dev-1', keyAgreement, signature: auditor.signatureKey.certificate },
  ]) {
    const opener = openerFor(backend, { originators: originatorsOf([originator]) });
    assert.throws(() => opener.open(seal()), { code: 'cms.untrusted_originator' });
  }
});

test('open: the signature must be the originator’s own', () => {
  const { keyAgreement } = device.sealKeys;
  const sameName = makeIdentity('ms-acc-1/acc-1/dev-1');
  const envelope = seal({}, { ...device, sealKeys: { keyAgreement, signature: sameName.signatureKey } });
  assert.throws(() => openerFor(backend).open(envelope), { code: 'cms.rejected' });
  const unsigning = originatorsOf([
    { commonName: 'ms-acc-1/acc-1/dev-1', keyAgreement: keyAgreement.certificate },
  ]);
  assert.throws(() => openerFor(backend, { originators: unsigning }).open(seal()), { code: 'cms.rejected' });
});

test('open: a certificate for the same key is not the certificate that was sealed with', () => {
  const { key, certificate } = device.recipient;
  const again = rogueCertificate({
    commonName: 'ms-acc-1/acc-1/dev-1',
    keyUsage: ['keyAgreement'],
    keyPair: { privateKey: key, publicKey: certificate.publicKey },
  }).certificate;
  assert.deepEqual(again.subjectKeyIdentifier, certificate.subjectKeyIdentifier);
  const originators = originatorsOf([{ ...device.originator, keyAgreement: again }]);
  assert.throws(() => openerFor(backend, { originators }).open(seal()), { code: 'cms.rejected' });
});

test('open: no stranger opens, not even one that takes a recipient’s name', () => {
  assert.throws(() => openerFor(stranger).open(seal()), { code: 'cms.not_a_recipient' });
  const [first] = certificates;
  assert.ok(first?.subjectKeyIdentifier);
  const posing = { ...stranger.recipient.certificate, subjectKeyIdentifier: first.subjectKeyIdentifier };
  const recipient = { key: stranger.recipient.key, certificate: posing };
  assert.throws(() => openerFor(stranger, { recipient }).open(seal()), { code: 'cms.rejected' });
});

test('open: the result keeps nothing of the buffer that came', () => {
  const envelope = seal();
  const opened = openerFor(backend).open(envelope);
  envelope.fill(0);
  assert.deepEqual(opened.content, content);
});

/** Octets that DEFLATE can't make smaller: a cheap generator, always the same. */
function incompressible(bytes: number): Buffer {
  let state = 0x2545f491;
  const octets = Buffer.alloc(bytes).map(() => {
    state ^= state << 13; // Marsaglia's xorshift
    state ^= state >>> 17;
    state ^= state << 5;
    return state & 0xff;
  });
  return Buffer.from(octets);
}
