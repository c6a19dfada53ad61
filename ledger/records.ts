/**
 * The file of a ledger: 16 octets that say so, then records one after the other, never changed.
 *
 *     record = type (1 octet) | length (4, big endian) | payload | CRC-32 of all of that (4, big endian)
 *
 * The CRC finds a torn or decayed record; against people there are the tree heads.
 */
import { readSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { leafBytesMax } from './leaf.ts';

export const fileHeader = Buffer.from('plombe ledger 1\n');

const types = { leaf: 1, head: 2 } as const;
export type RecordType = keyof typeof types;

/** Octets around a payload. */
const headBytes = 5;
export const frameBytes = headBytes + 4;
/** A tree head has a few certificates. */
const payloadBytesMax = Math.max(leafBytesMax, 128 * 1024);
/** Read at once. */
const chunkBytesDefault = 4 * 1024 ** 2;

export type FoundRecord =
  | { readonly kind: RecordType; readonly payload: Buffer; readonly position: number; readonly end: number }
  /** The file ends within a record, as it does while one is being written. */
  | { readonly kind: 'torn'; readonly position: number }
  | { readonly kind: 'damaged'; readonly position: number; readonly detail: string };

export function encodeRecord(type: RecordType, payload: Uint8Array): Buffer {
  const record = Buffer.alloc(payload.length + frameBytes);
  record.writeUInt8(types[type], 0);
  record.writeUInt32BE(payload.length, 1);
  record.set(payload, headBytes);
  record.writeUInt32BE(crc32(record.subarray(0, -4)), record.length - 4);
  return record;
}

/**
 * Reads records from a position to the end, or to the first that is not whole, which is the last one that is given.
 *
 * @param position - of a record, past the file's header
 * @returns payloads that are good until the next one is asked for
 */
export function* readRecords(
  descriptor: number,
  position: number,
  chunkBytes = chunkBytesDefault,
): Generator<FoundRecord> {
  const window = new Window(descriptor, position, chunkBytes);
  while (window.fill(1)) {
    const record = recordAt(window);
    yield record;
    if (record.kind === 'torn' || record.kind === 'damaged') return;
    window.skip(record.payload.length + frameBytes);
  }
}

function recordAt(window: Window): FoundRecord {
  const { position } = window;
  const isWhole = window.fill(headBytes);
  const kind = typeOf(window.octets(0, 1).readUInt8());
  const damaged = (detail: string): FoundRecord => ({ kind: 'damaged', position, detail });
  if (kind === undefined) return damaged('not the beginning of a record');
  const length = isWhole ? window.octets(0, headBytes).readUInt32BE(1) : 0;
  if (length > payloadBytesMax) return damaged(`a record of ${length} octets`);
  if (!isWhole || !window.fill(length + frameBytes)) return { kind: 'torn', position };
  const end = headBytes + length;
  const check = window.octets(end, end + 4).readUInt32BE();
  if (crc32(window.octets(0, end)) !== check) return damaged('its check value differs');
  return { kind, payload: window.octets(headBytes, end), position, end: position + length + frameBytes };
}

/** A piece of the file in memory, which moves on. */
class Window {
  readonly #descriptor: number;
  #chunk: Buffer;
  /** Where the chunk begins in the file, how much of it is filled, and where in it we are. */
  #start: number;
  #filled = 0;
  #at = 0;

  constructor(descriptor: number, position: number, chunkBytes: number) {
    this.#chunk = Buffer.alloc(chunkBytes);
    this.#descriptor = descriptor;
    this.#start = position;
  }

  get position(): number {
    return this.#start + this.#at;
  }

  /** @returns whether the file has so many octets from here */
  fill(wanted: number): boolean {
    if (this.#filled - this.#at >= wanted) return true;
    if (wanted > this.#chunk.length - this.#at) this.#move(wanted);
    while (this.#filled - this.#at < wanted) {
      const room = this.#chunk.length - this.#filled;
      const read = readSync(this.#descriptor, this.#chunk, this.#filled, room, this.#start + this.#filled);
      if (read === 0) return false;
      this.#filled += read;
    }
    return true;
  }

  octets(from: number, to: number): Buffer {
    return this.#chunk.subarray(this.#at + from, this.#at + to);
  }

  skip(octets: number): void {
    this.#at += octets;
  }

  #move(wanted: number): void {
    const target = wanted > this.#chunk.length ? Buffer.alloc(wanted + this.#chunk.length) : this.#chunk;
    this.#chunk.copy(target, 0, this.#at, this.#filled);
    this.#start += this.#at;
    this.#filled -= this.#at;
    this.#at = 0;
    this.#chunk = target;
  }
}

function typeOf(octet: number): RecordType | undefined {
  return octet === types.leaf ? 'leaf' : octet === types.head ? 'head' : undefined;
}
