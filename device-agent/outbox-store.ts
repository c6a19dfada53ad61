/** The outbox on disk: one SQLite database, every change of which is a transaction that survives a power cut. */
import type { DatabaseSync } from 'node:sqlite';
import type { CommandResult } from '../domain/command.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import type { SqliteFileErrorCode } from '../runtime/sqlite-file.ts';
import { bytesOf, inTransaction, openSqliteFile, SqliteFileError } from '../runtime/sqlite-file.ts';
import type { OutgoingTopic, StreamUsage } from './stream.ts';
import { sharedPrefix } from './stream.ts';

export type OutboxErrorCode =
  | 'outbox.full' // as many envelopes wait as may, and the policy is to refuse
  | 'outbox.closed'
  | 'outbox.in_use' // another process has the same file open
  | 'outbox.version' // a newer version of the agent made it
  | 'outbox.storage'; // the disk is full or broken; nothing was stored

export class OutboxError extends Error {
  override readonly name = 'OutboxError';
  readonly code: OutboxErrorCode;
  constructor(code: OutboxErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** What of a stream is on disk; of a device's main stream also what is of the device. */
export interface StoredStream {
  readonly id: number;
  readonly nextSequence: number;
  readonly previousDigest: Buffer | undefined;
  readonly delivered: number;
  readonly dropped: number;
  /** How far the file that it was last fed from has been taken in. */
  readonly position: SourcePosition | undefined;
  readonly usage: StreamUsage | undefined;
  readonly pending: number;
}

export interface SourcePosition {
  /** Names one content of one file. */
  readonly source: string;
  /** From 1. */
  readonly line: number;
}

export interface StoredEnvelope {
  readonly sequence: number;
  readonly topicName: OutgoingTopic;
  readonly envelope: Buffer;
}

export interface StoredCommand {
  /** Undefined while it is executed, or if that was interrupted. */
  readonly result: CommandResult | undefined;
  /** Whether the envelope of the result still waits. */
  readonly resultPending: boolean;
}

const schemaVersion = 1;
const schema = `
  CREATE TABLE device (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    next_sequence INTEGER NOT NULL,
    previous_digest BLOB,
    delivered INTEGER NOT NULL,
    dropped INTEGER NOT NULL,
    source TEXT,
    line INTEGER
  ) STRICT;
  CREATE TABLE envelope (
    id INTEGER PRIMARY KEY,
    device INTEGER NOT NULL REFERENCES device(id),
    sequence INTEGER NOT NULL,
    topic_name TEXT NOT NULL,
    content BLOB NOT NULL,
    UNIQUE (device, sequence)
  ) STRICT;
  CREATE TABLE command (
    device INTEGER NOT NULL REFERENCES device(id),
    command_id TEXT NOT NULL,
    expires_ms INTEGER NOT NULL,
    outcome TEXT,
    detail TEXT,
    finished_ms INTEGER,
    result_sequence INTEGER,
    PRIMARY KEY (device, command_id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX command_expiry ON command (expires_ms);
`;
/** Beside the tables of version 1, whose programs know nothing of it and lose nothing by it. */
const usageSchema = `
  CREATE TABLE IF NOT EXISTS stream_usage (
    device INTEGER PRIMARY KEY REFERENCES device(id),
    snapshot_ms INTEGER NOT NULL,
    hour INTEGER NOT NULL,
    bytes INTEGER NOT NULL
  ) STRICT;
`;
/** The write-ahead log is cut back to this after a burst. */
const journalBytesMax = 32 * 1024 * 1024;
/** 16 MiB: most envelopes are delivered and gone before they would be written a second time, into the file itself. */
const checkpointPages = 4096;

const pragmas: readonly string[] = [
  'synchronous = FULL',
  'foreign_keys = ON',
  `wal_autocheckpoint = ${checkpointPages}`,
  `journal_size_limit = ${journalBytesMax}`,
];

const errorCodes: Readonly<Record<SqliteFileErrorCode, OutboxErrorCode>> = {
  'sqlite.newer': 'outbox.version',
  'sqlite.in_use': 'outbox.in_use',
  'sqlite.failed': 'outbox.storage',
};

/**
 * Opens or makes the database; one process at a time, because two would give a sequence number out twice.
 *
 * @throws OutboxError `outbox.in_use`, `outbox.version`, `outbox.storage`
 */
export function openOutboxStore(file: string): OutboxStore {
  try {
    const database = openSqliteFile(file, { locking: 'exclusive', pragmas, schema, schemaVersion });
    return openTables(database, file);
  } catch (cause) {
    if (!(cause instanceof SqliteFileError)) throw cause;
    throw new OutboxError(errorCodes[cause.code], cause.message, { cause });
  }
}

function openTables(database: DatabaseSync, file: string): OutboxStore {
  try {
    database.exec(usageSchema);
    return new OutboxStore(database);
  } catch (cause) {
    database.close();
    throw new OutboxError('outbox.storage', `cannot open ${file}: ${String(cause)}`, { cause });
  }
}

/** The table `device` has a row for each stream: a device's main one under its path, the others under what their topics begin with. */
export class OutboxStore {
  readonly #database: DatabaseSync;
  readonly #statements;

  constructor(database: DatabaseSync) {
    this.#database = database;
    const prepare = (sql: string) => database.prepare(sql);
    this.#statements = {
      addDevice: prepare(
        `INSERT INTO device (path, next_sequence, delivered, dropped) VALUES (?, 1, 0, 0) ON CONFLICT DO NOTHING`,
      ),
      device: prepare(
        `SELECT id, next_sequence, previous_digest, delivered, dropped, source, line, snapshot_ms, hour, bytes,
           (SELECT count(*) FROM envelope WHERE device = device.id) AS pending
         FROM device LEFT JOIN stream_usage ON stream_usage.device = device.id WHERE path = ?`,
      ),
      sharedStreams: prepare(
        `SELECT path FROM device WHERE substr(path, 1, length(:prefix)) = :prefix ORDER BY path`,
      ),
      updateUsage: prepare(
        `INSERT INTO stream_usage (device, snapshot_ms, hour, bytes) VALUES (?, ?, ?, ?)
         ON CONFLICT (device) DO UPDATE SET snapshot_ms = excluded.snapshot_ms, hour = excluded.hour, bytes = excluded.bytes`,
      ),
      updateDevice: prepare(
        `UPDATE device SET next_sequence = ?, previous_digest = ?, delivered = ?, dropped = ?, source = ?, line = ?
         WHERE id = ?`,
      ),
      devices: prepare(
        `SELECT path, id, (SELECT count(*) FROM envelope WHERE device = device.id) AS pending FROM device ORDER BY path`,
      ),
      addEnvelope: prepare(
        `INSERT INTO envelope (device, sequence, topic_name, content) VALUES (?, ?, ?, ?)`,
      ),
      removeEnvelope: prepare(`DELETE FROM envelope WHERE device = ? AND sequence = ?`),
      removeOldest: prepare(
        `DELETE FROM envelope WHERE id IN (SELECT id FROM envelope ORDER BY id LIMIT ?) RETURNING device`,
      ),
      envelopesAfter: prepare(
        `SELECT sequence, topic_name, content FROM envelope WHERE device = ? AND sequence > ? ORDER BY sequence LIMIT ?`,
      ),
      command: prepare(
        `SELECT outcome, detail, finished_ms, EXISTS (
           SELECT 1 FROM envelope WHERE envelope.device = command.device AND sequence = result_sequence) AS pending
         FROM command WHERE device = ? AND command_id = ?`,
      ),
      addCommand: prepare(`INSERT INTO command (device, command_id, expires_ms) VALUES (?, ?, ?)`),
      finishCommand: prepare(
        `UPDATE command SET outcome = ?, detail = ?, finished_ms = ?, result_sequence = ? WHERE device = ? AND command_id = ?`,
      ),
      forgetCommands: prepare(`DELETE FROM command WHERE expires_ms < ?`),
      countCommands: prepare(`SELECT count(*) AS commands FROM command WHERE device = ?`),
    };
  }

  /** Runs `work` as one transaction. @throws OutboxError `outbox.storage`, after which nothing has changed */
  transaction(work: () => void): void {
    try {
      inTransaction(this.#database, work);
    } catch (cause) {
      throw new OutboxError('outbox.storage', `cannot store: ${String(cause)}`, { cause });
    }
  }

  /** @returns the streams that a device has beside the main one */
  sharedStreams(device: NamespacePath): readonly string[] {
    return this.#statements.sharedStreams
      .all({ prefix: sharedPrefix(device) })
      .map((row) => String(row['path']));
  }

  /** Makes it if it is not there. */
  stream(stream: string): StoredStream {
    this.#statements.addDevice.run(stream);
    const row = this.#statements.device.get(stream);
    const digest = row?.['previous_digest'];
    const source = row?.['source'];
    return {
      id: Number(row?.['id']),
      nextSequence: Number(row?.['next_sequence']),
      previousDigest: digest instanceof Uint8Array ? Buffer.from(digest) : undefined,
      delivered: Number(row?.['delivered']),
      dropped: Number(row?.['dropped']),
      position: typeof source === 'string' ? { source, line: Number(row?.['line']) } : undefined,
      usage:
        typeof row?.['hour'] === 'number'
          ? { snapshotMs: Number(row['snapshot_ms']), hour: row['hour'], bytes: Number(row['bytes']) }
          : undefined,
      pending: Number(row?.['pending']),
    };
  }

  /** Of everybody who ever sealed into this file, also of those who are no longer configured. */
  devices(): (Pick<StoredStream, 'id' | 'pending'> & { readonly path: string })[] {
    return this.#statements.devices.all().map((row) => {
      return { path: String(row['path']), id: Number(row['id']), pending: Number(row['pending']) };
    });
  }

