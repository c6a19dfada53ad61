/** The key derivation of X9.63 (SEC 1 §3.6.1), and what CMS feeds it besides the shared secret. */
import { hash } from 'node:crypto';
import { derOctetString, derSequence } from '../pki/der-writer.ts';
import { derExplicit } from './der-writer.ts';
import type { HashName } from './suite.ts';

/**
 * What stands in SharedInfo: RFC 5753 §7.2's structure, or, as BouncyCastle for Java had it up to 1.86, the added
 * keying material alone.
 */
export type SharedInfoFlavour = 'rfc5753' | 'bc';

/**
 * @param secret - Z
 * @param keyBytes - how many octets of key to derive
 * @returns the key; the caller erases it
 */
export function deriveKey(
  hashName: HashName,
  secret: Uint8Array,
  sharedInfo: Uint8Array,
  keyBytes: number,
): Buffer {
  const key = Buffer.alloc(keyBytes);
  const input = Buffer.concat([secret, Buffer.alloc(4), sharedInfo]);
  for (let filled = 0, counter = 1; filled < keyBytes; counter++) {
    input.writeUInt32BE(counter, secret.length);
    const block = hash(hashName, input, 'buffer');
    filled += block.copy(key, filled);
    block.fill(0);
  }
  input.fill(0);
  return key;
}

/**
 * @param keyInfo - the AlgorithmIdentifier of the key wrap, DER
 * @param addedMaterial - `addedukm` of ECMQV, or `ukm` of ECDH, if there is any
 * @param keyBytes - of the key-encryption key
 */
export function sharedInfo(
  flavour: SharedInfoFlavour,
  keyInfo: Uint8Array,
  addedMaterial: Uint8Array | undefined,
  keyBytes: number,
): Buffer {
  if (flavour === 'bc') return Buffer.from(addedMaterial ?? []);
  // ECC-CMS-SharedInfo ::= SEQUENCE { keyInfo AlgorithmIdentifier,
  //   entityUInfo [0] EXPLICIT OCTET STRING OPTIONAL, suppPubInfo [2] EXPLICIT OCTET STRING }
  const keyBits = Buffer.alloc(4);
  keyBits.writeUInt32BE(8 * keyBytes);
  return derSequence(
    keyInfo,
    ...(addedMaterial === undefined ? [] : [derExplicit(0, derOctetString(addedMaterial))]),
    derExplicit(2, derOctetString(keyBits)),
  );
}
