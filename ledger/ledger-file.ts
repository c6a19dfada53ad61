/** A ledger that is written: leaves are appended, durable when the call returns, and covered by a tree head now and then. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import type { ContentSigner } from '../cms/signed-content.ts';
import { syncFolder } from '../runtime/files.ts';
import { LedgerError } from './errors.ts';
import type { Leaf, NumberedLeaf } from './leaf.ts';
import { decodeLeaf, encodeLeaf } from './leaf.ts';
import { Frontier, hashLeaf } from './merkle.ts';
import { encodeRecord, fileHeader, frameBytes, readRecords } from './records.ts';
import type { FoundRecord } from './records.ts';
import { originOf, signHead } from './tree-head.ts';
import type { TreeHead } from './tree-head.ts';

/** A leaf of one ledger: no other ledger has the same there, and neither has this one once it was rewritten. */
export interface LedgerMark {
  readonly origin: string;
  readonly position: number;
  readonly leafHash: Buffer;
}

/** What somebody who follows a ledger has to keep, so that only what is new is read. */
export interface Checkpoint {
  readonly size: number;
  readonly subtrees: readonly Buffer[];
  /** In the file, behind the last leaf. */
  readonly position: number;
  /** The last leaf. */
  readonly mark?: LedgerMark | undefined;
}

export interface WrittenLeaf {
  readonly leaf: NumberedLeaf;
  readonly position: number;
}

export interface LedgerOptions {
  /** Of a new one. */
  readonly owner: string;
  readonly timeMs: number;
  /** What was known of it the last time; everything up to there is durable. */
  readonly checkpoint?: Checkpoint | undefined;
}

/** What one call appends; a torn tail is no longer. */
const appendBytesMax = 16 * 1024 ** 2;
/** Read at once for one leaf, and for several. */
const oneLeafBytes = 4096;
const manyLeavesBytes = 256 * 1024;

/**
 * Opens a ledger, or begins one. What a crash has left half written was never acknowledged: it is moved to a file beside.
 *
 * @returns the ledger, and the leaves that came after the checkpoint
 * @throws LedgerError
 */
export function openLedger(file: string, options: LedgerOptions): { ledger: Ledger; unseen: WrittenLeaf[] } {
  return stored(file, () => {
    if (!existsSync(file)) begin(file, options);
    const descriptor = openSync(file, 'r+');
    try {
      requireHeader(descriptor, file);
      const origin = originOf(beginningOf(descriptor, file));
      const { checkpoint } = options;
      if (checkpoint?.mark !== undefined) requireMarked(descriptor, file, origin, checkpoint.mark);
      const frontier = new Frontier(checkpoint?.size ?? 0, checkpoint?.subtrees ?? []);
      const start = checkpoint?.position ?? fileHeader.length;
      const { unseen, end, lastLeaf = checkpoint?.mark } = recover(descriptor, file, frontier, start);
      return { ledger: new Ledger(file, descriptor, { origin, frontier, end, lastLeaf }), unseen };
    } catch (error) {
      closeSync(descriptor);
      throw error;
    }
  });
}

type Leafmark = Omit<LedgerMark, 'origin'>;

interface LedgerState {
  readonly origin: string;
  readonly frontier: Frontier;
  readonly end: number;
  /** Undefined: whoever follows did not keep it, and nothing has come since. */
  readonly lastLeaf: Leafmark | undefined;
}

export class Ledger {
  readonly origin: string;
  readonly #file: string;
  readonly #descriptor: number;
  readonly #frontier: Frontier;
  #end: number;
  #lastLeaf: Leafmark | undefined;
  /** The first head of each run brings its certificates along. */
  #hasChain = false;
  #isBroken = false;

  constructor(file: string, descriptor: number, { origin, frontier, end, lastLeaf }: LedgerState) {
    this.#file = file;
    this.#descriptor = descriptor;
    this.origin = origin;
    this.#frontier = frontier;
    this.#end = end;
    this.#lastLeaf = lastLeaf;
  }

