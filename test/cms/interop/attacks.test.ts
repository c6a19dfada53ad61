/**
 * Four attacks on AuthEnvelopedData with one-pass ECMQV as the literature has it and BouncyCastle makes it. Each is
 * carried out, BouncyCastle takes the result for genuine, our bare form promises no better, and our signed envelope
 * refuses it.
 */
import assert from 'node:assert/strict';
import { createECDH, createPrivateKey, createPublicKey, randomBytes, sign, verify } from 'node:crypto';
import test, { after } from 'node:test';
import { p256 } from '@noble/curves/nist.js';
import { attribute, contentTypeAttribute, signingTimeAttribute } from '../../../cms/attributes.ts';
import { commitTo } from '../../../cms/commitment.ts';
import { derSetOf } from '../../../cms/der-writer.ts';
import { agreementKey, createMqvRecipient, createMqvSender } from '../../../cms/ecmqv.ts';
import { writeEnvelopeInfo } from '../../../cms/envelope-info.ts';
import { readEnvelope, writeContentInfo } from '../../../cms/envelope.ts';
import { encrypt } from '../../../cms/gcm.ts';
import type { Sealed } from '../../../cms/gcm.ts';
import { identifierOf } from '../../../cms/identifier.ts';
import { oids } from '../../../cms/oid.ts';
import { createOpener } from '../../../cms/open.ts';
import type { OpenPolicy } from '../../../cms/open.ts';
import { originatorsOf } from '../../../cms/originator.ts';
import { readMqvMaterial } from '../../../cms/recipient-info.ts';
import type { OriginatorIdentifier } from '../../../cms/recipient-info.ts';
import { createSealer } from '../../../cms/seal.ts';
import { writeSignedData } from '../../../cms/signed-data.ts';
import { makeSignerInfo } from '../../../cms/signer-info.ts';
import { rogueCertificate } from '../../pki/rogue-authority.ts';
import { assemble, contentKeyOf, replaced, withOtherContent } from '../attacker.ts';
import { fitTwoKeys } from '../ghash.ts';
import { authority, contextOf, makeIdentity, signingTimeMs } from '../identities.ts';
import type { Identity } from '../identities.ts';
import { BouncyCastleRefusal, openStock, sealStock, startBouncyCastle } from './bouncy-castle.ts';

const peer = await startBouncyCastle('-XX:+UseSerialGC');
after(() => peer.stop());

const device = makeIdentity('ms-acc-1/acc-1/dev-1');
const backend = makeIdentity('vendor-snapshot-service');
const auditor = makeIdentity('ms-acc-1');
const readers = [backend.recipient.certificate, auditor.recipient.certificate];
const content = Buffer.from('fuel.temperature 21.5 Cel');
const otherContent = Buffer.from('fuel.temperature 99.9 Cel');
const bareAllowed: OpenPolicy = { allowUnsigned: true, kdfFlavours: ['rfc5753', 'bc'] };

function sealedByStock(): Promise<Buffer> {
  const sealing = {
    hash: 'sha256',
    keyBytes: 32,
    originator: device.recipient,
    recipients: readers,
    content,
  };
  return sealStock(peer, sealing);
}

function sealedByUs(): Buffer {
  return createSealer(device.sealKeys).seal(content, readers, contextOf()).envelope;
}

function openOurs(
  reader: Identity,
  envelope: Buffer,
  policy: OpenPolicy = {},
  others: readonly Identity[] = [],
) {
  const known = [device, backend, auditor, ...others].map(({ originator }) => originator);
  return createOpener({ recipient: reader.recipient, originators: originatorsOf(known), policy }).open(
    envelope,
  );
}

function bare(authEnveloped: Buffer): Buffer {
  return writeContentInfo(oids.authEnvelopedData, authEnveloped);
}

function signedBy(signer: Identity, authEnveloped: Buffer): Buffer {
  const signers = [makeSignerInfo(authEnveloped, signer.signatureKey, signingTimeMs)];
  const data = writeSignedData({ content: authEnveloped, certificates: [], signers });
  return writeContentInfo(oids.signedData, data);
}

/** The originator's key itself, as BouncyCastle writes it: the certificates are looked up by it. */
function rawKeyOf({ recipient }: Identity): OriginatorIdentifier {
  const { suite, point } = agreementKey(recipient.certificate);
  return { kind: 'publicKey', point, curveOid: suite.curveOid };
}

function pointOf({ recipient }: Identity): Buffer {
  return agreementKey(recipient.certificate).point;
}

const plainAttributes = derSetOf([contentTypeAttribute(oids.data), signingTimeAttribute(signingTimeMs)]);

