/** Splits a byte stream at packet ends, so that no length inside a packet can reach into the next. */
import type { WireFault } from './packet-body.ts';
import { malformed } from './packet-body.ts';

/** What becomes of the reading: it goes on, with `readOn` only, or ends. */
export type Continuation = true | 'later' | false;

/**
 * Takes one whole packet, which lies in `data`: its first byte is given, its body goes from `bodyStart` to `end`.
 *
 * @returns a fault ends the reading, too
 */
export type FrameHandler = (
  first: number,
  data: Buffer,
  bodyStart: number,
  end: number,
) => Continuation | WireFault;

const nothing = Buffer.alloc(0);
/** Not all of the fixed header is there. */
const unknownLength = 0;
const malformedLength = -1;

export class FrameReader {
  /** Of a whole packet, fixed header included. */
  packetBytesMax: number;
  /** MQTT 5 wants lengths in as few bytes as possible [MQTT-1.5.5-1]; MQTT 3.1.1 doesn't say. */
  areLengthsMinimal = false;
  readonly #handler: FrameHandler;
  /** The beginning of a packet whose rest has not come. */
  #pending = nothing;
  #pendingBytes = 0;
  #wantedBytes = 0;
  #bodyStart = 0;
  /** What came behind the packet whose handler said later. */
  #rest: Buffer[] = [];
  #isOver = false;

  constructor(packetBytesMax: number, handler: FrameHandler) {
    this.packetBytesMax = packetBytesMax;
    this.#handler = handler;
  }

  /** What is kept of a packet whose rest has not come, its room to grow included. */
  get pendingBytes(): number {
    return this.#pending.length;
  }

  /** Whether there is something for `readOn`. */
  get hasRest(): boolean {
    return this.#rest.length > 0;
  }

  /** @returns why the stream cannot be read any further, or undefined */
  push(chunk: Buffer): WireFault | undefined {
    if (this.#rest.length === 0) return this.#read(chunk);
    this.#rest.push(chunk);
    return undefined;
  }

  /** Goes on behind the packet whose handler said later; for the rest as `push`. */
  readOn(): WireFault | undefined {
    const chunks = this.#rest;
    this.#rest = [];
    for (const [index, chunk] of chunks.entries()) {
      const fault = this.#read(chunk);
      if (fault !== undefined) return fault;
      if (this.#rest.length === 0) continue;
      this.#rest.push(...chunks.slice(index + 1));
      return undefined;
    }
    return undefined;
  }

  #read(chunk: Buffer): WireFault | undefined {
    if (this.#isOver) return undefined;
    let data = chunk;
    if (this.#pendingBytes > 0) {
      this.#append(chunk);
      if (this.#pendingBytes < this.#wantedBytes) return undefined;
      data = this.#pending.subarray(0, this.#pendingBytes);
      this.#pending = nothing; // slices of it outlive the packet, so the next one has its own
      this.#pendingBytes = 0;
    }
    let offset = 0;
    while (offset < data.length) {
      const bytes = this.#readLength(data, offset);
      if (bytes === malformedLength) return malformed('the remaining length'); // [MQTT-1.5.5-1], §2.2.3
      if (bytes > this.packetBytesMax) {
        return { reason: 'packet_too_large', detail: `${bytes} bytes, at most ${this.packetBytesMax}` };
      }
      const end = offset + bytes;
      if (bytes === unknownLength || end > data.length) {
        this.#keep(data, offset, bytes);
        return undefined;
      }
      const outcome = this.#handler(data.readUInt8(offset), data, this.#bodyStart, end);
      offset = end;
      if (outcome === true) continue;
      if (outcome === 'later') {
        if (offset < data.length) this.#rest.push(data.subarray(offset));
        return undefined;
      }
      this.#isOver = true;
      return outcome === false ? undefined : outcome;
    }
    return undefined;
  }

  #keep(data: Buffer, offset: number, wantedBytes: number): void {
    this.#wantedBytes = wantedBytes;
    this.#append(data.subarray(offset));
  }

  /** Copies: a peer that sends byte by byte must not leave a buffer for each, nor one that only announces get them all. */
  #append(bytes: Buffer): void {
    const size = this.#pendingBytes + bytes.length;
    if (size > this.#pending.length) {
      const grown = Buffer.allocUnsafe(Math.max(size, Math.min(this.#wantedBytes, 2 * size)));
      this.#pending.copy(grown, 0, 0, this.#pendingBytes);
      this.#pending = grown;
    }
    bytes.copy(this.#pending, this.#pendingBytes);
    this.#pendingBytes = size;
  }

  /**
   * Leaves in `#bodyStart` where the fixed header ends; no object is made for it, for every packet passes here.
   *
   * @returns the bytes of the whole packet, or `unknownLength` or `malformedLength`
   */
  #readLength(data: Buffer, start: number): number {
    let length = 0;
    for (let index = 0, unit = 1; index < 4; index++, unit *= 128) {
      const byte = data[start + 1 + index];
      if (byte === undefined) return unknownLength;
      length += (byte & 0x7f) * unit;
      if ((byte & 0x80) !== 0) continue;
      if (byte === 0 && index > 0 && this.areLengthsMinimal) return malformedLength; // longer than it has to be
      this.#bodyStart = start + 2 + index;
      return 2 + index + length;
    }
    return malformedLength;
  }
}
