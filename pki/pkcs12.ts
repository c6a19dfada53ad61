/**
 * A key and its certificates in one file (PKCS #12, RFC 7292), as browsers, Java and OpenSSL take it.
 *
 *     PFX ::= SEQUENCE { version INTEGER {v3(3)}, authSafe ContentInfo, macData MacData OPTIONAL }
 *
 * Written with today's algorithms. Read with what OpenSSL 3, Java and NSS write by default; RC2, Triple DES and SHA-1 are
 * refused. The file may be hostile: sizes, counts and iterations have bounds.
 */
import { createPrivateKey, createPublicKey, randomBytes } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { derOf } from './ber.ts';
import { parseCertificate } from './certificate.ts';
import type { Certificate } from './certificate.ts';
import {
  derElement,
  derInteger,
  derNull,
  derObjectIdentifier,
  derOctetString,
  derSequence,
} from './der-writer.ts';
import { DerFault, derTag, readObjectIdentifier, readOnly, readOnlyInside, readSmallInteger } from './der.ts';
import type { DerElement, DerReader } from './der.ts';
import { PkiError } from './errors.ts';
import { decryptByPassphrase, encryptByPassphrase, iterations, requireIterations } from './pbes2.ts';
import type { Encrypted } from './pbes2.ts';
import { isMacOf, macAlgorithms, macOf } from './pkcs12-mac.ts';
import type { MacParameters } from './pkcs12-mac.ts';
import { encryptPrivateKey } from './private-key.ts';

/** One key and what certifies it. */
export interface KeyBundle {
  readonly key: KeyObject;
  /** Leaf first, each followed by its issuer; a root may be at its end. */
  readonly chain: readonly Certificate[];
}

const oid = {
  data: '1.2.840.113549.1.7.1',
  encryptedData: '1.2.840.113549.1.7.6',
  keyBag: '1.2.840.113549.1.12.10.1.1',
  shroudedKeyBag: '1.2.840.113549.1.12.10.1.2',
  certificateBag: '1.2.840.113549.1.12.10.1.3',
  x509Certificate: '1.2.840.113549.1.9.22.1',
  friendlyName: '1.2.840.113549.1.9.20',
  localKeyId: '1.2.840.113549.1.9.21',
  sha256: '2.16.840.1.101.3.4.2.1',
} as const;
const version = 3;
const explicit0 = 0xa0;
const implicit0 = 0x80;
const bmpString = 0x1e;
const macSaltBytes = 16;

const fileBytesMax = 1024 * 1024;
const contentsMax = 16;
const bagsMax = 100;
const macSaltBytesMax = 1024;

/** @param passphrase - not empty; @returns DER */
export function writePkcs12({ key, chain }: KeyBundle, passphrase: string): Buffer {
  const [leaf] = chain;
  if (leaf === undefined) throw new RangeError('a key without a certificate');
  const attributes = derElement(
    derTag.set,
    attribute(oid.friendlyName, derElement(bmpString, bmp(leaf.commonName ?? 'key'))),
    attribute(oid.localKeyId, derOctetString(leaf.sha256)), // tells which certificate is the key's
  );
  const certificates = chain.map((certificate) => {
    const value = derSequence(
      derObjectIdentifier(oid.x509Certificate),
      derElement(explicit0, derOctetString(certificate.der)),
    );
    return bag(oid.certificateBag, value, certificate === leaf ? [attributes] : []);
  });
  const keys = bag(oid.shroudedKeyBag, encryptPrivateKey(key, passphrase), [attributes]);
  const safe = derSequence(
    encryptedContent(encryptByPassphrase(derSequence(...certificates), passphrase)),
    dataContent(derSequence(keys)),
  );
  return derSequence(derInteger(version), dataContent(safe), macData(safe, passphrase));
}

/**
 * @param passphrase - the empty one where the file has none
 * @throws PkiError `pki.malformed_pkcs12`, `pki.wrong_passphrase`, `pki.unsupported_algorithm`, and what its certificates give
 */
export function readPkcs12(file: Uint8Array, passphrase: string): KeyBundle {
  if (file.length > fileBytesMax) throw malformed(`a file of ${file.length} bytes; at most ${fileBytesMax}`);
  try {
    return bundleOf(readPfx(file, passphrase));
  } catch (cause) {
    if (cause instanceof DerFault) throw malformed(cause.message, cause);
    throw cause;
  }
}

interface Content {
  readonly keys: readonly KeyObject[];
  readonly certificates: readonly Certificate[];
}

