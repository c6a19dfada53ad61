/** Seals content for several recipients: AuthEnvelopedData, and SignedData around it (DESIGN §5). */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { contentBytesMax, envelopeBytesMax, recipientsMax, topicBytesMax } from '../domain/limits.ts';
import type { Certificate } from '../pki/certificate.ts';
import { aes256KeyBytes, aes256WrapIdentifier } from './algorithms.ts';
import { attribute, contentTypeAttribute, signingTimeAttribute } from './attributes.ts';
import { writeAuthEnvelopedData } from './auth-enveloped.ts';
import { commitTo } from './commitment.ts';
import { encodeContent } from './content-encoding.ts';
import { derSetOf } from './der-writer.ts';
import type { Random } from './ecdh.ts';
import { agreementKey, createMqvSender } from './ecmqv.ts';
import type { AgreementKey, MqvSender } from './ecmqv.ts';
import { writeEnvelopeInfo } from './envelope-info.ts';
import type { ContentType } from './envelope-info.ts';
import { digestOf, writeContentInfo } from './envelope.ts';
import { CmsError } from './errors.ts';
import { encrypt, nonceBytes } from './gcm.ts';
import { keyIdentifierOf } from './identifier.ts';
import { deriveKey, sharedInfo } from './kdf.ts';
import { wrapKey } from './key-wrap.ts';
import { certificatesMax } from './limits.ts';
import { oids } from './oid.ts';
import { writeKeyAgreement } from './recipient-info.ts';
import { writeSignedData } from './signed-data.ts';
import { checkSignatureKey, makeSignerInfo } from './signer-info.ts';
import type { SignatureKey } from './signer-info.ts';

/** The originator's keys. Both certificates have its common name. */
export interface SealKeys {
  /** Absent: envelopes are bare, and accepted only where a policy says so. */
  readonly signature?: SignatureKey;
  readonly keyAgreement: { readonly key: KeyObject; readonly certificate: Certificate };
}

export interface SealContext {
  /** The MQTT topic that the envelope is for; a reader refuses it on any other. */
  readonly topic: string;
  /** From 0 to 2^53 − 1; never the same twice for one originator. */
  readonly sequence: bigint | number;
  /** `envelopeDigest` of this originator's envelope before; undefined for its first. */
  readonly previousDigest: Uint8Array | undefined;
  readonly contentType: ContentType;
  readonly signingTimeMs: number;
  /** Puts the originator's two certificates and these CAs into the envelope. */
  readonly embedChain?: readonly Certificate[];
}

export interface SealOptions {
  /** Where content keys, nonces and ephemeral keys come from. Only tests set it. */
  readonly random?: Random;
}

export interface SealedEnvelope {
  /** A ContentInfo. */
  readonly envelope: Buffer;
  /** What `envelopeDigest` gives for it. */
  readonly digest: Buffer;
}

export interface Sealer {
  /**
   * @param content - at most `contentBytesMax` octets
   * @param recipients - ENC certificates on the originator's curve, 1 to `recipientsMax`, trusted by the caller; one that
   *   is there twice counts once
   * @throws CmsError `cms.unsupported` for a recipient on another curve or what exceeds a bound
   */
  seal(content: Uint8Array, recipients: readonly Certificate[], context: SealContext): SealedEnvelope;
}

/** The same for every envelope that we make. */
const keyInfo = sharedInfo('rfc5753', aes256WrapIdentifier, undefined, aes256KeyBytes);

interface Originator {
  readonly agreement: AgreementKey;
  readonly keyIdentifier: Buffer;
  readonly sender: MqvSender;
  readonly signature: SignatureKey | undefined;
  readonly random: Random;
}

/** @throws CmsError `cms.unsupported` if keys and certificates do not fit each other */
export function createSealer(keys: SealKeys, options: SealOptions = {}): Sealer {
  const { key, certificate } = keys.keyAgreement;
  const agreement = agreementKey(certificate);
  if (!certificate.x509.checkPrivateKey(key)) {
    throw new CmsError('cms.unsupported', `the key-agreement key is not that of ${certificate.commonName}`);
  }
  if (keys.signature !== undefined) {
    checkSignatureKey(keys.signature);
    if (keys.signature.certificate.commonName !== certificate.commonName) {
      throw new CmsError('cms.unsupported', 'the two certificates of an originator have one common name');
    }
  }
  const originator: Originator = {
    agreement,
    keyIdentifier: keyIdentifierOf(certificate),
    sender: createMqvSender(agreement, key),
    signature: keys.signature,
    random: options.random ?? randomBytes,
  };
  return { seal: (content, recipients, context) => seal(originator, content, recipients, context) };
}

