/** What was used last, up to a number: whoever shows a million names costs no more memory than that number. */

/** Two generations, for a map that forgets its oldest entry one by one steps over all that it has forgotten before. */
export class Recent<V> {
  #young = new Map<string, V>();
  #old = new Map<string, V>();
  readonly #sizeMax: number;

  constructor(sizeMax: number) {
    this.#sizeMax = sizeMax;
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  /** @returns what is known of the key, or else what `make` makes; at least half of the number that were used last are known */
  get(key: string, make: () => V): V {
    const known = this.#young.get(key);
    if (known !== undefined) return known;
    const value = this.#old.get(key) ?? make();
    this.#old.delete(key);
    this.#young.set(key, value);
    if (this.#young.size >= this.#sizeMax / 2) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    return value;
  }
}
