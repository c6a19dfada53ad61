/** What the auditor looks up of its ledger, in SQLite; made again from the ledger if it is gone. */
import path from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import type { Outcome } from '../ledger/leaf.ts';
import { channelsDigest, outcomes } from '../ledger/leaf.ts';
import type { Checkpoint, LedgerMark, WrittenLeaf } from '../ledger/ledger-file.ts';
import { hashBytes } from '../ledger/merkle.ts';
import { streamOf } from '../ledger/stream.ts';
import { bytesOf, inTransaction, openSqliteFile, readSqliteFile } from '../runtime/sqlite-file.ts';
import type { StreamUse } from './rates.ts';
import { StreamForks } from './stream-forks.ts';
import { StreamNumbers } from './stream-numbers.ts';

export const indexFileName = 'auditor.sqlite';

/** What the ledger says of an envelope last. */
export interface KnownEnvelope {
  readonly outcome: Outcome;
  readonly reason: string | undefined;
}

const schemaVersion = 1;
const schema = `
  CREATE TABLE leaf (
    number INTEGER PRIMARY KEY,
    position INTEGER NOT NULL,
    stream TEXT,
    sequence INTEGER,
    digest BLOB,
    bytes INTEGER,
    outcome INTEGER,
    reason TEXT
  ) STRICT;
  CREATE INDEX leaf_sequence ON leaf (stream, sequence) WHERE stream IS NOT NULL;
  CREATE INDEX leaf_digest ON leaf (digest) WHERE digest IS NOT NULL;
  CREATE INDEX leaf_reason ON leaf (number) WHERE reason IS NOT NULL;
  CREATE TABLE checkpoint (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    size INTEGER NOT NULL,
    subtrees BLOB NOT NULL,
    position INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE totals (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    entries INTEGER NOT NULL,
    alarms INTEGER NOT NULL,
    bytes INTEGER NOT NULL
  ) STRICT;
  INSERT INTO totals VALUES (1, 0, 0, 0);
  CREATE TABLE device_certificates (
    device TEXT NOT NULL,
    payload BLOB NOT NULL,
    received_ms INTEGER NOT NULL,
    UNIQUE (device, payload)
  ) STRICT;
`;
/** What an index of an earlier version lacks. */
const laterSchema = `
  CREATE TABLE IF NOT EXISTS stream_use (
    stream TEXT PRIMARY KEY,
    snapshot_ms INTEGER NOT NULL,
    hour INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    received_hour INTEGER NOT NULL,
    received_bytes INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS mark (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    origin TEXT NOT NULL,
    position INTEGER NOT NULL,
    leaf_hash BLOB NOT NULL
  ) STRICT;
`;

/** @throws SqliteFileError */
export function openRecordIndex(directory: string): RecordIndex {
  // What a power cut takes of it comes from the ledger again.
  const pragmas = ['synchronous = NORMAL'];
  const database = openSqliteFile(path.join(directory, indexFileName), {
    locking: 'shared',
    pragmas,
    schema,
    schemaVersion,
  });
  database.exec(laterSchema);
  return new RecordIndex(database);
}

/** Of an auditor that is running. @throws what SQLite throws */
export function readRecordIndex(directory: string): RecordIndex {
  return new RecordIndex(readSqliteFile(path.join(directory, indexFileName)));
}

export class RecordIndex {
  readonly numbers: StreamNumbers;
  readonly forks: StreamForks;
  readonly #database: DatabaseSync;
  readonly #statements;

