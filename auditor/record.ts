/** The record of what passes: the ledger, which is the truth, and beside it what is looked up of it. */
import path from 'node:path';
import type { ContentSigner } from '../cms/signed-content.ts';
import type { Command } from '../domain/command.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import { LedgerError } from '../ledger/errors.ts';
import type { Leaf, NumberedLeaf, PassageLeaf } from '../ledger/leaf.ts';
import { channelsDigest } from '../ledger/leaf.ts';
import type { Ledger } from '../ledger/ledger-file.ts';
import { openLedger } from '../ledger/ledger-file.ts';
import type { TreeHead } from '../ledger/tree-head.ts';
import { streamOf } from '../ledger/stream.ts';
import { SqliteFileError } from '../runtime/sqlite-file.ts';
import type { SqliteFileErrorCode } from '../runtime/sqlite-file.ts';
import type { StreamUse } from './rates.ts';
import type { KnownEnvelope, RecordIndex } from './record-index.ts';
import { openRecordIndex } from './record-index.ts';

export type RecordErrorCode =
  | 'record.version' // a newer version of the auditor made it
  | 'record.damaged' // the ledger is not what was written
  | 'record.storage'; // the disk is full or broken, or the files are no record

export class RecordError extends Error {
  override readonly name = 'RecordError';
  readonly code: RecordErrorCode;
  constructor(code: RecordErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** An envelope that was looked into. */
export interface Entry {
  readonly passage: PassageLeaf;
  /** Of a snapshot that was opened. */
  readonly channelNames: readonly string[] | undefined;
  /** Of a command that was opened. */
  readonly command?: Command | undefined;
  /** That a snapshot which was opened states. */
  readonly snapshotMs?: number | undefined;
  /** No policy speaks of its device. */
  readonly isUnspokenOf?: boolean;
  /** What its stream has used with it; undefined: it does not count. */
  readonly use?: StreamUse | undefined;
}

export interface Recorded {
  /** Undefined: the same envelope again, with nothing new to say of it. */
  readonly number: number | undefined;
  /** What the ledger says of it now. */
  readonly outcome: PassageLeaf['outcome'];
}

export const ledgerFileName = 'egress.ledger';

const errorCodes: Readonly<Record<SqliteFileErrorCode | LedgerError['code'], RecordErrorCode>> = {
  'sqlite.newer': 'record.version',
  'sqlite.in_use': 'record.storage',
  'sqlite.failed': 'record.storage',
  'ledger.malformed': 'record.damaged',
  'ledger.damaged': 'record.damaged',
  'ledger.in_use': 'record.storage',
  'ledger.storage': 'record.storage',
};

/**
 * @param owner - whose auditor it is, for a new one
 * @throws RecordError
 */
export function openRecord(directory: string, owner: NamespacePath, timeMs: number): EgressRecord {
  return translated(() => {
    const index = openRecordIndex(directory);
    try {
      const checkpoint = index.checkpoint();
      const file = path.join(directory, ledgerFileName);
      const { ledger, unseen } = openLedger(file, { owner, timeMs, checkpoint });
      index.add(unseen, ledger.checkpoint);
      return new EgressRecord(ledger, index);
    } catch (error) {
      index.close();
      throw error;
    }
  });
}

export class EgressRecord {
  readonly #ledger: Ledger;
  readonly index: RecordIndex;
  /** In the ledger, and not in the index because that failed. */
  #unindexed: ReturnType<Ledger['append']> = [];
  /** Of what was appended when the index failed, and nobody was told: its numbers, for when it is tried again. */
  #untold = new Map<string, number>();

  constructor(ledger: Ledger, index: RecordIndex) {
    this.#ledger = ledger;
    this.index = index;
  }

  /** Of the file. */
  get bytes(): number {
    return this.#ledger.checkpoint.position;
  }

  get head(): TreeHead {
    return this.#ledger.head;
  }

  /**
   * Appends what is new, all or nothing. The same envelope a second time, with the same to say of it, changes nothing.
   *
   * @throws RecordError `record.storage`
   */
  append(entries: readonly Entry[]): Recorded[] {
    return translated(() => {
      this.#catchUp();
      const leaves: Leaf[] = [];
      const lists = new Set<string>();
      const fresh = new Map<string, KnownEnvelope>();
      const isNew = entries.map((entry) => {
        const known = this.#known(entry, fresh);
        if (known !== undefined)
          return { isNew: false, number: this.#takeUntold(entry), outcome: known.outcome };
        leaves.push(...this.#channelsOf(entry, lists), entry.passage);
        const { outcome, alarm } = entry.passage;
        fresh.set(keyOf(entry.passage), { outcome, reason: alarm?.reason });
        return { isNew: true, number: undefined, outcome };
      });
      const numbers = this.#writeEntries(leaves);
      return isNew.map(({ isNew: isFresh, number, outcome }) => ({
        number: isFresh ? numbers.shift() : number,
        outcome,
      }));
    });
  }

  /** What the ledger says of an envelope last, of copies with the same fault or none; undefined: nothing. */
  outcomeOf(passage: PassageLeaf): PassageLeaf['outcome'] | undefined {
    return this.index
      .known(streamOf(passage), passage.digest)
      .find(({ reason }) => reason === passage.alarm?.reason)?.outcome;
  }

  /** Appends what was decided of an envelope that was held. @throws RecordError */
  appendDecision(passage: PassageLeaf): number {
    return translated(() => {
      this.#catchUp();
      return this.#write([passage])[0]?.leaf.number ?? 0;
    });
  }

  /** Keeps what a stream has used of its limits. @throws RecordError */
  keepUse(stream: string, use: StreamUse): void {
    translated(() => this.index.keepUse(stream, use), 'keep what is used');
  }

  /** Keeps what a device published. @throws RecordError */
  keepCertificates(device: string, payload: Uint8Array, receivedMs: number): void {
    translated(() => this.index.addCertificates(device, payload, receivedMs), 'keep certificates');
  }

  /** Signs for everything that was appended. @throws RecordError */
  appendHead(signer: ContentSigner, timeMs: number): void {
    translated(() => {
      this.#ledger.appendHead(signer, timeMs);
      this.index.add([], this.#ledger.checkpoint);
    });
  }

  /** @returns leaves in their order, from a number on @throws RecordError */
  leavesFrom(number: number, leavesMax: number): { readonly octets: Buffer; readonly leaf: NumberedLeaf }[] {
    return translated(() => {
      this.#catchUp();
      const position = this.index.positionOf(number);
      return position === undefined ? [] : this.#ledger.read(position, leavesMax);
    });
  }

  /** @returns the names of which a passage has the digest; undefined if the ledger has not that list */
  channelNames(digest: Uint8Array): readonly string[] | undefined {
    return translated(() => {
      const position = this.index.positionOfChannels(digest);
      const [found] = position === undefined ? [] : this.#ledger.read(position, 1);
      return found?.leaf.kind === 'channels' ? found.leaf.names : undefined;
    });
  }

  counts(): { entries: number; alarms: number } {
    const { entries, alarms } = this.index.totals();
    return { entries, alarms };
  }

  close(): void {
    this.#ledger.close();
    this.index.close();
  }

  /** @returns the numbers of the passages */
  #writeEntries(leaves: readonly Leaf[]): number[] {
    try {
      return passagesIn(this.#write(leaves)).map(({ number }) => number);
    } catch (error) {
      this.#untold = new Map(passagesIn(this.#unindexed).map((leaf) => [keyOf(leaf), leaf.number]));
      throw error;
    }
  }

  #takeUntold({ passage }: Entry): number | undefined {
    const key = keyOf(passage);
    const number = this.#untold.get(key);
    this.#untold.delete(key);
    return number;
  }

  #write(leaves: readonly Leaf[]): ReturnType<Ledger['append']> {
    if (leaves.length === 0) return [];
    const written = this.#ledger.append(leaves);
    this.#unindexed = written;
    this.#catchUp();
    return written;
  }

  #catchUp(): void {
    if (this.#unindexed.length === 0) return;
    this.index.add(this.#unindexed, this.#ledger.checkpoint);
    this.#unindexed = [];
  }

  #known({ passage }: Entry, fresh: ReadonlyMap<string, KnownEnvelope>): KnownEnvelope | undefined {
    const here = fresh.get(keyOf(passage));
    const all = [
      ...(here === undefined ? [] : [here]),
      ...this.index.known(streamOf(passage), passage.digest),
    ];
    const reason = passage.alarm?.reason;
    // A copy with a broken signature has the same digest, and says nothing about the genuine one.
    return all.find((known) => known.reason === reason);
  }

  /** The names of the channels, if the ledger has not this list yet. */
  #channelsOf({ channelNames, passage }: Entry, lists: Set<string>): Leaf[] {
    if (channelNames === undefined || passage.channels === undefined) return [];
    const key = passage.channels.digest.toString('latin1');
    if (lists.has(key) || this.index.hasDigest(passage.channels.digest)) return [];
    lists.add(key);
    return [{ kind: 'channels', names: channelNames }];
  }
}

/** What a passage says of channels. */
export function channelsOf(names: readonly string[]): NonNullable<PassageLeaf['channels']> {
  return { count: names.length, digest: channelsDigest(names) };
}

function passagesIn(written: ReturnType<Ledger['append']>): Extract<NumberedLeaf, PassageLeaf>[] {
  return written.flatMap(({ leaf }) => (leaf.kind === 'passage' ? [leaf] : []));
}

function keyOf(passage: PassageLeaf): string {
  return `${streamOf(passage)} ${passage.digest.toString('hex')} ${passage.alarm?.reason ?? ''}`;
}

/** @param what - that is done, for the message of SQLite's errors */
function translated<T>(work: () => T, what = 'append to the record'): T {
  try {
    return work();
  } catch (cause) {
    if (cause instanceof SqliteFileError || cause instanceof LedgerError) {
      throw new RecordError(errorCodes[cause.code], cause.message, { cause });
    }
    if (!isSqliteError(cause)) throw cause;
    throw new RecordError('record.storage', `cannot ${what}: ${cause.message}`, { cause });
  }
}

function isSqliteError(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && error.code === 'ERR_SQLITE_ERROR';
}
