/** Gathers the packets of one turn for one write, so that each does not cost a TLS record and a system call. */

const chunkBytes = 64 * 1024;
/** Above this a copy costs more than a part of its own. */
const copiedBytesMax = 8 * 1024;

export class Output {
  #parts: Buffer[] = [];
  #bytes = 0;
  #chunk = Buffer.allocUnsafe(chunkBytes);
  /** Of the chunk, what was given away already ends where what waits begins. */
  #start = 0;
  #end = 0;

  /** What waits for the next `take`. */
  get bytes(): number {
    return this.#bytes;
  }

  add(packet: Buffer): void {
    this.#bytes += packet.length;
    if (packet.length > copiedBytesMax) {
      this.#closePart();
      this.#parts.push(packet);
      return;
    }
    if (this.#end + packet.length > chunkBytes) {
      this.#closePart();
      this.#chunk = Buffer.allocUnsafe(chunkBytes);
      this.#start = 0;
      this.#end = 0;
    }
    this.#chunk.set(packet, this.#end);
    this.#end += packet.length;
  }

  /** @returns all that was added, in order */
  take(): Buffer {
    this.#closePart();
    const [only] = this.#parts;
    const bytes = this.#parts.length === 1 && only !== undefined ? only : Buffer.concat(this.#parts);
    this.#parts = [];
    this.#bytes = 0;
    return bytes;
  }

  #closePart(): void {
    if (this.#end > this.#start) this.#parts.push(this.#chunk.subarray(this.#start, this.#end));
    this.#start = this.#end;
  }
}
