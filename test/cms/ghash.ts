/** The arithmetic of GCM's tag (SP 800-38D §6.3, §6.4), enough to make one ciphertext fit two keys. */
import assert from 'node:assert/strict';
import { createCipheriv } from 'node:crypto';
import { encrypt } from '../../cms/gcm.ts';
import type { Sealed } from '../../cms/gcm.ts';

const reduction = 0xe1n << 120n;

/** Solves tag(key 1) = tag(key 2) for the last of four blocks: the "invisible salamander" of Dodis et al., CRYPTO 2018. */
export function fitTwoKeys(keys: readonly Buffer[], nonce: Buffer, associatedData: Buffer): Sealed {
  const [first, second] = keys;
  assert.ok(first && second);
  const start = encrypt(first, nonce, Buffer.alloc(64, 0x41), associatedData);
  if (first.equals(second)) return start;
  const free = start.ciphertext.subarray(0, 48);
  const length = lengthBlock(associatedData.length, 64);
  const blocks = [...blocksOf(associatedData), ...blocksOf(free), 0n, length];
  const [one, two] = [tagKeys(first, nonce), tagKeys(second, nonce)];
  const difference = ghash(one.h, blocks) ^ one.pad ^ ghash(two.h, blocks) ^ two.pad;
  // The last block counts h², once for itself and once for the length block after it.
  const factor = multiply(one.h, one.h) ^ multiply(two.h, two.h);
  const last = multiply(difference, invert(factor));
  const ciphertext = Buffer.concat([free, bytesOf(last)]);
  const tag = bytesOf(ghash(one.h, [...blocks.slice(0, -2), last, length]) ^ one.pad);
  return { ciphertext, tag };
}

/** In GF(2^128), with GCM's order of bits. */
function multiply(x: bigint, y: bigint): bigint {
  let product = 0n;
  let shifted = y;
  for (let bit = 127n; bit >= 0n; bit--) {
    if ((x >> bit) & 1n) product ^= shifted;
    shifted = shifted & 1n ? (shifted >> 1n) ^ reduction : shifted >> 1n;
  }
  return product;
}

/** x^(2^128 - 2) */
function invert(x: bigint): bigint {
  let result = 1n << 127n; // one
  let square = x;
  for (let bit = 1; bit < 128; bit++) {
    square = multiply(square, square);
    result = multiply(result, square);
  }
  return result;
}

function blocksOf(bytes: Uint8Array): bigint[] {
  const padded = Buffer.alloc(Math.ceil(bytes.length / 16) * 16);
  padded.set(bytes);
  return Array.from({ length: padded.length / 16 }, (_, index) =>
    bigintOf(padded.subarray(16 * index, 16 * index + 16)),
  );
}

function ghash(h: bigint, blocks: readonly bigint[]): bigint {
  return blocks.reduce((sum, block) => multiply(sum ^ block, h), 0n);
}

/** The hash key and the pad of the tag, for a nonce of 12 octets. */
function tagKeys(key: Uint8Array, nonce: Uint8Array): { h: bigint; pad: bigint } {
  const encryptBlock = (block: Buffer): bigint => {
    const cipher = createCipheriv('aes-256-ecb', key, null);
    return bigintOf(cipher.update(block));
  };
  return {
    h: encryptBlock(Buffer.alloc(16)),
    pad: encryptBlock(Buffer.concat([nonce, Buffer.of(0, 0, 0, 1)])),
  };
}

function lengthBlock(associatedBytes: number, ciphertextBytes: number): bigint {
  return (BigInt(8 * associatedBytes) << 64n) | BigInt(8 * ciphertextBytes);
}

function bytesOf(block: bigint): Buffer {
  return Buffer.from(block.toString(16).padStart(32, '0'), 'hex');
}

function bigintOf(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
}
