/**
 * Key agreement recipients (RFC 5652 §6.2.2, RFC 5753 §3).
 *
 *     RecipientInfo ::= CHOICE { …, kari [1] KeyAgreeRecipientInfo, … }
 *     KeyAgreeRecipientInfo ::= SEQUENCE {
 *       version CMSVersion,  -- 3
 *       originator [0] EXPLICIT OriginatorIdentifierOrKey,
 *       ukm [1] EXPLICIT UserKeyingMaterial OPTIONAL,
 *       keyEncryptionAlgorithm KeyEncryptionAlgorithmIdentifier,
 *       recipientEncryptedKeys SEQUENCE OF RecipientEncryptedKey }
 *     OriginatorIdentifierOrKey ::= CHOICE { issuerAndSerialNumber IssuerAndSerialNumber,
 *       subjectKeyIdentifier [0] SubjectKeyIdentifier, originatorKey [1] OriginatorPublicKey }
 *     OriginatorPublicKey ::= SEQUENCE { algorithm AlgorithmIdentifier, publicKey BIT STRING }
 *     RecipientEncryptedKey ::= SEQUENCE { rid KeyAgreeRecipientIdentifier, encryptedKey OCTET STRING }
 *     KeyAgreeRecipientIdentifier ::= CHOICE { issuerAndSerialNumber IssuerAndSerialNumber,
 *       rKeyId [0] IMPLICIT SEQUENCE { subjectKeyIdentifier OCTET STRING, date …, other … } }
 *     MQVuserKeyingMaterial ::= SEQUENCE {
 *       ephemeralPublicKey OriginatorPublicKey, addedukm [0] EXPLICIT UserKeyingMaterial OPTIONAL }
 */
import { recipientsMax } from '../domain/limits.ts';
import { DerFault, derTag, readBitString, readOnly, readOnlyInside, readSmallInteger } from '../pki/der.ts';
import type { DerElement } from '../pki/der.ts';
import { derBitString, derElement, derInteger, derOctetString, derSequence } from '../pki/der-writer.ts';
import { derExplicit, derOid } from './der-writer.ts';
import {
  readIdentifier,
  readIssuerAndSerial,
  readKeyIdentifier,
  writeIdentifier,
  writeIssuerAndSerial,
} from './identifier.ts';
import type { CertificateIdentifier } from './identifier.ts';
import { userKeyingMaterialBytesMax } from './limits.ts';
import { oids } from './oid.ts';

/** A key without a certificate. */
export interface OriginatorPublicKey {
  readonly kind: 'publicKey';
  /** SEC 1, as it came and unchecked. */
  readonly point: Buffer;
  /** Content octets of the named curve's object identifier; undefined if the recipient's curve is meant. */
  readonly curveOid: Buffer | undefined;
}

export type OriginatorIdentifier = CertificateIdentifier | OriginatorPublicKey;

export interface EncryptedKey {
  readonly recipient: CertificateIdentifier;
  readonly wrapped: Buffer;
}

export interface KeyAgreement {
  readonly originator: OriginatorIdentifier;
  readonly userKeyingMaterial: Buffer | undefined;
  /** Read by `algorithms.ts`, when this is found to be for us. */
  readonly keyEncryption: DerElement;
  readonly encryptedKeys: readonly EncryptedKey[];
}

export interface MqvMaterial {
  readonly ephemeral: OriginatorPublicKey;
  readonly added: Buffer | undefined;
}

/** What a sender has encoded of it. */
export interface WrittenKeyAgreement {
  /** By `writeOriginator`. */
  readonly originator: Buffer;
  /** SEC 1 uncompressed. */
  readonly ephemeralPoint: Buffer;
  readonly keyEncryption: Buffer;
  /** Each recipient by `writeRecipient`. */
  readonly encryptedKeys: readonly { readonly recipient: Buffer; readonly wrapped: Buffer }[];
}

/** The tag of `kari` within a RecipientInfo. */
export const keyAgreementTag = 0xa1;
const explicit0 = 0xa0;
const explicit1 = 0xa1;
const kariVersion = 3;
const nullTag = 0x05;

export function readKeyAgreement(info: DerElement): KeyAgreement {
  const what = 'key agreement recipient';
  const fields = info.inside();
  const version = readSmallInteger(fields.take(derTag.integer, what), what);
  if (version !== kariVersion) throw new DerFault(`${what}: version ${version}, not ${kariVersion}`);
  const originator = readOriginator(fields.take(explicit0, 'originator'));
  const material = fields.takeOptional(explicit1);
  const keyEncryption = fields.take(derTag.sequence, 'key encryption');
  const keys = fields.take(derTag.sequence, 'encrypted keys').inside();
  fields.end(what);
  const encryptedKeys: EncryptedKey[] = [];
  while (!keys.done) {
    encryptedKeys.push(readEncryptedKey(keys.take(derTag.sequence, 'encrypted key')));
    if (encryptedKeys.length > recipientsMax)
      throw new DerFault(`${what}: more than ${recipientsMax} of them`);
  }
  return {
    originator,
    userKeyingMaterial: material === undefined ? undefined : readMaterial(material),
    keyEncryption,
    encryptedKeys,
  };
}

