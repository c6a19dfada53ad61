/** Opens an envelope: who made it, whether it is untouched, and what is inside (DESIGN §5). */
import type { Certificate } from '../pki/certificate.ts';
import { parseCertificate } from '../pki/certificate.ts';
import { timingSafeEqual } from 'node:crypto';
import { isCommitted } from './commitment.ts';
import { decodeContent } from './content-encoding.ts';
import { agreementKey, createMqvRecipient } from './ecmqv.ts';
import type { AgreementKey, MqvRecipient } from './ecmqv.ts';
import type { ContentType } from './envelope-info.ts';
import { digestOf, readEnvelope, strictly } from './envelope.ts';
import type { Envelope, EnvelopeBound } from './envelope.ts';
import { CmsError, rejected } from './errors.ts';
import { decrypt } from './gcm.ts';
import { requireKemKey, unwrapHybrid } from './hybrid.ts';
import type { CertificateIdentifier } from './identifier.ts';
import type { SharedInfoFlavour } from './kdf.ts';
import { requireKeyAgreementKey } from './key-agreement-key.ts';
import type { KeyBytes } from './key-wrap.ts';
import { findOriginator, offerOf, requireCurve, requireOneIdentity } from './originator.ts';
import type { Originator, Originators, VerifyChain } from './originator.ts';
import { findAddressed, recipientsOf, unwrapContentKey } from './recipient.ts';
import type { Addressed, RecipientKey } from './recipient.ts';
import { readMqvMaterial } from './recipient-info.ts';
import { verifySigners } from './verify.ts';
import type { Signer } from './verify.ts';

export interface OpenPolicy {
  /** Whether a bare AuthEnvelopedData is accepted. It proves its origin to this reader only. Default: no. */
  readonly allowUnsigned?: boolean;
  /** Which derivations of the key-encryption key are tried, in this order. Default: RFC 5753's alone. */
  readonly kdfFlavours?: readonly SharedInfoFlavour[];
}

export interface OpenerSettings extends EnvelopeBound {
  readonly recipient: RecipientKey;
  readonly originators: Originators;
  /** SIG certificates of further signers who seal nothing for this reader, such as auditors. They are trusted. */
  readonly cosigners?: readonly Certificate[];
  /** Asked for an originator that `originators` does not know, if the envelope brings certificates. */
  readonly verifyChain?: VerifyChain;
  readonly policy?: OpenPolicy;
}

export interface OpenOptions {
  /** The topic that the envelope came by; one that names another is refused. One that is not of ours names none. */
  readonly expectedTopic?: string;
}

export interface OpenedEnvelope {
  readonly content: Buffer;
  readonly originator: Originator;
  /** Whose signatures are verified: the originator's first. Empty for a bare envelope. */
  readonly signers: readonly Signer[];
  /** Everyone who can read it, as the envelope names them. */
  readonly recipients: readonly CertificateIdentifier[];
  /** How many more there are, of kinds that we cannot read. */
  readonly otherRecipients: number;
  /** What the next envelope refers to as its `previousDigest`: SHA-256 of the AuthEnvelopedData. */
  readonly digest: Buffer;
  readonly signingTimeMs: number | undefined;
  /** These four are undefined in an envelope that is not of ours: bare, and without our attribute. */
  readonly topic: string | undefined;
  readonly sequence: number | undefined;
  readonly contentType: ContentType | undefined;
  /** Also undefined in the originator's first. */
  readonly previousDigest: Buffer | undefined;
}

export interface Opener {
  /**
   * @param envelope - a ContentInfo; not changed, and not referred to by the result's content
   * @throws CmsError with any of the codes; everything that depends on a key is `cms.rejected`
   */
  open(envelope: Uint8Array, options?: OpenOptions): OpenedEnvelope;
}

interface Reader {
  readonly settings: OpenerSettings;
  readonly agreement: AgreementKey;
  readonly mqv: MqvRecipient;
  readonly flavours: readonly SharedInfoFlavour[];
}

/** @throws CmsError `cms.unsupported` if the recipient's key and certificate do not fit each other */
export function createOpener(settings: OpenerSettings): Opener {
  const { recipient } = settings;
  const agreement = requireKeyAgreementKey(recipient);
  if (recipient.kem !== undefined) requireKemKey(recipient.kem, recipient.certificate);
  const reader: Reader = {
    settings,
    agreement,
    mqv: createMqvRecipient(agreement, recipient.key),
    flavours: settings.policy?.kdfFlavours ?? ['rfc5753'],
  };
  return { open: (bytes, options = {}) => open(reader, bytes, options) };
}

