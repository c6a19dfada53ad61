/** Writes DER (ITU-T X.690 §10). Each function returns a whole element: tag, length and content. */
import { derTag } from './der.ts';

export function derElement(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const length = contents.reduce((sum, content) => sum + content.length, 0);
  return Buffer.concat([derHeader(tag, length), ...contents]);
}

export function derSequence(...elements: readonly Uint8Array[]): Buffer {
  return derElement(derTag.sequence, ...elements);
}

/** @param value - 0 to 2^31 - 1 */
export function derInteger(value: number): Buffer {
  const octets = Buffer.alloc(4);
  octets.writeInt32BE(value);
  return derIntegerOctets(octets);
}

/** @param octets - big endian, not negative; leading zeros are dropped as X.690 §8.3.2 asks */
export function derIntegerOctets(octets: Uint8Array): Buffer {
  let start = 0;
  while (start < octets.length - 1 && octets[start] === 0 && (octets[start + 1] ?? 0) < 0x80) start += 1;
  return derElement(derTag.integer, octets.subarray(start));
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
  const [first = 0, second = 0, ...rest] = oid.split('.').map(Number);
  const octets = [first * 40 + second, ...rest].flatMap(arcOctets);
  return derElement(derTag.objectIdentifier, Buffer.from(octets));
}

/** RFC 5280 §4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050 on; whole seconds. */
export function derTime(atMs: number): Buffer {
  const digits = new Date(atMs).toISOString().replaceAll(/[-:T]/g, '').slice(0, 14);
  const isUtc = digits < '2050';
  return derElement(
    isUtc ? derTag.utcTime : derTag.generalizedTime,
    Buffer.from(`${isUtc ? digits.slice(2) : digits}Z`, 'latin1'),
  );
}

function derHeader(tag: number, length: number): Buffer {
  if (length < 0x80) return Buffer.of(tag, length);
  const octets = Buffer.alloc(4);
  octets.writeUInt32BE(length);
  const significant = octets.subarray(octets.findIndex((octet) => octet !== 0));
  return Buffer.concat([Buffer.of(tag, 0x80 | significant.length), significant]);
}

function arcOctets(arc: number): number[] {
  const octets = [arc % 128];
  for (let rest = Math.floor(arc / 128); rest > 0; rest = Math.floor(rest / 128))
    octets.unshift(0x80 | (rest % 128));
  return octets;
}