/** All of our attributes: everything in them is public or follows from the content key. */
function ourAttributes(originator: Identity, contentKey: Buffer, nonce: Buffer): Buffer {
  const info = writeEnvelopeInfo({
    topic: 'ms-acc-1/acc-1/dev-1/snapshots',
    sequence: 8,
    previousDigest: undefined,
    originatorHashes: [originator.recipient.certificate.sha256],
    contentType: 'octets',
    encoding: 'identity',
    commitment: commitTo(contentKey, nonce),
  });
  return derSetOf([
    contentTypeAttribute(oids.data),
    signingTimeAttribute(signingTimeMs),
    attribute(oids.envelopeInfo, info),
  ]);
}

/*
 * Insider forgery. All recipients share one content key, and nothing but that key authenticates the content. So each of
 * them can encrypt other content under it and leave the recipients' part as it is. RFC 5652 §14 says of its MAC that keys
 * shared by more than two parties give no data origin authentication; the same holds here.
 */
test('insider forgery: BouncyCastle takes a text by one recipient for the originator’s', async () => {
  const genuine = await sealedByStock();
  const key = contentKeyOf(genuine, backend.recipient, device.recipient.certificate);
  const forged = withOtherContent(genuine, key, otherContent);
  const opened = await openStock(peer, forged, auditor.recipient);
  assert.deepEqual(opened, { content: otherContent, originatorPoint: pointOf(device) });
  // A bare envelope promises its reader no more than that one of those who can read it made it.
  const bareOpened = openOurs(auditor, forged, bareAllowed);
  assert.deepEqual([bareOpened.content, bareOpened.originator], [otherContent, device.originator]);
  assert.throws(() => openOurs(auditor, forged), { code: 'cms.unsigned' });
});

test('insider forgery: refused in our envelope, with the old signature, without, and with one by the insider', () => {
  const genuine = sealedByUs();
  const key = contentKeyOf(genuine, backend.recipient, device.recipient.certificate);
  const { authEnveloped } = readEnvelope(genuine);
  const text = Buffer.alloc(authEnveloped.sealed.ciphertext.length, 'x');
  const forged = withOtherContent(genuine, key, text);
  const { encoded } = readEnvelope(forged);
  assert.throws(() => openOurs(auditor, forged), { code: 'cms.rejected' });
  assert.throws(() => openOurs(auditor, bare(encoded)), { code: 'cms.unsigned' });
  assert.throws(() => openOurs(auditor, signedBy(backend, encoded)), { code: 'cms.rejected' });
});

/*
 * Key-compromise impersonation. The recipient computes Z = d_R·(1 + avf(Q_R)) · (E + avf(E)·Q_O): one secret, its own,
 * and public points. So whoever stole d_R chooses any ephemeral key E and computes the Z that belongs to any originator
 * O, who is not even there. Two-pass MQV withstands this by the recipient's ephemeral key; one-pass has none (Chalkias,
 * Mpaldimtsi, Hristu-Varsakelis and Stephanides, "On the key-compromise impersonation vulnerability of one-pass key
 * establishment protocols", SECRYPT 2007).
 */
function impersonate(attributesOf: (contentKey: Buffer, nonce: Buffer) => Buffer): Buffer {
  const stolen = backend.recipient;
  const ephemeral = createECDH('prime256v1');
  const ephemeralPoint = ephemeral.generateKeys();
  const mqv = createMqvRecipient(agreementKey(stolen.certificate), stolen.key);
  const secret = mqv.agree(agreementKey(device.recipient.certificate), ephemeralPoint);
  const [nonce, contentKey] = [randomBytes(12), randomBytes(32)];
  const attributes = attributesOf(contentKey, nonce);
  return assemble({
    flavour: 'bc',
    originator: rawKeyOf(device),
    ephemeralPoint,
    readers: [{ certificate: stolen.certificate, secret, contentKey }],
    nonce,
    sealed: encrypt(contentKey, nonce, otherContent, attributes),
    attributes,
  });
}

test('key-compromise impersonation: BouncyCastle takes a thief of the recipient’s key for any originator', async () => {
  const forged = bare(impersonate(() => plainAttributes));
  const opened = await openStock(peer, forged, backend.recipient);
  assert.deepEqual(opened, { content: otherContent, originatorPoint: pointOf(device) });
  const bareOpened = openOurs(backend, forged, bareAllowed);
  assert.deepEqual([bareOpened.content, bareOpened.originator], [otherContent, device.originator]);
});

