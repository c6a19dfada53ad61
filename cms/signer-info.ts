/**
 * One signature (RFC 5652 §5.3), by ECDSA (RFC 5753 §2.1) over signed attributes.
 *
 *     SignerInfo ::= SEQUENCE {
 *       version CMSVersion,  -- 1 with issuerAndSerialNumber, 3 with subjectKeyIdentifier
 *       sid CHOICE { issuerAndSerialNumber IssuerAndSerialNumber, subjectKeyIdentifier [0] SubjectKeyIdentifier },
 *       digestAlgorithm AlgorithmIdentifier,
 *       signedAttrs [0] IMPLICIT SignedAttributes,
 *       signatureAlgorithm AlgorithmIdentifier,
 *       signature OCTET STRING,
 *       unsignedAttrs [1] IMPLICIT UnsignedAttributes OPTIONAL }
 */
import { hash, KeyObject, sign, timingSafeEqual, verify } from 'node:crypto';
import type { Certificate } from '../pki/certificate.ts';
import { DerFault, derTag, readOnlyInside, readSmallInteger, requireTag } from '../pki/der.ts';
import type { DerElement } from '../pki/der.ts';
import {
  attribute,
  checkContentType,
  contentTypeAttribute,
  readAttributes,
  readSigningTime,
  signingTimeAttribute,
  singleValue,
} from './attributes.ts';
import type { Attributes } from './attributes.ts';
import { derInteger, derOctetString, derSequence } from '../pki/der-writer.ts';
import type { SigningKey } from '../pki/signing-key.ts';
import { derAlgorithm, derRetagged, derSetOf } from './der-writer.ts';
import { CmsError } from './errors.ts';
import { identifierOf, readIdentifier, writeIdentifier } from './identifier.ts';
import type { CertificateIdentifier } from './identifier.ts';
import { oidName, oids, oidText } from './oid.ts';
import type { OidName } from './oid.ts';
import { suiteOf } from './suite.ts';
import type { Suite } from './suite.ts';

/** A certified key for signatures. */
export interface SignatureKey {
  readonly key: SigningKey;
  readonly certificate: Certificate;
}

/** All that SignedData needs of it. */
export interface WrittenSignerInfo {
  readonly hashOid: Buffer;
  /** The whole SignerInfo. */
  readonly der: Buffer;
}

export interface SignerInfo extends WrittenSignerInfo {
  readonly identifier: CertificateIdentifier;
  readonly hash: Suite['hash'];
  readonly attributes: Attributes;
  readonly messageDigest: Buffer;
  readonly signingTimeMs: number | undefined;
  readonly signature: Buffer;
}

interface SignatureAlgorithm {
  readonly hash: Suite['hash'];
  readonly ecdsaOid: Buffer;
}

const algorithms: Partial<Readonly<Record<OidName, SignatureAlgorithm>>> = {
  sha256: { hash: 'sha256', ecdsaOid: oids.ecdsaWithSha256 },
  sha384: { hash: 'sha384', ecdsaOid: oids.ecdsaWithSha384 },
  sha512: { hash: 'sha512', ecdsaOid: oids.ecdsaWithSha512 },
};
const signedAttributesTag = 0xa0;
const unsignedAttributesTag = 0xa1;
const nullTag = 0x05;
// SEQUENCE of two integers, P-521.
const signatureBytesMax = 144;

// The same in every signature of ours.
const versionByKeyIdentifier = derInteger(3);
const contentTypeAttributes: ReadonlyMap<Buffer, Buffer> = new Map(
  [oids.authEnvelopedData, oids.data].map((type) => [type, contentTypeAttribute(type)]),
);

/** @throws CmsError `cms.unsupported` if the certificate is not for signatures, or the key is not its key */
export function checkSignatureKey({ key, certificate }: SignatureKey): void {
  suiteOf(certificate.curve);
  const isItsKey =
    key instanceof KeyObject
      ? certificate.x509.checkPrivateKey(key)
      : key.publicKey.equals(certificate.publicKey);
  if (!maySign(certificate) || !isItsKey) {
    throw new CmsError(
      'cms.unsupported',
      `the certificate of ${certificate.commonName} is not one of this signing key`,
    );
  }
}

