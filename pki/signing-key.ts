/** A key that signs: in this process, or on a PKCS #11 token that never gives it away. */
import { createPublicKey, KeyObject, sign } from 'node:crypto';
import { signatureAlgorithmFor } from './signature.ts';
import type { TokenKey } from './token-key.ts';

export type SigningKey = KeyObject | TokenKey;

export function publicKeyOf(key: SigningKey): KeyObject {
  return key instanceof KeyObject ? createPublicKey(key) : key.publicKey;
}

/** ECDSA with the hash of the key's curve. @returns the signature, DER @throws PkiError `pki.token` */
export function signWith(key: SigningKey, data: Uint8Array): Buffer {
  if (!(key instanceof KeyObject)) return key.sign(data);
  return sign(signatureAlgorithmFor(key).hash, data, key);
}
