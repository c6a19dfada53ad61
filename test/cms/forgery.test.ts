import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import test from 'node:test';
import * as fc from 'fast-check';
import { attribute, contentTypeAttribute, signingTimeAttribute } from '../../cms/attributes.ts';
import { commitTo } from '../../cms/commitment.ts';
import { derSetOf } from '../../cms/der-writer.ts';
import { agreementKey, createMqvSender } from '../../cms/ecmqv.ts';
import { writeEnvelopeInfo } from '../../cms/envelope-info.ts';
import { readEnvelope, writeContentInfo } from '../../cms/envelope.ts';
import { CmsError } from '../../cms/errors.ts';
import { decrypt } from '../../cms/gcm.ts';
import { oids } from '../../cms/oid.ts';
import { createOpener } from '../../cms/open.ts';
import type { OpenedEnvelope } from '../../cms/open.ts';
import { originatorsOf } from '../../cms/originator.ts';
import { identifierOf } from '../../cms/identifier.ts';
import { createSealer } from '../../cms/seal.ts';
import { addSignature } from '../../cms/sign.ts';
import { writeSignedData } from '../../cms/signed-data.ts';
import { makeSignerInfo } from '../../cms/signer-info.ts';
import { assemble, contentKeyOf, replaced, withOtherContent } from './attacker.ts';
import { fitTwoKeys } from './ghash.ts';
import { contextOf, makeIdentity, signingTimeMs } from './identities.ts';
import type { Identity } from './identities.ts';

const device = makeIdentity('ms-acc-1/acc-1/dev-1');
const backend = makeIdentity('vendor-snapshot-service');
const auditor = makeIdentity('ms-acc-1');
const certificates = [backend.recipient.certificate, auditor.recipient.certificate];
const content = Buffer.from('fuel.temperature 21.5 Cel');
const signed = createSealer(device.sealKeys).seal(content, certificates, contextOf()).envelope;
const { keyAgreement } = device.sealKeys;
const bare = createSealer({ keyAgreement }).seal(content, certificates, contextOf()).envelope;

function openerFor(reader: Identity, allowUnsigned = false) {
  const originators = originatorsOf([device.originator, auditor.originator]);
  return createOpener({ recipient: reader.recipient, originators, policy: { allowUnsigned } });
}

for (const [form, envelope] of [
  ['signed', signed],
  ['bare', bare],
] as const) {
  // A bare envelope's version of it: what names the other recipient is covered by no tag.
  test(`open: one flipped bit in a ${form} envelope ${form === 'bare' ? 'changes nothing that is believed' : 'is refused'}`, () => {
    const opener = openerFor(backend, form === 'bare');
    const before = opener.open(envelope);
    // Exhaustive over octets, one bit of each: a few hundred openings.
    for (let at = 0; at < envelope.length; at++) {
      const changed = Buffer.from(envelope);
      changed.writeUInt8(changed.readUInt8(at) ^ (1 << (at % 8)), at);
      try {
        const after = opener.open(changed);
        assert.equal(form, 'bare', `octet ${at} of a signed envelope`);
        assert.deepEqual(believedOf(after), believedOf(before), `octet ${at}`);
      } catch (error) {
        if (!(error instanceof CmsError)) throw error;
      }
    }
  });

  test(`open: a ${form} envelope cut anywhere, or with more behind it, is malformed`, () => {
    const opener = openerFor(backend, form === 'bare');
    for (let length = 0; length < envelope.length; length++) {
      assert.throws(
        () => opener.open(envelope.subarray(0, length)),
        { code: 'cms.malformed' },
        `${length} octets`,
      );
    }
    for (const more of [Buffer.of(0), envelope]) {
      assert.throws(() => opener.open(Buffer.concat([envelope, more])), { code: 'cms.malformed' });
    }
  });
}

test('open: random octets are refused, whatever they are', () => {
  const opener = openerFor(backend, true);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(signed.length - 1), (octets, at) => {
      assert.throws(() => opener.open(octets), { code: 'cms.malformed' });
      const patched = Buffer.from(signed);
      if (octets.length === 0 || patched.subarray(at, at + octets.length).equals(octets)) return;
      patched.set(octets.subarray(0, patched.length - at), at);
      if (patched.equals(signed)) return;
      assert.throws(() => opener.open(patched), CmsError);
    }),
    { numRuns: 300 },
  );
});