function open(reader: Reader, bytes: Uint8Array, options: OpenOptions): OpenedEnvelope {
  const { settings } = reader;
  const envelope = readEnvelope(bytes, settings);
  const { authEnveloped, signedData } = envelope;
  if (signedData === undefined && settings.policy?.allowUnsigned !== true) {
    throw new CmsError('cms.unsigned', 'the envelope is not signed, and policy wants a signature');
  }
  const addressed = strictly(() => findAddressed(authEnveloped, settings.recipient));
  if (addressed.kind === 'agreement' && addressed.algorithm.scheme !== 'ecmqv') {
    throw new CmsError('cms.unsupported', 'an ephemeral-static key agreement names no originator');
  }
  const originator = resolveOriginator(reader, envelope, addressed);
  const digest = digestOf(envelope);
  const signed = signedData && { data: signedData, digest, sealedAtMs: authEnveloped.signingTimeMs };
  const { originators, cosigners } = settings;
  const signers = signed === undefined ? [] : verifySigners(signed, originator, originators, cosigners);
  const content = decryptFor(reader, envelope, addressed, originator);
  const { info, signingTimeMs } = authEnveloped;
  if (options.expectedTopic !== undefined && info !== undefined && info.topic !== options.expectedTopic) {
    throw new CmsError('cms.wrong_topic', `sealed for topic ${info.topic}, came by ${options.expectedTopic}`);
  }
  return {
    content,
    originator,
    signers,
    recipients: recipientsOf(authEnveloped),
    otherRecipients: authEnveloped.otherRecipients,
    digest,
    signingTimeMs,
    topic: info?.topic,
    sequence: info?.sequence,
    contentType: info?.contentType,
    previousDigest: info?.previousDigest,
  };
}

function resolveOriginator(
  { settings, agreement }: Reader,
  envelope: Envelope,
  addressed: Addressed,
): Originator {
  const { suite } = agreement;
  const identifier = addressed.originator;
  const known = findOriginator(settings.originators, identifier, suite);
  const found = known ?? verifyEmbedded(settings, envelope, addressed, agreement);
  if (found === undefined || found.keyAgreement.curve !== suite.curve) {
    throw new CmsError('cms.untrusted_originator', 'the originator is not one of those that are trusted');
  }
  requireOneIdentity(found);
  return found;
}

function verifyEmbedded(
  settings: OpenerSettings,
  envelope: Envelope,
  addressed: Addressed,
  { suite }: AgreementKey,
): Originator | undefined {
  const embedded = [...envelope.authEnveloped.certificates, ...(envelope.signedData?.certificates ?? [])];
  if (settings.verifyChain === undefined || embedded.length === 0) return undefined;
  const identifier = addressed.originator;
  const signers = envelope.signedData?.signers.map((signer) => signer.identifier) ?? [];
  const offered = offerOf(parseEmbedded(embedded), identifier, signers, suite);
  if (offered === undefined) return undefined;
  const found = settings.verifyChain(offered);
  // What was verified must be what was offered, whatever the callback looked at.
  return found?.keyAgreement.der.equals(offered.keyAgreement.der) === true ? found : undefined;
}

function parseEmbedded(embedded: readonly Buffer[]): readonly Certificate[] {
  try {
    return embedded.map(parseCertificate);
  } catch (cause) {
    throw new CmsError('cms.malformed', 'an embedded certificate is not readable', { cause });
  }
}

/** From here on, every failure is the same. */
function decryptFor(
  reader: Reader,
  envelope: Envelope,
  addressed: Addressed,
  originator: Originator,
): Buffer {
  const { algorithm, sealed, associatedData, info } = envelope.authEnveloped;
  // An envelope without our attribute commits to no key (see commitment.ts): only a bare one may come without.
  if (info === undefined && envelope.signedData !== undefined) throw rejected();
  if (info !== undefined && !isAmong(info.originatorHashes, originator.keyAgreement.sha256)) throw rejected();
  const key = contentKeyFor(reader, addressed, originator, algorithm.keyBytes);
  if (key === undefined) throw rejected();
  try {
    if (info !== undefined && !isCommitted(key, algorithm.nonce, info.commitment)) throw rejected();
    const plaintext = decrypt(key, algorithm.nonce, sealed, associatedData);
    const content = plaintext && decodeContent(info?.encoding ?? 'identity', plaintext);
    if (content === undefined) throw rejected();
    return content;
  } finally {
    key.fill(0);
  }
}

/** @returns what the caller erases; undefined if it does not unwrap */
function contentKeyFor(
  { agreement, mqv, flavours }: Reader,
  addressed: Addressed,
  originator: Originator,
  contentKeyBytes: KeyBytes,
): Buffer | undefined {
  const { ephemeral, added } =
    addressed.kind === 'hybrid'
      ? { ephemeral: addressed.info.ephemeral, added: undefined }
      : strictly(() => readMqvMaterial(addressed.userKeyingMaterial));
  requireCurve(ephemeral, agreement.suite);
  const secret = mqv.agree(agreementKey(originator.keyAgreement), ephemeral.point);
  try {
    return addressed.kind === 'hybrid'
      ? unwrapHybrid(addressed.info, addressed.kemKey, secret, contentKeyBytes)
      : unwrapContentKey(addressed, secret, added, flavours, contentKeyBytes);
  } finally {
    secret.fill(0);
  }
}

/** Compares with every one of them, so that time does not tell which it was. */
function isAmong(hashes: readonly Buffer[], hash: Buffer): boolean {
  return hashes.map((candidate) => timingSafeEqual(candidate, hash)).includes(true);
}
