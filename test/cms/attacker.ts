/** What a dishonest recipient or sender can do with the same building blocks. Never part of the product. */
import { keyWrapIdentifiers, mqvOids, writeKeyEncryption } from '../../cms/algorithms.ts';
import { writeAuthEnvelopedData } from '../../cms/auth-enveloped.ts';
import { agreementKey, createMqvRecipient } from '../../cms/ecmqv.ts';
import { readEnvelope } from '../../cms/envelope.ts';
import { encrypt } from '../../cms/gcm.ts';
import type { Sealed } from '../../cms/gcm.ts';
import { identifierOf } from '../../cms/identifier.ts';
import { deriveKey, sharedInfo } from '../../cms/kdf.ts';
import type { SharedInfoFlavour } from '../../cms/kdf.ts';
import { wrapKey } from '../../cms/key-wrap.ts';
import { findAddressed, unwrapContentKey } from '../../cms/recipient.ts';
import type { RecipientKey } from '../../cms/recipient.ts';
import {
  readMqvMaterial,
  writeKeyAgreement,
  writeOriginator,
  writeRecipient,
} from '../../cms/recipient-info.ts';
import type { OriginatorIdentifier } from '../../cms/recipient-info.ts';
import type { Certificate } from '../../pki/certificate.ts';

/** The content key, as any recipient learns it. */
export function contentKeyOf(envelope: Uint8Array, recipient: RecipientKey, originator: Certificate): Buffer {
  const { authEnveloped } = readEnvelope(envelope);
  const addressed = findAddressed(authEnveloped, recipient);
  if (addressed.kind !== 'agreement') throw new Error('not by key agreement alone');
  const material = readMqvMaterial(addressed.userKeyingMaterial);
  const mqv = createMqvRecipient(agreementKey(recipient.certificate), recipient.key);
  const secret = mqv.agree(agreementKey(originator), material.ephemeral.point);
  const key = unwrapContentKey(addressed, secret, material.added, ['rfc5753', 'bc'], 32);
  if (key === undefined) throw new Error('not a recipient');
  return key;
}

/** What an attacker chose or computed. */
export interface Parts {
  readonly flavour: SharedInfoFlavour;
  /** Whoever the message shall seem to be from. */
  readonly originator: OriginatorIdentifier;
  readonly ephemeralPoint: Buffer;
  /** Z, and a content key of each one's own, if need be. */
  readonly readers: readonly {
    readonly certificate: Certificate;
    readonly secret: Buffer;
    readonly contentKey: Buffer;
  }[];
  readonly nonce: Buffer;
  readonly sealed: Sealed;
  readonly attributes: Buffer;
}

/** @returns an AuthEnvelopedData of 256-bit keys and SHA-256, whether or not it is what it says */
export function assemble(parts: Parts): Buffer {
  const { flavour, originator, ephemeralPoint, readers, nonce, sealed, attributes } = parts;
  const keyWrap = keyWrapIdentifiers[32];
  const encryptedKeys = readers.map(({ certificate, secret, contentKey }) => {
    const kek = deriveKey('sha256', secret, sharedInfo(flavour, keyWrap, undefined, 32), 32);
    const recipient = writeRecipient(identifierOf(certificate, 'keyIdentifier'));
    return { recipient, wrapped: wrapKey(kek, contentKey) };
  });
  const agreement = writeKeyAgreement({
    originator: writeOriginator(originator),
    keyEncryption: writeKeyEncryption(mqvOids.sha256, keyWrap),
    ephemeralPoint,
    encryptedKeys,
  });
  return writeAuthEnvelopedData([], [agreement], { keyBytes: 32, nonce }, sealed, attributes);
}

/** Puts other content of the same length in, under the same content key and attributes. */
export function withOtherContent(
  envelope: Uint8Array,
  contentKey: Uint8Array,
  plaintext: Uint8Array,
): Buffer {
  const { authEnveloped } = readEnvelope(envelope);
  const { algorithm, associatedData, sealed } = authEnveloped;
  if (plaintext.length !== sealed.ciphertext.length) throw new Error('another length');
  const forged = encrypt(contentKey, algorithm.nonce, plaintext, associatedData);
  return replaced(replaced(envelope, sealed.ciphertext, forged.ciphertext), sealed.tag, forged.tag);
}

/** Replaces octets that occur exactly once by as many others. */
export function replaced(bytes: Uint8Array, search: Uint8Array, replacement: Uint8Array): Buffer {
  const result = Buffer.from(bytes);
  const at = result.indexOf(search);
  if (at < 0 || result.indexOf(search, at + 1) >= 0 || search.length !== replacement.length) {
    throw new Error('not exactly one place of that length');
  }
  result.set(replacement, at);
  return result;
}