function readPfx(file: Uint8Array, passphrase: string): Content[] {
  const pfx = readOnly(derOf(file), derTag.sequence, 'PFX').inside();
  if (readSmallInteger(pfx.take(derTag.integer, 'version'), 'version') !== version) {
    throw new DerFault('only version 3 is read');
  }
  const { type, content } = readContentInfo(pfx.take(derTag.sequence, 'contents'));
  if (type !== oid.data) throw new DerFault('signed by a key in place of a passphrase');
  const safe = readOnly(content.der, derTag.octetString, 'contents').content;
  const mac = pfx.takeOptional(derTag.sequence);
  pfx.end('PFX');
  if (mac === undefined) throw new DerFault('nothing protects its integrity');
  requireMac(mac.inside(), safe, passphrase);
  const contents = readOnly(derOf(safe), derTag.sequence, 'authenticated safe').inside();
  const read: Content[] = [];
  while (!contents.done) {
    if (read.length === contentsMax) throw new DerFault(`more than ${contentsMax} contents`);
    read.push(readSafe(contents.take(derTag.sequence, 'content'), passphrase));
  }
  return read;
}

function readSafe(found: DerElement, passphrase: string): Content {
  const { type, content } = readContentInfo(found);
  if (type === oid.data) {
    return readBags(readOnly(content.der, derTag.octetString, 'data').content, passphrase);
  }
  if (type !== oid.encryptedData) throw new DerFault(`content of type ${type}`);
  // EncryptedData ::= SEQUENCE { version, SEQUENCE { contentType, algorithm, [0] IMPLICIT OCTET STRING }} (RFC 5652 §8)
  const data = readOnly(content.der, derTag.sequence, 'encrypted data').inside();
  data.take(derTag.integer, 'version');
  const info = data.take(derTag.sequence, 'encrypted content').inside();
  info.take(derTag.objectIdentifier, 'content type');
  const algorithm = info.take(derTag.sequence, 'encryption algorithm').der;
  const ciphertext = implicitOctets(info.next());
  return readBags(opened({ algorithm, ciphertext }, passphrase), passphrase);
}

function readBags(der: Buffer, passphrase: string): Content {
  const bags = readOnly(derOf(der), derTag.sequence, 'safe contents').inside();
  const keys: KeyObject[] = [];
  const certificates: Certificate[] = [];
  for (let count = 0; !bags.done; count++) {
    if (count === bagsMax) throw new DerFault(`more than ${bagsMax} bags`);
    // SafeBag ::= SEQUENCE { bagId, bagValue [0] EXPLICIT, bagAttributes SET OPTIONAL } (RFC 7292 §4.2)
    const fields = bags.take(derTag.sequence, 'bag').inside();
    const type = readObjectIdentifier(fields.next(), 'bag type');
    const value = fields.take(explicit0, 'bag').content;
    if (type === oid.keyBag) keys.push(privateKeyOf(value));
    else if (type === oid.shroudedKeyBag) keys.push(privateKeyOf(unshrouded(value, passphrase)));
    else if (type === oid.certificateBag) certificates.push(certificateIn(value));
    else throw new DerFault(`a bag of type ${type}`);
  }
  return { keys, certificates };
}

function unshrouded(value: Buffer, passphrase: string): Buffer {
  const fields = readOnly(value, derTag.sequence, 'encrypted key').inside();
  const algorithm = fields.take(derTag.sequence, 'encryption algorithm').der;
  const ciphertext = fields.take(derTag.octetString, 'encrypted key').content;
  return opened({ algorithm, ciphertext }, passphrase);
}

/** The MAC has shown that the passphrase is right, so what does not open is damaged. */
function opened(encrypted: Encrypted, passphrase: string): Buffer {
  const plaintext = decryptByPassphrase(encrypted, passphrase);
  if (plaintext === undefined) throw new DerFault('a part that does not decrypt');
  return plaintext;
}

function certificateIn(value: Buffer): Certificate {
  const fields = readOnly(value, derTag.sequence, 'certificate bag').inside();
  const type = readObjectIdentifier(fields.next(), 'certificate type');
  if (type !== oid.x509Certificate) throw new DerFault(`a certificate of type ${type}`);
  return parseCertificate(
    readOnlyInside(fields.take(explicit0, 'certificate'), derTag.octetString, 'certificate').content,
  );
}

function privateKeyOf(der: Buffer): KeyObject {
  try {
    return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  } catch (cause) {
    throw malformed('a key that is no PKCS #8', cause);
  }
}

