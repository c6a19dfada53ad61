/**
 * The key commitment: what ties a ciphertext to one content key.
 *
 * AES-GCM does not commit to its key, so one ciphertext can be made that opens to two texts under two keys. The cure is
 * the "commitment string" of Albertini, Duong, Gueron, Kölbl, Luykx and Schmieg, "How to Abuse and Fix Authenticated
 * Encryption Without Key Commitment" (USENIX Security 2022): a value derived from the key by a collision-resistant
 * function, published with the ciphertext and compared before decrypting. The content key itself stays the AES-GCM
 * key, because that is what other implementations of CMS unwrap; `docs/wire.md` has the argument.
 */
import { hash, timingSafeEqual } from 'node:crypto';

export const commitmentBytes = 32;
const label = Buffer.from('plombe key commitment 1');
const blockCounter = Buffer.of(1);

/** HKDF-SHA-256 (RFC 5869) of the content key, salted with the nonce. A collision here is one of SHA-256. */
export function commitTo(contentKey: Uint8Array, nonce: Uint8Array): Buffer {
  const pseudorandomKey = hmac(nonce, contentKey); // RFC 5869 §2.2
  const commitment = hmac(pseudorandomKey, label, blockCounter); // §2.3: 32 octets are one block
  pseudorandomKey.fill(0);
  return commitment;
}

export function isCommitted(contentKey: Uint8Array, nonce: Uint8Array, commitment: Uint8Array): boolean {
  return commitment.length === commitmentBytes && timingSafeEqual(commitTo(contentKey, nonce), commitment);
}

const hashBlockBytes = 64;

/**
 * HMAC-SHA-256 (RFC 2104 §2) out of two hashes. Every envelope needs it twice, and what Node has for HKDF and HMAC
 * makes objects for each call: together they took a tenth of the time of sealing.
 *
 * @param key - at most 64 octets
 */
function hmac(key: Uint8Array, ...message: readonly Uint8Array[]): Buffer {
  const inner = padded(key, 0x36, message);
  const digest = hash('sha256', inner, 'buffer');
  const outer = padded(key, 0x5c, [digest]);
  try {
    return hash('sha256', outer, 'buffer');
  } finally {
    for (const secret of [inner, outer, digest]) secret.fill(0);
  }
}

function padded(key: Uint8Array, pad: number, message: readonly Uint8Array[]): Buffer {
  const messageBytes = message.reduce((sum, part) => sum + part.length, 0);
  const octets = Buffer.alloc(hashBlockBytes + messageBytes, pad);
  for (let index = 0; index < key.length; index++) octets[index] = pad ^ (key[index] ?? 0);
  let at = hashBlockBytes;
  for (const part of message) {
    octets.set(part, at);
    at += part.length;
  }
  return octets;
}
