/** Verifies a ledger from its file alone: every record, every signed head, and what others hold of it. */
import { closeSync, fstatSync, openSync } from 'node:fs';
import type { Certificate } from '../pki/certificate.ts';
import { ChainTrust } from './chain-trust.ts';
import { Completeness } from './completeness.ts';
import type { Fork, Gap } from './completeness.ts';
import { LedgerError } from './errors.ts';
import type { BeginningLeaf, NumberedLeaf, PassageLeaf } from './leaf.ts';
import { decodeLeaf } from './leaf.ts';
import { requireHeader } from './ledger-file.ts';
import type { TreeState } from './merkle-proof.ts';
import { Frontier, hashLeaf } from './merkle.ts';
import { fileHeader, readRecords } from './records.ts';
import { isOpened, streamOf } from './stream.ts';
import type { SignedHead } from './tree-head.ts';
import { originOf, readHead } from './tree-head.ts';

export interface VerifyOptions {
  /** Of the E2E PKI. Without one, the signatures are those of the certificates in the file, whoever made these. */
  readonly roots?: readonly Certificate[];
  /** That somebody else holds: the ledger must continue each of them. */
  readonly heads?: readonly SignedHead[];
  /** Told now and then how far it is. */
  readonly onProgress?: (progress: {
    readonly leaves: number;
    readonly doneBytes: number;
    readonly bytes: number;
  }) => void;
}

export interface HeadSigner {
  readonly commonName: string;
  readonly timeMs: number;
  /** Whether its certificate leads to one of the given roots. */
  readonly isTrusted: boolean;
}

export interface VerifiedHead extends TreeState {
  readonly signers: readonly HeadSigner[];
}

/** What is wrong; what lies before it is right. */
export interface LedgerFault {
  readonly reason:
    | 'damaged' // a record is not what was written
    | 'misplaced' // a leaf has another place than it says: one is gone, or was put in or moved
    | 'head_mismatch' // leaves before a signed head are not those that were signed
    | 'foreign_head' // a head is of another ledger, of somebody else, or not signed as it should be
    | 'truncated' // somebody holds a head of more leaves
    | 'rewritten'; // somebody holds a head of other leaves
  /** The first leaf that may be wrong. */
  readonly leaf: number;
  readonly detail: string;
}

export interface Verification {
  readonly origin: string;
  readonly owner: string;
  readonly beganMs: number;
  readonly leaves: number;
  readonly passages: number;
  readonly alarms: number;
  /** Of the envelopes. */
  readonly bytes: number;
  readonly root: Buffer;
  /** The last one in the file. */
  readonly signedHead: VerifiedHead | undefined;
  readonly heads: number;
  readonly gaps: readonly Gap[];
  readonly forks: readonly Fork[];
  /** Behind the last whole record: being written, or left by a crash. */
  readonly tornBytes: number;
  readonly fault: LedgerFault | undefined;
}

const progressEvery = 10_000;
/** That are remembered. */
const streamsMax = 100_000;

