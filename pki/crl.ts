/** A certificate revocation list, parsed once and strictly (RFC 5280 §5). */
import { createHash } from 'node:crypto';
import { errorText } from '../domain/error-text.ts';
import type { Certificate } from './certificate.ts';
import {
  DerFault,
  DerReader,
  derTag,
  readBitStringOctets,
  readNaturalOctets,
  readObjectIdentifier,
  readOnly,
  readSmallInteger,
  readTime,
} from './der.ts';
import { PkiError } from './errors.ts';
import { extensionOid, readAuthorityKeyIdentifier, readExtensionList } from './extensions.ts';
import { readCommonName } from './name.ts';
import { pemBlocks, pemOf } from './pem.ts';
import { ecdsaSignatures } from './signature.ts';
import type { SignatureRules } from './signature.ts';

/** RFC 5280 §5.3.1, without those that take a revocation back (`removeFromCRL`, `certificateHold`). */
export const reasonCodes = {
  unspecified: 0,
  keyCompromise: 1,
  cACompromise: 2,
  affiliationChanged: 3,
  superseded: 4,
  cessationOfOperation: 5,
  privilegeWithdrawn: 9,
  aACompromise: 10,
} as const;

export type CrlReason = keyof typeof reasonCodes;

export interface Revocation {
  readonly revokedAtMs: number;
  readonly reason: CrlReason;
}

/** Immutable. */
export interface Crl {
  readonly der: Buffer;
  readonly sha256: Buffer;
  /** Name, DER. */
  readonly issuerDer: Buffer;
  readonly issuerCommonName: string | undefined;
  readonly authorityKeyIdentifier: Buffer | undefined;
  /** RFC 5280 §5.2.3; a newer list has a larger one. */
  readonly number: number;
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
  /** By the serial number's content octets in hexadecimal. */
  readonly revoked: ReadonlyMap<string, Revocation>;
  readonly signatureAlgorithm: string;
  readonly signature: Buffer;
  readonly toBeSigned: Buffer;
}

/** A million entries of some 40 bytes. */
const crlBytesMax = 48 * 1024 * 1024;
const entriesMax = 1_000_000;
const crlsPerFileMax = 100_000;
const reasonsByCode: ReadonlyMap<number, CrlReason> = new Map(
  Object.entries(reasonCodes).map(([reason, code]) => [code, reason as CrlReason]),
);

/**
 * RFC 5280 §5.2.4, §5.2.5, §5.3.3: the delta CRL indicator, the issuing distribution point and the certificate issuer are
 * critical. Where a list says otherwise it would pass for one that is whole, and of this CA alone.
 */
const alwaysCritical: ReadonlySet<string> = new Set(['2.5.29.27', '2.5.29.28', '2.5.29.29']);

/**
 * @param der - `CertificateList` (RFC 5280 §5.1), version 2, with a number and a next update; copied
 * @throws PkiError `pki.malformed_crl`, or `pki.unknown_critical_extension` for a delta or partial list
 */
export function parseCrl(der: Uint8Array): Crl {
  if (der.length > crlBytesMax) {
    throw new PkiError(
      'pki.malformed_crl',
      `cannot read a CRL of ${der.length} bytes; at most ${crlBytesMax}`,
    );
  }
  try {
    return readCrl(Buffer.from(der));
  } catch (cause) {
    if (cause instanceof PkiError) throw cause;
    throw new PkiError('pki.malformed_crl', `cannot read a CRL: ${errorText(cause)}`, { cause });
  }
}

/**
 * @param pem - any number of `X509 CRL` blocks; other blocks and text are ignored
 * @returns in file order; at least one
 * @throws PkiError `pki.malformed_crl`, also if there is none
 */
export function crlsFromPem(pem: string | Uint8Array): Crl[] {
  const blocks = pemBlocks(pem, 'X509 CRL', crlsPerFileMax);
  if (blocks === undefined) {
    throw new PkiError('pki.malformed_crl', 'cannot read CRLs: no well-formed PEM X509 CRL block');
  }
  return blocks.map(parseCrl);
}

export function crlToPem(crl: Pick<Crl, 'der'>): string {
  return pemOf('X509 CRL', crl.der);
}

/**
 * Whether a CA issued that list.
 *
 * @throws PkiError `pki.untrusted` (another CA's list), `pki.key_usage`, `pki.unsupported_algorithm`, `pki.bad_signature`
 */
export function requireIssuedBy(
  crl: Crl,
  issuer: Certificate,
  signatures: SignatureRules = ecdsaSignatures,
): void {
  const name = crl.issuerCommonName ?? 'a CA without a common name';
  if (!crl.issuerDer.equals(issuer.subjectDer)) {
    throw new PkiError('pki.untrusted', `cannot accept the CRL of ${name}: issued by another CA`);
  }
  // RFC 5280 §6.3.3 (f): a key usage that is there must have cRLSign; ours must be there.
  if (!issuer.isAuthority || issuer.keyUsage?.has('cRLSign') !== true) {
    throw new PkiError('pki.key_usage', `cannot accept the CRL of ${name}: its issuer may not sign CRLs`);
  }
  if (!signatures.isSupported(crl.signatureAlgorithm, issuer)) {
    throw new PkiError(
      'pki.unsupported_algorithm',
      `cannot accept the CRL of ${name}: signed with algorithm ${crl.signatureAlgorithm}`,
    );
  }
  if (!signatures.isSignedBy(crl, issuer)) {
    throw new PkiError(
      'pki.bad_signature',
      `cannot accept the CRL of ${name}: its signature does not verify`,
    );
  }
}

