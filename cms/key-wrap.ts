/** AES key wrap (RFC 3394), which carries the content key to each recipient. */
import { createCipheriv, createDecipheriv, createSecretKey } from 'node:crypto';
import assert from 'node:assert/strict';

const initialValue = Buffer.alloc(8, 0xa6); // RFC 3394 §2.2.3.1

/** Of AES, which all keys here are for. */
export type KeyBytes = 16 | 24 | 32;
const cipherNames: Readonly<Record<KeyBytes, string>> = {
  16: 'id-aes128-wrap',
  24: 'id-aes192-wrap',
  32: 'id-aes256-wrap',
};

/**
 * @param kek - 16, 24 or 32 octets
 * @param key - a multiple of 8 octets, at least 16
 * @returns 8 octets more than `key`
 */
export function wrapKey(kek: Uint8Array, key: Uint8Array): Buffer {
  const cipher = createCipheriv(cipherName(kek), createSecretKey(kek), initialValue);
  return cipher.update(key); // all of it: nothing is left for `final`
}

/**
 * Unwraps what `wrapKey` made.
 *
 * @param keyBytes - how long the key must be
 * @returns the key, which the caller erases; undefined if the check value differs (RFC 3394 §2.2.2) or a length is wrong
 */
export function unwrapKey(kek: Uint8Array, wrapped: Uint8Array, keyBytes: number): Buffer | undefined {
  if (wrapped.length !== keyBytes + 8) return undefined;
  const decipher = createDecipheriv(cipherName(kek), createSecretKey(kek), initialValue);
  try {
    return decipher.update(wrapped); // throws if the check value differs; nothing is left for `final`
  } catch {
    return undefined;
  }
}

function cipherName(kek: Uint8Array): string {
  assert.ok(
    kek.length === 16 || kek.length === 24 || kek.length === 32,
    'a key-encryption key of 16, 24 or 32 octets',
  );
  return cipherNames[kek.length];
}