test('key-compromise impersonation: refused in our envelope, whose signature no recipient’s key makes', () => {
  const forged = impersonate((contentKey, nonce) => ourAttributes(device, contentKey, nonce));
  // All but the signature is right.
  assert.deepEqual(openOurs(backend, bare(forged), bareAllowed).content, otherContent);
  const policy = { kdfFlavours: ['rfc5753', 'bc'] } as const;
  assert.throws(() => openOurs(backend, bare(forged), policy), { code: 'cms.unsigned' });
  // Even with the recipient's signature key stolen too.
  assert.throws(() => openOurs(backend, signedBy(backend, forged), policy), { code: 'cms.rejected' });
});

/*
 * Unknown key share (B. Kaliski, "An unknown key-share attack on the MQV key agreement protocol", ACM TISSEC 4(3), 2001).
 * Of the originator, the recipient's Z depends on the sum T = E + avf(E)·Q alone. An attacker on the way chooses u,
 * sets E' = T − u·G and Q' = (u / avf(E'))·G, and has E' + avf(E')·Q' = T. Its private key is u / avf(E'), so it can prove
 * possession of it and get a certificate: the recipient opens what the device sealed, and believes that it is the
 * attacker's. GCM's additional data do not cover the names and keys of the originator.
 */
const { Point } = p256;
const { Fn } = Point;

/** SP 800-56A rev. 3 §5.7.2.2 */
function associateValue(point: Uint8Array): bigint {
  const half = 1n << 128n;
  return (Point.fromBytes(point).toAffine().x % half) + half;
}

function keysForSameSecret(originatorPoint: Uint8Array, ephemeralPoint: Uint8Array) {
  const sum = Point.fromBytes(originatorPoint)
    .multiply(associateValue(ephemeralPoint))
    .add(Point.fromBytes(ephemeralPoint));
  const u = Fn.fromBytes(p256.utils.randomSecretKey());
  const otherEphemeral = Buffer.from(sum.subtract(Point.BASE.multiply(u)).toBytes(false));
  const scalar = Fn.mul(u, Fn.inv(Fn.create(associateValue(otherEphemeral))));
  const pair = createECDH('prime256v1');
  pair.setPrivateKey(Fn.toBytes(scalar));
  return { ephemeralPoint: otherEphemeral, pair };
}

interface UnknownKeyShare {
  readonly attacker: Identity;
  readonly ephemeralPoint: Buffer;
}

/** The attacker's identity is made for one envelope, by an honest authority. */
function enrolFor(envelope: Buffer): UnknownKeyShare {
  const { ephemeral } = materialOf(envelope);
  const { ephemeralPoint, pair } = keysForSameSecret(pointOf(device), ephemeral.point);
  const [x, y] = [pair.getPublicKey().subarray(1, 33), pair.getPublicKey().subarray(33)];
  const jwk = {
    kty: 'EC',
    crv: 'P-256',
    x: x.toString('base64url'),
    y: y.toString('base64url'),
    d: pair.getPrivateKey().toString('base64url'),
  };
  const privateKey = createPrivateKey({ key: jwk, format: 'jwk' });
  const keyPair = { privateKey, publicKey: createPublicKey(privateKey) };
  // What an authority asks for before it certifies: a signature by the key (RFC 2986 §3).
  const request = Buffer.from('certify me');
  assert.ok(verify('sha256', request, keyPair.publicKey, sign('sha256', request, keyPair.privateKey)));
  const commonName = 'ms-acc-6/acc-1/dev-1';
  const recipient = rogueCertificate({ issuer: authority, commonName, keyPair, keyUsage: ['keyAgreement'] });
  const { signatureKey } = makeIdentity(commonName);
  const attacker: Identity = {
    signatureKey,
    recipient,
    sealKeys: { signature: signatureKey, keyAgreement: recipient },
    originator: { commonName, signature: signatureKey.certificate, keyAgreement: recipient.certificate },
  };
  return { attacker, ephemeralPoint };
}

function materialOf(envelope: Buffer) {
  const [agreement] = readEnvelope(envelope).authEnveloped.keyAgreements;
  return readMqvMaterial(agreement?.userKeyingMaterial);
}

test('unknown key share: BouncyCastle takes the device’s message for the attacker’s', async () => {
  const genuine = await sealedByStock();
  const { attacker, ephemeralPoint } = enrolFor(genuine);
  const keyReplaced = replaced(genuine, pointOf(device), pointOf(attacker));
  const rewritten = replaced(keyReplaced, materialOf(genuine).ephemeral.point, ephemeralPoint);
  for (const reader of [backend, auditor]) {
    const opened = await openStock(peer, rewritten, reader.recipient);
    assert.deepEqual(opened, { content, originatorPoint: pointOf(attacker) });
    const bareOpened = openOurs(reader, rewritten, bareAllowed, [attacker]);
    assert.deepEqual([bareOpened.content, bareOpened.originator], [content, attacker.originator]);
  }
  // The ephemeral key alone, or the originator's alone, is not enough.
  await assert.rejects(openStock(peer, keyReplaced, backend.recipient), BouncyCastleRefusal);
});

