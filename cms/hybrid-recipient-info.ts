/**
 * A recipient with an ML-KEM-768 key besides its ENC key: KEMRecipientInfo (RFC 9629 §3), whose key-encryption key takes
 * both secrets (see hybrid.ts).
 *
 *     RecipientInfo ::= CHOICE { …, ori [4] OtherRecipientInfo }
 *     OtherRecipientInfo ::= SEQUENCE { oriType OBJECT IDENTIFIER, oriValue ANY DEFINED BY oriType }
 *     KEMRecipientInfo ::= SEQUENCE {
 *       version CMSVersion,  -- 0
 *       rid RecipientIdentifier,  -- of the ML-KEM certificate
 *       kem AlgorithmIdentifier,  -- ours, so that nobody takes this for ML-KEM alone
 *       kemct OCTET STRING (SIZE (1088)),
 *       kdf AlgorithmIdentifier,  -- id-alg-hkdf-with-sha256 (RFC 8619 §2)
 *       kekLength INTEGER (1..65535),
 *       ukm [0] EXPLICIT OCTET STRING,  -- a HybridKeyingMaterial
 *       wrap AlgorithmIdentifier,
 *       encryptedKey OCTET STRING }
 *     HybridKeyingMaterial ::= SEQUENCE {
 *       originator [0] EXPLICIT OriginatorIdentifierOrKey,  -- its ENC key
 *       recipient KeyAgreeRecipientIdentifier,  -- of its ENC certificate
 *       ciphertext OCTET STRING (SIZE (32)),  -- SHA-256 of kemct
 *       material MQVuserKeyingMaterial }  -- without addedukm
 */
import { hash } from 'node:crypto';
import { DerFault, derTag, readOnly, readSmallInteger } from '../pki/der.ts';
import type { DerElement } from '../pki/der.ts';
import { derElement, derInteger, derOctetString, derSequence } from '../pki/der-writer.ts';
import { derAlgorithm, derExplicit, derOid } from './der-writer.ts';
import { CmsError } from './errors.ts';
import { readIdentifier } from './identifier.ts';
import type { CertificateIdentifier } from './identifier.ts';
import { hybridMaterialBytesMax } from './limits.ts';
import { oids } from './oid.ts';
import { readMqvMaterial, readOriginator, readRecipient, writeMqvMaterial } from './recipient-info.ts';
import type { OriginatorIdentifier, OriginatorPublicKey } from './recipient-info.ts';

export interface HybridRecipientInfo {
  readonly originator: OriginatorIdentifier;
  /** By its ENC certificate. */
  readonly recipient: CertificateIdentifier;
  /** By its ML-KEM certificate. */
  readonly kemRecipient: CertificateIdentifier;
  readonly ephemeral: OriginatorPublicKey;
  readonly ciphertext: Buffer;
  /** Read by `algorithms.ts`, when this is found to be for us. */
  readonly keyWrap: DerElement;
  readonly kekBytes: number;
  /** What the key-encryption key is derived from besides the two secrets. */
  readonly otherInfo: Buffer;
  readonly wrapped: Buffer;
}

/** What a sender has encoded of it, except for what is wrapped. */
export interface WrittenHybrid {
  /** By `writeOriginator`. */
  readonly originator: Buffer;
  /** By `writeRecipient`. */
  readonly recipient: Buffer;
  /** By `writeIdentifier`. */
  readonly kemRecipient: Buffer;
  /** SEC 1 uncompressed. */
  readonly ephemeralPoint: Buffer;
  readonly ciphertext: Buffer;
  readonly keyWrap: Buffer;
  readonly kekBytes: number;
}

/** The tag of `ori` within a RecipientInfo. */
export const otherRecipientTag = 0xa4;
/** FIPS 203 table 3. */
export const kemCiphertextBytes = 1088;
const version = 0;
const explicit0 = 0xa0;

