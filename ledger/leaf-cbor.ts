/**
 * The CBOR (RFC 8949) that leaves are written in: integers, octets, texts, arrays and null, in the deterministic encoding of
 * §4.2.1 and no other. So one value has one encoding, and what was read need not be encoded again to know that.
 */
import { isUtf8 } from 'node:buffer';
import { LedgerError } from './errors.ts';

/** Octets are in the memory of what was read. */
export type LeafValue = number | string | Buffer | null | readonly LeafValue[];

const majorTypes = { unsigned: 0, negative: 1, octets: 2, text: 3, array: 4 } as const;
const nullOctet = 0xf6;
/** A leaf, its recipients, and each of them. */
const depthMax = 3;

/** @throws LedgerError `ledger.malformed` */
export function readLeafValue(octets: Uint8Array): LeafValue {
  const reader = new Reader(Buffer.from(octets.buffer, octets.byteOffset, octets.length));
  const value = reader.value(depthMax);
  if (reader.rest === 0) return value;
  throw malformed('something behind it');
}

class Reader {
  readonly #octets: Buffer;
  #at = 0;

  constructor(octets: Buffer) {
    this.#octets = octets;
  }

  get rest(): number {
    return this.#octets.length - this.#at;
  }

  value(depth: number): LeafValue {
    const initial = this.#octets[this.#at++];
    if (initial === undefined) throw malformed('it is cut off');
    if (initial === nullOctet) return null;
    const argument = this.#argument(initial & 0x1f);
    switch (initial >> 5) {
      case majorTypes.unsigned:
        return argument;
      case majorTypes.negative:
        return requireSafe(-1 - argument);
      case majorTypes.octets:
        return this.#take(argument);
      case majorTypes.text:
        return this.#text(argument);
      case majorTypes.array:
        return this.#array(argument, depth);
      default:
        throw malformed('something that no leaf has');
    }
  }

  /** The shortest form that holds it (RFC 8949 §4.2.1). */
  #argument(additional: number): number {
    if (additional < 24) return additional;
    const octets = this.#octets;
    const at = this.#at;
    if (additional > 27) throw malformed('an indefinite length'); // §3.2
    const length = 1 << (additional - 24);
    if (length > this.rest) throw malformed('it is cut off');
    this.#at += length;
    switch (length) {
      case 1:
        return requireAtLeast(octets.readUInt8(at), 24);
      case 2:
        return requireAtLeast(octets.readUInt16BE(at), 0x100);
      case 4:
        return requireAtLeast(octets.readUInt32BE(at), 0x1_0000);
      default: {
        const value = octets.readUInt32BE(at) * 2 ** 32 + octets.readUInt32BE(at + 4);
        return requireSafe(requireAtLeast(value, 2 ** 32));
      }
    }
  }

  #take(length: number): Buffer {
    if (length > this.rest) throw malformed('it is cut off');
    const start = this.#at;
    this.#at += length;
    return this.#octets.subarray(start, this.#at);
  }

  #text(length: number): string {
    const octets = this.#take(length);
    if (!isUtf8(octets)) throw malformed('a text that is no UTF-8');
    return octets.toString();
  }

  #array(length: number, depth: number): readonly LeafValue[] {
    // Each element has an octet at least, so a length alone takes no memory.
    if (depth === 0 || length > this.rest) throw malformed('an array that is too deep or too long');
    const values: LeafValue[] = [];
    for (let index = 0; index < length; index++) values.push(this.value(depth - 1));
    return values;
  }
}

function requireAtLeast(value: number, least: number): number {
  if (value >= least) return value;
  throw malformed('a number in a longer form than it needs');
}

function requireSafe(value: number): number {
  if (Number.isSafeInteger(value)) return value;
  throw malformed('a number beyond 53 bits');
}

function malformed(what: string): LedgerError {
  return new LedgerError('ledger.malformed', `a leaf that is no deterministic CBOR: ${what}`);
}
