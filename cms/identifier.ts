/**
 * How a message names a certificate.
 *
 *     IssuerAndSerialNumber ::= SEQUENCE { issuer Name, serialNumber INTEGER }      (RFC 5652 §10.2.4)
 *     SubjectKeyIdentifier  ::= OCTET STRING
 */
import type { Certificate } from '../pki/certificate.ts';
import { DerFault, derTag, readNaturalOctets } from '../pki/der.ts';
import type { DerElement } from '../pki/der.ts';
import { derElement, derSequence } from '../pki/der-writer.ts';
import { CmsError } from './errors.ts';
import { keyIdentifierBytesMax } from './limits.ts';

export type CertificateIdentifier =
  | { readonly kind: 'keyIdentifier'; readonly keyIdentifier: Buffer }
  | { readonly kind: 'issuerAndSerial'; readonly issuerDer: Buffer; readonly serialNumber: Buffer };

export type IdentifierKind = CertificateIdentifier['kind'];

const keyIdentifierTag = 0x80;
const serialNumberBytesMax = 20; // RFC 5280 §4.1.2.2

/** @param element - whose content is the SEQUENCE's */
export function readIssuerAndSerial(element: DerElement, what: string): CertificateIdentifier {
  const fields = element.inside();
  const issuerDer = fields.take(derTag.sequence, `${what} issuer`).der;
  const serialNumber = readNaturalOctets(fields.take(derTag.integer, `${what} serial number`), what);
  fields.end(what);
  if (serialNumber.length > serialNumberBytesMax) throw new DerFault(`${what}: too long a serial number`);
  return { kind: 'issuerAndSerial', issuerDer, serialNumber };
}

/** @param choice - `CHOICE { issuerAndSerialNumber …, subjectKeyIdentifier [0] … }`, as recipients and signers have it */
export function readIdentifier(choice: DerElement, what: string): CertificateIdentifier {
  if (choice.tag === derTag.sequence) return readIssuerAndSerial(choice, what);
  if (choice.tag === keyIdentifierTag) return readKeyIdentifier(choice.content, what);
  throw new DerFault(`${what}: neither of the two forms of identifier`);
}

/** @returns the CHOICE of `readIdentifier` */
export function writeIdentifier(identifier: CertificateIdentifier): Buffer {
  return identifier.kind === 'keyIdentifier'
    ? derElement(keyIdentifierTag, identifier.keyIdentifier)
    : writeIssuerAndSerial(identifier.issuerDer, identifier.serialNumber);
}

export function writeIssuerAndSerial(issuerDer: Buffer, serialNumber: Buffer): Buffer {
  return derSequence(issuerDer, derElement(derTag.integer, serialNumber));
}

/** @param octets - the content of the OCTET STRING */
export function readKeyIdentifier(octets: Buffer, what: string): CertificateIdentifier {
  if (octets.length === 0 || octets.length > keyIdentifierBytesMax) {
    throw new DerFault(`${what}: a key identifier of ${octets.length} octets`);
  }
  return { kind: 'keyIdentifier', keyIdentifier: octets };
}

export function identifies(identifier: CertificateIdentifier, certificate: Certificate): boolean {
  if (identifier.kind === 'keyIdentifier') {
    return certificate.subjectKeyIdentifier?.equals(identifier.keyIdentifier) === true;
  }
  return (
    certificate.issuerDer.equals(identifier.issuerDer) &&
    certificate.serialNumber.equals(identifier.serialNumber)
  );
}

/** @throws CmsError `cms.unsupported` as `keyIdentifierOf` */
export function identifierOf(certificate: Certificate, kind: IdentifierKind): CertificateIdentifier {
  if (kind === 'keyIdentifier') return { kind, keyIdentifier: keyIdentifierOf(certificate) };
  return { kind, issuerDer: certificate.issuerDer, serialNumber: certificate.serialNumber };
}

/** @throws CmsError `cms.unsupported` if the certificate has none */
export function keyIdentifierOf(certificate: Certificate): Buffer {
  const { subjectKeyIdentifier, commonName } = certificate;
  if (subjectKeyIdentifier === undefined) {
    throw new CmsError('cms.unsupported', `the certificate of ${commonName} has no subject key identifier`);
  }
  return subjectKeyIdentifier;
}
