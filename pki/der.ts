/** A strict reader of DER (ITU-T X.690 §10): definite, minimal lengths and low tag numbers, nothing else. */

/** Universal tags, and the constructed context tags that certificates and CRLs use. */
export const derTag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  objectIdentifier: 0x06,
  enumerated: 0x0a,
  utf8String: 0x0c,
  printableString: 0x13,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
  context0: 0xa0,
  context1: 0xa1,
  context2: 0xa2,
  context3: 0xa3,
} as const;

/** One element. Its octets are views, made only when they are looked at: most elements are only gone into. */
export class DerElement {
  readonly tag: number;
  readonly #bytes: Buffer;
  readonly #start: number;
  readonly #contentStart: number;
  readonly #end: number;

  constructor(bytes: Buffer, start: number, contentStart: number, end: number) {
    this.tag = bytes[start] ?? 0;
    this.#bytes = bytes;
    this.#start = start;
    this.#contentStart = contentStart;
    this.#end = end;
  }

  get content(): Buffer {
    return this.#bytes.subarray(this.#contentStart, this.#end);
  }

  /** Tag, length and content. */
  get der(): Buffer {
    return this.#bytes.subarray(this.#start, this.#end);
  }

  get headerLength(): number {
    return this.#contentStart - this.#start;
  }

  get length(): number {
    return this.#end - this.#start;
  }

  /** Reads the elements that the content consists of. */
  inside(): DerReader {
    return new DerReader(this.#bytes, this.#contentStart, this.#end);
  }
}

/** Why the bytes are not DER. Callers wrap it in a `PkiError` that says what was being read. */
export class DerFault extends Error {}

/** Reads elements one after another; every read advances. Makes no copies. */
export class DerReader {
  readonly #bytes: Buffer;
  readonly #end: number;
  #offset: number;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.#bytes = Buffer.isBuffer(bytes)
      ? bytes
      : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#offset = start;
    this.#end = end;
  }

  get done(): boolean {
    return this.#offset === this.#end;
  }

  /** The tag of the next element, or undefined at the end. */
  get nextTag(): number | undefined {
    return this.done ? undefined : this.#bytes[this.#offset];
  }

