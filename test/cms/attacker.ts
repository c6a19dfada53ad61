/** What a dishonest recipient or sender can do with the same building blocks. Never part of the product. */
import { agreementKey, createMqvRecipient } from '../../cms/ecmqv.ts';
import { readEnvelope } from '../../cms/envelope.ts';
import { encrypt } from '../../cms/gcm.ts';
import { findAddressed, unwrapContentKey } from '../../cms/recipient.ts';
import type { RecipientKey } from '../../cms/recipient.ts';
import { readMqvMaterial } from '../../cms/recipient-info.ts';
import type { Certificate } from '../../pki/certificate.ts';

/** The content key, as any recipient learns it. */
export function contentKeyOf(envelope: Uint8Array, recipient: RecipientKey, originator: Certificate): Buffer {
  const { authEnveloped } = readEnvelope(envelope);
  const addressed = findAddressed(authEnveloped, recipient.certificate);
  const material = readMqvMaterial(addressed.agreement.userKeyingMaterial);
  const mqv = createMqvRecipient(agreementKey(recipient.certificate), recipient.key);
  const secret = mqv.agree(agreementKey(originator), material.ephemeral.point);
  const key = unwrapContentKey(addressed, secret, material.added, ['rfc5753'], 32);
  if (key === undefined) throw new Error('not a recipient');
  return key;
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
