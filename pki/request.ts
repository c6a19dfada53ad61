/**
 * Certification requests, PKCS #10 (RFC 2986): how a device asks for a certificate of a key that never leaves it.
 *
 *     CertificationRequest ::= SEQUENCE {
 *       certificationRequestInfo SEQUENCE {
 *         version INTEGER { v1(0) },
 *         subject Name,
 *         subjectPKInfo SubjectPublicKeyInfo,
 *         attributes [0] IMPLICIT SET OF Attribute },
 *       signatureAlgorithm AlgorithmIdentifier,
 *       signature BIT STRING }
 */
import { createPublicKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { errorText } from '../domain/error-text.ts';
import { encodeName, signToBeSigned } from './authority/encode.ts';
import { readSubjectPublicKeyInfo } from './certificate.ts';
import type { CurveName } from './certificate.ts';
import {
  DerFault,
  derTag,
  readBitStringOctets,
  readObjectIdentifier,
  readOnly,
  readSmallInteger,
} from './der.ts';
import { derElement, derInteger, derSequence } from './der-writer.ts';
import { PkiError } from './errors.ts';
import { readCommonName } from './name.ts';
import { pemBlocks, pemOf } from './pem.ts';
import { isSignatureAlgorithm, isSignedBy } from './signature.ts';
import { publicKeyOf } from './signing-key.ts';
import type { SigningKey } from './signing-key.ts';

/** Immutable. Whoever made it has the private key: its signature was verified. */
export interface CertificationRequest {
  readonly der: Buffer;
  /** The subject's only attribute. */
  readonly commonName: string;
  readonly curve: CurveName;
  readonly publicKey: KeyObject;
}

/** Three extensions that nobody asked for fit in; a P-521 request has 450 octets. */
const requestBytesMax = 8 * 1024;
const version = 0;

/**
 * Parses a request and verifies its signature, the proof of possession (RFC 2986 §3). Attributes, such as extensions
 * that it asks for, are passed over: what a certificate says, its profile decides.
 *
 * @param der - at most 8 KiB; copied
 * @throws PkiError `pki.malformed_request` (also for a subject that is anything but one common name),
 *   `pki.unsupported_algorithm` for a key on no curve of ours, `pki.bad_signature`
 */
export function parseRequest(der: Uint8Array): CertificationRequest {
  if (der.length > requestBytesMax) {
    throw new PkiError(
      'pki.malformed_request',
      `cannot read a certification request of ${der.length} bytes; at most ${requestBytesMax}`,
    );
  }
  try {
    return readRequest(Buffer.from(der));
  } catch (cause) {
    if (cause instanceof PkiError) throw cause;
    throw new PkiError('pki.malformed_request', `cannot read a certification request: ${errorText(cause)}`, {
      cause,
    });
  }
}

/** @param pem - exactly one `CERTIFICATE REQUEST` block (RFC 7468 §7) @throws PkiError as `parseRequest` */
export function requestFromPem(pem: string | Uint8Array): CertificationRequest {
  const [der] = pemBlocks(pem, 'CERTIFICATE REQUEST', 1) ?? [];
  if (der === undefined) {
    throw new PkiError(
      'pki.malformed_request',
      'cannot read a certification request: not one well-formed PEM CERTIFICATE REQUEST block',
    );
  }
  return parseRequest(der);
}

export function requestToPem({ der }: Pick<CertificationRequest, 'der'>): string {
  return pemOf('CERTIFICATE REQUEST', der);
}

/**
 * Makes a request without attributes. For a key agreement key its signature is the only one that the key ever makes,
 * as the German smart-metering PKI does it (BSI TR-03109-4).
 *
 * @param privateKey - on a curve of ours
 * @returns DER
 */
export function createRequest(commonName: string, privateKey: SigningKey): Buffer {
  const toBeSigned = derSequence(
    derInteger(version),
    encodeName(commonName),
    publicKeyOf(privateKey).export({ type: 'spki', format: 'der' }),
    derElement(derTag.context0),
  );
  return signToBeSigned(toBeSigned, privateKey);
}

function readRequest(der: Buffer): CertificationRequest {
  const outer = readOnly(der, derTag.sequence, 'certification request').inside();
  const info = outer.take(derTag.sequence, 'request info');
  const algorithm = outer.take(derTag.sequence, 'signature algorithm').inside();
  const signature = readBitStringOctets(outer.take(derTag.bitString, 'signature'), 'signature');
  outer.end('certification request');
  const signatureAlgorithm = readObjectIdentifier(
    algorithm.take(derTag.objectIdentifier, 'signature algorithm'),
    'signature algorithm',
  );

  const fields = info.inside();
  const found = readSmallInteger(fields.take(derTag.integer, 'version'), 'version');
  if (found !== version) throw new DerFault(`version ${found}, not ${version}`);
  const commonName = readOnlyCommonName(fields.take(derTag.sequence, 'subject').der);
  const keyInfo = fields.take(derTag.sequence, 'subject public key');
  fields.take(derTag.context0, 'attributes');
  fields.end('request info');

  const { curve } = readSubjectPublicKeyInfo(keyInfo.content);
  if (curve === undefined) {
    throw new PkiError('pki.unsupported_algorithm', 'a certification request for a key on no curve of ours');
  }
  if (!isSignatureAlgorithm(signatureAlgorithm)) {
    throw new PkiError(
      'pki.unsupported_algorithm',
      `a certification request signed with algorithm ${signatureAlgorithm}`,
    );
  }
  algorithm.end('signature algorithm'); // RFC 5758 §3.2: no parameters
  const publicKey = createPublicKey({ key: keyInfo.der, format: 'der', type: 'spki' });
  if (!isSignedBy({ toBeSigned: info.der, signatureAlgorithm, signature }, { curve, publicKey })) {
    throw new PkiError(
      'pki.bad_signature',
      `the certification request of ${JSON.stringify(commonName.slice(0, 64))} was not signed by its own key`,
    );
  }
  return Object.freeze({ der, commonName, curve, publicKey });
}

/** A certificate would not have what else the subject says, so nobody may believe that it was certified. */
function readOnlyCommonName(subjectDer: Buffer): string {
  const commonName = readCommonName(subjectDer);
  const names = readOnly(subjectDer, derTag.sequence, 'subject').inside();
  names.take(derTag.set, 'subject');
  if (commonName === undefined || !names.done) throw new DerFault('a subject that is not one common name');
  return commonName;
}
