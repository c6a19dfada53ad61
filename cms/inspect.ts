/** What an envelope says about itself to anybody, without a key. Nothing of it is verified. */
import { X509Certificate } from 'node:crypto';
import type { KeyAgreement, OriginatorIdentifier } from './recipient-info.ts';
import { derTag } from '../pki/der.ts';
import type { DerElement } from '../pki/der.ts';
import type { ContentEncoding } from './content-encoding.ts';
import type { ContentType } from './envelope-info.ts';
import { digestOf, readEnvelope, strictly } from './envelope.ts';
import type { EnvelopeBound } from './envelope.ts';
import type { HybridRecipientInfo } from './hybrid-recipient-info.ts';
import type { CertificateIdentifier } from './identifier.ts';
import { oidName, oidText } from './oid.ts';
import type { OidName } from './oid.ts';

export interface SignerSummary {
  readonly signer: CertificateIdentifier;
  /** For example `ecdsa-with-sha256`. */
  readonly algorithm: string;
  /** Undefined for an originator of ours, whose time is `EnvelopeSummary.signingTimeMs`. */
  readonly signingTimeMs: number | undefined;
}

export interface AgreementSummary {
  readonly originator: OriginatorIdentifier;
  /** For example `mqvSha256`, or `hybridMlKem768` for ECMQV and ML-KEM together; dotted decimal if we do not know it. */
  readonly keyAgreement: string;
  /** For example `aes256Wrap`. */
  readonly keyWrap: string;
  /** By their ENC certificates. */
  readonly recipients: readonly CertificateIdentifier[];
  /** The ML-KEM certificate of a recipient who needs both keys; it is then the only recipient here. */
  readonly kemRecipient: CertificateIdentifier | undefined;
}

/** Our attribute; authenticated for whoever can open the envelope. */
export interface InfoSummary {
  readonly topic: string;
  readonly sequence: number;
  readonly previousDigest: Buffer | undefined;
  readonly originatorHashes: readonly Buffer[];
  readonly contentType: ContentType;
  readonly encoding: ContentEncoding;
}

export interface EnvelopeSummary {
  readonly form: 'signed' | 'bare';
  readonly envelopeBytes: number;
  /** As `envelopeDigest`. */
  readonly digest: Buffer;
  readonly signers: readonly SignerSummary[];
  readonly agreements: readonly AgreementSummary[];
  /** How many recipients there are that CMS knows and we do not, so that nobody overlooks them. */
  readonly otherRecipients: number;
  /** For example `AES-256-GCM`. */
  readonly contentEncryption: string;
  /** Of the content as encrypted, after compression. */
  readonly contentBytes: number;
  readonly signingTimeMs: number | undefined;
  readonly info: InfoSummary | undefined;
  /** Subjects of the embedded certificates, one line each. */
  readonly certificates: readonly string[];
}

/** @throws CmsError `cms.malformed`, `cms.unsupported`, `cms.rejected`, as `readEnvelope` */
export function inspect(bytes: Uint8Array, bound: EnvelopeBound = {}): EnvelopeSummary {
  const envelope = readEnvelope(bytes, bound);
  const { authEnveloped, signedData } = envelope;
  const { info } = authEnveloped;
  return {
    form: signedData === undefined ? 'bare' : 'signed',
    envelopeBytes: bytes.length,
    digest: digestOf(envelope),
    signers: (signedData?.signers ?? []).map(({ identifier, hash, signingTimeMs }) => ({
      signer: identifier,
      algorithm: `ecdsa-with-${hash}`,
      signingTimeMs,
    })),
    agreements: strictly(() => [
      ...authEnveloped.keyAgreements.map(summarise),
      ...authEnveloped.hybrids.map(summariseHybrid),
    ]),
    otherRecipients: authEnveloped.otherRecipients,
    contentEncryption: authEnveloped.algorithm.name,
    contentBytes: authEnveloped.sealed.ciphertext.length,
    signingTimeMs: authEnveloped.signingTimeMs,
    info: info && {
      topic: info.topic,
      sequence: info.sequence,
      previousDigest: info.previousDigest,
      originatorHashes: info.originatorHashes,
      contentType: info.contentType,
      encoding: info.encoding,
    },
    certificates: [...(signedData?.certificates ?? []), ...authEnveloped.certificates].map(subjectOf),
  };
}

function summarise({ originator, keyEncryption, encryptedKeys }: KeyAgreement): AgreementSummary {
  const fields = keyEncryption.inside();
  const keyAgreement = nameOf(fields.take(derTag.objectIdentifier, 'key agreement').content);
  const keyWrap = algorithmOf(fields.take(derTag.sequence, 'key wrap'));
  return {
    originator,
    keyAgreement,
    keyWrap,
    recipients: encryptedKeys.map(({ recipient }) => recipient),
    kemRecipient: undefined,
  };
}

function summariseHybrid({
  originator,
  keyWrap,
  recipient,
  kemRecipient,
}: HybridRecipientInfo): AgreementSummary {
  const keyAgreement = 'hybridMlKem768' satisfies OidName;
  return { originator, keyAgreement, keyWrap: algorithmOf(keyWrap), recipients: [recipient], kemRecipient };
}

function algorithmOf(identifier: DerElement): string {
  return nameOf(identifier.inside().take(derTag.objectIdentifier, 'algorithm').content);
}

function nameOf(oid: Buffer): string {
  return oidName(oid) ?? oidText(oid);
}

/** Certificates that we would not trust are shown too, so this is not `pki`'s strict reader. */
function subjectOf(der: Buffer): string {
  try {
    const certificate = new X509Certificate(der);
    // Node looks for PEM anywhere in the bytes before it tries DER, and would show a certificate hidden inside.
    return certificate.raw.equals(der) ? certificate.subject.replaceAll('\n', ', ') : 'unreadable';
  } catch {
    return 'unreadable';
  }
}
