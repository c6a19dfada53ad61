/** Seals content for several recipients: AuthEnvelopedData, and SignedData around it (DESIGN §5). */
import assert from 'node:assert/strict';
import { contentBytesMax, recipientsMax, topicBytesMax } from '../domain/limits.ts';
import type { Certificate, CurveName } from '../pki/certificate.ts';
import { attribute, contentTypeAttribute, signingTimeAttribute } from './attributes.ts';
import { writeAuthEnvelopedData } from './auth-enveloped.ts';
import { commitTo } from './commitment.ts';
import { encodeContent } from './content-encoding.ts';
import type { ContentEncoding, EncodedContent } from './content-encoding.ts';
import { derSetOf } from './der-writer.ts';
import { agreementKey } from './ecmqv.ts';
import { writeEnvelopeInfo } from './envelope-info.ts';
import type { ContentType } from './envelope-info.ts';
import { bytesMaxOf, digestOf, writeContentInfo } from './envelope.ts';
import type { EnvelopeBound } from './envelope.ts';
import { CmsError } from './errors.ts';
import { encrypt, nonceBytes } from './gcm.ts';
import { requireHybrid } from './hybrid.ts';
import type { HybridRecipient } from './hybrid.ts';
import type { KeyAgreementKey } from './key-agreement-key.ts';
import { certificatesMax } from './limits.ts';
import { oids } from './oid.ts';
import { pooledRandom } from './random.ts';
import type { Random } from './random.ts';
import { fullFormat } from './seal-format.ts';
import type { FullFormat, SealFormat } from './seal-format.ts';
import { addressReader, createSender, wrapFor } from './sender.ts';
import type { AddressedReader, Reader, Sender } from './sender.ts';
import { writeSignedData } from './signed-data.ts';
import { checkSignatureKey, makeSignerInfo } from './signer-info.ts';
import type { SignatureKey } from './signer-info.ts';

/** The originator's keys. All certificates have its common name. */
export interface SealKeys {
  /** Absent: envelopes are bare, and accepted only where a policy says so. */
  readonly signature?: SignatureKey;
  /** Its ENC keys: one, or one on each curve that recipients are on. */
  readonly keyAgreement: KeyAgreementKey | readonly KeyAgreementKey[];
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
  /** Puts the originator's certificates and these CAs into the envelope. */
  readonly embedChain?: readonly Certificate[];
}

export interface SealOptions extends EnvelopeBound {
  /** Where content keys, nonces and ephemeral keys come from. Only tests set it. */
  readonly random?: Random;
  readonly format?: SealFormat;
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
   * @param recipients - 1 to `recipientsMax`, trusted by the caller; one that is there twice counts once
   * @throws CmsError `cms.unsupported` for a recipient on another curve or what exceeds a bound
   */
  seal(content: Uint8Array, recipients: readonly Recipient[], context: SealContext): SealedEnvelope;
}

/**
 * An ENC certificate on a curve that the originator has a key on, or that and an ML-KEM-768 certificate. An envelope is
 * as safe as its weakest recipient: against a quantum computer only if all of them have both.
 */
export type Recipient = Certificate | HybridRecipient;

interface Originator {
  /** In the order of its keys. */
  readonly senders: ReadonlyMap<CurveName, Sender>;
  readonly audiences: Audiences;
  readonly signature: SignatureKey | undefined;
  readonly format: FullFormat;
  readonly random: Random;
  readonly envelopeBytesMax: number;
}

/** Those recipients of an envelope who are on one curve. */
interface Audience {
  readonly sender: Sender;
  readonly readers: readonly AddressedReader[];
}

const dataAttribute = contentTypeAttribute(oids.data);

/** @throws CmsError `cms.unsupported` if keys, certificates and format do not fit each other */
export function createSealer(keys: SealKeys, options: SealOptions = {}): Sealer {
  const { signature } = keys;
  if (signature !== undefined) checkSignatureKey(signature);
  const format = fullFormat(options.format ?? {}, signature !== undefined);
  const own = 'key' in keys.keyAgreement ? [keys.keyAgreement] : keys.keyAgreement;
  const senders = own.map((key) => createSender(key, format));
  const byCurve = new Map(senders.map((sender) => [sender.agreement.suite.curve, sender]));
  if (senders.length === 0 || byCurve.size < senders.length) {
    throw new CmsError(
      'cms.unsupported',
      'an originator has at least one key-agreement key, and one on a curve',
    );
  }
  const all = signature === undefined ? own : [signature, ...own];
  if (new Set(all.map(({ certificate }) => certificate.commonName)).size > 1) {
    throw new CmsError('cms.unsupported', 'the certificates of an originator have one common name');
  }
  const originator: Originator = {
    senders: byCurve,
    audiences: new Audiences(byCurve),
    signature,
    format,
    random: options.random ?? pooledRandom(),
    envelopeBytesMax: bytesMaxOf(options),
  };
  return { seal: (content, recipients, context) => seal(originator, content, recipients, context) };
}

function seal(
  originator: Originator,
  content: Uint8Array,
  recipients: readonly Recipient[],
  context: SealContext,
): SealedEnvelope {
  const audiences = originator.audiences.of(recipients);
  if (content.length > contentBytesMax) {
    throw new CmsError('cms.unsupported', `content of ${content.length} octets; at most ${contentBytesMax}`);
  }
  const { signature, envelopeBytesMax } = originator;
  const embedded = embeddedCertificates(signature, audiences, context);
  const enveloped = envelop(originator, content, audiences, context, signature === undefined ? embedded : []);
  const digest = digestOf({ encoded: enveloped });
  const envelope =
    signature === undefined
      ? writeContentInfo(oids.authEnvelopedData, enveloped)
      : writeContentInfo(
          oids.signedData,
          writeSignedData({
            content: enveloped,
            certificates: embedded,
            signers: [makeSignerInfo(enveloped, signature, undefined, digest)],
          }),
        );
  if (envelope.length > envelopeBytesMax) {
    throw new CmsError(
      'cms.unsupported',
      `an envelope of ${envelope.length} bytes; at most ${envelopeBytesMax}`,
    );
  }
  return { envelope, digest };
}

