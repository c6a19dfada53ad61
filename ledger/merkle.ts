/** Merkle trees as RFC 9162 §2.1.1 hashes them, with SHA-256. */
import { hash } from 'node:crypto';

export const hashBytes = 32;

const leafPrefix = Buffer.of(0);
const nodePrefix = Buffer.of(1);

/** Of a list without entries: the hash of an empty string. */
export const emptyRoot: Buffer = hash('sha256', Buffer.alloc(0), 'buffer');

/** The prefixes differ so that no node passes for a leaf (RFC 9162 §2.1.1). */
export function hashLeaf(entry: Uint8Array): Buffer {
  return hash('sha256', Buffer.concat([leafPrefix, entry]), 'buffer');
}

export function hashNode(left: Uint8Array, right: Uint8Array): Buffer {
  return hash('sha256', Buffer.concat([nodePrefix, left, right]), 'buffer');
}

/** What has to be known of a tree to append to it: the roots of its full subtrees, one for each bit of its size. */
export class Frontier {
  #size: number;
  /** Largest first. */
  readonly #subtrees: Buffer[];

  /** @throws RangeError if there is not one subtree for each bit of the size */
  constructor(size = 0, subtrees: readonly Buffer[] = []) {
    if (!Number.isSafeInteger(size) || size < 0 || subtrees.length !== subtreesOf(size)) {
      throw new RangeError(`a tree of ${size} leaves has not ${subtrees.length} full subtrees`);
    }
    this.#size = size;
    this.#subtrees = [...subtrees];
  }

  get size(): number {
    return this.#size;
  }

  get subtrees(): readonly Buffer[] {
    return this.#subtrees;
  }

  append(leafHash: Buffer): void {
    let carried = leafHash;
    for (let rest = this.#size; rest % 2 === 1; rest = (rest - 1) / 2) {
      const left = this.#subtrees.pop();
      if (left === undefined) throw new Error('a full subtree for each bit of the size');
      carried = hashNode(left, carried);
    }
    this.#subtrees.push(carried);
    this.#size += 1;
  }

  root(): Buffer {
    return (
      this.#subtrees.reduceRight<Buffer | undefined>(
        (right, left) => (right === undefined ? left : hashNode(left, right)),
        undefined,
      ) ?? emptyRoot
    );
  }

  copy(): Frontier {
    return new Frontier(this.#size, this.#subtrees);
  }
}

function subtreesOf(size: number): number {
  let count = 0;
  for (let rest = size; rest > 0; rest = Math.floor(rest / 2)) count += rest % 2;
  return count;
}

const leavesFirst = 1024;

/** The hashes of all leaves, in one piece of memory. */
export class LeafHashes {
  #octets = Buffer.alloc(leavesFirst * hashBytes);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(leafHash: Uint8Array): void {
    const at = this.#length * hashBytes;
    if (at === this.#octets.length) this.#octets = Buffer.concat([this.#octets, Buffer.alloc(at)]);
    this.#octets.set(leafHash, at);
    this.#length += 1;
  }

  /** @throws RangeError */
  at(index: number): Buffer {
    if (!Number.isInteger(index) || index < 0 || index >= this.#length)
      throw new RangeError(`no leaf ${index}`);
    return this.#octets.subarray(index * hashBytes, (index + 1) * hashBytes);
  }
}
