/** Which numbers of each stream are missing in the ledger, followed as entries come (as `ledger/completeness.ts` finds them). */
import type { DatabaseSync } from 'node:sqlite';
import { inTransaction } from '../runtime/sqlite-file.ts';

export interface OpenGap {
  readonly stream: string;
  readonly from: number;
  readonly to: number;
  /** 0: not known, for the index was made by an earlier version. */
  readonly openedMs: number;
}

/** What has just been noticed. */
export interface GapNews extends Pick<OpenGap, 'stream' | 'from' | 'to'> {
  readonly kind: 'opened' | 'closed';
}

const schema = `
  CREATE TABLE IF NOT EXISTS stream (
    name TEXT PRIMARY KEY,
    lowest INTEGER NOT NULL,
    highest INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS gap (
    stream TEXT NOT NULL,
    from_sequence INTEGER NOT NULL,
    to_sequence INTEGER NOT NULL,
    opened_ms INTEGER NOT NULL,
    PRIMARY KEY (stream, from_sequence)
  ) STRICT, WITHOUT ROWID;
`;

/** Of an index of an earlier version; what comes in has numbers of whoever sends it. */
const fill = `
  INSERT INTO stream
    SELECT stream, min(sequence), max(sequence) FROM leaf
    WHERE stream IS NOT NULL AND sequence IS NOT NULL AND stream NOT LIKE '%/commands' GROUP BY stream;
  INSERT INTO gap
    SELECT stream, sequence + 1, next - 1, 0 FROM (
      SELECT stream, sequence, lead(sequence) OVER (PARTITION BY stream ORDER BY sequence) AS next
      FROM (SELECT DISTINCT stream, sequence FROM leaf WHERE stream IS NOT NULL AND sequence IS NOT NULL)
    ) WHERE next > sequence + 1 AND stream NOT LIKE '%/commands';
`;

/** More are counted and not told. */
const newsMax = 1000;

export class StreamNumbers {
  readonly #statements;
  #news: GapNews[] = [];

  /** @param database - of the index, whose table `leaf` is there */
  constructor(database: DatabaseSync) {
    const isNew = database.prepare(`SELECT 1 FROM sqlite_schema WHERE name = 'gap'`).get() === undefined;
    if (isNew) inTransaction(database, () => database.exec(schema + fill));
    const prepare = (sql: string) => database.prepare(sql);
    this.#statements = {
      find: prepare('SELECT lowest, highest FROM stream WHERE name = ?'),
      keep: prepare('INSERT OR REPLACE INTO stream (name, lowest, highest) VALUES (?, ?, ?)'),
      // Gaps of a stream do not overlap, so only the last that begins at or before a number can hold it.
      gapOf: prepare(
        'SELECT * FROM gap WHERE stream = ? AND from_sequence <= ? ORDER BY from_sequence DESC LIMIT 1',
      ),
      open: prepare('INSERT INTO gap (stream, from_sequence, to_sequence, opened_ms) VALUES (?, ?, ?, ?)'),
      close: prepare('DELETE FROM gap WHERE stream = ? AND from_sequence = ?'),
      list: prepare(
        `SELECT * FROM gap
         WHERE :within IS NULL OR stream = :within OR substr(stream, 1, length(:within) + 1) = :within || '/'
         ORDER BY opened_ms DESC, stream, from_sequence LIMIT :limit`,
      ),
      byStream: prepare('SELECT stream, count(*) AS count FROM gap GROUP BY stream LIMIT ?'),
      count: prepare('SELECT count(*) AS gaps FROM gap'),
    };
  }

  /** Of open gaps. */
  get gapCount(): number {
    return Number(this.#statements.count.get()?.['gaps']);
  }

  /** @param within - a device; default: all @returns those that were opened last first */
  gaps(max: number, within?: string): OpenGap[] {
    return this.#statements.list.all({ within: within ?? null, limit: max }).map(gapOf);
  }

  /** How many are open of each stream. */
  byStream(streamsMax: number): { stream: string; count: number }[] {
    return this.#statements.byStream
      .all(streamsMax)
      .map((row) => ({ stream: String(row['stream']), count: Number(row['count']) }));
  }

  /** What was noticed since the last time that this was asked. */
  takeNews(): readonly GapNews[] {
    const news = this.#news;
    this.#news = [];
    return news;
  }

  /** Within the transaction that adds the entry. */
  take(stream: string, sequence: number, timeMs: number): void {
    const { find, keep } = this.#statements;
    const row = find.get(stream);
    if (row === undefined) {
      keep.run(stream, sequence, sequence);
      return;
    }
    const [lowest, highest] = [Number(row['lowest']), Number(row['highest'])];
    if (sequence > highest) {
      keep.run(stream, lowest, sequence);
      if (sequence > highest + 1) this.#open(stream, highest + 1, sequence - 1, timeMs);
    } else if (sequence < lowest) {
      keep.run(stream, sequence, highest);
      if (sequence < lowest - 1) this.#open(stream, sequence + 1, lowest - 1, timeMs);
    } else {
      this.#fill(stream, sequence);
    }
  }

  #open(stream: string, from: number, to: number, openedMs: number): void {
    this.#statements.open.run(stream, from, to, openedMs);
    this.#tell({ kind: 'opened', stream, from, to });
  }

  #fill(stream: string, sequence: number): void {
    const row = this.#statements.gapOf.get(stream, sequence);
    if (row === undefined) return;
    const { from, to, openedMs } = gapOf(row);
    if (to < sequence) return;
    const { open, close } = this.#statements;
    close.run(stream, from);
    if (from < sequence) open.run(stream, from, sequence - 1, openedMs);
    if (sequence < to) open.run(stream, sequence + 1, to, openedMs);
    this.#tell({ kind: 'closed', stream, from: sequence, to: sequence });
  }

  #tell(news: GapNews): void {
    if (this.#news.length < newsMax) this.#news.push(news);
  }
}

function gapOf(row: Readonly<Record<string, unknown>>): OpenGap {
  return {
    stream: String(row['stream']),
    from: Number(row['from_sequence']),
    to: Number(row['to_sequence']),
    openedMs: Number(row['opened_ms']),
  };
}
