/** Turns BER into DER as far as files of others need it: indefinite lengths and OCTET STRINGs in segments (X.690 §8.1.3.6, §8.7.3). */
import { derElement } from './der-writer.ts';
import { DerFault, DerReader, derTag } from './der.ts';

const constructed = 0x20;
const indefinite = 0x80;
const depthMax = 24;
const elementsMax = 10_000;

interface Walk {
  readonly bytes: Buffer;
  offset: number;
  elements: number;
}

/** @throws DerFault also above 24 levels or 10,000 elements */
export function derOf(ber: Uint8Array): Buffer {
  const walk: Walk = { bytes: Buffer.from(ber), offset: 0, elements: 0 };
  const der = element(walk, walk.bytes.length, 0);
  if (walk.offset !== walk.bytes.length) throw new DerFault('trailing bytes');
  return der;
}

function element(walk: Walk, limit: number, depth: number): Buffer {
  walk.elements += 1;
  if (depth > depthMax || walk.elements > elementsMax) throw new DerFault('too many or too deep elements');
  const { bytes, offset } = walk;
  const tag = bytes[offset];
  if (tag === undefined || offset + 2 > limit) throw new DerFault('truncated before a length');
  const isConstructed = (tag & constructed) !== 0;
  if (!isConstructed) {
    const found = new DerReader(bytes, offset, limit).next();
    walk.offset += found.length;
    return found.der;
  }
  const isIndefinite = bytes[offset + 1] === indefinite;
  const contents: Buffer[] = [];
  if (isIndefinite) {
    walk.offset += 2;
    while (!isEnd(walk, limit)) contents.push(element(walk, limit, depth + 1));
    walk.offset += 2;
  } else {
    const found = new DerReader(bytes, offset, limit).next();
    const end = offset + found.length;
    walk.offset += found.headerLength;
    while (walk.offset < end) contents.push(element(walk, end, depth + 1));
  }
  if (tag !== (derTag.octetString | constructed)) return derElement(tag, ...contents);
  return derElement(derTag.octetString, ...contents.map(segment));
}

function isEnd({ bytes, offset }: Walk, limit: number): boolean {
  if (offset + 2 > limit) throw new DerFault('no end of contents');
  return bytes.readUInt16BE(offset) === 0;
}

/** Inner strings are DER by now. */
function segment(der: Buffer): Buffer {
  const found = new DerReader(der).next();
  if (found.tag !== derTag.octetString) throw new DerFault('an OCTET STRING with something else inside');
  return found.content;
}
