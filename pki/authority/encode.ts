/** Encodes and signs certificates and CRLs (RFC 5280 §4.1, §5.1). What may be signed is for `lint.ts` to say. */
import { createHash } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import type { Certificate } from '../certificate.ts';
import { reasonCodes } from '../crl.ts';
import type { CrlReason } from '../crl.ts';
import {
  derBitString,
  derElement,
  derInteger,
  derIntegerOctets,
  derObjectIdentifier,
  derOctetString,
  derSequence,
  derTime,
  derTrue,
  derUtf8String,
} from '../der-writer.ts';
import { DerReader, derTag, readBitString, readOnly } from '../der.ts';
import { extensionOid, keyUsageNames } from '../extensions.ts';
import type { Extension, KeyUsage } from '../extensions.ts';
import { signatureAlgorithmFor } from '../signature.ts';
import { publicKeyOf, signWith } from '../signing-key.ts';
import type { SigningKey } from '../signing-key.ts';

/** What is signed. Everything is spelled out, so that a test can ask for nonsense. */
export interface CertificateTemplate {
  /** Big endian, positive. */
  readonly serialNumber: Uint8Array;
  readonly issuerDer: Uint8Array;
  readonly subjectDer: Uint8Array;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly publicKey: KeyObject;
  readonly extensions: readonly Extension[];
}

export interface RevokedEntry {
  readonly serialNumber: Uint8Array;
  readonly revokedAtMs: number;
  readonly reason: CrlReason;
}

export interface CrlTemplate {
  readonly issuer: Pick<Certificate, 'subjectDer' | 'subjectKeyIdentifier'>;
  readonly number: number;
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
  readonly entries: readonly RevokedEntry[];
}

/** `TBSCertificate`, DER. Of the issuer's key only the curve matters here. */
export function encodeToBeSigned(template: CertificateTemplate, issuerKey: SigningKey): Buffer {
  const { extensions } = template;
  return derSequence(
    derElement(derTag.context0, derInteger(2)), // version 3
    derIntegerOctets(template.serialNumber),
    algorithm(issuerKey),
    template.issuerDer,
    derSequence(derTime(template.notBeforeMs), derTime(template.notAfterMs)),
    template.subjectDer,
    template.publicKey.export({ type: 'spki', format: 'der' }),
    ...(extensions.length === 0 ? [] : [derElement(derTag.context3, encodeExtensions(extensions))]),
  );
}

/** `TBSCertList`, DER, version 2, with a number (RFC 5280 §5.2.3). */
export function encodeCrlToBeSigned(template: CrlTemplate, issuerKey: SigningKey): Buffer {
  const { issuer, entries } = template;
  const extensions = [
    ...(issuer.subjectKeyIdentifier === undefined
      ? []
      : [authorityKeyIdentifier(issuer.subjectKeyIdentifier)]),
    { oid: extensionOid.crlNumber, isCritical: false, value: derInteger(template.number) },
  ];
  return derSequence(
    derInteger(1), // version 2
    algorithm(issuerKey),
    issuer.subjectDer,
    derTime(template.thisUpdateMs),
    derTime(template.nextUpdateMs),
    // RFC 5280 §5.1.2.6: absent, not empty, when nothing is revoked.
    ...(entries.length === 0 ? [] : [derSequence(...entries.map(encodeEntry))]),
    derElement(derTag.context0, encodeExtensions(extensions)),
  );
}

/** A `Certificate` with an empty signature: to lint exactly the bytes that are going to be signed. */
export function encodeUnsigned(toBeSigned: Buffer, issuerKey: SigningKey): Buffer {
  return derSequence(toBeSigned, algorithm(issuerKey), derBitString(Buffer.alloc(0)));
}

/** @returns `Certificate` or `CertificateList`, DER */
export function signToBeSigned(toBeSigned: Buffer, issuerKey: SigningKey): Buffer {
  const signature = signWith(issuerKey, toBeSigned);
  return derSequence(toBeSigned, algorithm(issuerKey), derBitString(signature));
}

