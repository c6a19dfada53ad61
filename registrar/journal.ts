/** The registrar's memory: every request that it took up, what became of it, and which invitations are used. */
import path from 'node:path';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { bytesOf, inTransaction, openSqliteFile } from '../runtime/sqlite-file.ts';
import { sqliteResultOf } from '../runtime/sqlite-result.ts';
import { PostponedError } from './errors.ts';

/** `accepted`: to be certified; whatever happens meanwhile, it will be. */
export type EntryState = 'waiting' | 'accepted' | 'issued' | 'refused';

export interface Entry {
  /** SHA-256 of the request's content. */
  readonly digest: Buffer;
  /** Of the request. */
  readonly id: string;
  /** Whose enrolment topic it came on. */
  readonly name: string;
  /** Who it is to be; of a factory name, once somebody said it. */
  readonly path: string;
  /** As it came, signed. */
  readonly message: Buffer;
  readonly state: EntryState;
  /** What was answered last, signed; null while it is accepted. */
  readonly reply: Buffer | null;
}

export interface NewEntry extends Omit<Entry, 'reply'> {
  /** Of the invitation that it uses up, hexadecimal. */
  readonly invitation: string | undefined;
  readonly receivedMs: number;
}

export interface Answer {
  /** Of the request. */
  readonly digest: Buffer;
  readonly state: EntryState;
  /** Signed. */
  readonly reply: Buffer;
}

/** A device on its way to another owner. */
export interface Transfer {
  readonly id: string;
  readonly from: string;
  readonly to: string;
  /** The document, signed by all. */
  readonly message: Buffer;
  /** The device works in its new place, and what it had in the old one is revoked. */
  readonly isDone: boolean;
}

const schemaVersion = 1;
const schema = `
  CREATE TABLE request (
    digest BLOB PRIMARY KEY,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    path TEXT NOT NULL,
    message BLOB NOT NULL,
    state TEXT NOT NULL,
    reply BLOB,
    received_ms INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX request_name ON request (name, received_ms);
  CREATE INDEX request_open ON request (state) WHERE state IN ('accepted', 'waiting');
  CREATE TABLE transfer (
    id TEXT PRIMARY KEY,
    from_path TEXT NOT NULL,
    to_path TEXT NOT NULL,
    message BLOB NOT NULL,
    is_done INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE invitation (
    serial TEXT PRIMARY KEY,
    digest BLOB NOT NULL
  ) STRICT;
`;
/** Of one name: what waits when another request comes is refused, so few are open; the rest is history. */
const entriesPerNameMax = 100;

export class Journal {
  readonly #database: DatabaseSync;
  readonly #find: StatementSync;
  readonly #inState: StatementSync;
  readonly #add: StatementSync;
  readonly #answer: StatementSync;
  readonly #accept: StatementSync;
  readonly #invitation: StatementSync;
  readonly #useInvitation: StatementSync;
  readonly #forget: StatementSync;
  readonly #counts: StatementSync;
  readonly #recent: StatementSync;
  readonly #addTransfer: StatementSync;
  readonly #findTransfer: StatementSync;
  readonly #openTransfers: StatementSync;
  readonly #finishTransfer: StatementSync;

