/** Which numbers of a device are missing, and which were used twice (DESIGN §6). */
import { hashBytes } from './merkle.ts';

export interface Gap {
  /** As `streamOf` names it: the device, or one of its groups of readers. */
  readonly stream: string;
  readonly from: number;
  readonly to: number;
}

/** Two envelopes with one number. */
export interface Fork {
  readonly stream: string;
  readonly sequence: number;
  /** Of the leaves that say so: the first that has the number, and one with another digest. */
  readonly leaves: readonly [number, number];
}

interface Numbers {
  /** Sequence → index of its first digest. */
  readonly seen: Map<number, number>;
  lowest: number;
  highest: number;
}

/** More are counted and not named. */
const namedMax = 1000;

export class Completeness {
  readonly #streams = new Map<string, Numbers>();
  /** Of all numbers, and the leaf of each. */
  #digests = Buffer.alloc(1024 * hashBytes);
  readonly #leaves: number[] = [];
  readonly forks: Fork[] = [];

  /** @param isVerified - of one that was not, the number only fills a gap: anybody may have written it */
  take(stream: string, sequence: number, digest: Buffer, leaf: number, isVerified: boolean): void {
    let numbers = this.#streams.get(stream);
    if (numbers === undefined) {
      numbers = { seen: new Map(), lowest: sequence, highest: sequence };
      this.#streams.set(stream, numbers);
    }
    numbers.lowest = Math.min(numbers.lowest, sequence);
    numbers.highest = Math.max(numbers.highest, sequence);
    const known = numbers.seen.get(sequence);
    if (known === undefined) {
      // An unverified one must not be the one that a genuine one is compared with.
      numbers.seen.set(sequence, isVerified ? this.#keep(digest, leaf) : unverified);
    } else if (!isVerified) {
      return;
    } else if (known === unverified) {
      numbers.seen.set(sequence, this.#keep(digest, leaf));
    } else if (!this.#digestAt(known).equals(digest) && this.forks.length < namedMax) {
      this.forks.push({ stream, sequence, leaves: [this.#leaves[known] ?? 0, leaf] });
    }
  }

  /** A device counts from 1, and what lies before the first that the ledger saw is no gap of the ledger. */
  gaps(): Gap[] {
    const gaps: Gap[] = [];
    for (const [stream, { seen, lowest, highest }] of this.#streams) {
      if (seen.size === highest - lowest + 1) continue;
      const sequences = Array.from(seen.keys()).toSorted((one, other) => one - other);
      let next = lowest;
      for (const sequence of sequences) {
        if (sequence > next && gaps.length < namedMax) gaps.push({ stream, from: next, to: sequence - 1 });
        next = sequence + 1;
      }
    }
    return gaps;
  }

  #keep(digest: Buffer, leaf: number): number {
    const index = this.#leaves.push(leaf) - 1;
    const at = index * hashBytes;
    if (at === this.#digests.length) this.#digests = Buffer.concat([this.#digests, Buffer.alloc(at)]);
    digest.copy(this.#digests, at);
    return index;
  }

  #digestAt(index: number): Buffer {
    return this.#digests.subarray(index * hashBytes, (index + 1) * hashBytes);
  }
}

const unverified = -1;
