/** The record of what left: append-only, in one SQLite file that others may read while it grows. */
import path from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import type { SqliteFileErrorCode } from '../runtime/sqlite-file.ts';
import { bytesOf, openSqliteFile, SqliteFileError } from '../runtime/sqlite-file.ts';

export type RecordErrorCode =
  | 'record.version' // a newer version of the auditor made it
  | 'record.storage'; // the disk is full or broken, or the file is no record

export class RecordError extends Error {
  override readonly name = 'RecordError';
  readonly code: RecordErrorCode;
  constructor(code: RecordErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export interface NamedRecipient {
  /** Subject key identifier, hexadecimal; or issuer and serial number. */
  readonly identifier: string;
  /** Undefined: nobody that the configuration knows. */
  readonly name: string | undefined;
}

/** One envelope that left. */
export interface EgressEntry {
  readonly device: string;
  /** `snapshots` or `commands/result`. */
  readonly topicName: string;
  /** As the envelope states it; undefined if it cannot be read. */
  readonly sequence: number | undefined;
  readonly signingTimeMs: number | undefined;
  readonly receivedMs: number;
  readonly recipients: readonly NamedRecipient[];
  /** Of a snapshot that was opened. */
  readonly channels: number | undefined;
  /** SHA-256: the envelope's, as the next one refers to it; of the bytes if they are no envelope. */
  readonly digest: Buffer;
  readonly bytes: number;
  /** Undefined: opened, verified, and readable by nobody but the configured recipients. */
  readonly alarm: { readonly reason: string; readonly detail: string } | undefined;
}

export const recordFileName = 'egress.sqlite';

const schemaVersion = 1;
const schema = `
  CREATE TABLE egress (
    id INTEGER PRIMARY KEY,
    device TEXT NOT NULL,
    topic_name TEXT NOT NULL,
    sequence INTEGER,
    signing_ms INTEGER,
    received_ms INTEGER NOT NULL,
    recipients TEXT NOT NULL,
    channels INTEGER,
    digest BLOB NOT NULL,
    bytes INTEGER NOT NULL,
    alarm TEXT,
    detail TEXT,
    UNIQUE (device, digest)
  ) STRICT;
  CREATE INDEX egress_sequence ON egress (device, sequence);
  CREATE INDEX egress_alarm ON egress (alarm) WHERE alarm IS NOT NULL;
  CREATE TABLE device_certificates (
    device TEXT NOT NULL,
    payload BLOB NOT NULL,
    received_ms INTEGER NOT NULL,
    UNIQUE (device, payload)
  ) STRICT;
`;

const errorCodes: Readonly<Record<SqliteFileErrorCode, RecordErrorCode>> = {
  'sqlite.newer': 'record.version',
  'sqlite.in_use': 'record.storage',
  'sqlite.failed': 'record.storage',
};

/** @throws RecordError */
export function openRecord(directory: string): EgressRecord {
  try {
    const pragmas = ['journal_mode = WAL', 'synchronous = FULL'];
    const file = path.join(directory, recordFileName);
    return new EgressRecord(openSqliteFile(file, { pragmas, schema, schemaVersion }));
  } catch (cause) {
    if (!(cause instanceof SqliteFileError)) throw cause;
    throw new RecordError(errorCodes[cause.code], cause.message, { cause });
  }
}

export class EgressRecord {
  readonly #database: DatabaseSync;
  readonly #statements;

  constructor(database: DatabaseSync) {
    this.#database = database;
    const prepare = (sql: string) => database.prepare(sql);
    this.#statements = {
      add: prepare(
        `INSERT INTO egress (device, topic_name, sequence, signing_ms, received_ms, recipients, channels, digest, bytes, alarm, detail)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
      ),
      digestsOf: prepare(`SELECT digest FROM egress WHERE device = ? AND sequence = ? ORDER BY id`),
      has: prepare(`SELECT 1 FROM egress WHERE device = ? AND digest = ?`),
      addCertificates: prepare(
        `INSERT INTO device_certificates (device, payload, received_ms) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`,
      ),
      certificates: prepare(`SELECT device, payload FROM device_certificates ORDER BY rowid`),
      counts: prepare(`SELECT count(*) AS entries, count(alarm) AS alarms FROM egress`),
    };
  }

  /**
   * Appends all or nothing.
   *
   * @returns for each whether it is new; the same envelope a second time changes nothing
   * @throws RecordError `record.storage`
   */
  append(entries: readonly EgressEntry[]): boolean[] {
    try {
      this.#database.exec('BEGIN IMMEDIATE');
      const isNew = entries.map((entry) => this.#add(entry));
      this.#database.exec('COMMIT');
      return isNew;
    } catch (cause) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw new RecordError('record.storage', `cannot append to the record: ${String(cause)}`, { cause });
    }
  }

  has(device: string, digest: Uint8Array): boolean {
    return this.#statements.has.get(device, digest) !== undefined;
  }

  /** @returns the digests of a device's envelopes with that sequence number; more than one is an alarm */
  digestsOf(device: string, sequence: number): Buffer[] {
    return this.#statements.digestsOf.all(device, sequence).map((row) => bytesOf(row['digest']));
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

  counts(): { entries: number; alarms: number } {
    const row = this.#statements.counts.get();
    return { entries: Number(row?.['entries']), alarms: Number(row?.['alarms']) };
  }

  close(): void {
    this.#database.close();
  }

  #add(entry: EgressEntry): boolean {
    const { changes } = this.#statements.add.run(
      entry.device,
      entry.topicName,
      entry.sequence ?? null,
      entry.signingTimeMs ?? null,
      entry.receivedMs,
      JSON.stringify(entry.recipients),
      entry.channels ?? null,
      entry.digest,
      entry.bytes,
      entry.alarm?.reason ?? null,
      entry.alarm?.detail ?? null,
    );
    return changes > 0;
  }
}
