/** AES-GCM as CMS uses it (RFC 5084 §3.2): 12 octets of nonce, 16 of tag, and no others. */
import { createCipheriv, createDecipheriv, createSecretKey } from 'node:crypto';
import type { CipherGCMTypes } from 'node:crypto';
import assert from 'node:assert/strict';
import type { KeyBytes } from './key-wrap.ts';

export const nonceBytes = 12;
export const tagBytes = 16;

const cipherNames: Readonly<Record<KeyBytes, CipherGCMTypes>> = {
  16: 'aes-128-gcm',
  24: 'aes-192-gcm',
  32: 'aes-256-gcm',
};

// A key is given as a KeyObject throughout: to make one and use it takes Node 2 µs, octets 12.

export interface Sealed {
  readonly ciphertext: Buffer;
  readonly tag: Buffer;
}

export function encrypt(
  key: Uint8Array,
  nonce: Uint8Array,
  plaintext: Uint8Array,
  associatedData: Uint8Array,
): Sealed {
  const cipher = createCipheriv(cipherName(key), createSecretKey(key), nonce, { authTagLength: tagBytes });
  cipher.setAAD(associatedData);
  const ciphertext = cipher.update(plaintext);
  cipher.final(); // GCM is a stream: nothing comes out here
  return { ciphertext, tag: cipher.getAuthTag() };
}

/** @returns the plaintext, or undefined if the tag does not fit */
export function decrypt(
  key: Uint8Array,
  nonce: Uint8Array,
  sealed: Sealed,
  associatedData: Uint8Array,
): Buffer | undefined {
  assert.equal(sealed.tag.length, tagBytes);
  const decipher = createDecipheriv(cipherName(key), createSecretKey(key), nonce, {
    authTagLength: tagBytes,
  });
  decipher.setAAD(associatedData);
  decipher.setAuthTag(sealed.tag);
  const plaintext = decipher.update(sealed.ciphertext);
  try {
    decipher.final();
    return plaintext;
  } catch {
    plaintext.fill(0);
    return undefined;
  }
}

function cipherName(key: Uint8Array): CipherGCMTypes {
  assert.ok(
    key.length === 16 || key.length === 24 || key.length === 32,
    'a content key of 16, 24 or 32 octets',
  );
  return cipherNames[key.length];
}