/** `MacData ::= SEQUENCE { mac DigestInfo, macSalt OCTET STRING, iterations INTEGER DEFAULT 1 }` */
function requireMac(fields: DerReader, safe: Buffer, passphrase: string): void {
  const info = fields.take(derTag.sequence, 'MAC').inside();
  const name = readHash(info.take(derTag.sequence, 'MAC algorithm').inside());
  const mac = info.take(derTag.octetString, 'MAC').content;
  info.end('MAC');
  const salt = fields.take(derTag.octetString, 'MAC salt').content;
  const count = fields.takeOptional(derTag.integer);
  fields.end('MAC');
  const algorithm = macAlgorithms.get(name);
  if (algorithm === undefined) {
    throw new PkiError(
      'pki.unsupported_algorithm',
      `cannot read a PKCS #12 file: its integrity is by ${name === '1.3.14.3.2.26' ? 'SHA-1' : name}, which is not supported: write it again with SHA-256`,
    );
  }
  if (salt.length > macSaltBytesMax) throw new DerFault('MAC salt: too long');
  const parameters: MacParameters = {
    algorithm,
    salt,
    iterations: count === undefined ? 1 : readSmallInteger(count, 'MAC iterations'),
  };
  requireIterations(parameters.iterations);
  if (!isMacOf(mac, safe, passphrase, parameters)) {
    throw new PkiError(
      'pki.wrong_passphrase',
      'cannot read a PKCS #12 file: the passphrase does not open it',
    );
  }
}

/** Parameters are NULL or absent (RFC 8017 §A.2.4). */
function readHash(algorithm: DerReader): string {
  const name = readObjectIdentifier(algorithm.next(), 'MAC algorithm');
  if (algorithm.takeOptional(derTag.null)?.content.length) throw new DerFault('a NULL that is not empty');
  algorithm.end('MAC algorithm');
  return name;
}

/** Puts the certificates in order; what does not belong to the key's path is left out. */
function bundleOf(contents: readonly Content[]): KeyBundle {
  const keys = contents.flatMap((content) => content.keys);
  const certificates = contents.flatMap((content) => content.certificates);
  const [key] = keys;
  if (key === undefined || keys.length > 1) throw malformed(`${keys.length} keys; exactly one is read`);
  const publicKey = createPublicKey(key);
  const leaf = certificates.find((certificate) => publicKey.equals(certificate.publicKey));
  if (leaf === undefined) throw malformed('no certificate of its key');
  const chain = [leaf];
  for (let last = leaf; chain.length <= certificates.length;) {
    const { issuerDer } = last;
    const issuer = certificates.find(
      (candidate) =>
        candidate.isAuthority && candidate.subjectDer.equals(issuerDer) && !chain.includes(candidate),
    );
    if (issuer === undefined) break;
    chain.push(issuer);
    last = issuer;
  }
  return { key, chain };
}

function readContentInfo(found: DerElement): { readonly type: string; readonly content: DerElement } {
  const fields = found.inside();
  const type = readObjectIdentifier(fields.take(derTag.objectIdentifier, 'content type'), 'content type');
  const content = fields.take(explicit0, 'content').inside().next();
  return { type, content };
}

/** In one piece, or in segments, as NSS writes it. */
function implicitOctets(found: DerElement): Buffer {
  if (found.tag === implicit0) return found.content;
  if (found.tag !== explicit0) throw new DerFault('encrypted content: missing');
  const segments = found.inside();
  const octets: Buffer[] = [];
  while (!segments.done) octets.push(segments.take(derTag.octetString, 'encrypted content').content);
  return Buffer.concat(octets);
}

function macData(safe: Buffer, passphrase: string): Buffer {
  const salt = randomBytes(macSaltBytes);
  const algorithm = macAlgorithms.get(oid.sha256);
  if (algorithm === undefined) throw new RangeError('SHA-256 is in the table');
  const mac = macOf(safe, passphrase, { algorithm, salt, iterations });
  return derSequence(
    derSequence(derSequence(derObjectIdentifier(oid.sha256), derNull()), derOctetString(mac)),
    derOctetString(salt),
    derInteger(iterations),
  );
}

function dataContent(content: Buffer): Buffer {
  return derSequence(derObjectIdentifier(oid.data), derElement(explicit0, derOctetString(content)));
}

function encryptedContent({ algorithm, ciphertext }: Encrypted): Buffer {
  const info = derSequence(derObjectIdentifier(oid.data), algorithm, derElement(implicit0, ciphertext));
  const data = derSequence(derInteger(0), info);
  return derSequence(derObjectIdentifier(oid.encryptedData), derElement(explicit0, data));
}

function bag(type: string, value: Buffer, attributes: readonly Buffer[]): Buffer {
  return derSequence(derObjectIdentifier(type), derElement(explicit0, value), ...attributes);
}

function attribute(type: string, value: Buffer): Buffer {
  return derSequence(derObjectIdentifier(type), derElement(derTag.set, value));
}

function bmp(text: string): Buffer {
  return Buffer.from(text, 'utf16le').swap16();
}

function malformed(what: string, cause?: unknown): PkiError {
  return new PkiError('pki.malformed_pkcs12', `cannot read a PKCS #12 file: ${what}`, { cause });
}