  constructor(database: DatabaseSync) {
    this.#database = database;
    this.numbers = new StreamNumbers(database);
    this.forks = new StreamForks(database);
    const prepare = (sql: string) => database.prepare(sql);
    this.#statements = {
      add: prepare(
        `INSERT INTO leaf (number, position, stream, sequence, digest, bytes, outcome, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
      ),
      count: prepare(`UPDATE totals SET entries = entries + 1, alarms = alarms + ?, bytes = bytes + ?`),
      keepCheckpoint: prepare(
        `INSERT OR REPLACE INTO checkpoint (id, size, subtrees, position) VALUES (1, ?, ?, ?)`,
      ),
      checkpoint: prepare(`SELECT size, subtrees, position FROM checkpoint`),
      keepMark: prepare(`INSERT OR REPLACE INTO mark VALUES (1, ?, ?, ?)`),
      mark: prepare(`SELECT origin, position, leaf_hash FROM mark`),
      digestsOf: prepare(
        `SELECT digest FROM leaf WHERE stream = ? AND sequence = ? AND coalesce(reason, '') NOT LIKE 'cms.%' ORDER BY number`,
      ),
      byDigest: prepare(`SELECT stream, outcome, reason FROM leaf WHERE digest = ? ORDER BY number DESC`),
      position: prepare(`SELECT position FROM leaf WHERE number = ?`),
      channels: prepare(`SELECT position FROM leaf WHERE digest = ? AND stream IS NULL`),
      totals: prepare(`SELECT entries, alarms, bytes FROM totals`),
      addCertificates: prepare(
        `INSERT INTO device_certificates (device, payload, received_ms) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`,
      ),
      use: prepare(`SELECT * FROM stream_use WHERE stream = ?`),
      keepUse: prepare(`INSERT OR REPLACE INTO stream_use VALUES (?, ?, ?, ?, ?, ?)`),
      certificates: prepare(`SELECT device, payload FROM device_certificates ORDER BY rowid`),
      certificatesOf: prepare(
        `SELECT payload, received_ms FROM device_certificates WHERE device = ? ORDER BY rowid`,
      ),
      last: prepare(`SELECT max(number) AS number FROM leaf`),
    };
  }

  /** How far it has followed the ledger; undefined at the very beginning. */
  checkpoint(): Checkpoint | undefined {
    const row = this.#statements.checkpoint.get();
    if (row === undefined) return undefined;
    const octets = bytesOf(row['subtrees']);
    const subtrees = Array.from({ length: octets.length / hashBytes }, (_, index) =>
      Buffer.from(octets.subarray(index * hashBytes, (index + 1) * hashBytes)),
    );
    return { size: Number(row['size']), subtrees, position: Number(row['position']), mark: this.#mark() };
  }

  /** Takes all or nothing of what the ledger has already. */
  add(leaves: readonly WrittenLeaf[], { size, subtrees, position, mark }: Checkpoint): void {
    this.numbers.takeNews(); // of an attempt that failed
    inTransaction(this.#database, () => {
      for (const leaf of leaves) this.#add(leaf);
      this.#statements.keepCheckpoint.run(size, Buffer.concat(subtrees), position);
      if (mark !== undefined) this.#statements.keepMark.run(mark.origin, mark.position, mark.leafHash);
    });
  }

  /**
   * @returns the digests of a stream's envelopes with that sequence number; more than one is an alarm. Those that could not be
   *   opened do not count: anybody may have made them.
   */
  digestsOf(stream: string, sequence: number): Buffer[] {
    return this.#statements.digestsOf.all(stream, sequence).map((row) => bytesOf(row['digest']));
  }

  /** Whether a leaf has that digest at all, as one of a list of channels. */
  hasDigest(digest: Uint8Array): boolean {
    return this.#statements.byDigest.get(digest) !== undefined;
  }

  /** @returns what the ledger says of an envelope, the newest first */
  known(stream: string, digest: Uint8Array): KnownEnvelope[] {
    return this.#statements.byDigest.all(digest).flatMap((row) => {
      const outcome = outcomes[Number(row['outcome'])];
      const reason = row['reason'];
      if (row['stream'] !== stream || outcome === undefined) return [];
      return [{ outcome, reason: typeof reason === 'string' ? reason : undefined }];
    });
  }

  /** @returns where a leaf is in the file */
  positionOf(number: number): number | undefined {
    const row = this.#statements.position.get(number);
    return row && Number(row['position']);
  }

  /** @returns where the list of channels with that digest is in the file */
  positionOfChannels(digest: Uint8Array): number | undefined {
    const row = this.#statements.channels.get(digest);
    return row && Number(row['position']);
  }

  totals(): { entries: number; alarms: number; bytes: number } {
    const row = this.#statements.totals.get();
    return {
      entries: Number(row?.['entries']),
      alarms: Number(row?.['alarms']),
      bytes: Number(row?.['bytes']),
    };
  }

  /** Keeps what a device published, so that its older envelopes can be opened after a restart too. */
  addCertificates(device: string, payload: Uint8Array, receivedMs: number): void {
    this.#statements.addCertificates.run(device, payload, receivedMs);
  }

  certificates(): { device: string; payload: Buffer }[] {
    return this.#statements.certificates
      .all()
      .map((row) => ({ device: String(row['device']), payload: bytesOf(row['payload']) }));
  }

  /** Each time that the device published others, the first time first. */
  certificatesOf(device: string): { payload: Buffer; receivedMs: number }[] {
    return this.#statements.certificatesOf
      .all(device)
      .map((row) => ({ payload: bytesOf(row['payload']), receivedMs: Number(row['received_ms']) }));
  }

  /** Of the last leaf; -1 if there is none. */
  get lastNumber(): number {
    return Number(this.#statements.last.get()?.['number'] ?? -1);
  }

  /** What a stream has used of its limits, as far as they were asked for; the ledger does not say. */
  useOf(stream: string): StreamUse | undefined {
    const row = this.#statements.use.get(stream);
    return (
      row && {
        snapshotMs: Number(row['snapshot_ms']),
        hour: Number(row['hour']),
        bytes: Number(row['bytes']),
        receivedHour: Number(row['received_hour']),
        receivedBytes: Number(row['received_bytes']),
      }
    );
  }

  keepUse(stream: string, { snapshotMs, hour, bytes, receivedHour, receivedBytes }: StreamUse): void {
    this.#statements.keepUse.run(stream, snapshotMs, hour, bytes, receivedHour, receivedBytes);
  }

  close(): void {
    this.#database.close();
  }

  #mark(): LedgerMark | undefined {
    const row = this.#statements.mark.get();
    return (
      row && {
        origin: String(row['origin']),
        position: Number(row['position']),
        leafHash: bytesOf(row['leaf_hash']),
      }
    );
  }

  #add({ leaf, position }: WrittenLeaf): void {
    const { add, count } = this.#statements;
    if (leaf.kind !== 'passage') {
      const digest = leaf.kind === 'channels' ? channelsDigest(leaf.names) : null;
      add.run(leaf.number, position, null, null, digest, null, null, null);
      return;
    }
    const { number, sequence, digest, bytes, outcome, alarm } = leaf;
    const row = [number, position, streamOf(leaf), sequence ?? null, digest, bytes] as const;
    add.run(...row, outcomes.indexOf(outcome), alarm?.reason ?? null);
    count.run(alarm === undefined ? 0 : 1, bytes);
    if (leaf.direction === 'out' && sequence !== undefined)
      this.numbers.take(streamOf(leaf), sequence, leaf.timeMs);
  }
}