/** A Name with one common name, as UTF8String. */
export function encodeName(commonName: string): Buffer {
  const attribute = derSequence(derObjectIdentifier('2.5.4.3'), derUtf8String(commonName));
  return derSequence(derElement(derTag.set, attribute));
}

/** RFC 5280 §4.2.1.2, method 1: SHA-1 of the public key's bits. It is a name, not a measure of security. */
export function keyIdentifierOf(publicKey: KeyObject): Buffer {
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const fields = new DerReader(readOnly(spki, derTag.sequence, 'public key').content);
  fields.take(derTag.sequence, 'key algorithm');
  const { octets } = readBitString(fields.take(derTag.bitString, 'public key'), 'public key');
  return createHash('sha1').update(octets).digest();
}

export function subjectKeyIdentifier(identifier: Uint8Array): Extension {
  return { oid: extensionOid.subjectKeyIdentifier, isCritical: false, value: derOctetString(identifier) };
}

export function authorityKeyIdentifier(identifier: Uint8Array): Extension {
  const value = derSequence(derElement(0x80, identifier));
  return { oid: extensionOid.authorityKeyIdentifier, isCritical: false, value };
}

/** @param pathLength - undefined: no bound */
export function authorityConstraints(pathLength: number | undefined): Extension {
  const bound = pathLength === undefined ? [] : [derInteger(pathLength)];
  return { oid: extensionOid.basicConstraints, isCritical: true, value: derSequence(derTrue(), ...bound) };
}

export function endEntityConstraints(): Extension {
  return { oid: extensionOid.basicConstraints, isCritical: true, value: derSequence() };
}

/** @param usages - at least one */
export function keyUsage(usages: readonly KeyUsage[]): Extension {
  const bits = usages.map((usage) => keyUsageNames.indexOf(usage));
  const last = Math.max(...bits);
  const octets = Buffer.alloc((last >> 3) + 1);
  for (const bit of bits) octets.writeUInt8(octets.readUInt8(bit >> 3) | (0x80 >> (bit & 7)), bit >> 3);
  // X.690 §11.2.2: trailing zero bits of a named bit list are not encoded.
  return { oid: extensionOid.keyUsage, isCritical: true, value: derBitString(octets, 7 - (last & 7)) };
}

/** @param purposes - object identifiers */
export function extendedKeyUsage(purposes: readonly string[]): Extension {
  const value = derSequence(...purposes.map(derObjectIdentifier));
  return { oid: extensionOid.extendedKeyUsage, isCritical: false, value };
}

/** @param addresses - each of 4 or 16 octets (RFC 5280 §4.2.1.6) */
export function alternativeNames(dnsNames: readonly string[], addresses: readonly Buffer[]): Extension {
  const names = [
    ...dnsNames.map((name) => derElement(0x82, Buffer.from(name, 'latin1'))),
    ...addresses.map((address) => derElement(0x87, address)),
  ];
  return { oid: extensionOid.subjectAlternativeName, isCritical: false, value: derSequence(...names) };
}

function algorithm(key: SigningKey): Buffer {
  return derSequence(derObjectIdentifier(signatureAlgorithmFor(publicKeyOf(key)).oid)); // RFC 5758 §3.2: no parameters
}

function encodeExtensions(extensions: readonly Extension[]): Buffer {
  return derSequence(
    ...extensions.map(({ oid, isCritical, value }) =>
      derSequence(derObjectIdentifier(oid), ...(isCritical ? [derTrue()] : []), derOctetString(value)),
    ),
  );
}

function encodeEntry({ serialNumber, revokedAtMs, reason }: RevokedEntry): Buffer {
  const serialAndTime = [derIntegerOctets(serialNumber), derTime(revokedAtMs)];
  // RFC 5280 §5.3.1: `unspecified` is said by saying nothing.
  if (reason === 'unspecified') return derSequence(...serialAndTime);
  const value = derElement(derTag.enumerated, Buffer.of(reasonCodes[reason]));
  return derSequence(
    ...serialAndTime,
    encodeExtensions([{ oid: extensionOid.reasonCode, isCritical: false, value }]),
  );
}
