/** The integrity of a PKCS #12 file: an HMAC whose key comes from the passphrase (RFC 7292 §5.1, Appendix B). */
import { createHmac, hash, timingSafeEqual } from 'node:crypto';

export interface MacAlgorithm {
  readonly hash: 'sha256' | 'sha384' | 'sha512';
  readonly hashBytes: number;
  readonly blockBytes: number;
}

/** By object identifier. SHA-1, which older programs write, is not among them. */
export const macAlgorithms: ReadonlyMap<string, MacAlgorithm> = new Map([
  ['2.16.840.1.101.3.4.2.1', { hash: 'sha256', hashBytes: 32, blockBytes: 64 }],
  ['2.16.840.1.101.3.4.2.2', { hash: 'sha384', hashBytes: 48, blockBytes: 128 }],
  ['2.16.840.1.101.3.4.2.3', { hash: 'sha512', hashBytes: 64, blockBytes: 128 }],
]);

export interface MacParameters {
  readonly algorithm: MacAlgorithm;
  readonly salt: Uint8Array;
  readonly iterations: number;
}

/** RFC 7292 §B.3: diversifier of a key for a MAC. */
const macKeyId = 3;

export function macOf(content: Uint8Array, passphrase: string, parameters: MacParameters): Buffer {
  return createHmac(parameters.algorithm.hash, macKey(passphrase, parameters)).update(content).digest();
}

export function isMacOf(
  mac: Uint8Array,
  content: Uint8Array,
  passphrase: string,
  parameters: MacParameters,
): boolean {
  const expected = macOf(content, passphrase, parameters);
  return mac.length === expected.length && timingSafeEqual(mac, expected);
}

/** RFC 7292 §B.2 for a key as long as one hash, so that one round of step 6 is enough. */
function macKey(passphrase: string, { algorithm, salt, iterations }: MacParameters): Buffer {
  const { blockBytes } = algorithm;
  // §B.1: a BMPString, big endian, with two octets of zero at its end.
  const password = Buffer.from(`${passphrase}\0`, 'utf16le').swap16();
  const input = [
    Buffer.alloc(blockBytes, macKeyId),
    repeated(salt, blockBytes),
    repeated(password, blockBytes),
  ];
  let key: Buffer = hash(algorithm.hash, Buffer.concat(input), 'buffer');
  for (let round = 1; round < iterations; round++) key = hash(algorithm.hash, key, 'buffer');
  return key;
}

/** Copies until whole blocks are full (§B.2, steps 2 and 3). */
function repeated(octets: Uint8Array, blockBytes: number): Buffer {
  const length = blockBytes * Math.ceil(octets.length / blockBytes);
  return length === 0 ? Buffer.alloc(0) : Buffer.alloc(length, octets);
}