  constructor(directory: string) {
    this.#database = openSqliteFile(path.join(directory, 'registrar.sqlite'), {
      locking: 'exclusive',
      pragmas: ['synchronous = FULL'], // acknowledged means synced
      schema,
      schemaVersion,
    });
    const prepare = (sql: string): StatementSync => this.#database.prepare(sql);
    this.#find = prepare('SELECT * FROM request WHERE digest = ?');
    this.#inState = prepare('SELECT * FROM request WHERE state = ? ORDER BY received_ms');
    this.#add = prepare(
      `INSERT INTO request (digest, id, name, path, message, state, received_ms) VALUES (?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT DO NOTHING`,
    );
    this.#answer = prepare('UPDATE request SET state = ?, reply = ? WHERE digest = ?');
    this.#accept = prepare(
      "UPDATE request SET state = 'accepted', path = ? WHERE digest = ? AND state = 'waiting'",
    );
    this.#invitation = prepare('SELECT digest FROM invitation WHERE serial = ?');
    this.#useInvitation = prepare(
      'INSERT INTO invitation (serial, digest) VALUES (?, ?) ON CONFLICT DO NOTHING',
    );
    this.#forget = prepare(
      `DELETE FROM request WHERE name = ? AND state IN ('issued', 'refused') AND digest NOT IN
       (SELECT digest FROM request WHERE name = ? ORDER BY received_ms DESC LIMIT ${entriesPerNameMax})`,
    );
    this.#recent = prepare('SELECT COUNT(*) AS entries FROM request WHERE name = ? AND received_ms > ?');
    this.#addTransfer = prepare(
      'INSERT INTO transfer (id, from_path, to_path, message, is_done) VALUES (?, ?, ?, ?, 0) ON CONFLICT DO NOTHING',
    );
    this.#findTransfer = prepare('SELECT * FROM transfer WHERE id = ?');
    this.#openTransfers = prepare('SELECT * FROM transfer WHERE to_path = ? AND is_done = 0');
    this.#finishTransfer = prepare('UPDATE transfer SET is_done = 1 WHERE id = ?');
    this.#counts = prepare('SELECT state, COUNT(*) AS entries FROM request GROUP BY state');
  }

  find(digest: Buffer): Entry | undefined {
    const row = this.#find.get(digest);
    return row === undefined ? undefined : entryOf(row);
  }

  inState(state: EntryState): Entry[] {
    return this.#inState.all(state).map(entryOf);
  }

  counts(): Partial<Record<EntryState, number>> {
    return Object.fromEntries(
      this.#counts.all().map(({ state, entries }) => [String(state), Number(entries)]),
    );
  }

  /** How many requests of a name came since then. */
  countSince(name: string, sinceMs: number): number {
    return Number(this.#recent.get(name, sinceMs)?.['entries']);
  }

  /** @returns the digest of the request that used an invitation up */
  userOf(invitation: string): Buffer | undefined {
    const row = this.#invitation.get(invitation);
    return row === undefined ? undefined : bytesOf(row['digest']);
  }

  /** Takes up new requests, and keeps what some of them are answered, in one step. @throws PostponedError */
  add(entries: readonly NewEntry[], answers: readonly Answer[]): void {
    if (entries.length === 0) return;
    this.#write(() => {
      for (const { digest, id, name, path: asked, message, state, receivedMs, invitation } of entries) {
        if (invitation !== undefined) this.#useInvitation.run(invitation, digest);
        this.#add.run(digest, id, name, asked, message, state, receivedMs);
        this.#forget.run(name, name);
      }
      this.#keep(answers);
    });
  }

  /** Of one that waits. @throws PostponedError */
  accept(digest: Buffer, asPath: string): void {
    this.#write(() => this.#accept.run(asPath, digest));
  }

  /** Keeps answers, in one step; only then they may be given. @throws PostponedError */
  answer(answers: readonly Answer[]): void {
    this.#write(() => this.#keep(answers));
  }

  /** @throws PostponedError */
  addTransfer({ id, from, to, message }: Omit<Transfer, 'isDone'>): void {
    this.#write(() => this.#addTransfer.run(id, from, to, message));
  }

  findTransfer(id: string): Transfer | undefined {
    const row = this.#findTransfer.get(id);
    return row === undefined ? undefined : transferOf(row);
  }

  /** Those that a device has not confirmed yet. */
  openTransfersTo(to: string): Transfer[] {
    return this.#openTransfers.all(to).map(transferOf);
  }

  /** @throws PostponedError */
  finishTransfer(id: string): void {
    this.#write(() => this.#finishTransfer.run(id));
  }

  close(): void {
    this.#database.close();
  }

  #keep(answers: readonly Answer[]): void {
    for (const { digest, state, reply } of answers) this.#answer.run(state, reply, digest);
  }

  #write(work: () => unknown): void {
    try {
      inTransaction(this.#database, () => void work());
    } catch (cause) {
      if (sqliteResultOf(cause) === undefined || !(cause instanceof Error)) throw cause;
      throw new PostponedError(`cannot write the journal: ${cause.message}`, { cause });
    }
  }
}

function entryOf(row: Readonly<Record<string, unknown>>): Entry {
  const { digest, id, name, path: asked, message, state, reply } = row;
  return {
    digest: bytesOf(digest),
    id: String(id),
    name: String(name),
    path: String(asked),
    message: bytesOf(message),
    state: String(state) as EntryState,
    reply: reply === null ? null : bytesOf(reply),
  };
}

function transferOf(row: Readonly<Record<string, unknown>>): Transfer {
  const { id, from_path: from, to_path: to, message, is_done: isDone } = row;
  return {
    id: String(id),
    from: String(from),
    to: String(to),
    message: bytesOf(message),
    isDone: isDone === 1,
  };
}
