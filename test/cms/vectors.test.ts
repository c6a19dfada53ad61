import assert from 'node:assert/strict';
import { createHash, decapsulate } from 'node:crypto';
import test from 'node:test';
import { keyWrapIdentifiers } from '../../cms/algorithms.ts';
import { commitTo } from '../../cms/commitment.ts';
import { basePointTimes } from '../../cms/ecdh.ts';
import { agreementKey, createMqvRecipient, createMqvSender } from '../../cms/ecmqv.ts';
import { readEnvelope } from '../../cms/envelope.ts';
import { encrypt } from '../../cms/gcm.ts';
import { hybridKek } from '../../cms/hybrid.ts';
import { sharedInfo } from '../../cms/kdf.ts';
import { wrapKey } from '../../cms/key-wrap.ts';
import { createOpener } from '../../cms/open.ts';
import { originatorsOf } from '../../cms/originator.ts';
import { createSealer } from '../../cms/seal.ts';
import { suiteOf } from '../../cms/suite.ts';
import { certified, contextOfVector, kemOf, randomOf, vectors } from './vectors.ts';
import type { Vector } from './vectors.ts';

const names = [
  'p256-bc',
  'p256-hybrid',
  'p256-rfc5753',
  'p384-bc',
  'p384-rfc5753',
  'p521-bc',
  'p521-rfc5753',
];

test('vectors: the whole set is there', () => {
  assert.deepEqual([...vectors.keys()].toSorted(), names);
});

for (const [name, vector] of vectors) {
  test(`vector ${name}: every step gives the value that is written down`, () => {
    const { originator, recipient } = partiesOf(vector);
    const suite = suiteOf(vector.curve);
    const expected = { ephemeralPoint: vector.ephemeralPoint, z: vector.z };
    assert.equal(basePointTimes(suite, octets(vector.ephemeralKey)).toString('hex'), vector.ephemeralPoint);
    const [sender, reader] = [originator, recipient].map(({ certificate }) => agreementKey(certificate));
    assert.ok(sender && reader);
    const sent = createMqvSender(sender, originator.key).agree([reader], () => octets(vector.ephemeralKey));
    const z = sent.secrets[0]?.toString('hex');
    assert.deepEqual({ ephemeralPoint: sent.ephemeralPoint.toString('hex'), z }, expected);
    const received = createMqvRecipient(reader, recipient.key).agree(sender, octets(vector.ephemeralPoint));
    assert.equal(received.toString('hex'), vector.z);
    assert.equal(kekOf(vector).toString('hex'), vector.kek);
    const contentKey = octets(vector.contentKey);
    assert.equal(wrapKey(octets(vector.kek), contentKey).toString('hex'), vector.wrappedKey);
    const sealed = encrypt(
      contentKey,
      octets(vector.nonce),
      octets(vector.content),
      octets(vector.attributes),
    );
    assert.equal(sealed.ciphertext.toString('hex'), vector.ciphertext);
    assert.equal(sealed.tag.toString('hex'), vector.tag);
    const commitment = commitTo(contentKey, octets(vector.nonce)).toString('hex');
    assert.equal(vector.commitment, vector.format.attributes === 'plain' ? null : commitment);
    const digest = createHash('sha256').update(octets(vector.authEnvelopedData)).digest('hex');
    assert.equal(digest, vector.digest);
  });

  test(`vector ${name}: opens to what was sealed`, () => {
    const { originator, recipient, trusted, kem } = partiesOf(vector);
    const isSigned = vector.originator.sigKey !== undefined;
    const opener = createOpener({
      recipient: { ...recipient, ...(kem === undefined ? {} : { kem }) },
      originators: originatorsOf([trusted]),
      policy: { allowUnsigned: !isSigned, kdfFlavours: [vector.format.kdfFlavour ?? 'rfc5753'] },
    });
    const opened = opener.open(octets(vector.envelope));
    assert.equal(opened.content.toString('hex'), vector.content);
    assert.equal(opened.digest.toString('hex'), vector.digest);
    assert.equal(opened.signers.length, isSigned ? 1 : 0);
    assert.deepEqual(opened.originator.keyAgreement.der, originator.certificate.der);
    assert.equal(readEnvelope(octets(vector.envelope)).encoded.toString('hex'), vector.authEnvelopedData);
  });

  // ML-KEM draws inside of Node, so what it gave is written down and cannot be made again.
  if (vector.kem !== undefined) continue;
  test(`vector ${name}: sealing with the same draws gives the same octets`, () => {
    const { originator, recipient } = partiesOf(vector);
    const sealer = createSealer(
      { keyAgreement: originator },
      { format: vector.format, random: randomOf(vector) },
    );
    const { envelope, digest } = sealer.seal(
      octets(vector.content),
      [recipient.certificate],
      contextOfVector(vector),
    );
    assert.equal(readEnvelope(envelope).encoded.toString('hex'), vector.authEnvelopedData);
    assert.equal(digest.toString('hex'), vector.digest);
  });
}

/** X9.63 by its definition, with a hash alone; HKDF has a test of its own in hybrid.test.ts. */
function kekOf({ kem, z, info, curve, format, recipient }: Vector): Buffer {
  if (kem !== undefined) {
    const { kemSeed, kemCertificate } = recipient;
    assert.ok(kemSeed !== undefined && kemCertificate !== undefined);
    const shared = decapsulate(kemOf(kemSeed, kemCertificate).key, octets(kem.ciphertext));
    assert.equal(shared.toString('hex'), kem.sharedKey);
    return hybridKek(shared, octets(z), octets(info), 32);
  }
  const flavour = format.kdfFlavour ?? 'rfc5753';
  assert.equal(sharedInfo(flavour, keyWrapIdentifiers[32], undefined, 32).toString('hex'), info);
  // X9.63 (SEC 1 §3.6.1): one block is enough for 32 octets on each curve.
  const block = createHash(suiteOf(curve).hash)
    .update(octets(z))
    .update(Buffer.of(0, 0, 0, 1));
  return block.update(octets(info)).digest().subarray(0, 32);
}

function partiesOf(vector: Vector) {
  const { encKey, encCertificate, sigKey, sigCertificate } = vector.originator;
  const { kemSeed, kemCertificate, ...own } = vector.recipient;
  const originator = certified(encKey, encCertificate);
  const commonName = originator.certificate.commonName ?? '';
  const keyAgreement = originator.certificate;
  const signature =
    sigKey === undefined || sigCertificate === undefined
      ? {}
      : { signature: certified(sigKey, sigCertificate).certificate };
  return {
    originator,
    recipient: certified(own.encKey, own.encCertificate),
    kem: kemSeed === undefined || kemCertificate === undefined ? undefined : kemOf(kemSeed, kemCertificate),
    trusted: { commonName, keyAgreement, ...signature },
  };
}

function octets(text: string): Buffer {
  return Buffer.from(text, 'hex');
}
