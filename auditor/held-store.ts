/** Envelopes that wait for a person, on the disk until they have left or were denied. */
import path from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import type { PassageLeaf } from '../ledger/leaf.ts';
import { decodeLeaf, encodeLeaf } from '../ledger/leaf.ts';
import { streamOf } from '../ledger/stream.ts';
import { bytesOf, openSqliteFile } from '../runtime/sqlite-file.ts';

export interface HeldEnvelope {
  /** Counts up in the order in which they came. */
  readonly id: number;
  /** As it came. */
  readonly envelope: Buffer;
  /** What the ledger says of it. */
  readonly passage: PassageLeaf;
  readonly deadlineMs: number;
  readonly decision: HeldDecision | undefined;
}

export interface HeldDecision {
  readonly outcome: 'released' | 'denied';
  /** A person's name, or `deadline`. */
  readonly by: string;
}

const schemaVersion = 1;
const schema = `
  CREATE TABLE held (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream TEXT NOT NULL,
    digest BLOB NOT NULL,
    envelope BLOB NOT NULL,
    passage BLOB NOT NULL,
    deadline_ms INTEGER NOT NULL,
    outcome TEXT,
    decided_by TEXT,
    UNIQUE (stream, digest)
  ) STRICT;
  CREATE INDEX held_deadline ON held (deadline_ms) WHERE outcome IS NULL;
`;

/** @throws SqliteFileError */
export function openHeldStore(directory: string): HeldStore {
  const pragmas = ['synchronous = FULL'];
  return new HeldStore(
    openSqliteFile(path.join(directory, 'held.sqlite'), {
      locking: 'shared',
      pragmas,
      schema,
      schemaVersion,
    }),
  );
}

export class HeldStore {
  readonly #database: DatabaseSync;
  readonly #statements;

  constructor(database: DatabaseSync) {
    this.#database = database;
    const prepare = (sql: string) => database.prepare(sql);
    this.#statements = {
      add: prepare(
        'INSERT INTO held (stream, digest, envelope, passage, deadline_ms) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
      ),
      decide: prepare('UPDATE held SET outcome = ?, decided_by = ? WHERE id = ? AND outcome IS NULL'),
      remove: prepare('DELETE FROM held WHERE id = ?'),
      list: prepare('SELECT * FROM held ORDER BY id LIMIT ?'),
      first: prepare('SELECT * FROM held WHERE stream = ? ORDER BY id LIMIT 1'),
      find: prepare('SELECT * FROM held WHERE id = ?'),
      due: prepare('SELECT id FROM held WHERE outcome IS NULL AND deadline_ms <= ? ORDER BY id LIMIT 1000'),
      streams: prepare('SELECT DISTINCT stream FROM held'),
      count: prepare('SELECT count(*) AS held FROM held'),
    };
  }

  get size(): number {
    return Number(this.#statements.count.get()?.['held']);
  }

  /** Durable when it returns; the same envelope again changes nothing. */
  add(envelope: Uint8Array, passage: PassageLeaf, deadlineMs: number): void {
    this.#statements.add.run(streamOf(passage), passage.digest, envelope, encodeLeaf(0, passage), deadlineMs);
  }

  /** @returns whether it was there, and not decided yet */
  decide(id: number, { outcome, by }: HeldDecision): boolean {
    return this.#statements.decide.run(outcome, by, id).changes > 0;
  }

  remove(id: number): void {
    this.#statements.remove.run(id);
  }

  /** The oldest first. */
  list(max: number): HeldEnvelope[] {
    return this.#statements.list.all(max).map(heldOf);
  }

  find(id: number): HeldEnvelope | undefined {
    const row = this.#statements.find.get(id);
    return row && heldOf(row);
  }

  /** The one of a stream that leaves next. */
  first(stream: string): HeldEnvelope | undefined {
    const row = this.#statements.first.get(stream);
    return row && heldOf(row);
  }

  /** Those whose time has come, at most 1,000. */
  due(nowMs: number): number[] {
    return this.#statements.due.all(nowMs).map((row) => Number(row['id']));
  }

  streams(): string[] {
    return this.#statements.streams.all().map((row) => String(row['stream']));
  }

  close(): void {
    this.#database.close();
  }
}

function heldOf(row: Readonly<Record<string, unknown>>): HeldEnvelope {
  const { number: _number, ...passage } = decodeLeaf(bytesOf(row['passage']));
  if (passage.kind !== 'passage') throw new TypeError('a passage is held, and nothing else');
  const { outcome, decided_by: by } = row;
  const isDecided = outcome === 'released' || outcome === 'denied';
  return {
    id: Number(row['id']),
    envelope: bytesOf(row['envelope']),
    passage,
    deadlineMs: Number(row['deadline_ms']),
    decision: isDecided ? { outcome, by: String(by) } : undefined,
  };
}
