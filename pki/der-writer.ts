/** Writes DER (ITU-T X.690 §10). Each function returns a whole element: tag, length and content. */
import { derTag } from './der.ts';

/** @param tag - of one octet */
export function derElement(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  let length = 0;
  for (const content of contents) length += content.length;
  // Everything that is signed or sealed is put together here, so it is one allocation and no intermediate header.
  const lengthOctets =
    length < 0x80 ? 0 : length < 0x100 ? 1 : length < 0x10000 ? 2 : length < 0x1000000 ? 3 : 4;
  const element = Buffer.allocUnsafe(2 + lengthOctets + length);
  element[0] = tag;
  element[1] = lengthOctets === 0 ? length : 0x80 | lengthOctets;
  for (let octet = 0; octet < lengthOctets; octet++) {
    element[1 + lengthOctets - octet] = (length >>> (8 * octet)) & 0xff;
  }
  let at = 2 + lengthOctets;
  for (const content of contents) {
    put(element, at, content);
    at += content.length;
  }
  return element;
}

/** A call of `set` costs as much as copying about 30 octets one by one. */
function put(target: Buffer, at: number, octets: Uint8Array): void {
  if (octets.length > 30) {
    target.set(octets, at);
    return;
  }
  for (let index = 0; index < octets.length; index++) target[at + index] = octets[index] ?? 0;
}

export function derSequence(...elements: readonly Uint8Array[]): Buffer {
  return derElement(derTag.sequence, ...elements);
}

/** @param value - 0 to 2^31 - 1 */
export function derInteger(value: number): Buffer {
  return value < 0x80
    ? Buffer.of(derTag.integer, 1, value)
    : derIntegerOctets([value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff]);
}

/** @param octets - big endian, not negative; leading zeros are dropped as X.690 §8.3.2 asks */
export function derIntegerOctets(octets: Uint8Array | readonly number[]): Buffer {
  let start = 0;
  while (start < octets.length - 1 && octets[start] === 0 && (octets[start + 1] ?? 0) < 0x80) start += 1;
  return derElement(derTag.integer, Uint8Array.from(octets.slice(start)));
}

export function derNull(): Buffer {
  return derElement(derTag.null);
}

export function derTrue(): Buffer {
  return derElement(derTag.boolean, Buffer.of(0xff));
}

export function derBitString(octets: Uint8Array, unusedBits = 0): Buffer {
  return derElement(derTag.bitString, Buffer.of(unusedBits), octets);
}

export function derOctetString(octets: Uint8Array): Buffer {
  return derElement(derTag.octetString, octets);
}

export function derUtf8String(text: string): Buffer {
  return derElement(derTag.utf8String, Buffer.from(text, 'utf8'));
}

/** @param oid - dotted decimal */
export function derObjectIdentifier(oid: string): Buffer {
  const [first = 0n, second = 0n, ...rest] = oid.split('.').map(BigInt);
  const octets = [first * 40n + second, ...rest].flatMap(arcOctets);
  return derElement(derTag.objectIdentifier, Buffer.from(octets));
}

/** RFC 5280 §4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050 on; whole seconds. */
export function derTime(atMs: number): Buffer {
  const at = new Date(atMs);
  const year = at.getUTCFullYear();
  const century = Math.floor(year / 100);
  const pairs = [
    century,
    year % 100,
    at.getUTCMonth() + 1,
    at.getUTCDate(),
    at.getUTCHours(),
    at.getUTCMinutes(),
    at.getUTCSeconds(),
  ];
  const isUtc = year < 2050;
  if (isUtc) pairs.shift();
  const octets = new Uint8Array(2 * pairs.length + 1);
  for (const [index, pair] of pairs.entries()) {
    octets[2 * index] = asciiZero + Math.floor(pair / 10);
    octets[2 * index + 1] = asciiZero + (pair % 10);
  }
  octets[octets.length - 1] = asciiZulu;
  return derElement(isUtc ? derTag.utcTime : derTag.generalizedTime, octets);
}

const asciiZero = 0x30;
const asciiZulu = 0x5a;

function arcOctets(arc: bigint): number[] {
  const octets = [Number(arc & 0x7fn)];
  for (let rest = arc >> 7n; rest > 0n; rest >>= 7n) octets.unshift(0x80 | Number(rest & 0x7fn));
  return octets;
}
