/** What the fuzzer does to a message: to its octets, and to its elements. */
import type { Generator } from './generator.ts';
import { copyOf, element, placesOf, readForest, writeForest, writeTlv } from './tlv.ts';
import type { LengthForm, Place, Tlv } from './tlv.ts';

/** A little more than what a reader takes. */
export const inputBytesMax = 260 * 1024;
const changesMax = 4;
/** Universal tags, and the context tags of CMS and X.509. */
const tags = [
  0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0a, 0x0c, 0x13, 0x17, 0x18, 0x1f, 0x24, 0x30, 0x31, 0x80, 0x81, 0x82,
  0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xbf, 0x00,
];
const lengths: readonly bigint[] = [
  0n,
  1n,
  0x7fn,
  0x80n,
  0xffn,
  0xffffn,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 32n,
  2n ** 53n,
  2n ** 64n - 1n,
  2n ** 64n,
];

/**
 * @param donors - messages to take pieces from
 * @returns other octets than those given, most of the time
 */
export function mutated(octets: Buffer, donors: readonly Buffer[], generator: Generator): Buffer {
  const forest = generator.chance(0.75) ? readForest(octets) : undefined;
  const changed =
    forest === undefined || forest.length === 0
      ? changeOctets(octets, donors, generator)
      : changeForest(forest, donors, generator);
  return changed.subarray(0, inputBytesMax);
}

/** Changes elements; lengths of what they are in are put right. */
export function changeForest(forest: Tlv[], donors: readonly Buffer[], generator: Generator): Buffer {
  for (let left = 1 + generator.below(changesMax); left > 0; left--) {
    const places = placesOf(forest);
    if (places.length > 0) generator.pick(treeChanges)(generator.pick(places), donors, generator);
  }
  // Sets in another order are refused early, which would hide what is behind.
  if (generator.chance(0.5)) sortSets(forest);
  const written = writeForest(forest);
  return generator.chance(0.1) ? changeOctets(written, donors, generator) : written;
}

function changeOctets(octets: Buffer, donors: readonly Buffer[], generator: Generator): Buffer {
  let changed: Buffer = Buffer.from(octets);
  for (let left = 1 + generator.below(changesMax); left > 0; left--) {
    changed = generator.pick(octetChanges)(changed, donors, generator);
  }
  return changed;
}

type OctetChange = (octets: Buffer, donors: readonly Buffer[], generator: Generator) => Buffer;

const octetChanges: readonly OctetChange[] = [
  flipBit,
  flipBit,
  (octets, _donors, generator) => {
    if (octets.length > 0) octets[generator.below(octets.length)] = generator.pick([0, 1, 0x7f, 0x80, 0xff]);
    return octets;
  },
  (octets, _donors, generator) => octets.subarray(0, generator.below(octets.length + 1)),
  (octets, _donors, generator) => Buffer.concat([octets, generator.octets(1 + generator.below(40))]),
  (octets, _donors, generator) => {
    const at = generator.below(octets.length + 1);
    const end = Math.min(octets.length, at + generator.below(16));
    return Buffer.concat([octets.subarray(0, at), octets.subarray(end)]);
  },
  (octets, _donors, generator) => {
    const at = generator.below(octets.length + 1);
    return Buffer.concat([
      octets.subarray(0, at),
      generator.octets(generator.below(16)),
      octets.subarray(at),
    ]);
  },
  // The head of one message and the tail of another.
  (octets, donors, generator) => {
    const donor = generator.pick(donors);
    const tail = donor.subarray(generator.below(donor.length + 1));
    return Buffer.concat([octets.subarray(0, generator.below(octets.length + 1)), tail]);
  },
  // As many octets of another in place of ours.
  (octets, donors, generator) => {
    const donor = generator.pick(donors);
    const at = generator.below(octets.length + 1);
    octets.set(donor.subarray(at, Math.min(octets.length, at + generator.below(64))), at);
    return octets;
  },
];

function flipBit(octets: Buffer, _donors: readonly Buffer[], generator: Generator): Buffer {
  if (octets.length === 0) return octets;
  const at = generator.below(octets.length);
  octets.writeUInt8(octets.readUInt8(at) ^ (1 << generator.below(8)), at);
  return octets;
}

type TreeChange = (place: Place, donors: readonly Buffer[], generator: Generator) => void;

