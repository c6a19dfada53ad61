/** Inclusion and consistency proofs (RFC 9162 §2.1.3, §2.1.4): made from the leaves, verified without them. */
import { hashNode } from './merkle.ts';
import type { LeafHashes } from './merkle.ts';

export interface TreeState {
  readonly size: number;
  readonly root: Buffer;
}

/** A tree of 2^53 leaves has paths no longer than this. */
export const pathLengthMax = 64;

/**
 * @returns the sibling of each node on the way from the leaf to the root of the first `size` leaves
 * @throws RangeError if there is no such leaf or tree
 * @see RFC 9162 §2.1.3.1
 */
export function inclusionPath(leaves: LeafHashes, index: number, size: number): Buffer[] {
  requireRange('leaf', index, size - 1);
  requireRange('tree size', size, leaves.length);
  const path: Buffer[] = [];
  for (let start = 0, end = size; end - start > 1;) {
    const middle = start + splitOf(end - start);
    const isLeft = index < middle;
    path.unshift(isLeft ? rootOf(leaves, middle, end) : rootOf(leaves, start, middle));
    if (isLeft) end = middle;
    else start = middle;
  }
  return path;
}

/**
 * @returns what shows that the tree of `size` leaves continues that of `first`
 * @throws RangeError if there is no such tree
 * @see RFC 9162 §2.1.4.1
 */
export function consistencyPath(leaves: LeafHashes, first: number, size: number): Buffer[] {
  requireRange('tree size', size, leaves.length);
  requireRange('earlier tree size', first, size);
  if (first === 0 || first === size) return [];
  const path: Buffer[] = [];
  let start = 0;
  let end = size;
  while (end !== first) {
    const middle = start + splitOf(end - start);
    const isLeft = first <= middle;
    path.unshift(isLeft ? rootOf(leaves, middle, end) : rootOf(leaves, start, middle));
    if (isLeft) end = middle;
    else start = middle;
  }
  // The verifier knows this one if it is the whole of the earlier tree.
  return start === 0 ? path : [rootOf(leaves, start, end), ...path];
}

/** @see RFC 9162 §2.1.3.2 */
export function isIncluded(
  leafHash: Buffer,
  index: number,
  path: readonly Buffer[],
  tree: TreeState,
): boolean {
  if (!isSize(index) || !isSize(tree.size) || index >= tree.size || path.length > pathLengthMax) return false;
  let [node, last] = [index, tree.size - 1];
  let root = leafHash;
  for (const sibling of path) {
    if (last === 0) return false;
    if (isOdd(node) || node === last) {
      root = hashNode(sibling, root);
      [node, last] = upToOdd(node, last);
    } else {
      root = hashNode(root, sibling);
    }
    [node, last] = [half(node), half(last)];
  }
  return last === 0 && root.equals(tree.root);
}

/** @see RFC 9162 §2.1.4.2 */
export function isConsistent(first: TreeState, second: TreeState, path: readonly Buffer[]): boolean {
  if (!isSize(first.size) || !isSize(second.size) || first.size > second.size) return false;
  if (path.length > pathLengthMax) return false;
  if (first.size === second.size) return path.length === 0 && first.root.equals(second.root);
  if (first.size === 0) return path.length === 0; // any tree continues the empty one
  const nodes = isPowerOfTwo(first.size) ? [first.root, ...path] : path;
  const [beginning, ...rest] = nodes;
  if (beginning === undefined || path.length === 0) return false;
  let [node, last] = [first.size - 1, second.size - 1];
  while (isOdd(node)) [node, last] = [half(node), half(last)];
  let [firstRoot, secondRoot] = [beginning, beginning];
  for (const sibling of rest) {
    if (last === 0) return false;
    if (isOdd(node) || node === last) {
      firstRoot = hashNode(sibling, firstRoot);
      secondRoot = hashNode(sibling, secondRoot);
      [node, last] = upToOdd(node, last);
    } else {
      secondRoot = hashNode(secondRoot, sibling);
    }
    [node, last] = [half(node), half(last)];
  }
  return last === 0 && firstRoot.equals(first.root) && secondRoot.equals(second.root);
}

function rootOf(leaves: LeafHashes, start: number, end: number): Buffer {
  if (end - start === 1) return Buffer.from(leaves.at(start));
  const middle = start + splitOf(end - start);
  return hashNode(rootOf(leaves, start, middle), rootOf(leaves, middle, end));
}

/** @returns the largest power of two below `size`, which is at least 2 */
function splitOf(size: number): number {
  let split = 1;
  while (split * 2 < size) split *= 2;
  return split;
}

// Sizes go beyond 32 bits, so these are no bit operations.

function upToOdd(node: number, last: number): [number, number] {
  let [found, end] = [node, last];
  while (found !== 0 && !isOdd(found)) [found, end] = [half(found), half(end)];
  return [found, end];
}

function isOdd(value: number): boolean {
  return value % 2 === 1;
}

function half(value: number): number {
  return Math.floor(value / 2);
}

function isPowerOfTwo(value: number): boolean {
  return value === 1 || splitOf(value) * 2 === value;
}

function isSize(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function requireRange(what: string, value: number, max: number): void {
  if (!isSize(value) || value > max) throw new RangeError(`${what} ${value}: there is none; at most ${max}`);
}
