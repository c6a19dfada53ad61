/**
 * AuthEnvelopedData (RFC 5083 §2.1).
 *
 *     AuthEnvelopedData ::= SEQUENCE {
 *       version CMSVersion,  -- 0
 *       originatorInfo [0] IMPLICIT OriginatorInfo OPTIONAL,
 *       recipientInfos SET SIZE (1..MAX) OF RecipientInfo,
 *       authEncryptedContentInfo SEQUENCE { contentType OBJECT IDENTIFIER,
 *         contentEncryptionAlgorithm AlgorithmIdentifier, encryptedContent [0] IMPLICIT OCTET STRING },
 *       authAttrs [1] IMPLICIT AuthAttributes OPTIONAL,
 *       mac OCTET STRING,
 *       unauthAttrs [2] IMPLICIT UnauthAttributes OPTIONAL }
 *     OriginatorInfo ::= SEQUENCE { certs [0] IMPLICIT CertificateSet OPTIONAL, crls [1] IMPLICIT … OPTIONAL }
 */
import { recipientsMax } from '../domain/limits.ts';
import { DerFault, derTag, readSmallInteger } from '../pki/der.ts';
import type { DerElement } from '../pki/der.ts';
import { readContentAlgorithm, writeContentAlgorithm } from './algorithms.ts';
import type { ContentAlgorithm } from './algorithms.ts';
import { checkContentType, readAttributes, readSigningTime, singleValue } from './attributes.ts';
import { derElement, derInteger, derOctetString, derSequence } from '../pki/der-writer.ts';
import { compareEncodings, derExplicit, derOid, derRetagged, derSetOf } from './der-writer.ts';
import { readEnvelopeInfo } from './envelope-info.ts';
import type { EnvelopeInfo } from './envelope-info.ts';
import { CmsError, rejected } from './errors.ts';
import { tagBytes } from './gcm.ts';
import type { Sealed } from './gcm.ts';
import { otherRecipientTag, readHybridRecipient } from './hybrid-recipient-info.ts';
import type { HybridRecipientInfo } from './hybrid-recipient-info.ts';
import { certificatesMax } from './limits.ts';
import { oids, oidText } from './oid.ts';
import { keyAgreementTag, readKeyAgreement } from './recipient-info.ts';
import type { KeyAgreement } from './recipient-info.ts';
import type { ShellReader } from './shell.ts';

export interface AuthEnvelopedData {
  /** DER, unverified: anybody on the way may have put them in. */
  readonly certificates: readonly Buffer[];
  readonly keyAgreements: readonly KeyAgreement[];
  readonly hybrids: readonly HybridRecipientInfo[];
  /** How many recipients there are of kinds that we do not know. */
  readonly otherRecipients: number;
  readonly algorithm: ContentAlgorithm;
  readonly sealed: Sealed;
  /** What the tag covers besides the content: the attributes as SET OF, or nothing (RFC 5083 §2.2). */
  readonly associatedData: Buffer;
  /** Of the authenticated attributes. */
  readonly signingTimeMs: number | undefined;
  readonly info: EnvelopeInfo | undefined;
}

const version = 0;
const certificatesTag = 0xa0;
const crlsTag = 0xa1;
const originatorInfoTag = 0xa0;
const encryptedContentTag = 0x80;
const authAttributesTag = 0xa1;
const unauthAttributesTag = 0xa2;
const noAttributes = { associatedData: Buffer.alloc(0), signingTimeMs: undefined, info: undefined };

/** @param shell - stands before the SEQUENCE, and after it afterwards */
export function readAuthEnvelopedData(shell: ShellReader): AuthEnvelopedData {
  const what = 'AuthEnvelopedData';
  shell.enter(derTag.sequence, what);
  const found = readSmallInteger(shell.take(derTag.integer, 'version'), 'version');
  if (found !== version) throw new DerFault(`${what}: version ${found}, not ${version}`);
  const originatorInfo = shell.takeOptional(originatorInfoTag, 'originator info');
  const recipientInfos = readRecipientInfos(shell);
  shell.enter(derTag.sequence, 'encrypted content info');
  const contentType = shell.take(derTag.objectIdentifier, 'content type').content;
  const algorithm = readContentAlgorithm(shell.take(derTag.sequence, 'content encryption'));
  const ciphertext = shell.octets(encryptedContentTag, 'encrypted content');
  shell.leave('encrypted content info');
  if (!contentType.equals(oids.data)) {
    throw new CmsError('cms.unsupported', `content of type ${oidText(contentType)}, not id-data`);
  }
  const attributes = shell.takeOptional(authAttributesTag, 'authenticated attributes');
  const tag = shell.take(derTag.octetString, 'tag').content;
  const unauthenticated = shell.takeOptional(unauthAttributesTag, 'unauthenticated attributes');
  // Anybody may change them, so they are read for form and never believed.
  if (unauthenticated !== undefined) readAttributes(unauthenticated, 'unauthenticated attributes');
  shell.leave(what);
  if (tag.length !== tagBytes) throw rejected();
  return {
    certificates: originatorInfo === undefined ? [] : readOriginatorInfo(originatorInfo),
    ...recipientInfos,
    algorithm,
    sealed: { ciphertext, tag },
    ...(attributes === undefined ? noAttributes : readAuthenticated(attributes)),
  };
}