test('unknown key share: refused in our envelope by the hash of the originator’s certificate', () => {
  const genuine = sealedByUs();
  const { attacker, ephemeralPoint } = enrolFor(genuine);
  const [from, to] = [device, attacker].map(({ recipient }) => recipient.certificate.subjectKeyIdentifier);
  assert.ok(from && to);
  const { encoded } = readEnvelope(genuine);
  const keyReplaced = replaced(encoded, from, to);
  const rewritten = replaced(keyReplaced, materialOf(genuine).ephemeral.point, ephemeralPoint);
  // The content key is the same, so nothing but the hash is left to notice it, in a bare one as in a signed one.
  assert.deepEqual(
    contentKeyOf(bare(rewritten), backend.recipient, attacker.recipient.certificate),
    contentKeyOf(genuine, backend.recipient, device.recipient.certificate),
  );
  for (const forged of [bare(rewritten), signedBy(attacker, rewritten), signedBy(device, rewritten)]) {
    assert.throws(() => openOurs(backend, forged, bareAllowed, [attacker]), { code: 'cms.rejected' });
  }
  const underOldSignature = replaced(genuine, encoded, rewritten);
  assert.throws(() => openOurs(backend, underOldSignature, {}, [attacker]), { code: 'cms.rejected' });
});

/*
 * Two plaintexts under one ciphertext (Dodis, Grubbs, Ristenpart and Woodage, "Fast message franking: from invisible
 * salamanders to encryptment", CRYPTO 2018; on envelopes, Albertini et al., USENIX Security 2022). GCM's tag is a polynomial
 * at a point that depends on the key, so a sender who knows two keys solves a linear equation for one block of ciphertext
 * and has a tag that fits both. It wraps one key for the auditor and the other for the backend.
 */
function sealTwoTexts(
  originator: OriginatorIdentifier,
  attributesOf: (key: Buffer, nonce: Buffer) => Buffer,
): Buffer {
  const sender = createMqvSender(agreementKey(device.recipient.certificate), device.recipient.key);
  const { ephemeralPoint, secrets } = sender.agree(readers.map(agreementKey), randomBytes);
  const [nonce, backendKey, auditorKey] = [randomBytes(12), randomBytes(32), randomBytes(32)];
  const attributes = attributesOf(backendKey, nonce);
  const sealed: Sealed = fitTwoKeys([backendKey, auditorKey], nonce, attributes);
  const keys = [backendKey, auditorKey];
  const addressed = readers.map((certificate, index) => {
    const [secret, contentKey] = [secrets[index], keys[index]];
    assert.ok(secret && contentKey);
    return { certificate, secret, contentKey };
  });
  return assemble({
    flavour: 'bc',
    originator,
    ephemeralPoint,
    readers: addressed,
    nonce,
    sealed,
    attributes,
  });
}

test('two plaintexts: BouncyCastle opens one message to two texts', async () => {
  const envelope = bare(sealTwoTexts(rawKeyOf(device), () => plainAttributes));
  const texts: Buffer[] = [];
  for (const reader of [backend, auditor]) {
    const opened = await openStock(peer, envelope, reader.recipient);
    assert.deepEqual(opened.originatorPoint, pointOf(device));
    // A bare envelope without our attribute commits to no key.
    assert.deepEqual(openOurs(reader, envelope, bareAllowed).content, opened.content);
    texts.push(opened.content);
  }
  assert.notDeepEqual(texts[0], texts[1]);
});

test('two plaintexts: our envelope opens for the one whose key it commits to, though the device signed it', () => {
  const identifier = identifierOf(device.recipient.certificate, 'keyIdentifier');
  const twoFaced = sealTwoTexts(identifier, (key, nonce) => ourAttributes(device, key, nonce));
  const policy = { kdfFlavours: ['rfc5753', 'bc'] } as const;
  const envelope = signedBy(device, twoFaced);
  assert.equal(openOurs(backend, envelope, policy).content.length, 64);
  assert.throws(() => openOurs(auditor, envelope, policy), { code: 'cms.rejected' });
  // Without our attribute there is no commitment to check, so a signed envelope may not be without.
  const uncommitted = signedBy(
    device,
    sealTwoTexts(identifier, () => plainAttributes),
  );
  for (const reader of [backend, auditor]) {
    assert.throws(() => openOurs(reader, uncommitted, policy), { code: 'cms.rejected' });
  }
});