  next(): DerElement {
    const bytes = this.#bytes;
    const start = this.#offset;
    const tag = bytes[start];
    const first = bytes[start + 1];
    if (start + 2 > this.#end || tag === undefined || first === undefined) {
      throw new DerFault('truncated before a length');
    }
    if ((tag & 0x1f) === 0x1f) throw new DerFault('a high tag number');
    let offset = start + 2;
    let length = first;
    if (first >= 0x80) {
      const count = first & 0x7f;
      if (count === 0 || count > 4) throw new DerFault('a length that is indefinite or above 4 octets');
      if (offset + count > this.#end) throw new DerFault('truncated within a length');
      length = bytes.readUIntBE(offset, count);
      offset += count;
      // X.690 §10.1: the fewest octets that hold the length.
      if (length < 0x80 || (count > 1 && length < 2 ** (8 * (count - 1)))) {
        throw new DerFault('a length that is not minimal');
      }
    }
    const end = offset + length;
    if (end > this.#end) throw new DerFault('truncated content');
    this.#offset = end;
    return new DerElement(bytes, start, offset, end);
  }

  take(tag: number, what: string): DerElement {
    if (this.nextTag !== tag) {
      throw new DerFault(`${what}: expected tag ${hex(tag)}, found ${hex(this.nextTag)}`);
    }
    return this.next();
  }

  takeOptional(tag: number): DerElement | undefined {
    return this.nextTag === tag ? this.next() : undefined;
  }

  end(what: string): void {
    if (!this.done) throw new DerFault(`${what}: trailing bytes`);
  }
}

/** Reads the one element that `bytes` must consist of. */
export function readOnly(bytes: Uint8Array, tag: number, what: string): DerElement {
  return onlyElement(new DerReader(bytes), tag, what);
}

/** Reads the one element that the content of `element` must consist of. */
export function readOnlyInside(element: DerElement, tag: number, what: string): DerElement {
  return onlyElement(element.inside(), tag, what);
}

function onlyElement(reader: DerReader, tag: number, what: string): DerElement {
  const element = reader.take(tag, what);
  reader.end(what);
  return element;
}

/** @throws DerFault if the element has another tag */
export function requireTag(element: DerElement, tag: number, what: string): DerElement {
  if (element.tag !== tag) throw new DerFault(`${what}: expected tag ${hex(tag)}, found ${hex(element.tag)}`);
  return element;
}

export function readBoolean(element: DerElement, what: string): boolean {
  const { content } = element;
  const [value] = content;
  // X.690 §11.1: TRUE is all ones.
  if (content.length !== 1 || (value !== 0 && value !== 0xff)) throw new DerFault(`${what}: a boolean`);
  return value === 0xff;
}

/** @returns the content octets, checked to be minimal (X.690 §8.3.2) and not negative */
export function readNaturalOctets(element: DerElement, what: string): Buffer {
  const { content } = element;
  const first = content[0];
  const second = content[1];
  if (first === undefined) throw new DerFault(`${what}: an empty integer`);
  if (first >= 0x80) throw new DerFault(`${what}: a negative integer`);
  if (first === 0 && second !== undefined && second < 0x80) throw new DerFault(`${what}: not minimal`);
  return content;
}

/** @returns a small non-negative integer, of at most four octets */
export function readSmallInteger(element: DerElement, what: string): number {
  const octets = readNaturalOctets(element, what);
  if (octets.length > 4) throw new DerFault(`${what}: too large`);
  return octets.readUIntBE(0, octets.length);
}

/** @returns the octets of a bit string, and how many bits at its end are unused */
export function readBitString(element: DerElement, what: string): { octets: Buffer; unusedBits: number } {
  const { content } = element;
  const [unusedBits] = content;
  const octets = content.subarray(1);
  if (unusedBits === undefined || unusedBits > 7) throw new DerFault(`${what}: a bit string`);
  const last = octets.at(-1);
  // X.690 §11.2.1: unused bits are zero.
  if (last === undefined ? unusedBits !== 0 : (last & ((1 << unusedBits) - 1)) !== 0) {
    throw new DerFault(`${what}: unused bits that are set`);
  }
  return { octets, unusedBits };
}

/** @returns the octets of a bit string that is nothing but octets, as signatures are */
export function readBitStringOctets(element: DerElement, what: string): Buffer {
  const { octets, unusedBits } = readBitString(element, what);
  if (unusedBits !== 0) throw new DerFault(`${what}: unused bits`);
  return octets;
}

/** A UUID under 2.25 (ITU-T X.667 §7) takes 19. */
const arcOctetsMax = 19;

/** @returns dotted decimal */
export function readObjectIdentifier(element: DerElement, what: string): string {
  const { content } = element;
  const last = content.at(-1);
  if (last === undefined || last >= 0x80) throw new DerFault(`${what}: an object identifier`);
  const arcs: (number | bigint)[] = [];
  let arc = 0;
  let start = 0;
  for (let index = 0; index < content.length; index++) {
    const octet = content.readUInt8(index);
    if (index === start && octet === 0x80) throw new DerFault(`${what}: a padded arc`);
    if (index - start === arcOctetsMax) throw new DerFault(`${what}: too large an arc`);
    arc = arc * 128 + (octet & 0x7f);
    if (octet >= 0x80) continue;
    const isExact = arc <= Number.MAX_SAFE_INTEGER;
    if (start === 0) {
      if (!isExact) throw new DerFault(`${what}: too large an arc`);
      const top = Math.min(2, Math.floor(arc / 40));
      arcs.push(top, arc - 40 * top);
    } else {
      arcs.push(isExact ? arc : exactArc(content.subarray(start, index + 1)));
    }
    arc = 0;
    start = index + 1;
  }
  return arcs.join('.');
}

function exactArc(octets: Buffer): bigint {
  return octets.reduce((arc, octet) => (arc << 7n) | BigInt(octet & 0x7f), 0n);
}

/** @returns milliseconds since 1970; RFC 5280 §4.1.2.5: seconds, Z, and no fraction */
export function readTime(element: DerElement, what: string): number {
  const isUtc = element.tag === derTag.utcTime;
  if (!isUtc && element.tag !== derTag.generalizedTime) throw new DerFault(`${what}: not a time`);
  const { content } = element;
  const yearDigits = isUtc ? 2 : 4;
  if (
    content.length !== yearDigits + 11 ||
    content.at(-1) !== asciiZulu ||
    !content.subarray(0, -1).every(isDigit)
  ) {
    throw new DerFault(`${what}: a time that is not in RFC 5280's form`);
  }
  const pair = (at: number): number => 10 * digitAt(content, at) + digitAt(content, at + 1);
  // RFC 5280 §4.1.2.5.1: two digits from 50 on are of the twentieth century.
  const year = isUtc ? pair(0) + (pair(0) >= 50 ? 1900 : 2000) : 100 * pair(0) + pair(2);
  const [month, day, hour] = [pair(yearDigits), pair(yearDigits + 2), pair(yearDigits + 4)];
  const [minute, second] = [pair(yearDigits + 6), pair(yearDigits + 8)];
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  date.setUTCHours(hour, minute, second);
  // Whatever is too large or too small carries over into a neighbour.
  const exists =
    date.getUTCMonth() === month - 1 &&
    date.getUTCDate() === day &&
    date.getUTCHours() === hour &&
    date.getUTCMinutes() === minute &&
    date.getUTCSeconds() === second;
  if (!exists) throw new DerFault(`${what}: no such date or time`);
  return date.getTime();
}

const asciiZero = 0x30;
const asciiZulu = 0x5a;

function isDigit(octet: number): boolean {
  return octet >= asciiZero && octet <= asciiZero + 9;
}

function digitAt(octets: Buffer, at: number): number {
  return octets.readUInt8(at) - asciiZero;
}

function hex(tag: number | undefined): string {
  return tag === undefined ? 'the end' : `0x${tag.toString(16).padStart(2, '0')}`;
}