/**
 * @param attributes - the authenticated ones as SET OF, DER
 * @returns the SEQUENCE
 */
export function writeAuthEnvelopedData(
  certificates: readonly Buffer[],
  recipientInfos: readonly Buffer[],
  algorithm: Pick<ContentAlgorithm, 'keyBytes' | 'nonce'>,
  sealed: Sealed,
  attributes: Buffer,
): Buffer {
  const contentInfo = derSequence(
    derOid(oids.data),
    writeContentAlgorithm(algorithm.keyBytes, algorithm.nonce),
    derElement(encryptedContentTag, sealed.ciphertext),
  );
  return derSequence(
    derInteger(version),
    ...(certificates.length === 0
      ? []
      : [derExplicit(0, derExplicit(0, ...certificates.toSorted(compareEncodings)))]),
    derSetOf(recipientInfos),
    contentInfo,
    derRetagged(authAttributesTag, attributes),
    derOctetString(sealed.tag),
  );
}

/** @param found - CertificateSet of any implicit tag; only X.509 certificates are taken (RFC 5652 §10.2.2) */
export function readCertificateSet(found: DerElement): readonly Buffer[] {
  const reader = found.inside();
  const certificates: Buffer[] = [];
  while (!reader.done) {
    certificates.push(reader.take(derTag.sequence, 'embedded certificate').der);
    if (certificates.length > certificatesMax)
      throw new DerFault(`more than ${certificatesMax} certificates`);
  }
  return certificates;
}

function readOriginatorInfo(found: DerElement): readonly Buffer[] {
  const fields = found.inside();
  const certificates = fields.takeOptional(certificatesTag);
  fields.takeOptional(crlsTag); // revocation lists reach us by their own topic
  fields.end('originator info');
  return certificates === undefined ? [] : readCertificateSet(certificates);
}

function readRecipientInfos(
  shell: ShellReader,
): Pick<AuthEnvelopedData, 'keyAgreements' | 'hybrids' | 'otherRecipients'> {
  const what = 'recipient infos';
  const keyAgreements: KeyAgreement[] = [];
  const hybrids: HybridRecipientInfo[] = [];
  let otherRecipients = 0;
  let recipients = 0;
  shell.enter(derTag.set, what);
  for (let tag = shell.nextTag; tag !== undefined; tag = shell.nextTag) {
    const info = shell.take(tag, what);
    if (tag === keyAgreementTag) {
      const keyAgreement = readKeyAgreement(info);
      keyAgreements.push(keyAgreement);
      recipients += Math.max(keyAgreement.encryptedKeys.length, 1);
    } else {
      const hybrid = tag === otherRecipientTag ? readHybridRecipient(info) : undefined;
      if (hybrid === undefined)
        otherRecipients += 1; // RFC 5652 §6.2: what we do not know is for somebody else
      else hybrids.push(hybrid);
      recipients += 1;
    }
    if (recipients > recipientsMax) throw new DerFault(`${what}: more than ${recipientsMax} recipients`);
  }
  shell.leave(what);
  return { keyAgreements, hybrids, otherRecipients };
}

function readAuthenticated(
  found: DerElement,
): Pick<AuthEnvelopedData, 'associatedData' | 'signingTimeMs' | 'info'> {
  const attributes = readAttributes(found, 'authenticated attributes');
  checkContentType(attributes, oids.data);
  const info = singleValue(attributes, oids.envelopeInfo, 'envelope info');
  return {
    associatedData: attributes.der,
    signingTimeMs: readSigningTime(attributes),
    info: info === undefined ? undefined : readEnvelopeInfo(info),
  };
}
