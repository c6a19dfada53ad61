/** Which entries speak of two histories of a device: a number used twice, or a reference to another envelope than was recorded. */
import type { DatabaseSync } from 'node:sqlite';

export interface Fork {
  /** Of the newest entry that says so. */
  readonly number: number;
  readonly stream: string;
  readonly sequence: number;
  readonly reason: string;
}

/** A query finds the index by these very words (https://sqlite.org/partialindex.html §3). */
const isFork = `reason IN ('audit.sequence_reused', 'audit.chain_broken')`;
/** So that a million other alarms cost nothing. */
const schema = `CREATE INDEX IF NOT EXISTS leaf_fork ON leaf (stream, sequence, number) WHERE ${isFork}`;

export class StreamForks {
  readonly #statements;

  /** @param database - of the index, whose table `leaf` is there */
  constructor(database: DatabaseSync) {
    database.exec(schema);
    const prepare = (sql: string) => database.prepare(sql);
    this.#statements = {
      // What was held, and then decided, has two entries: its number counts once. `reason` is that of max(number)
      // (https://sqlite.org/lang_select.html §2.5).
      list: prepare(
        `SELECT max(number) AS number, stream, sequence, reason FROM leaf
         WHERE ${isFork} AND (:within IS NULL OR stream = :within OR substr(stream, 1, length(:within) + 1) = :within || '/')
         GROUP BY stream, sequence ORDER BY 1 DESC LIMIT :limit`,
      ),
      byStream: prepare(
        `SELECT stream, count(DISTINCT sequence) AS count FROM leaf WHERE ${isFork} GROUP BY stream LIMIT ?`,
      ),
    };
  }

  /** @param within - a device; default: all @returns the newest first */
  list(max: number, within?: string): Fork[] {
    return this.#statements.list.all({ within: within ?? null, limit: max }).map((row) => ({
      number: Number(row['number']),
      stream: String(row['stream']),
      sequence: Number(row['sequence']),
      reason: String(row['reason']),
    }));
  }

  /** How many numbers of each stream. */
  byStream(streamsMax: number): { stream: string; count: number }[] {
    return this.#statements.byStream
      .all(streamsMax)
      .map((row) => ({ stream: String(row['stream']), count: Number(row['count']) }));
  }
}