/** @returns an encoded AuthEnvelopedData */
function envelop(
  { format, random }: Originator,
  content: Uint8Array,
  audiences: readonly Audience[],
  context: SealContext,
  certificates: readonly Buffer[],
): Buffer {
  const encoded: EncodedContent = format.compress
    ? encodeContent(content)
    : { encoding: 'identity', octets: content };
  // One draw: a system call costs more than what it returns.
  const drawn = random(nonceBytes + format.contentKeyBytes);
  const [nonce, contentKey] = [drawn.subarray(0, nonceBytes), drawn.subarray(nonceBytes)];
  try {
    const attributes = derSetOf([
      signingTimeAttribute(context.signingTimeMs),
      // RFC 5083 §2.1 asks for a content type only if it is not id-data, and readers of ours take no other.
      format.attributes === 'plain'
        ? dataAttribute
        : infoAttribute(audiences, context, encoded.encoding, commitTo(contentKey, nonce)),
    ]);
    const recipientInfos = audiences.flatMap(({ sender, readers }) =>
      wrapFor(sender, readers, contentKey, random),
    );
    const sealed = encrypt(contentKey, nonce, encoded.octets, attributes);
    const algorithm = { keyBytes: format.contentKeyBytes, nonce };
    return writeAuthEnvelopedData(certificates, recipientInfos, algorithm, sealed, attributes);
  } finally {
    contentKey.fill(0);
  }
}

function infoAttribute(
  audiences: readonly Audience[],
  context: SealContext,
  encoding: ContentEncoding,
  commitment: Buffer,
): Buffer {
  const info = {
    ...requireContext(context),
    originatorHashes: audiences.map(({ sender }) => sender.agreement.certificate.sha256),
    contentType: context.contentType,
    encoding,
    commitment,
  };
  return attribute(oids.envelopeInfo, writeEnvelopeInfo(info));
}

/** As a rule the recipients are those of the envelope before, and then they are not checked and sorted again. */
class Audiences {
  readonly #senders: Originator['senders'];
  #recipients: readonly Recipient[] = [];
  #audiences: readonly Audience[] = [];

  constructor(senders: Originator['senders']) {
    this.#senders = senders;
  }

  of(recipients: readonly Recipient[]): readonly Audience[] {
    const isSame =
      recipients.length === this.#recipients.length &&
      recipients.length > 0 &&
      recipients.every((recipient, index) => recipient === this.#recipients[index]);
    if (!isSame) {
      this.#audiences = requireAudiences(this.#senders, recipients);
      this.#recipients = [...recipients];
    }
    return this.#audiences;
  }
}

/** @returns the recipients by curve, each once */
function requireAudiences(
  senders: Originator['senders'],
  recipients: readonly Recipient[],
): readonly Audience[] {
  const byCurve = Map.groupBy(requireReaders(recipients), ({ agreement }) => agreement.suite.curve);
  return Array.from(byCurve, ([curve, readers]) => {
    const sender = senders.get(curve);
    if (sender !== undefined)
      return { sender, readers: readers.map((reader) => addressReader(sender, reader)) };
    // ECMQV combines keys of both sides, so they are on one curve (SP 800-56A §5.7.2.3).
    const names = readers.map(({ agreement }) => agreement.certificate.commonName).join(', ');
    const own = [...senders.keys()].join(', ');
    throw new CmsError('cms.unsupported', `${names}: on ${curve}, and the originator on ${own} only`);
  });
}

function requireReaders(recipients: readonly Recipient[]): readonly Reader[] {
  const distinct = new Map(
    recipients.map(readerOf).map((reader) => [fingerprintsOf(reader).join(), reader] as const),
  );
  if (distinct.size === 0 || distinct.size > recipientsMax) {
    throw new CmsError(
      'cms.unsupported',
      `${distinct.size} recipients; from 1 to ${recipientsMax} are possible`,
    );
  }
  const readers = [...distinct.values()];
  const fingerprints = readers.flatMap(fingerprintsOf);
  // With a second entry without ML-KEM, breaking ECMQV would do; readers refuse to be addressed twice anyway.
  if (new Set(fingerprints).size < fingerprints.length) {
    throw new CmsError('cms.unsupported', 'a certificate of one recipient is there with and without another');
  }
  return readers;
}

function readerOf(recipient: Recipient): Reader {
  if (!('kem' in recipient)) return { agreement: agreementKey(recipient), kem: undefined };
  requireHybrid(recipient);
  return { agreement: agreementKey(recipient.keyAgreement), kem: recipient.kem };
}

function fingerprintsOf({ agreement, kem }: Reader): readonly string[] {
  const certificates = kem === undefined ? [agreement.certificate] : [agreement.certificate, kem];
  return certificates.map(({ sha256 }) => sha256.toString('latin1'));
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

function embeddedCertificates(
  signature: SignatureKey | undefined,
  audiences: readonly Audience[],
  context: SealContext,
): readonly Buffer[] {
  if (context.embedChain === undefined) return [];
  const own = [signature?.certificate, ...audiences.map(({ sender }) => sender.agreement.certificate)];
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