/** @param contentType - of what is signed; the signed attributes must name it */
export function readSignerInfo(found: DerElement, contentType: Buffer): SignerInfo {
  const what = 'signer';
  const fields = found.inside();
  const version = readSmallInteger(fields.take(derTag.integer, what), what);
  const identifier = readIdentifier(fields.next(), what);
  // RFC 5652 §5.3
  if (version !== (identifier.kind === 'keyIdentifier' ? 3 : 1))
    throw new DerFault(`${what}: version ${version}`);
  const hashOid = readHashAlgorithm(fields.take(derTag.sequence, 'digest algorithm'), 'digest algorithm');
  // RFC 5652 §5.3: they must be there if the content is not id-data; if it is, we want them all the same.
  const attributes = readAttributes(
    fields.take(signedAttributesTag, 'signed attributes'),
    'signed attributes',
  );
  const ecdsaOid = readOnlyInside(
    fields.take(derTag.sequence, 'signature algorithm'),
    derTag.objectIdentifier,
    'signature algorithm', // RFC 5754 §3.3: parameters are absent
  ).content;
  const signature = fields.take(derTag.octetString, 'signature').content;
  const unsigned = fields.takeOptional(unsignedAttributesTag);
  if (unsigned !== undefined) readAttributes(unsigned, 'unsigned attributes');
  fields.end(what);
  if (signature.length > signatureBytesMax)
    throw new DerFault(`${what}: a signature of ${signature.length} octets`);
  const name = oidName(hashOid);
  const algorithm = name === undefined ? undefined : algorithms[name];
  if (algorithm === undefined || !algorithm.ecdsaOid.equals(ecdsaOid)) {
    throw new CmsError(
      'cms.unsupported',
      `signature ${oidText(ecdsaOid)} over ${oidText(hashOid)} is not supported`,
    );
  }
  return {
    identifier,
    hash: algorithm.hash,
    hashOid,
    ...readRequired(attributes, contentType),
    attributes,
    signature,
    der: found.der,
  };
}

/**
 * @param content - the octets to sign
 * @param signer - checked by `checkSignatureKey`
 * @param signingTimeMs - undefined for the originator, whose time is in the content
 * @param sha256 - of the content, if it is known
 * @param contentType - of the content
 */
export function makeSignerInfo(
  content: Uint8Array,
  signer: SignatureKey,
  signingTimeMs: number | undefined,
  sha256?: Buffer,
  contentType = oids.authEnvelopedData,
): WrittenSignerInfo {
  const suite = suiteOf(signer.certificate.curve);
  const messageDigest = digestBy(suite.hash, content, sha256);
  const attributes = derSetOf([
    contentTypeAttributes.get(contentType) ?? contentTypeAttribute(contentType),
    attribute(oids.messageDigest, derOctetString(messageDigest)),
    ...(signingTimeMs === undefined ? [] : [signingTimeAttribute(signingTimeMs)]),
  ]);
  const der = derSequence(
    versionByKeyIdentifier,
    writeIdentifier(identifierOf(signer.certificate, 'keyIdentifier')),
    derAlgorithm(suite.hashOid), // RFC 5754 §2: parameters absent
    derRetagged(signedAttributesTag, attributes),
    derAlgorithm(suite.ecdsaOid),
    derOctetString(signatureBy(signer.key, suite, attributes)),
  );
  return { hashOid: suite.hashOid, der };
}

function signatureBy(key: SigningKey, suite: Suite, attributes: Buffer): Buffer {
  return key instanceof KeyObject ? sign(suite.hash, attributes, key) : key.sign(attributes);
}

/**
 * @param sha256 - of the content, if it is known
 * @returns whether `signer` is a signature over `content` by the key of `certificate`
 */
export function isSignedBy(
  content: Uint8Array,
  signer: SignerInfo,
  certificate: Certificate,
  sha256?: Buffer,
): boolean {
  if (certificate.curve === undefined || !maySign(certificate)) return false;
  const digest = digestBy(signer.hash, content, sha256);
  return (
    digest.length === signer.messageDigest.length &&
    timingSafeEqual(digest, signer.messageDigest) &&
    verify(signer.hash, signer.attributes.der, certificate.publicKey, signer.signature)
  );
}

function digestBy(hashName: Suite['hash'], content: Uint8Array, sha256: Buffer | undefined): Buffer {
  return (hashName === 'sha256' ? sha256 : undefined) ?? hash(hashName, content, 'buffer');
}

function maySign(certificate: Certificate): boolean {
  return certificate.keyUsage === undefined || certificate.keyUsage.has('digitalSignature');
}

function readRequired(
  attributes: Attributes,
  contentType: Buffer,
): Pick<SignerInfo, 'messageDigest' | 'signingTimeMs'> {
  // RFC 5652 §11.1, §11.2: both are mandatory.
  const digest = singleValue(attributes, oids.messageDigest, 'message digest');
  if (!checkContentType(attributes, contentType) || digest === undefined) {
    throw new DerFault('signed attributes: no content type or no message digest');
  }
  return {
    messageDigest: requireTag(digest, derTag.octetString, 'message digest').content,
    signingTimeMs: readSigningTime(attributes),
  };
}

/** RFC 5754 §2: parameters are absent, but NULL is to be accepted too. */
export function readHashAlgorithm(found: DerElement, what: string): Buffer {
  const fields = found.inside();
  const oid = fields.take(derTag.objectIdentifier, what).content;
  if (fields.takeOptional(nullTag)?.content.length) throw new DerFault(`${what}: a NULL that is not empty`);
  fields.end(what);
  return oid;
}