test('open: a recipient who puts other content under the same key is found out by the signature', () => {
  const key = contentKeyOf(signed, backend.recipient, device.recipient.certificate);
  const forged = withOtherContent(signed, key, Buffer.from('fuel.temperature 99.9 Cel'));
  assert.throws(() => openerFor(auditor).open(forged), { code: 'cms.rejected' });
  // This is why a bare envelope proves its origin to no third party: there the same forgery opens.
  const bareKey = contentKeyOf(bare, backend.recipient, device.recipient.certificate);
  const bareForged = withOtherContent(bare, bareKey, Buffer.from('fuel.temperature 99.9 Cel'));
  assert.equal(openerFor(auditor, true).open(bareForged).content.toString(), 'fuel.temperature 99.9 Cel');
});

test('open: a signature of another envelope does not fit', () => {
  const other = readEnvelope(
    createSealer(device.sealKeys).seal(content, certificates, contextOf({ sequence: 8 })).envelope,
  );
  const { signedData } = readEnvelope(signed);
  assert.ok(signedData && other.signedData);
  const forged = writeSignedData({ ...signedData, signers: other.signedData.signers });
  assert.throws(() => openerFor(backend).open(writeContentInfo(oids.signedData, forged)), {
    code: 'cms.rejected',
  });
});

test('open: a signature by somebody else who is trusted does not make it theirs', () => {
  const { encoded } = readEnvelope(signed);
  const signers = [makeSignerInfo(encoded, auditor.signatureKey, signingTimeMs)];
  const forged = writeContentInfo(
    oids.signedData,
    writeSignedData({ content: encoded, certificates: [], signers }),
  );
  assert.throws(() => openerFor(backend).open(forged), { code: 'cms.rejected' });
});

test('open: an altered key commitment is refused, even if the tag and the signature fit it', () => {
  assert.throws(() => openerFor(backend).open(sealTwoFaced({ commitment: Buffer.alloc(32, 1) })), {
    code: 'cms.rejected',
  });
});

test('open: a signed envelope without our attribute is refused, because it commits to no key', () => {
  const attributes = derSetOf([contentTypeAttribute(oids.data), signingTimeAttribute(signingTimeMs)]);
  assert.throws(() => openerFor(backend).open(sealTwoFaced({ attributes })), { code: 'cms.rejected' });
  assert.equal(openerFor(backend).open(sealTwoFaced({})).content.length, 64);
});

test('open: one ciphertext that two keys decrypt to two texts opens for one recipient at most', () => {
  const envelope = sealTwoFaced({ auditorKey: randomBytes(32) });
  const { authEnveloped } = readEnvelope(envelope);
  const { algorithm, sealed, associatedData } = authEnveloped;
  // AES-GCM alone would have let both recipients in, each to a text of its own.
  const texts = [backend, auditor].map(({ recipient }) => {
    const key = contentKeyOf(envelope, recipient, device.recipient.certificate);
    return decrypt(key, algorithm.nonce, sealed, associatedData);
  });
  assert.ok(texts[0] && texts[1]);
  assert.notDeepEqual(texts[0], texts[1]);
  assert.deepEqual(openerFor(backend).open(envelope).content, texts[0]);
  assert.throws(() => openerFor(auditor).open(envelope), { code: 'cms.rejected' });
});

function believedOf({ content, originator, topic, sequence, contentType, ...rest }: OpenedEnvelope) {
  const { previousDigest, signingTimeMs: atMs } = rest;
  return { content, originator, topic, sequence, contentType, previousDigest, atMs };
}

test('addSignature: a second signer is verified, and the digest stays', () => {
  const released = addSignature(signed, auditor.signatureKey, signingTimeMs + 1000);
  const [before, after] = [signed, released].map((envelope) => openerFor(backend).open(envelope));
  assert.ok(before && after);
  assert.deepEqual(after.digest, before.digest);
  assert.deepEqual(after.content, content);
  assert.deepEqual(
    after.signers.map(({ commonName, signingTimeMs: atMs }) => [commonName, atMs]),
    [
      ['ms-acc-1/acc-1/dev-1', signingTimeMs],
      ['ms-acc-1', signingTimeMs + 1000],
    ],
  );
  const again = addSignature(released, auditor.signatureKey, signingTimeMs + 2000);
  assert.deepEqual(
    openerFor(backend)
      .open(again)
      .signers.map(({ signingTimeMs: atMs }) => atMs),
    [signingTimeMs, signingTimeMs + 2000],
  );
});