/** @throws DerFault if the material is absent: ECMQV can't do without (RFC 5753 §3.2.1) */
export function readMqvMaterial(octets: Buffer | undefined): MqvMaterial {
  const what = 'user keying material';
  if (octets === undefined) throw new DerFault(`${what}: absent`);
  const fields = readOnly(octets, derTag.sequence, what).inside();
  const ephemeral = readPublicKey(fields.take(derTag.sequence, 'ephemeral key'), 'ephemeral key');
  const added = fields.takeOptional(explicit0);
  fields.end(what);
  return { ephemeral, added: added === undefined ? undefined : readMaterial(added) };
}

/** @returns a whole RecipientInfo */
export function writeKeyAgreement(written: WrittenKeyAgreement): Buffer {
  const keys = written.encryptedKeys.map(({ recipient, wrapped }) =>
    derSequence(recipient, derOctetString(wrapped)),
  );
  return derElement(
    keyAgreementTag,
    derInteger(kariVersion),
    derExplicit(0, written.originator),
    derExplicit(1, derOctetString(writeMqvMaterial(written.ephemeralPoint))),
    written.keyEncryption,
    derSequence(...keys),
  );
}

/** @param ephemeralPoint - SEC 1 uncompressed, on the recipient's curve, which the parameters therefore need not name */
export function writeMqvMaterial(ephemeralPoint: Buffer): Buffer {
  return derSequence(derSequence(...publicKeyFields(ephemeralPoint, undefined)));
}

/** @returns an OriginatorIdentifierOrKey */
export function writeOriginator(originator: OriginatorIdentifier): Buffer {
  if (originator.kind === 'publicKey') {
    return derExplicit(1, ...publicKeyFields(originator.point, originator.curveOid));
  }
  return writeIdentifier(originator);
}

/** @returns a KeyAgreeRecipientIdentifier */
export function writeRecipient(recipient: CertificateIdentifier): Buffer {
  return recipient.kind === 'keyIdentifier'
    ? derExplicit(0, derOctetString(recipient.keyIdentifier))
    : writeIssuerAndSerial(recipient.issuerDer, recipient.serialNumber);
}

/** Of an OriginatorPublicKey, whose tag depends on where it stands. */
function publicKeyFields(point: Buffer, curveOid: Buffer | undefined): readonly Buffer[] {
  const parameters = curveOid === undefined ? [] : [derOid(curveOid)];
  return [derSequence(derOid(oids.ecPublicKey), ...parameters), derBitString(point)];
}

/** @param found - around the choice */
export function readOriginator(found: DerElement): OriginatorIdentifier {
  const reader = found.inside();
  const choice = reader.next();
  reader.end('originator');
  return choice.tag === explicit1
    ? readPublicKey(choice, 'originator')
    : readIdentifier(choice, 'originator');
}

function readPublicKey(found: DerElement, what: string): OriginatorPublicKey {
  const fields = found.inside();
  const algorithm = fields.take(derTag.sequence, `${what} algorithm`).inside();
  const key = readBitString(fields.take(derTag.bitString, what), what);
  fields.end(what);
  if (!algorithm.take(derTag.objectIdentifier, `${what} algorithm`).content.equals(oids.ecPublicKey)) {
    throw new DerFault(`${what}: not an EC key`);
  }
  // RFC 5753 §3.1.1: the parameters are absent, or NULL, or name the curve.
  const curve = algorithm.takeOptional(derTag.objectIdentifier);
  if (curve === undefined && algorithm.takeOptional(nullTag)?.content.length) {
    throw new DerFault(`${what} algorithm: a NULL that is not empty`);
  }
  algorithm.end(`${what} algorithm`);
  if (key.unusedBits !== 0) throw new DerFault(`${what}: unused bits`);
  return { kind: 'publicKey', point: key.octets, curveOid: curve?.content };
}

function readEncryptedKey(found: DerElement): EncryptedKey {
  const fields = found.inside();
  const recipient = readRecipient(fields.next());
  const wrapped = fields.take(derTag.octetString, 'encrypted key').content;
  fields.end('encrypted key');
  return { recipient, wrapped };
}

export function readRecipient(choice: DerElement): CertificateIdentifier {
  if (choice.tag === derTag.sequence) return readIssuerAndSerial(choice, 'recipient');
  if (choice.tag !== explicit0) throw new DerFault('recipient: neither of the two forms');
  const fields = choice.inside();
  const identifier = readKeyIdentifier(fields.take(derTag.octetString, 'recipient').content, 'recipient');
  fields.takeOptional(derTag.generalizedTime); // date and other choose among keys that share an identifier
  fields.takeOptional(derTag.sequence);
  fields.end('recipient');
  return identifier;
}

function readMaterial(found: DerElement): Buffer {
  const octets = readOnlyInside(found, derTag.octetString, 'user keying material').content;
  if (octets.length > userKeyingMaterialBytesMax) {
    throw new DerFault(`user keying material: ${octets.length} octets, above ${userKeyingMaterialBytesMax}`);
  }
  return octets;
}