/** @returns undefined if the OtherRecipientInfo is another than ours, which CMS allows to pass over (RFC 5652 §6.2.5) */
export function readHybridRecipient(info: DerElement): HybridRecipientInfo | undefined {
  const what = 'hybrid recipient';
  const other = info.inside();
  const type = other.take(derTag.objectIdentifier, what).content;
  if (!type.equals(oids.kemRecipient) || other.nextTag !== derTag.sequence) return undefined;
  const fields = other.next().inside();
  const found = readSmallInteger(fields.take(derTag.integer, what), what);
  const kemRecipient = readIdentifier(fields.next(), what);
  if (!fields.take(derTag.sequence, 'KEM').der.equals(hybridKem)) return undefined;
  if (found !== version) throw new DerFault(`${what}: version ${found}, not ${version}`);
  const ciphertext = fields.take(derTag.octetString, 'KEM ciphertext').content;
  const kdf = fields.take(derTag.sequence, 'key derivation').der;
  const kekLength = fields.take(derTag.integer, what);
  const ukm = fields.take(explicit0, 'keying material');
  const keyWrap = fields.take(derTag.sequence, 'key wrap');
  const wrapped = fields.take(derTag.octetString, 'encrypted key').content;
  fields.end(what);
  other.end(what);
  if (!kdf.equals(hkdfWithSha256)) throw new DerFault(`${what}: not HKDF with SHA-256`);
  if (ciphertext.length !== kemCiphertextBytes) {
    throw new DerFault(`${what}: a ciphertext of ${ciphertext.length} octets, not ${kemCiphertextBytes}`);
  }
  return {
    ...readMaterial(ukm.content, ciphertext),
    kemRecipient,
    ciphertext,
    keyWrap,
    kekBytes: readSmallInteger(kekLength, what),
    otherInfo: derSequence(keyWrap.der, kekLength.der, ukm.der),
    wrapped,
  };
}

/**
 * @param written - `wrap` gets the `otherInfo` to derive the key-encryption key with, and returns what it wrapped
 * @returns a whole RecipientInfo
 * @throws CmsError `cms.unsupported` if the names of the certificates are too long
 */
export function writeHybridRecipient(written: WrittenHybrid, wrap: (otherInfo: Buffer) => Buffer): Buffer {
  const material = derSequence(
    derExplicit(0, written.originator),
    written.recipient,
    derOctetString(digestOf(written.ciphertext)),
    writeMqvMaterial(written.ephemeralPoint),
  );
  if (material.length > hybridMaterialBytesMax) {
    throw new CmsError('cms.unsupported', `keying material of ${material.length} octets: names too long`);
  }
  const kekLength = derInteger(written.kekBytes);
  const ukm = derExplicit(0, derOctetString(material));
  const { keyWrap } = written;
  const info = derSequence(
    derInteger(version),
    written.kemRecipient,
    hybridKem,
    derOctetString(written.ciphertext),
    hkdfWithSha256,
    kekLength,
    ukm,
    keyWrap,
    derOctetString(wrap(derSequence(keyWrap, kekLength, ukm))),
  );
  return derElement(otherRecipientTag, derOid(oids.kemRecipient), info);
}

// RFC 8619 §2: parameters are absent; so are those of ours.
const hkdfWithSha256 = derAlgorithm(oids.hkdfWithSha256);
const hybridKem = derAlgorithm(oids.hybridMlKem768);

function readMaterial(
  content: Buffer,
  ciphertext: Buffer,
): Pick<HybridRecipientInfo, 'originator' | 'recipient' | 'ephemeral'> {
  const what = 'hybrid keying material';
  const octets = readOnly(content, derTag.octetString, what).content;
  if (octets.length > hybridMaterialBytesMax) throw new DerFault(`${what}: ${octets.length} octets`);
  const fields = readOnly(octets, derTag.sequence, what).inside();
  const originator = readOriginator(fields.take(explicit0, 'originator'));
  const recipient = readRecipient(fields.next());
  const digest = fields.take(derTag.octetString, what).content;
  const { ephemeral, added } = readMqvMaterial(fields.take(derTag.sequence, what).der);
  fields.end(what);
  if (added !== undefined) throw new DerFault(`${what}: more material than is used`);
  // It makes the ciphertext an input of the key derivation (see hybrid.ts), so it must be that of this ciphertext.
  if (!digest.equals(digestOf(ciphertext))) throw new DerFault(`${what}: of another ciphertext`);
  return { originator, recipient, ephemeral };
}

function digestOf(ciphertext: Buffer): Buffer {
  return hash('sha256', ciphertext, 'buffer');
}
