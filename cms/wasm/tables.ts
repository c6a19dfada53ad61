/** The memory of a curve's module, and the tables in it. */

const pageBytes = 65_536;

export class Memory {
  readonly #memory: WebAssembly.Memory;
  #next: number;
  #octets: Uint8Array;

  constructor(memory: WebAssembly.Memory, free: number) {
    this.#memory = memory;
    this.#next = free;
    this.#octets = new Uint8Array(memory.buffer);
  }

  /** A view of everything; not to be kept across `reserve`. */
  get octets(): Uint8Array {
    // Growing detaches the buffer that there was.
    if (this.#octets.length === 0) this.#octets = new Uint8Array(this.#memory.buffer);
    return this.#octets;
  }

  /** @returns the address of that many octets, a multiple of 16, which are never given back */
  reserve(bytes: number): number {
    const address = this.#next;
    this.#next += Math.ceil(bytes / 16) * 16;
    const missing = this.#next - this.#memory.buffer.byteLength;
    if (missing > 0) this.#memory.grow(Math.ceil(missing / pageBytes));
    return address;
  }
}

/** Tables of one size, by point: a bounded number, of which the longest unused one gives way. */
export class Tables {
  readonly #memory: Memory;
  readonly #tableBytes: number;
  readonly #tablesMax: number;
  readonly #addresses = new Map<string, number>();
  /** Reserved, and not filled because making the table failed. */
  readonly #spare: number[] = [];

  constructor(memory: Memory, tableBytes: number, tablesMax: number) {
    this.#memory = memory;
    this.#tableBytes = tableBytes;
    this.#tablesMax = tablesMax;
  }

  /**
   * @param make - fills the table at an address
   * @returns the address of the table under `key`; undefined if there is none and `make` returns false
   */
  get(key: string, make: (address: number) => boolean): number | undefined {
    const kept = this.#addresses.get(key);
    if (kept !== undefined) {
      // A Map iterates in order of insertion, so inserting again makes this the youngest.
      this.#addresses.delete(key);
      this.#addresses.set(key, kept);
      return kept;
    }
    const address = this.#vacant();
    if (make(address)) {
      this.#addresses.set(key, address);
      return address;
    }
    this.#spare.push(address);
    return undefined;
  }

  #vacant(): number {
    const spare = this.#spare.pop();
    if (spare !== undefined) return spare;
    if (this.#addresses.size < this.#tablesMax) return this.#memory.reserve(this.#tableBytes);
    const [[key, address] = ['', 0]] = this.#addresses;
    this.#addresses.delete(key);
    return address;
  }
}
