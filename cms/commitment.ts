/**
 * The key commitment: what ties a ciphertext to one content key.
 *
 * AES-GCM does not commit to its key, so one ciphertext can be made that opens to two texts under two keys. The cure is
 * the "commitment string" of Albertini, Duong, Gueron, Kölbl, Luykx and Schmieg, "How to Abuse and Fix Authenticated
 * Encryption Without Key Commitment" (USENIX Security 2022): a value derived from the key by a collision-resistant
 * function, published with the ciphertext and compared before decrypting. The content key itself stays the AES-GCM
 * key, because that is what other implementations of CMS unwrap; `docs/wire.md` has the argument.
 */
import { createSecretKey, hkdfSync, timingSafeEqual } from 'node:crypto';

export const commitmentBytes = 32;
const label = 'plombe key commitment 1';

/** HKDF-SHA-256 (RFC 5869) of the content key, salted with the nonce. A collision here is one of SHA-256. */
export function commitTo(contentKey: Uint8Array, nonce: Uint8Array): Buffer {
  return Buffer.from(hkdfSync('sha256', createSecretKey(contentKey), nonce, label, commitmentBytes));
}

export function isCommitted(contentKey: Uint8Array, nonce: Uint8Array, commitment: Uint8Array): boolean {
  return commitment.length === commitmentBytes && timingSafeEqual(commitTo(contentKey, nonce), commitment);
}