/** @throws LedgerError `ledger.malformed` if it is no ledger at all; whatever is wrong with one is its result's `fault` */
export function verifyLedger(file: string, options: VerifyOptions = {}): Verification {
  const descriptor = openSync(file, 'r');
  try {
    requireHeader(descriptor, file);
    return new Reading(options).run(descriptor, file);
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Who signed a head, and whether by a certificate of the owner, or of anybody else below the roots.
 *
 * @param trust - of these roots, for whoever asks about many heads
 */
export function signersOf(
  head: SignedHead,
  roots: readonly Certificate[],
  trust = new ChainTrust(roots),
): HeadSigner[] {
  return head.signatures.map(({ chain, signingTimeMs }) => ({
    commonName: chain[0].commonName ?? 'unnamed',
    timeMs: signingTimeMs,
    isTrusted: trust.covers(chain, signingTimeMs),
  }));
}

/** The state while a file is read; one for each file. */
class Reading {
  readonly #options: VerifyOptions;
  readonly #frontier = new Frontier();
  readonly #completeness = new Completeness();
  readonly #known: Certificate[] = [];
  readonly #held: SignedHead[];
  readonly #trust: ChainTrust;
  /** Of each topic that was met, so that it is taken apart once. */
  readonly #streams = new Map<string, string>();
  #beginning: BeginningLeaf | undefined;
  #signedHead: VerifiedHead | undefined;
  #heads = 0;
  #passages = 0;
  #alarms = 0;
  #bytes = 0;
  #tornBytes = 0;

  constructor(options: VerifyOptions) {
    this.#options = options;
    this.#trust = new ChainTrust(options.roots ?? []);
    this.#held = (options.heads ?? []).toSorted((one, other) => one.size - other.size);
  }

  run(descriptor: number, file: string): Verification {
    const { size } = fstatSync(descriptor);
    let fault: LedgerFault | undefined;
    for (const record of readRecords(descriptor, fileHeader.length)) {
      if (record.kind === 'torn') this.#tornBytes = size - record.position;
      else if (record.kind === 'damaged') fault = this.#fault('damaged', record.detail, record.position);
      else if (record.kind === 'leaf') fault = this.#takeLeaf(record.payload, record.position);
      else fault = this.#takeHead(record.payload);
      if (fault !== undefined) break;
      if (this.#frontier.size % progressEvery === 0 && record.kind === 'leaf') {
        this.#options.onProgress?.({ leaves: this.#frontier.size, doneBytes: record.end, bytes: size });
      }
    }
    if (this.#beginning === undefined) {
      throw new LedgerError(
        'ledger.malformed',
        `${file}: its beginning is gone${fault ? `: ${fault.detail}` : ''}`,
      );
    }
    return this.#result(this.#beginning, fault ?? this.#beyond());
  }

  #result(beginning: BeginningLeaf, fault: LedgerFault | undefined): Verification {
    return {
      origin: originOf(beginning),
      owner: beginning.owner,
      beganMs: beginning.timeMs,
      leaves: this.#frontier.size,
      passages: this.#passages,
      alarms: this.#alarms,
      bytes: this.#bytes,
      root: this.#frontier.root(),
      signedHead: this.#signedHead,
      heads: this.#heads,
      gaps: this.#completeness.gaps(),
      forks: this.#completeness.forks,
      tornBytes: this.#tornBytes,
      fault,
    };
  }

  #takeLeaf(octets: Buffer, position: number): LedgerFault | undefined {
    let leaf: NumberedLeaf;
    try {
      leaf = decodeLeaf(octets);
    } catch (error) {
      if (!(error instanceof LedgerError)) throw error;
      return this.#fault('damaged', error.message, position);
    }
    const place = this.#frontier.size;
    if (leaf.number !== place)
      return this.#fault('misplaced', `it says that it is leaf ${leaf.number}`, position);
    if ((place === 0) !== (leaf.kind === 'beginning')) {
      return this.#fault('misplaced', `a leaf of kind ${leaf.kind}`, position);
    }
    this.#frontier.append(hashLeaf(octets));
    if (leaf.kind === 'beginning') this.#beginning = leaf;
    if (leaf.kind === 'passage') this.#takePassage(leaf, place);
    return this.#compareWithHeld();
  }

  #takePassage(leaf: PassageLeaf, number: number): void {
    this.#passages += 1;
    this.#bytes += leaf.bytes;
    if (leaf.alarm !== undefined) this.#alarms += 1;
    if (leaf.direction !== 'out' || leaf.sequence === undefined) return;
    this.#completeness.take(this.#streamOf(leaf), leaf.sequence, leaf.digest, number, isOpened(leaf));
  }

  #streamOf(leaf: PassageLeaf): string {
    const known = this.#streams.get(leaf.topic);
    if (known !== undefined) return known;
    const stream = streamOf(leaf);
    if (this.#streams.size < streamsMax) this.#streams.set(leaf.topic, stream);
    return stream;
  }

  #takeHead(message: Buffer): LedgerFault | undefined {
    const last = this.#signedHead?.size ?? 0;
    let head: SignedHead;
    try {
      head = readHead(message, this.#known);
    } catch (error) {
      if (!(error instanceof LedgerError)) throw error;
      return { reason: 'foreign_head', leaf: last, detail: error.message };
    }
    const { size, root } = head;
    const signers = signersOf(head, this.#options.roots ?? [], this.#trust);
    const foreign = this.#foreignness(head, signers);
    if (foreign !== undefined) return { reason: 'foreign_head', leaf: last, detail: foreign };
    const found = this.#frontier.root();
    if (size !== this.#frontier.size || !root.equals(found)) {
      const detail = `leaves ${last} to ${Math.max(last, size - 1)} are not those that the head of ${size} leaves was signed for`;
      return { reason: 'head_mismatch', leaf: last, detail };
    }
    for (const one of head.signatures.flatMap(({ chain }) => chain)) {
      if (!this.#known.some(({ der }) => der.equals(one.der))) this.#known.push(one);
    }
    this.#signedHead = { size, root, signers };
    this.#heads += 1;
    return undefined;
  }

  /** @returns why a head is not one that the owner signed for this ledger */
  #foreignness(head: SignedHead, signers: readonly HeadSigner[]): string | undefined {
    const beginning = this.#beginning;
    if (beginning === undefined || head.origin !== originOf(beginning)) return `a head of ${head.origin}`;
    for (const { chain } of head.signatures) {
      if (chain[0].commonName !== beginning.owner)
        return `a head signed by ${chain[0].commonName ?? 'nobody'}`;
    }
    if (this.#options.roots === undefined) return undefined;
    const stranger = signers.find((signer) => !signer.isTrusted);
    return stranger && `the certificate of ${stranger.commonName} does not lead to the given root`;
  }

  #compareWithHeld(): LedgerFault | undefined {
    while (this.#held[0]?.size === this.#frontier.size) {
      const held = this.#held.shift();
      if (held === undefined || this.#beginning === undefined) break;
      if (held.origin !== originOf(this.#beginning)) {
        return {
          reason: 'rewritten',
          leaf: 0,
          detail: `the head that somebody else holds is of ${held.origin}`,
        };
      }
      if (held.root.equals(this.#frontier.root())) continue;
      const detail = `the head of ${held.size} leaves that ${namesOf(held)} signed is of other leaves`;
      return { reason: 'rewritten', leaf: this.#lastAgreed, detail };
    }
    return undefined;
  }

  /** Up to there a head that somebody else holds has agreed. */
  get #lastAgreed(): number {
    const agreed = (this.#options.heads ?? [])
      .map(({ size }) => size)
      .filter((size) => size < this.#frontier.size);
    return Math.max(0, ...agreed);
  }

  #beyond(): LedgerFault | undefined {
    const [held] = this.#held;
    if (held === undefined) return undefined;
    const leaf = this.#frontier.size;
    return {
      reason: 'truncated',
      leaf,
      detail: `${namesOf(held)} signed a head of ${held.size} leaves; there are ${leaf}`,
    };
  }

  #fault(reason: LedgerFault['reason'], detail: string, position: number): LedgerFault {
    return { reason, leaf: this.#frontier.size, detail: `${detail} (octet ${position} of the file)` };
  }
}

function namesOf({ signatures }: SignedHead): string {
  return signatures.map(({ chain }) => chain[0].commonName ?? 'nobody').join(' and ');
}