  get head(): TreeHead {
    return { origin: this.origin, size: this.#frontier.size, root: this.#frontier.root() };
  }

  get checkpoint(): Checkpoint {
    const { origin } = this;
    return {
      size: this.#frontier.size,
      subtrees: [...this.#frontier.subtrees],
      position: this.#end,
      mark: this.#lastLeaf && { ...this.#lastLeaf, origin },
    };
  }

  /**
   * Appends all or nothing; when it returns, they are durable.
   *
   * @throws LedgerError `ledger.storage`, `ledger.in_use`
   */
  append(leaves: readonly Leaf[]): WrittenLeaf[] {
    const written: WrittenLeaf[] = [];
    const hashes: Buffer[] = [];
    const records: Buffer[] = [];
    let position = this.#end;
    for (const [index, leaf] of leaves.entries()) {
      const number = this.#frontier.size + index;
      const octets = encodeLeaf(number, leaf);
      written.push({ leaf: decodeLeaf(octets), position }); // nothing is written that nobody could read
      hashes.push(hashLeaf(octets));
      const record = encodeRecord('leaf', octets);
      records.push(record);
      position += record.length;
    }
    this.#write(Buffer.concat(records));
    for (const [index, leafHash] of hashes.entries()) {
      this.#frontier.append(leafHash);
      this.#lastLeaf = { position: written[index]?.position ?? 0, leafHash };
    }
    return written;
  }

  /**
   * Reads what was appended.
   *
   * @param position - of a leaf, as `append` told it
   * @param leavesMax - how many from there on
   */
  read(position: number, leavesMax: number): { readonly octets: Buffer; readonly leaf: NumberedLeaf }[] {
    return stored(this.#file, () => readLeaves(this.#descriptor, position, leavesMax));
  }

  /** Signs for everything that was appended. @throws LedgerError */
  appendHead(signer: ContentSigner, timeMs: number): void {
    const chain = this.#hasChain ? [] : signer.chain;
    this.#write(encodeRecord('head', signHead(this.head, { ...signer, chain }, timeMs)));
    this.#hasChain = true;
  }

  close(): void {
    closeSync(this.#descriptor);
  }

  #write(octets: Buffer): void {
    assert.ok(octets.length <= appendBytesMax, `at most ${appendBytesMax} octets at once`);
    if (this.#isBroken) throw new LedgerError('ledger.storage', `${this.#file}: an earlier write has failed`);
    stored(this.#file, () => {
      const { size } = fstatSync(this.#descriptor);
      if (size !== this.#end) {
        throw new LedgerError(
          'ledger.in_use',
          `${this.#file}: ${size} octets, not ${this.#end}; somebody else writes to it`,
        );
      }
      this.#append(octets);
    });
    this.#end += octets.length;
  }

  #append(octets: Buffer): void {
    try {
      for (let done = 0; done < octets.length;) {
        done += writeSync(this.#descriptor, octets, done, octets.length - done, this.#end + done);
      }
    } catch (error) {
      // The disk is full: what is half there goes, and the next attempt begins where this one did.
      ftruncateSync(this.#descriptor, this.#end);
      throw error;
    }
    try {
      fsyncSync(this.#descriptor);
    } catch (error) {
      // After a failed fsync nobody knows what is on the disk; only reading it again tells.
      this.#isBroken = true;
      throw error;
    }
  }
}

/** The same of any ledger that is open for reading. @throws LedgerError `ledger.damaged` */
export function readLeaves(
  descriptor: number,
  position: number,
  leavesMax: number,
): { readonly octets: Buffer; readonly leaf: NumberedLeaf }[] {
  const found: { octets: Buffer; leaf: NumberedLeaf }[] = [];
  for (const record of readRecords(descriptor, position, leavesMax === 1 ? oneLeafBytes : manyLeavesBytes)) {
    if (record.kind === 'torn' || record.kind === 'damaged') {
      throw new LedgerError('ledger.damaged', `the record at octet ${record.position} is ${record.kind}`);
    }
    if (record.kind === 'leaf') {
      const octets = Buffer.from(record.payload);
      found.push({ octets, leaf: decodeLeaf(octets) });
    }
    if (found.length === leavesMax) break;
  }
  return found;
}

function begin(file: string, { owner, timeMs }: LedgerOptions): void {
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  const leaf = encodeLeaf(0, { kind: 'beginning', owner, id: randomBytes(16), timeMs });
  // Short enough to be written at once; if not even that was, it is begun again.
  const descriptor = openSync(`${file}.new`, 'w', 0o600);
  try {
    writeSync(descriptor, Buffer.concat([fileHeader, encodeRecord('leaf', leaf)]));
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(`${file}.new`, file);
  syncFolder(path.dirname(file));
}

/** @throws LedgerError `ledger.malformed` if the file is none of ours */
export function requireHeader(descriptor: number, file: string): void {
  const header = Buffer.alloc(fileHeader.length);
  readSync(descriptor, header, 0, header.length, 0);
  if (!header.equals(fileHeader))
    throw new LedgerError('ledger.malformed', `${file}: not a ledger of this version`);
}

function beginningOf(descriptor: number, file: string) {
  const [first] = readRecords(descriptor, fileHeader.length);
  const leaf = first?.kind === 'leaf' ? decodeLeaf(first.payload) : undefined;
  if (leaf?.kind !== 'beginning') throw new LedgerError('ledger.damaged', `${file}: its first leaf is gone`);
  return leaf;
}

/**
 * Another ledger in the place of the one that was followed is not gone on with: nothing of it would fit, and its end would be
 * taken for what a crash has left.
 *
 * @throws LedgerError `ledger.damaged`
 */
function requireMarked(descriptor: number, file: string, origin: string, mark: LedgerMark): void {
  if (origin !== mark.origin) {
    throw new LedgerError(
      'ledger.damaged',
      `${file}: this is ${origin}, and what is kept beside it is of ${mark.origin}`,
    );
  }
  const [found] = readRecords(descriptor, mark.position, oneLeafBytes);
  if (found?.kind === 'leaf' && hashLeaf(found.payload).equals(mark.leafHash)) return;
  throw new LedgerError(
    'ledger.damaged',
    `${file}: the leaf at octet ${mark.position} is not the one that was acknowledged`,
  );
}

/** Reads what is not known yet, and cuts off what was never acknowledged. */
function recover(
  descriptor: number,
  file: string,
  frontier: Frontier,
  start: number,
): { unseen: WrittenLeaf[]; end: number; lastLeaf: Leafmark | undefined } {
  const { size } = fstatSync(descriptor);
  if (size < start) {
    throw new LedgerError(
      'ledger.damaged',
      `${file}: ${size} octets; ${start} were acknowledged, so something is gone`,
    );
  }
  const unseen: WrittenLeaf[] = [];
  let end = start;
  let lastLeaf: Leafmark | undefined;
  for (const record of readRecords(descriptor, start)) {
    if (record.kind === 'torn' || record.kind === 'damaged') {
      setAside(descriptor, file, record, size);
      break;
    }
    end = record.end;
    if (record.kind === 'head') continue;
    const leaf = decodeLeaf(record.payload);
    if (leaf.number !== frontier.size) {
      throw new LedgerError(
        'ledger.damaged',
        `${file}: leaf ${leaf.number} in the place of ${frontier.size}`,
      );
    }
    const leafHash = hashLeaf(record.payload);
    frontier.append(leafHash);
    lastLeaf = { position: record.position, leafHash };
    unseen.push({ leaf, position: record.position });
  }
  return { unseen, end, lastLeaf };
}

function setAside(
  descriptor: number,
  file: string,
  { kind, position }: Extract<FoundRecord, { kind: 'torn' | 'damaged' }>,
  size: number,
): void {
  const tail = size - position;
  // More than one append is no tail of a crash. And a record that is whole, with whole ones behind it, was acknowledged.
  if (tail > appendBytesMax || (kind === 'damaged' && isFollowed(descriptor, position))) {
    throw new LedgerError(
      'ledger.damaged',
      `${file}: the record at octet ${position} is damaged; see "plombe audit verify"`,
    );
  }
  const octets = Buffer.alloc(tail);
  readSync(descriptor, octets, 0, tail, position);
  writeFileSync(`${file}.torn-${position}`, octets, { flush: true });
  ftruncateSync(descriptor, position);
  fsyncSync(descriptor);
}

function isFollowed(descriptor: number, position: number): boolean {
  const header = Buffer.alloc(frameBytes);
  if (readSync(descriptor, header, 0, frameBytes, position) < frameBytes) return false;
  const next = position + frameBytes + header.readUInt32BE(1);
  const [following] = readRecords(descriptor, next);
  return following?.kind === 'leaf' || following?.kind === 'head';
}

function stored<T>(file: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (cause instanceof LedgerError) throw cause;
    if (!isSystemError(cause)) throw cause;
    throw new LedgerError('ledger.storage', `${file}: ${cause.message}`, { cause });
  }
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'errno' in error;
}
