/**
 * Reads an envelope's outer shell, where BouncyCastle writes BER: indefinite lengths and OCTET STRINGs in segments
 * (ITU-T X.690 §8.1.3.6, §8.7.3). Everything inside the shell is left to the strict reader of `pki/der.ts`.
 *
 * The caller names every element that it enters, so nesting is bounded by the caller's code and time is linear.
 */
import { DerFault, DerReader, derTag } from '../pki/der.ts';
import type { DerElement } from '../pki/der.ts';
import { segmentDepthMax, segmentsMax } from './limits.ts';

const constructed = 0x20;
const indefiniteLength = 0x80;

interface Level {
  /** Where the element ends at the latest. */
  readonly limit: number;
  readonly isIndefinite: boolean;
}

/** Of one OCTET STRING. */
interface Segments {
  readonly segments: Buffer[];
  /** With those that hold others, or nothing. */
  count: number;
}

export class ShellReader {
  readonly #bytes: Buffer;
  readonly #outer: Level[] = [];
  #level: Level;
  #offset = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.#level = { limit: bytes.length, isIndefinite: false };
  }

  /** Octets from the start. */
  get offset(): number {
    return this.#offset;
  }

  /** The tag of the next element, or undefined at the end of the entered one. */
  get nextTag(): number | undefined {
    const { limit, isIndefinite } = this.#level;
    if (this.#offset >= limit) return undefined;
    const tag = this.#bytes[this.#offset];
    return isIndefinite && tag === 0 ? undefined : tag;
  }

  /** Goes into a constructed element, of definite or indefinite length. */
  enter(tag: number, what: string): void {
    this.#expect(tag, what);
    const isIndefinite = this.#bytes[this.#offset + 1] === indefiniteLength;
    this.#outer.push(this.#level);
    if (isIndefinite) {
      this.#level = { limit: this.#level.limit, isIndefinite };
      this.#offset += 2;
    } else {
      const { length, headerLength } = this.#peek();
      this.#level = { limit: this.#offset + length, isIndefinite };
      this.#offset += headerLength;
    }
  }

  /** Leaves the element entered last, which must have no more inside. */
  leave(what: string): void {
    const { limit, isIndefinite } = this.#level;
    if (isIndefinite) {
      // X.690 §8.1.5: the end-of-contents octets.
      const hasEnd = this.#offset + 2 <= limit && this.#bytes.readUInt16BE(this.#offset) === 0;
      if (!hasEnd) throw new DerFault(`${what}: no end-of-contents where expected`);
      this.#offset += 2;
    } else if (this.#offset !== limit) {
      throw new DerFault(`${what}: trailing bytes`);
    }
    const outer = this.#outer.pop();
    if (outer === undefined) throw new RangeError('left more elements than were entered');
    this.#level = outer;
  }

  /** Reads one strict element whole; its inside is for `DerReader`. */
  take(tag: number, what: string): DerElement {
    this.#expect(tag, what);
    const found = this.#peek();
    this.#offset += found.length;
    return found;
  }

  takeOptional(tag: number, what: string): DerElement | undefined {
    return this.nextTag === tag ? this.take(tag, what) : undefined;
  }

  /**
   * Reads an OCTET STRING whose tag is `tag`, or `tag` with the constructed bit if it comes in segments.
   *
   * @returns the octets, without a copy if they came in one piece
   */
  octets(tag: number, what: string): Buffer {
    if (this.nextTag === tag) return this.take(tag, what).content;
    const found: Segments = { segments: [], count: 0 };
    this.#collect(tag | constructed, what, found, 0);
    return Buffer.concat(found.segments);
  }

  end(what: string): void {
    if (this.#outer.length > 0) throw new RangeError('ended inside an element');
    if (this.#offset !== this.#bytes.length) throw new DerFault(`${what}: trailing bytes`);
  }

  #collect(tag: number, what: string, found: Segments, depth: number): void {
    if (depth >= segmentDepthMax) throw new DerFault(`${what}: segments nested too deep`);
    this.enter(tag, what);
    for (let next = this.nextTag; next !== undefined; next = this.nextTag) {
      found.count += 1;
      if (found.count > segmentsMax) throw new DerFault(`${what}: more than ${segmentsMax} segments`);
      if (next === derTag.octetString) found.segments.push(this.take(next, what).content);
      else this.#collect(derTag.octetString | constructed, what, found, depth + 1);
    }
    this.leave(what);
  }

  #expect(tag: number, what: string): void {
    const found = this.nextTag;
    if (found === tag) return;
    const text = found === undefined ? 'its end' : `0x${found.toString(16)}`;
    throw new DerFault(`${what}: expected tag 0x${tag.toString(16)}, found ${text}`);
  }

  /** The next element, strict, without moving on. */
  #peek(): DerElement {
    return new DerReader(this.#bytes, this.#offset, this.#level.limit).next();
  }
}