function readCrl(der: Buffer): Crl {
  const outer = readOnly(der, derTag.sequence, 'CRL').inside();
  const toBeSigned = outer.take(derTag.sequence, 'to-be-signed');
  const outerAlgorithm = outer.take(derTag.sequence, 'signature algorithm');
  const signature = readBitStringOctets(outer.take(derTag.bitString, 'signature'), 'signature');
  outer.end('CRL');

  const tbs = toBeSigned.inside();
  if (readSmallInteger(tbs.take(derTag.integer, 'version'), 'version') !== 1) {
    throw new DerFault('only version 2 is read');
  }
  const algorithm = tbs.take(derTag.sequence, 'inner signature algorithm');
  if (!algorithm.der.equals(outerAlgorithm.der)) throw new DerFault('two signature algorithms that differ');
  const issuerDer = tbs.take(derTag.sequence, 'issuer').der;
  const thisUpdateMs = readTime(tbs.next(), 'thisUpdate');
  const nextUpdateMs = readTime(tbs.next(), 'nextUpdate'); // RFC 5280 §5.1.2.5: must be there
  const entries = tbs.takeOptional(derTag.sequence);
  const extensions = readListExtensions(tbs.take(derTag.context0, 'extensions').content);
  tbs.end('to-be-signed');
  return Object.freeze({
    der,
    sha256: createHash('sha256').update(der).digest(),
    issuerDer,
    issuerCommonName: readCommonName(issuerDer),
    ...extensions,
    thisUpdateMs,
    nextUpdateMs,
    revoked: entries === undefined ? new Map<string, Revocation>() : readEntries(entries.content),
    signatureAlgorithm: readObjectIdentifier(algorithm.inside().next(), 'signature algorithm'),
    signature,
    toBeSigned: toBeSigned.der,
  });
}

function readListExtensions(content: Buffer): Pick<Crl, 'authorityKeyIdentifier' | 'number'> {
  const list = readExtensionList(content);
  for (const { oid, isCritical } of list.values()) {
    // RFC 5280 §5.2: a list whose critical extension is not understood (a delta, a partial list) must not be used.
    if (isCritical || alwaysCritical.has(oid)) {
      throw new PkiError('pki.unknown_critical_extension', `cannot use a CRL with critical extension ${oid}`);
    }
  }
  const number = list.get(extensionOid.crlNumber);
  const key = list.get(extensionOid.authorityKeyIdentifier);
  if (number === undefined) throw new DerFault('no CRL number');
  return {
    number: readSmallInteger(readOnly(number.value, derTag.integer, 'CRL number'), 'CRL number'),
    authorityKeyIdentifier: key && readAuthorityKeyIdentifier(key.value),
  };
}

/** `SEQUENCE OF SEQUENCE { userCertificate INTEGER, revocationDate Time, crlEntryExtensions OPTIONAL }` */
function readEntries(content: Buffer): ReadonlyMap<string, Revocation> {
  const list = new DerReader(content);
  const revoked = new Map<string, Revocation>();
  do {
    if (revoked.size === entriesMax) throw new DerFault(`above ${entriesMax} entries`);
    const entry = list.take(derTag.sequence, 'entry').inside();
    const serial = readNaturalOctets(entry.take(derTag.integer, 'serial number'), 'serial number').toString(
      'hex',
    );
    const revokedAtMs = readTime(entry.next(), 'revocation date');
    const reason = entry.done
      ? 'unspecified'
      : readReason(entry.take(derTag.sequence, 'entry extensions').der);
    entry.end('entry');
    if (revoked.has(serial)) throw new DerFault('one serial number twice');
    revoked.set(serial, { revokedAtMs, reason });
  } while (!list.done);
  return revoked;
}

function readReason(content: Buffer): CrlReason {
  const list = readExtensionList(content);
  for (const { oid, isCritical } of list.values()) {
    // RFC 5280 §5.3: such as certificateIssuer, which moves the entry to another CA.
    if (isCritical || alwaysCritical.has(oid)) {
      throw new PkiError(
        'pki.unknown_critical_extension',
        `cannot use a CRL entry with critical extension ${oid}`,
      );
    }
  }
  const reason = list.get(extensionOid.reasonCode);
  if (reason === undefined) return 'unspecified';
  const { content: octets } = readOnly(reason.value, derTag.enumerated, 'reason');
  const code = reasonsByCode.get(octets.length === 1 ? octets.readUInt8() : -1);
  if (code === undefined) throw new DerFault('a reason that takes a revocation back, or none of RFC 5280');
  return code;
}
