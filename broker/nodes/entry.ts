/** One entry of the shared log: the writes of one transaction, in their order, as octets. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { StoredValue } from '../store/journal.ts';
import { schemaVersion } from '../store/store-schema.ts';
import { sql } from '../store/store-statements.ts';

/**
 * An entry begins with four octets that follow from all statements and the version of the tables: nodes of versions
 * that would not write the same do not follow each other. Then, for each write: the number of its statement (2 octets),
 * of its values (1), and each value after its tag.
 */
const texts: readonly string[] = Object.values(sql);
const numbers: ReadonlyMap<string, number> = new Map(texts.map((text, index) => [text, index]));
const formatBytes = 4;
const format = createHash('sha256')
  .update(JSON.stringify([schemaVersion, texts]))
  .digest()
  .subarray(0, formatBytes);

const tag = { null: 0, unsigned: 1, number: 2, text: 3, bytes: 4 } as const;
const unsignedMax = 0xffff_ffff;
/** The longest that a value is beside its octets: a tag and a number. */
const valueHeadBytes = 9;
const firstCapacity = 4096;
/** A buffer that one large entry made grow is not kept. */
const keptCapacityMax = 1024 * 1024;

export interface Write {
  /** SQL. */
  readonly statement: string;
  readonly values: readonly StoredValue[];
}

/** Gathers the writes of a transaction. */
export class EntryWriter {
  #buffer = Buffer.allocUnsafe(firstCapacity);
  #length = 0;

  constructor() {
    this.#begin();
  }

  add(statement: string, values: readonly StoredValue[]): void {
    const number = numbers.get(statement);
    assert(number !== undefined, 'every statement that writes is in the table');
    this.#reserve(3);
    this.#length = this.#buffer.writeUInt16BE(number, this.#length);
    this.#length = this.#buffer.writeUInt8(values.length, this.#length);
    for (const value of values) this.#add(value);
  }

  /** @returns the entry; the next one begins */
  take(): Buffer {
    const entry = Buffer.from(this.#buffer.subarray(0, this.#length));
    if (this.#buffer.length > keptCapacityMax) this.#buffer = Buffer.allocUnsafe(firstCapacity);
    this.#begin();
    return entry;
  }

  #begin(): void {
    this.#length = format.copy(this.#buffer);
  }

  #add(value: StoredValue): void {
    if (value === null) {
      this.#reserve(1);
      this.#length = this.#buffer.writeUInt8(tag.null, this.#length);
    } else if (typeof value === 'number') {
      this.#addNumber(value);
    } else if (typeof value === 'string') {
      const length = Buffer.byteLength(value);
      this.#head(tag.text, length);
      this.#length += this.#buffer.write(value, this.#length);
    } else {
      this.#head(tag.bytes, value.length);
      this.#length += value.copy(this.#buffer, this.#length);
    }
  }

  #addNumber(value: number): void {
    this.#reserve(valueHeadBytes);
    if (Number.isInteger(value) && value >= 0 && value <= unsignedMax) {
      this.#length = this.#buffer.writeUInt8(tag.unsigned, this.#length);
      this.#length = this.#buffer.writeUInt32BE(value, this.#length);
    } else {
      this.#length = this.#buffer.writeUInt8(tag.number, this.#length);
      this.#length = this.#buffer.writeDoubleBE(value, this.#length);
    }
  }

  #head(kind: number, length: number): void {
    this.#reserve(valueHeadBytes + length);
    this.#length = this.#buffer.writeUInt8(kind, this.#length);
    this.#length = this.#buffer.writeUInt32BE(length, this.#length);
  }

  #reserve(bytes: number): void {
    const needed = this.#length + bytes;
    if (needed <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(needed, 2 * this.#buffer.length));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }
}

/** An entry without writes: that a node has become active is the first of its epoch. */
export function emptyEntry(): Buffer {
  return Buffer.from(format);
}

/** @returns undefined if a node of another version made it */
export function readEntry(entry: Buffer): Write[] | undefined {
  if (!entry.subarray(0, formatBytes).equals(format)) return undefined;
  const writes: Write[] = [];
  for (let at = formatBytes; at < entry.length;) {
    const statement = texts[entry.readUInt16BE(at)];
    assert(statement !== undefined, 'a statement of the table');
    const count = entry.readUInt8(at + 2);
    at += 3;
    const values: StoredValue[] = [];
    for (let index = 0; index < count; index++) {
      const [value, end] = readValue(entry, at);
      values.push(value);
      at = end;
    }
    writes.push({ statement, values });
  }
  return writes;
}

function readValue(entry: Buffer, at: number): [StoredValue, end: number] {
  const kind = entry.readUInt8(at);
  const start = at + 1;
  if (kind === tag.null) return [null, start];
  if (kind === tag.unsigned) return [entry.readUInt32BE(start), start + 4];
  if (kind === tag.number) return [entry.readDoubleBE(start), start + 8];
  const from = start + 4;
  const end = from + entry.readUInt32BE(start);
  assert(end <= entry.length, 'a whole entry');
  const octets = entry.subarray(from, end);
  return [kind === tag.text ? octets.toString() : octets, end];
}