const treeChanges: readonly TreeChange[] = [
  ({ siblings, index }) => void siblings.splice(index, 1),
  ({ siblings, index, node }) => void siblings.splice(index, 0, copyOf(node)),
  ({ siblings, index, node }, _donors, generator) => {
    const count = generator.pick([2, 8, 16, 17, 100, 101]);
    const size = writeTlv(node).length;
    if (size * count > inputBytesMax) return;
    siblings.splice(index, 0, ...Array.from({ length: count }, () => copyOf(node)));
  },
  ({ siblings, index, node }, _donors, generator) => {
    const other = generator.below(siblings.length);
    [siblings[index], siblings[other]] = [siblings[other] ?? node, node];
  },
  ({ node }, _donors, generator) => void (node.tag = generator.pick(tags)),
  ({ node }, _donors, generator) => void (node.length = otherLength(node, generator)),
  ({ node }, _donors, generator) => void (node.length = otherLength(node, generator)),
  nest,
  ({ siblings, index }, donors, generator) => {
    const found = placesIn(generator.pick(donors));
    if (found.length > 0) siblings.splice(index, generator.below(2), copyOf(generator.pick(found).node));
  },
  // An element of the same kind out of another message.
  ({ siblings, index, node }, donors, generator) => {
    const found = placesIn(generator.pick(donors)).filter((place) => place.node.tag === node.tag);
    if (found.length > 0) siblings[index] = copyOf(generator.pick(found).node);
  },
  changeContent,
  changeContent,
  changeContent,
  inSegments,
];

const placesByDonor = new WeakMap<Buffer, readonly Place[]>();

function placesIn(donor: Buffer): readonly Place[] {
  const known = placesByDonor.get(donor);
  if (known !== undefined) return known;
  const found = placesOf(readForest(donor) ?? []);
  placesByDonor.set(donor, found);
  return found;
}

function otherLength(node: Tlv, generator: Generator): LengthForm {
  const size = BigInt(node.children === undefined ? node.octets.length : writeForest(node.children).length);
  return generator.pick<LengthForm>([
    'minimal',
    'indefinite',
    'indefinite',
    'padded',
    { claimed: size + 1n },
    { claimed: size === 0n ? 0n : size - 1n },
    { claimed: generator.pick(lengths) },
  ]);
}

function nest({ siblings, index, node }: Place, _donors: readonly Buffer[], generator: Generator): void {
  const tag = generator.pick([node.tag | 0x20, 0x30, 0x24, 0xa0, 0x31]);
  const length = generator.pick<LengthForm>(['minimal', 'indefinite']);
  let nested = node;
  for (let depth = generator.pick([1, 1, 2, 3, 500]); depth > 0; depth--) {
    nested = { ...element(tag, [nested]), length };
  }
  siblings[index] = nested;
}

function inSegments({ node }: Place, _donors: readonly Buffer[], generator: Generator): void {
  if (node.children !== undefined && node.tag !== 0x04) return;
  const content = node.children === undefined ? node.octets : writeForest(node.children);
  const bytes = 1 + generator.below(Math.max(content.length, 1));
  const segments: Tlv[] = [];
  for (let at = 0; at < content.length && segments.length < 10_000; at += bytes) {
    segments.push(element(0x04, content.subarray(at, at + bytes)));
  }
  Object.assign(node, {
    tag: node.tag | 0x20,
    children: segments,
    length: generator.pick(['minimal', 'indefinite']),
  });
}

function changeContent({ node }: Place, donors: readonly Buffer[], generator: Generator): void {
  if (node.children !== undefined) return;
  const choice = generator.below(8);
  if (choice === 0) node.octets = Buffer.alloc(0);
  else if (choice === 1) node.octets = generator.octets(node.octets.length);
  else if (choice === 2)
    node.octets = Buffer.alloc(generator.pick([1, 2, 32, 65, 97, 513, 65_536]), generator.next());
  else if (choice === 3 && node.tag === 0x02) node.octets = integerOf(generator);
  else node.octets = changeOctets(node.octets, donors, generator).subarray(0, inputBytesMax);
}

function integerOf(generator: Generator): Buffer {
  const bits = generator.pick([1, 7, 8, 31, 32, 53, 63, 64, 160, 8000]);
  const hex = (2n ** BigInt(bits) - BigInt(generator.below(2))).toString(16);
  return Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex');
}

/** As DER wants it (X.690 §11.6). */
function sortSets(nodes: readonly Tlv[]): void {
  for (const { tag, children } of nodes) {
    if (children === undefined) continue;
    sortSets(children);
    // Attributes have implicit tags.
    if (tag !== 0x31 && tag !== 0xa0 && tag !== 0xa1 && tag !== 0xa2) continue;
    if (!children.every((child) => child.tag === 0x30)) continue;
    const sorted = children
      .map((child) => ({ child, der: writeTlv(child) }))
      .toSorted((a, b) => a.der.compare(b.der));
    children.splice(0, children.length, ...sorted.map(({ child }) => child));
  }
}
