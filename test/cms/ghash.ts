/** The arithmetic of GCM's tag (SP 800-38D §6.3, §6.4), enough to make one ciphertext fit two keys. */
import { createCipheriv } from 'node:crypto';

const reduction = 0xe1n << 120n;

/** In GF(2^128), with GCM's order of bits. */
export function multiply(x: bigint, y: bigint): bigint {
  let product = 0n;
  let shifted = y;
  for (let bit = 127n; bit >= 0n; bit--) {
    if ((x >> bit) & 1n) product ^= shifted;
    shifted = shifted & 1n ? (shifted >> 1n) ^ reduction : shifted >> 1n;
  }
  return product;
}

/** x^(2^128 - 2) */
export function invert(x: bigint): bigint {
  let result = 1n << 127n; // one
  let square = x;
  for (let bit = 1; bit < 128; bit++) {
    square = multiply(square, square);
    result = multiply(result, square);
  }
  return result;
}

export function blocksOf(bytes: Uint8Array): bigint[] {
  const padded = Buffer.alloc(Math.ceil(bytes.length / 16) * 16);
  padded.set(bytes);
  return Array.from({ length: padded.length / 16 }, (_, index) =>
    bigintOf(padded.subarray(16 * index, 16 * index + 16)),
  );
}

export function ghash(h: bigint, blocks: readonly bigint[]): bigint {
  return blocks.reduce((sum, block) => multiply(sum ^ block, h), 0n);
}

/** The hash key and the pad of the tag, for a nonce of 12 octets. */
export function tagKeys(key: Uint8Array, nonce: Uint8Array): { h: bigint; pad: bigint } {
  const encryptBlock = (block: Buffer): bigint => {
    const cipher = createCipheriv('aes-256-ecb', key, null);
    return bigintOf(cipher.update(block));
  };
  return {
    h: encryptBlock(Buffer.alloc(16)),
    pad: encryptBlock(Buffer.concat([nonce, Buffer.of(0, 0, 0, 1)])),
  };
}

export function lengthBlock(associatedBytes: number, ciphertextBytes: number): bigint {
  return (BigInt(8 * associatedBytes) << 64n) | BigInt(8 * ciphertextBytes);
}

export function bytesOf(block: bigint): Buffer {
  return Buffer.from(block.toString(16).padStart(32, '0'), 'hex');
}

function bigintOf(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
}
