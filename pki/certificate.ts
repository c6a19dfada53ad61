/** An X.509 certificate, parsed once and strictly (RFC 5280 §4). */
import { createPublicKey, hash, X509Certificate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { errorText } from '../domain/error-text.ts';
import {
  DerFault,
  DerReader,
  derTag,
  readBitString,
  readBitStringOctets,
  readNaturalOctets,
  readObjectIdentifier,
  readOnly,
  readOnlyInside,
  readSmallInteger,
  readTime,
} from './der.ts';
import { PkiError } from './errors.ts';
import { noExtensions, readExtensions } from './extensions.ts';
import type { Extensions } from './extensions.ts';
import { readCommonName } from './name.ts';
import { pemBlocks, pemOf } from './pem.ts';

/** The curves of DESIGN §3, by their RFC names. */
export const curveNames = [
  'P-256',
  'P-384',
  'P-521',
  'brainpoolP256r1',
  'brainpoolP384r1',
  'brainpoolP512r1',
] as const;

export type CurveName = (typeof curveNames)[number];

/** Of a certificate for key encapsulation (RFC 9935), as Node names the type of its key. */
export const kemKeyType = 'ml-kem-768';

/** Immutable. */
export interface Certificate extends Extensions {
  readonly der: Buffer;
  /** Of `der`. */
  readonly sha256: Buffer;
  /** The subject's single common name; undefined unless there is exactly one, as UTF8String or PrintableString. */
  readonly commonName: string | undefined;
  /** Name, DER, as in the certificate. */
  readonly issuerDer: Buffer;
  readonly subjectDer: Buffer;
  readonly issuerCommonName: string | undefined;
  /** The content octets of the INTEGER. */
  readonly serialNumber: Buffer;
  /** Object identifier of the algorithm that the issuer signed with. */
  readonly signatureAlgorithm: string;
  readonly signature: Buffer;
  /** `TBSCertificate`, with tag and length. */
  readonly toBeSigned: Buffer;
  /** Undefined: not an EC key on a named curve of ours. */
  readonly curve: CurveName | undefined;
  /** SEC 1 uncompressed, 0x04 ‖ x ‖ y; undefined when `curve` is. */
  readonly publicPoint: Buffer | undefined;
  readonly publicKey: KeyObject;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly x509: X509Certificate;
}

interface CurveFacts {
  readonly name: CurveName;
  readonly coordinateBytes: number;
}

/** By the object identifier in `ECParameters` (RFC 5480 §2.1.1.1, RFC 5639 §4.1). */
const curves: ReadonlyMap<string, CurveFacts> = new Map([
  ['1.2.840.10045.3.1.7', { name: 'P-256', coordinateBytes: 32 }],
  ['1.3.132.0.34', { name: 'P-384', coordinateBytes: 48 }],
  ['1.3.132.0.35', { name: 'P-521', coordinateBytes: 66 }],
  ['1.3.36.3.3.2.8.1.1.7', { name: 'brainpoolP256r1', coordinateBytes: 32 }],
  ['1.3.36.3.3.2.8.1.1.11', { name: 'brainpoolP384r1', coordinateBytes: 48 }],
  ['1.3.36.3.3.2.8.1.1.13', { name: 'brainpoolP512r1', coordinateBytes: 64 }],
]);
const ecPublicKeyOid = '1.2.840.10045.2.1';
const certificateBytesMax = 64 * 1024;
const serialNumberBytesMax = 20; // RFC 5280 §4.1.2.2
const certificatesPerFileMax = 100_000;

/**
 * Parses one certificate.
 *
 * @param der - `Certificate` (RFC 5280 §4.1), at most 64 KiB; copied, so the caller may reuse its buffer
 * @throws PkiError `pki.malformed_certificate`
 */
export function parseCertificate(der: Uint8Array): Certificate {
  const own = boundedCopy(der);
  return orMalformed(() => {
    const { facts, keyInfo } = readCertificate(own);
    const sha256 = digestOf(own);
    return Object.freeze({ ...facts, sha256, publicKey: readPublicKey(keyInfo), x509: readSame(own) });
  });
}

/**
 * Parses the leaf that a TLS peer presented. OpenSSL has read it and used its key in the handshake, so neither is made
 * again before somebody asks. Of a client nobody does, and the two would cost more than all else that is read of it.
 *
 * @param der - as `parseCertificate`
 * @throws PkiError `pki.malformed_certificate`; so do `publicKey` and `x509` where `parseCertificate` would have
 */
export function parsePresentedLeaf(der: Uint8Array): Certificate {
  const own = boundedCopy(der);
  return orMalformed(() => {
    const { facts, keyInfo } = readCertificate(own);
    return Object.freeze({
      ...facts,
      get sha256() {
        return digestOf(own);
      },
      get publicKey() {
        return orMalformed(() => readPublicKey(keyInfo));
      },
      get x509() {
        return orMalformed(() => readSame(own));
      },
    });
  });
}

function boundedCopy(der: Uint8Array): Buffer {
  if (der.length <= certificateBytesMax) return Buffer.from(der);
  throw new PkiError(
    'pki.malformed_certificate',
    `cannot read a certificate of ${der.length} bytes; at most ${certificateBytesMax}`,
  );
}

function orMalformed<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new PkiError('pki.malformed_certificate', `cannot read a certificate: ${errorText(cause)}`, {
      cause,
    });
  }
}

/**
 * @param pem - any number of `CERTIFICATE` blocks; text around them is ignored (RFC 7468 §5.2)
 * @returns in file order; at least one
 * @throws PkiError `pki.malformed_certificate`, also if there is none
 */