  updateStream({ usage, ...stream }: Omit<StoredStream, 'pending'>): void {
    this.#statements.updateDevice.run(
      stream.nextSequence,
      stream.previousDigest ?? null,
      stream.delivered,
      stream.dropped,
      stream.position?.source ?? null,
      stream.position?.line ?? null,
      stream.id,
    );
    if (usage !== undefined) {
      this.#statements.updateUsage.run(stream.id, usage.snapshotMs, usage.hour, usage.bytes);
    }
  }

  addEnvelope(deviceId: number, sequence: number, topicName: OutgoingTopic, envelope: Uint8Array): void {
    this.#statements.addEnvelope.run(deviceId, sequence, topicName, envelope);
  }

  /** @returns whether it was there */
  removeEnvelope(deviceId: number, sequence: number): boolean {
    return this.#statements.removeEnvelope.run(deviceId, sequence).changes > 0;
  }

  /** @returns the device of each one that was removed */
  removeOldest(count: number): number[] {
    return this.#statements.removeOldest.all(count).map((row) => Number(row['device']));
  }

  envelopesAfter(deviceId: number, sequence: number, limit: number): StoredEnvelope[] {
    return this.#statements.envelopesAfter.all(deviceId, sequence, limit).map((row) => ({
      sequence: Number(row['sequence']),
      topicName: row['topic_name'] === 'snapshots' ? 'snapshots' : 'commands/result',
      envelope: bytesOf(row['content']),
    }));
  }

  command(deviceId: number, commandId: string): StoredCommand | undefined {
    const row = this.#statements.command.get(deviceId, commandId);
    if (row === undefined) return undefined;
    const outcome = row['outcome'];
    if (outcome !== 'done' && outcome !== 'refused' && outcome !== 'expired') {
      return { result: undefined, resultPending: false };
    }
    const finishedAtMs = Number(row['finished_ms']);
    const result = { id: commandId, outcome, detail: String(row['detail']), finishedAtMs } as const;
    return { result, resultPending: row['pending'] === 1 };
  }

  addCommand(deviceId: number, commandId: string, expiresAtMs: number): void {
    this.#statements.addCommand.run(deviceId, commandId, expiresAtMs);
  }

  finishCommand(deviceId: number, result: CommandResult, sequence: number): void {
    const { id, outcome, detail, finishedAtMs } = result;
    this.#statements.finishCommand.run(outcome, detail, finishedAtMs, sequence, deviceId, id);
  }

  forgetCommands(expiredBeforeMs: number): void {
    this.#statements.forgetCommands.run(expiredBeforeMs);
  }

  countCommands(deviceId: number): number {
    return Number(this.#statements.countCommands.get(deviceId)?.['commands']);
  }

  close(): void {
    this.#database.close();
  }
}
