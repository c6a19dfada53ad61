/** Splits a byte stream at packet ends, so that no length inside a packet can reach into the next. */
import type { WireFault } from './packet-body.ts';
import { malformed } from './packet-body.ts';

/**
 * Takes one whole packet, which lies in `data`: its first byte is given, its body goes from `bodyStart` to `end`.
 *
 * @returns false ends the reading; a fault does, too
 */
export type FrameHandler = (
  first: number,
  data: Buffer,
  bodyStart: number,
  end: number,
) => boolean | WireFault;

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

  constructor(packetBytesMax: number, handler: FrameHandler) {
    this.packetBytesMax = packetBytesMax;
    this.#handler = handler;
  }

  /** What is kept of a packet whose rest has not come, its room to grow included. */
  get pendingBytes(): number {
    return this.#pending.length;
  }

  /** @returns why the stream cannot be read any further, or undefined */
  push(chunk: Buffer): WireFault | undefined {
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
      if (outcome !== true) return outcome === false ? undefined : outcome;
      offset = end;
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