export function certificatesFromPem(pem: string | Uint8Array): Certificate[] {
  const blocks = pemBlocks(pem, 'CERTIFICATE', certificatesPerFileMax);
  if (blocks === undefined) {
    throw new PkiError(
      'pki.malformed_certificate',
      'cannot read certificates: no well-formed PEM CERTIFICATE block',
    );
  }
  return blocks.map(parseCertificate);
}

export function certificatesToPem(certificates: readonly Pick<Certificate, 'der'>[]): string {
  return certificates.map((certificate) => pemOf('CERTIFICATE', certificate.der)).join('');
}

/** What our own reader finds; OpenSSL's part is made of it, and of `keyInfo`, a `SubjectPublicKeyInfo`. */
interface Read {
  readonly facts: Omit<Certificate, 'sha256' | 'publicKey' | 'x509'>;
  readonly keyInfo: Buffer;
}

function readCertificate(der: Buffer): Read {
  const outer = readOnly(der, derTag.sequence, 'certificate').inside();
  const toBeSigned = outer.take(derTag.sequence, 'to-be-signed');
  const tbs = toBeSigned.inside();
  const outerAlgorithm = outer.take(derTag.sequence, 'signature algorithm');
  const signature = readBitStringOctets(outer.take(derTag.bitString, 'signature'), 'signature');
  outer.end('certificate');

  const version = tbs.take(derTag.context0, 'version');
  const versionNumber = readSmallInteger(readOnlyInside(version, derTag.integer, 'version'), 'version');
  if (versionNumber !== 2) throw new DerFault('only version 3 is read');
  const serialNumber = readNaturalOctets(tbs.take(derTag.integer, 'serial number'), 'serial number');
  if (serialNumber.length > serialNumberBytesMax) throw new DerFault('serial number: above 20 octets');
  const algorithm = tbs.take(derTag.sequence, 'inner signature algorithm');
  // RFC 5280 §4.1.1.2: both algorithm identifiers are the same.
  if (!algorithm.der.equals(outerAlgorithm.der)) throw new DerFault('two signature algorithms that differ');
  const issuerDer = tbs.take(derTag.sequence, 'issuer').der;
  const validity = tbs.take(derTag.sequence, 'validity').inside();
  const notBeforeMs = readTime(validity.next(), 'notBefore');
  const notAfterMs = readTime(validity.next(), 'notAfter');
  validity.end('validity');
  const subjectDer = tbs.take(derTag.sequence, 'subject').der;
  const keyInfo = tbs.take(derTag.sequence, 'subject public key');
  tbs.takeOptional(0x81); // issuerUniqueID; RFC 5280 §4.1.2.8: parse and ignore
  tbs.takeOptional(0x82); // subjectUniqueID
  const extensions = tbs.takeOptional(derTag.context3);
  tbs.end('to-be-signed');

  const facts = {
    ...(extensions === undefined ? noExtensions : readExtensions(extensions.content)),
    ...readSubjectPublicKeyInfo(keyInfo.content),
    der,
    commonName: readCommonName(subjectDer),
    issuerDer,
    subjectDer,
    issuerCommonName: readCommonName(issuerDer),
    serialNumber,
    signatureAlgorithm: algorithmOid(algorithm.content),
    signature,
    toBeSigned: toBeSigned.der,
    notBeforeMs,
    notAfterMs,
  };
  return { facts, keyInfo: keyInfo.der };
}

function digestOf(der: Buffer): Buffer {
  return hash('sha256', der, 'buffer');
}

function readPublicKey(keyInfo: Buffer): KeyObject {
  return createPublicKey({ key: keyInfo, format: 'der', type: 'spki' });
}

/**
 * Node's own view of the same bytes. Node looks for PEM before it tries DER, wherever in the bytes that is: a certificate
 * with another one's PEM in an extension would be two certificates, one to be verified and one to be believed.
 */
function readSame(der: Buffer): X509Certificate {
  const x509 = new X509Certificate(der);
  if (!x509.raw.equals(der)) throw new DerFault('OpenSSL reads another certificate out of it');
  return x509;
}

/**
 * `SubjectPublicKeyInfo ::= SEQUENCE { algorithm AlgorithmIdentifier, subjectPublicKey BIT STRING }`
 *
 * @param content - of the SEQUENCE
 * @throws DerFault
 */
export function readSubjectPublicKeyInfo(content: Buffer): Pick<Certificate, 'curve' | 'publicPoint'> {
  const keyInfo = new DerReader(content);
  const algorithm = keyInfo.take(derTag.sequence, 'key algorithm').inside();
  const key = readBitString(keyInfo.take(derTag.bitString, 'public key'), 'public key');
  keyInfo.end('subject public key');
  const none = { curve: undefined, publicPoint: undefined };
  if (readObjectIdentifier(algorithm.next(), 'key algorithm') !== ecPublicKeyOid) return none;
  // RFC 5480 §2.1.1: a named curve; explicit parameters are not for PKIX.
  if (algorithm.nextTag !== derTag.objectIdentifier) return none;
  const curve = curves.get(readObjectIdentifier(algorithm.next(), 'curve'));
  const isUncompressed = key.octets[0] === 0x04 && key.unusedBits === 0;
  if (curve === undefined || !isUncompressed || key.octets.length !== 1 + 2 * curve.coordinateBytes)
    return none;
  return { curve: curve.name, publicPoint: key.octets };
}

function algorithmOid(content: Buffer): string {
  return readObjectIdentifier(
    new DerReader(content).take(derTag.objectIdentifier, 'signature algorithm'),
    'signature algorithm',
  );
}
