/** The envelopes that passed, as they came: sealed at rest too, opened only for whoever asks. The oldest go first. */
import path from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import type { Clock } from '../domain/clock.ts';
import { errorText } from '../domain/error-text.ts';
import type { Log } from '../runtime/log.ts';
import { bytesOf, inTransaction, openSqliteFile } from '../runtime/sqlite-file.ts';

/** Snapshots; or commands and what devices answer to them. */
export type ArchivedKind = 'snapshot' | 'command';

export interface ArchivedEnvelope {
  /** Of its first entry in the ledger. */
  readonly number: number;
  readonly device: string;
  readonly kind: ArchivedKind;
  readonly topic: string;
  readonly receivedMs: number;
  readonly envelope: Buffer;
}

export interface ArchiveOptions {
  /** The auditor's data. */
  readonly directory: string;
  readonly days: number;
  readonly bytesMax: number;
  readonly clock: Clock;
  readonly log: Log;
}

export const archiveFileName = 'archive.sqlite';

const schemaVersion = 1;
const schema = `
  CREATE TABLE envelope (
    number INTEGER PRIMARY KEY,
    device TEXT NOT NULL,
    kind TEXT NOT NULL,
    topic TEXT NOT NULL,
    received_ms INTEGER NOT NULL,
    envelope BLOB NOT NULL
  ) STRICT;
  CREATE INDEX envelope_device ON envelope (device, kind, number);
  CREATE TABLE total (id INTEGER PRIMARY KEY CHECK (id = 1), bytes INTEGER NOT NULL) STRICT;
  INSERT INTO total VALUES (1, 0);
`;
const dayMs = 24 * 3600 * 1000;
/** Deleted with one commit, so that nobody waits for a long one. */
const deletedMax = 500;

/** @throws SqliteFileError */
export function openArchive(options: ArchiveOptions): Archive {
  // The ledger is the truth; what a power cut takes of this is missing in an export, and nowhere else.
  const pragmas = ['synchronous = NORMAL'];
  const file = path.join(options.directory, archiveFileName);
  return new Archive(openSqliteFile(file, { locking: 'shared', pragmas, schema, schemaVersion }), options);
}

export class Archive {
  readonly #database: DatabaseSync;
  readonly #options: ArchiveOptions;
  readonly #statements;
  #isFailing = false;

  constructor(database: DatabaseSync, options: ArchiveOptions) {
    this.#database = database;
    this.#options = options;
    const prepare = (sql: string) => database.prepare(sql);
    this.#statements = {
      keep: prepare('INSERT OR IGNORE INTO envelope VALUES (?, ?, ?, ?, ?, ?)'),
      count: prepare('UPDATE total SET bytes = bytes + ?'),
      bytes: prepare('SELECT bytes FROM total'),
      oldest: prepare(
        'SELECT number, received_ms, length(envelope) AS bytes FROM envelope ORDER BY number LIMIT ?',
      ),
      remove: prepare('DELETE FROM envelope WHERE number <= ?'),
      newest: prepare('SELECT * FROM envelope WHERE device = ? AND kind = ? ORDER BY number DESC LIMIT ?'),
      find: prepare('SELECT * FROM envelope WHERE number = ?'),
      first: prepare(
        "SELECT received_ms FROM envelope WHERE device = ? AND kind = 'snapshot' ORDER BY number LIMIT 1",
      ),
    };
  }

  /** For how long something is kept, if there is room. */
  get days(): number {
    return this.#options.days;
  }

  get bytesMax(): number {
    return this.#options.bytesMax;
  }

  /** A disk that takes nothing is said once: what was audited is in the ledger all the same. */
  keep(envelopes: readonly ArchivedEnvelope[]): void {
    try {
      inTransaction(this.#database, () => {
        for (const { number, device, kind, topic, receivedMs, envelope } of envelopes) {
          const { changes } = this.#statements.keep.run(number, device, kind, topic, receivedMs, envelope);
          if (changes > 0) this.#statements.count.run(envelope.length);
        }
        this.#makeRoom();
      });
      this.#isFailing = false;
    } catch (error) {
      if (!this.#isFailing) this.#options.log.error({ detail: errorText(error) }, 'archive.failed');
      this.#isFailing = true;
    }
  }

  /** The newest first. */
  newestOf(device: string, kind: ArchivedKind, max: number): ArchivedEnvelope[] {
    return this.#statements.newest.all(device, kind, max).map(archivedOf);
  }

  /** @param number - of its first entry in the ledger */
  find(number: number): ArchivedEnvelope | undefined {
    const row = this.#statements.find.get(number);
    return row && archivedOf(row);
  }

  /** When the oldest snapshot that is kept of a device came; undefined if none is. */
  sinceMs(device: string): number | undefined {
    const row = this.#statements.first.get(device);
    return row && Number(row['received_ms']);
  }

  close(): void {
    this.#database.close();
  }

  #makeRoom(): void {
    const { days, bytesMax, clock } = this.#options;
    const { oldest, bytes, remove, count } = this.#statements;
    const untilMs = clock() - days * dayMs;
    const used = Number(bytes.get()?.['bytes']);
    let freed = 0;
    let last: number | undefined;
    for (const row of oldest.iterate(deletedMax)) {
      if (Number(row['received_ms']) >= untilMs && used - freed <= bytesMax) break;
      freed += Number(row['bytes']);
      last = Number(row['number']);
    }
    if (last === undefined) return;
    remove.run(last);
    count.run(-freed);
  }
}

/** @param row - of the table `envelope` */
export function archivedOf(row: Readonly<Record<string, unknown>>): ArchivedEnvelope {
  return {
    number: Number(row['number']),
    device: String(row['device']),
    kind: row['kind'] === 'command' ? 'command' : 'snapshot',
    topic: String(row['topic']),
    receivedMs: Number(row['received_ms']),
    envelope: bytesOf(row['envelope']),
  };
}