test('addSignature: a signer of another curve, and one who is unknown to the reader', () => {
  const other = makeIdentity('ms-acc-3', 'brainpoolP384r1');
  const released = addSignature(signed, other.signatureKey, signingTimeMs);
  assert.equal(openerFor(backend).open(released).signers.length, 1);
  const originators = originatorsOf([device.originator, other.originator]);
  const opened = createOpener({ recipient: backend.recipient, originators }).open(released);
  assert.deepEqual(
    opened.signers.map(({ commonName }) => commonName),
    ['ms-acc-1/acc-1/dev-1', 'ms-acc-3'],
  );
});

test('addSignature: the broken signature of a known signer is refused', () => {
  const released = addSignature(signed, auditor.signatureKey, signingTimeMs);
  const info = readEnvelope(released).signedData?.signers.find(
    ({ signature }) => !signed.includes(signature),
  );
  assert.ok(info);
  const broken = Buffer.from(info.signature);
  broken.writeUInt8(broken.readUInt8(broken.length - 1) ^ 1, broken.length - 1);
  const forged = replaced(released, info.signature, broken);
  assert.throws(() => openerFor(backend).open(forged), { code: 'cms.rejected' });
});

test('addSignature: not to a bare envelope, not with a key for key agreement, not without end', () => {
  assert.throws(() => addSignature(bare, auditor.signatureKey, signingTimeMs), { code: 'cms.unsigned' });
  assert.throws(() => addSignature(signed, auditor.recipient, signingTimeMs), { code: 'cms.unsupported' });
  let envelope = signed;
  for (let signer = 2; signer <= 8; signer++) {
    envelope = addSignature(envelope, makeIdentity(`ms-acc-${signer}`).signatureKey, signingTimeMs);
  }
  const ninth = makeIdentity('ms-acc-9').signatureKey;
  assert.throws(() => addSignature(envelope, ninth, signingTimeMs), { code: 'cms.unsupported' });
});

interface TwoFaced {
  /** Default: to the backend's key. */
  readonly commitment?: Buffer;
  /** In place of all of them. */
  readonly attributes?: Buffer;
  /** Default: the backend's. */
  readonly auditorKey?: Buffer;
}

/**
 * What a dishonest device can sign: to the backend it gives one content key, to the auditor another one, and the last
 * block of the ciphertext is chosen so that the tag fits both.
 */
function sealTwoFaced({ commitment, attributes, auditorKey }: TwoFaced): Buffer {
  const [nonce, backendKey] = [randomBytes(12), randomBytes(32)];
  const authenticated =
    attributes ??
    derSetOf([
      contentTypeAttribute(oids.data),
      signingTimeAttribute(signingTimeMs),
      attribute(
        oids.envelopeInfo,
        writeEnvelopeInfo({
          topic: 'ms-acc-1/acc-1/dev-1/snapshots',
          sequence: 7,
          previousDigest: undefined,
          originatorHashes: [device.recipient.certificate.sha256],
          contentType: 'octets',
          encoding: 'identity',
          commitment: commitment ?? commitTo(backendKey, nonce),
        }),
      ),
    ]);
  const keys = [backendKey, auditorKey ?? backendKey];
  const sealed = fitTwoKeys(keys, nonce, authenticated);
  const sender = agreementKey(device.recipient.certificate);
  const { ephemeralPoint, secrets } = createMqvSender(sender, device.recipient.key).agree(
    certificates.map(agreementKey),
    randomBytes,
  );
  const enveloped = assemble({
    flavour: 'rfc5753',
    originator: identifierOf(device.recipient.certificate, 'keyIdentifier'),
    ephemeralPoint,
    readers: certificates.map((certificate, index) => {
      const [secret, contentKey] = [secrets[index], keys[index]];
      assert.ok(secret && contentKey);
      return { certificate, secret, contentKey };
    }),
    nonce,
    sealed,
    attributes: authenticated,
  });
  const signers = [makeSignerInfo(enveloped, device.signatureKey, signingTimeMs)];
  return writeContentInfo(
    oids.signedData,
    writeSignedData({ content: enveloped, certificates: [], signers }),
  );
}
