/** Pseudo-random choices out of a seed, so that a run can be repeated: xoshiro128** by Blackman and Vigna. */
export class Generator {
  readonly #state: Uint32Array;

  constructor(seed: number) {
    // SplitMix32 spreads a small seed over the whole state, which must not be all zeros.
    let z = seed >>> 0;
    this.#state = Uint32Array.from({ length: 4 }, () => {
      z = (z + 0x9e3779b9) >>> 0;
      let mixed = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
      mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
      return (mixed ^ (mixed >>> 15)) >>> 0;
    });
  }

  /** From 0 to 2^32 − 1. */
  next(): number {
    const [s0 = 0, s1 = 0, s2 = 0, s3 = 0] = this.#state;
    const result = Math.imul(rotated(Math.imul(s1, 5), 7), 9) >>> 0;
    const [c, d] = [s2 ^ s0, s3 ^ s1];
    this.#state.set([s0 ^ d, s1 ^ c, c ^ (s1 << 9), rotated(d, 11)]);
    return result;
  }

  /** From 0 to `bound` − 1. */
  below(bound: number): number {
    return Math.floor((this.next() / 2 ** 32) * bound);
  }

  chance(probability: number): boolean {
    return this.next() < probability * 2 ** 32;
  }

  pick<Item>(items: readonly Item[]): Item {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new RangeError('nothing to choose from');
    return item;
  }

  octets(count: number): Buffer {
    return Buffer.from(Array.from({ length: count }, () => this.next() & 0xff));
  }
}

function rotated(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}