function seal(
  originator: Originator,
  content: Uint8Array,
  recipients: readonly Certificate[],
  context: SealContext,
): SealedEnvelope {
  const readers = requireRecipients(originator, recipients);
  if (content.length > contentBytesMax) {
    throw new CmsError('cms.unsupported', `content of ${content.length} octets; at most ${contentBytesMax}`);
  }
  const { signature } = originator;
  const embedded = embeddedCertificates(originator, context);
  const enveloped = envelop(originator, content, readers, context, signature === undefined ? embedded : []);
  const envelope =
    signature === undefined
      ? writeContentInfo(oids.authEnvelopedData, enveloped)
      : writeContentInfo(
          oids.signedData,
          writeSignedData({
            content: enveloped,
            certificates: embedded,
            signers: [makeSignerInfo(enveloped, signature, context.signingTimeMs)],
          }),
        );
  if (envelope.length > envelopeBytesMax) {
    throw new CmsError(
      'cms.unsupported',
      `an envelope of ${envelope.length} bytes; at most ${envelopeBytesMax}`,
    );
  }
  return { envelope, digest: digestOf({ encoded: enveloped }) };
}

/** @returns an encoded AuthEnvelopedData */
function envelop(
  originator: Originator,
  content: Uint8Array,
  readers: readonly AgreementKey[],
  context: SealContext,
  certificates: readonly Buffer[],
): Buffer {
  const { encoding, octets } = encodeContent(content);
  const nonce = originator.random(nonceBytes);
  const contentKey = originator.random(aes256KeyBytes);
  try {
    const attributes = derSetOf([
      contentTypeAttribute(oids.data),
      signingTimeAttribute(context.signingTimeMs),
      attribute(
        oids.envelopeInfo,
        writeEnvelopeInfo({
          ...requireContext(context),
          originatorHash: originator.agreement.certificate.sha256,
          contentType: context.contentType,
          encoding,
          commitment: commitTo(contentKey, nonce),
        }),
      ),
    ]);
    const keyAgreement = wrapFor(originator, readers, contentKey);
    const sealed = encrypt(contentKey, nonce, octets, attributes);
    return writeAuthEnvelopedData(certificates, keyAgreement, nonce, sealed, attributes);
  } finally {
    contentKey.fill(0);
  }
}

/** @returns one RecipientInfo with one ephemeral key for all readers */
function wrapFor(originator: Originator, readers: readonly AgreementKey[], contentKey: Buffer): Buffer {
  const { agreement, sender, random } = originator;
  const { ephemeralPoint, secrets } = sender.agree(readers, random);
  const encryptedKeys = readers.map((reader, index) => {
    const secret = secrets[index];
    assert.ok(secret !== undefined);
    const kek = deriveKey(agreement.suite.hash, secret, keyInfo, aes256KeyBytes);
    const wrapped = wrapKey(kek, contentKey);
    secret.fill(0);
    kek.fill(0);
    return { keyIdentifier: keyIdentifierOf(reader.certificate), wrapped };
  });
  return writeKeyAgreement(agreement.suite.mqvOid, originator.keyIdentifier, ephemeralPoint, encryptedKeys);
}

function requireRecipients(
  originator: Originator,
  recipients: readonly Certificate[],
): readonly AgreementKey[] {
  const distinct = new Map(
    recipients.map((certificate) => [certificate.sha256.toString('latin1'), certificate]),
  );
  if (distinct.size === 0 || distinct.size > recipientsMax) {
    throw new CmsError(
      'cms.unsupported',
      `${distinct.size} recipients; from 1 to ${recipientsMax} are possible`,
    );
  }
  const { curve } = originator.agreement.suite;
  return [...distinct.values()].map((certificate) => {
    const reader = agreementKey(certificate);
    if (reader.suite.curve === curve) return reader;
    // ECMQV combines keys of both sides, so they are on one curve (SP 800-56A §5.7.2.3).
    throw new CmsError(
      'cms.unsupported',
      `recipient ${certificate.commonName} has a key on ${reader.suite.curve}, the originator on ${curve}`,
    );
  });
}

function requireContext(context: SealContext): {
  topic: string;
  sequence: number;
  previousDigest: Buffer | undefined;
} {
  const { topic, previousDigest } = context;
  const sequence = Number(context.sequence);
  const topicBytes = Buffer.byteLength(topic);
  assert.ok(
    topic.isWellFormed() && topicBytes >= 1 && topicBytes <= topicBytesMax,
    `a topic of ${topicBytes} octets`,
  );
  assert.ok(Number.isSafeInteger(sequence) && sequence >= 0, `sequence number ${context.sequence}`);
  assert.ok(previousDigest === undefined || previousDigest.length === 32, 'a digest has 32 octets');
  return {
    topic,
    sequence,
    previousDigest: previousDigest === undefined ? undefined : Buffer.from(previousDigest),
  };
}

function embeddedCertificates(originator: Originator, context: SealContext): readonly Buffer[] {
  if (context.embedChain === undefined) return [];
  const own = [originator.signature?.certificate, originator.agreement.certificate];
  const all = [...own, ...context.embedChain].filter((certificate) => certificate !== undefined);
  const distinct = new Map(all.map(({ sha256, der }) => [sha256.toString('latin1'), der]));
  if (distinct.size > certificatesMax) {
    throw new CmsError(
      'cms.unsupported',
      `${distinct.size} certificates to embed; at most ${certificatesMax}`,
    );
  }
  return [...distinct.values()];
}
