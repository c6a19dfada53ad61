/** The certificate extensions that Plombe understands (RFC 5280 §4.2); others are named if they are critical. */
import {
  DerFault,
  derTag,
  readBitString,
  readBoolean,
  readObjectIdentifier,
  readOnly,
  readSmallInteger,
} from './der.ts';

export const keyUsageNames = [
  'digitalSignature',
  'nonRepudiation',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
] as const; // RFC 5280 §4.2.1.3, in the order of their bits

export type KeyUsage = (typeof keyUsageNames)[number];

export interface Extensions {
  readonly subjectKeyIdentifier: Buffer | undefined;
  readonly authorityKeyIdentifier: Buffer | undefined;
  /** `cA` of the basic constraints. */
  readonly isAuthority: boolean;
  readonly pathLength: number | undefined;
  readonly keyUsage: ReadonlySet<KeyUsage> | undefined;
  /** Object identifiers. */
  readonly extendedKeyUsage: readonly string[] | undefined;
  /** Object identifiers of critical extensions that a verifier here does not process. */
  readonly unknownCriticalExtensions: readonly string[];
}

export const extensionOid = {
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAlternativeName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  crlNumber: '2.5.29.20',
  reasonCode: '2.5.29.21',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
} as const;

/**
 * An extended key usage of ours: the key serves to be enrolled, and nothing else. The last arc is a UUID
 * (ITU-T X.667 §7), drawn once at random: b71452f4-2f4e-456d-be1e-ae737179d039.
 */
export const enrolmentPurpose = '2.25.243354251669709873754655598730125365305';

export const noExtensions: Extensions = {
  subjectKeyIdentifier: undefined,
  authorityKeyIdentifier: undefined,
  isAuthority: false,
  pathLength: undefined,
  keyUsage: undefined,
  extendedKeyUsage: undefined,
  unknownCriticalExtensions: [],
};

const extensionsMax = 64;
const purposesMax = 64;

export interface Extension {
  readonly oid: string;
  readonly isCritical: boolean;
  readonly value: Buffer;
}

/**
 * @param content - what the `[3]` or `[0]` tag holds: `SEQUENCE OF Extension`
 * @throws DerFault also on two extensions of one kind (RFC 5280 §4.2)
 */
export function readExtensionList(content: Buffer): Map<string, Extension> {
  const list = readOnly(content, derTag.sequence, 'extensions').inside();
  const found = new Map<string, Extension>();
  while (!list.done) {
    const extension = list.take(derTag.sequence, 'extension').inside();
    const oid = readObjectIdentifier(extension.take(derTag.objectIdentifier, 'extension'), 'extension');
    const critical = extension.takeOptional(derTag.boolean);
    const { content: value } = extension.take(derTag.octetString, `extension ${oid}`);
    extension.end(`extension ${oid}`);
    const isCritical = critical !== undefined && readBoolean(critical, 'critical');
    // X.690 §11.5: a DEFAULT value is not encoded.
    if (critical !== undefined && !isCritical) throw new DerFault(`extension ${oid}: an encoded default`);
    if (found.has(oid)) throw new DerFault(`extension ${oid}: twice`);
    if (found.size === extensionsMax) throw new DerFault(`above ${extensionsMax} extensions`);
    found.set(oid, { oid, isCritical, value });
  }
  return found;
}

/** @param content - what the certificate's `[3]` holds */
export function readExtensions(content: Buffer): Extensions {
  const list = readExtensionList(content);
  const valueOf = (oid: string): Buffer | undefined => list.get(oid)?.value;
  const subjectKeyIdentifier = valueOf(extensionOid.subjectKeyIdentifier);
  const authorityKeyIdentifier = valueOf(extensionOid.authorityKeyIdentifier);
  const keyUsage = valueOf(extensionOid.keyUsage);
  const extendedKeyUsage = valueOf(extensionOid.extendedKeyUsage);
  return {
    ...readBasicConstraints(valueOf(extensionOid.basicConstraints)),
    subjectKeyIdentifier:
      subjectKeyIdentifier &&
      readOnly(subjectKeyIdentifier, derTag.octetString, 'subject key identifier').content,
    authorityKeyIdentifier: authorityKeyIdentifier && readAuthorityKeyIdentifier(authorityKeyIdentifier),
    keyUsage: keyUsage && readKeyUsage(keyUsage),
    extendedKeyUsage: extendedKeyUsage && readExtendedKeyUsage(extendedKeyUsage),
    unknownCriticalExtensions: [...list.values()]
      .filter(({ oid, isCritical }) => isCritical && !processed.has(oid))
      .map(({ oid }) => oid),
  };
}

/** The alternative name is processed by TLS itself when it compares host names; the rest is processed here. */
const processed: ReadonlySet<string> = new Set([
  extensionOid.subjectKeyIdentifier,
  extensionOid.keyUsage,
  extensionOid.subjectAlternativeName,
  extensionOid.basicConstraints,
  extensionOid.authorityKeyIdentifier,
  extensionOid.extendedKeyUsage,
]);

/** `AuthorityKeyIdentifier ::= SEQUENCE { keyIdentifier [0] IMPLICIT OCTET STRING OPTIONAL, … }` */
export function readAuthorityKeyIdentifier(value: Buffer): Buffer | undefined {
  const fields = readOnly(value, derTag.sequence, 'authority key identifier').inside();
  return fields.takeOptional(0x80)?.content;
}

/** `BasicConstraints ::= SEQUENCE { cA BOOLEAN DEFAULT FALSE, pathLenConstraint INTEGER OPTIONAL }` */
function readBasicConstraints(value: Buffer | undefined): Pick<Extensions, 'isAuthority' | 'pathLength'> {
  if (value === undefined) return { isAuthority: false, pathLength: undefined };
  const fields = readOnly(value, derTag.sequence, 'basic constraints').inside();
  const authority = fields.takeOptional(derTag.boolean);
  const length = fields.takeOptional(derTag.integer);
  fields.end('basic constraints');
  const isAuthority = authority !== undefined && readBoolean(authority, 'cA');
  if (authority !== undefined && !isAuthority) throw new DerFault('cA: an encoded default');
  // RFC 5280 §4.2.1.9: a length without cA means nothing and must not be there.
  if (length !== undefined && !isAuthority) throw new DerFault('a path length without cA');
  return { isAuthority, pathLength: length && readSmallInteger(length, 'path length') };
}

function readKeyUsage(value: Buffer): ReadonlySet<KeyUsage> {
  const { octets } = readBitString(readOnly(value, derTag.bitString, 'key usage'), 'key usage');
  return new Set(keyUsageNames.filter((_, bit) => ((octets[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0));
}

function readExtendedKeyUsage(value: Buffer): readonly string[] {
  const list = readOnly(value, derTag.sequence, 'extended key usage').inside();
  const purposes: string[] = [];
  do {
    if (purposes.length === purposesMax) throw new DerFault(`above ${purposesMax} extended key usages`);
    const purpose = list.take(derTag.objectIdentifier, 'extended key usage');
    purposes.push(readObjectIdentifier(purpose, 'extended key usage'));
  } while (!list.done);
  return purposes;
}
