/** BER as a tree that can be bent: read leniently, and written as it is told to, right or wrong. */

export interface Tlv {
  tag: number;
  /** Undefined: `octets` are the content. An OCTET STRING around one element has it as a child too. */
  children: Tlv[] | undefined;
  octets: Buffer;
  length: LengthForm;
}

/** How the length of an element is written; with `claimed`, whatever the content is. */
export type LengthForm = 'minimal' | 'indefinite' | 'padded' | { readonly claimed: bigint };

export interface Place {
  readonly siblings: Tlv[];
  readonly index: number;
  readonly node: Tlv;
}

const depthMax = 24;
const constructed = 0x20;
const octetString = 0x04;

/** @returns elements that make up all of the octets, or undefined */
export function readForest(octets: Buffer, depth = 0): Tlv[] | undefined {
  const nodes: Tlv[] = [];
  for (let offset = 0; offset < octets.length;) {
    const found = readOne(octets, offset, depth);
    if (found === undefined) return undefined;
    nodes.push(found.node);
    offset = found.end;
  }
  return nodes;
}

export function writeForest(nodes: readonly Tlv[]): Buffer {
  return Buffer.concat(nodes.map(writeTlv));
}

export function writeTlv(node: Tlv): Buffer {
  const content = node.children === undefined ? node.octets : writeForest(node.children);
  if (node.length === 'indefinite') {
    return Buffer.concat([Buffer.of(node.tag, 0x80), content, Buffer.alloc(2)]);
  }
  return Buffer.concat([Buffer.of(node.tag), writeLength(node.length, content.length), content]);
}

/** Every element, parents first. */
export function placesOf(siblings: Tlv[], found: Place[] = []): Place[] {
  for (const [index, node] of siblings.entries()) {
    found.push({ siblings, index, node });
    if (node.children !== undefined) placesOf(node.children, found);
  }
  return found;
}

export function copyOf(node: Tlv): Tlv {
  return { ...node, children: node.children?.map(copyOf) };
}

export function element(tag: number, content: readonly Tlv[] | Buffer): Tlv {
  return Buffer.isBuffer(content)
    ? { tag, children: undefined, octets: content, length: 'minimal' }
    : { tag, children: [...content], octets: Buffer.alloc(0), length: 'minimal' };
}

function writeLength(form: Exclude<LengthForm, 'indefinite'>, actual: number): Buffer {
  const value = typeof form === 'object' ? form.claimed : BigInt(actual);
  if (value < 0x80n && form !== 'padded') return Buffer.of(Number(value));
  const digits = value.toString(16);
  const octets = Buffer.from(digits.padStart(digits.length + (digits.length % 2), '0'), 'hex');
  const padded = form === 'padded' ? Buffer.concat([Buffer.of(0), octets]) : octets;
  return Buffer.concat([Buffer.of(0x80 | padded.length), padded]);
}

function readOne(octets: Buffer, offset: number, depth: number): { node: Tlv; end: number } | undefined {
  const [tag, first] = octets.subarray(offset, offset + 2);
  if (tag === undefined || first === undefined || (tag === 0 && first === 0)) return undefined;
  if (first === 0x80) return readIndefinite(octets, offset, tag, depth);
  const count = first < 0x80 ? 0 : first & 0x7f;
  const start = offset + 2 + count;
  if (count > 4 || start > octets.length) return undefined;
  const length = count === 0 ? first : octets.readUIntBE(offset + 2, count);
  const end = start + length;
  if (end > octets.length) return undefined;
  return { node: nodeOf(tag, octets.subarray(start, end), depth), end };
}

function nodeOf(tag: number, content: Buffer, depth: number): Tlv {
  const mayHold = (tag & constructed) !== 0 || (tag === octetString && content[0] === 0x30);
  const children = mayHold && depth < depthMax ? readForest(content, depth + 1) : undefined;
  return { tag, children, octets: content, length: 'minimal' };
}

function readIndefinite(
  octets: Buffer,
  offset: number,
  tag: number,
  depth: number,
): { node: Tlv; end: number } | undefined {
  const children: Tlv[] = [];
  let at = offset + 2;
  while (octets[at] !== 0 || octets[at + 1] !== 0) {
    const found = depth < depthMax ? readOne(octets, at, depth + 1) : undefined;
    if (found === undefined) return undefined;
    children.push(found.node);
    at = found.end;
  }
  return { node: { tag, children, octets: Buffer.alloc(0), length: 'indefinite' }, end: at + 2 };
}
