/** Who may look at the auditor's page, and who may decide there: accounts and sessions in a SQLite file of their own. */
import path from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { openSqliteFile } from '../../runtime/sqlite-file.ts';
import type { Account, Accounts } from '../../web/session.ts';

export const roles = ['viewer', 'releaser'] as const;
/** A releaser decides about what is held; a viewer looks on. */
export type Role = (typeof roles)[number];

export interface Person extends Account {
  readonly role: Role;
}

export type AccountErrorCode =
  | 'account.taken' // there is somebody of that name
  | 'account.reserved'; // the ledger uses that name for what nobody decided

export class AccountError extends Error {
  override readonly name = 'AccountError';
  readonly code: AccountErrorCode;
  constructor(code: AccountErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

const schemaVersion = 1;
const schema = `
  CREATE TABLE account (
    name TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    password_hash TEXT NOT NULL
  ) STRICT;
  CREATE TABLE session (
    token_hash BLOB PRIMARY KEY,
    name TEXT NOT NULL REFERENCES account (name) ON DELETE CASCADE,
    expires_ms INTEGER NOT NULL
  ) STRICT;
`;
/** What the ledger calls the decision of nobody. */
const reservedName = 'deadline';
/** For everybody: the page shows what the auditor sees. */
const scope = '';

/** @param directory - the auditor's data; the command line writes there while the auditor runs @throws SqliteFileError */
export function openAccounts(directory: string): AccountStore {
  const pragmas = ['synchronous = FULL', 'foreign_keys = ON'];
  return new AccountStore(
    openSqliteFile(path.join(directory, 'accounts.sqlite'), {
      locking: 'shared',
      pragmas,
      schema,
      schemaVersion,
    }),
  );
}

export class AccountStore implements Accounts<Person> {
  readonly #database: DatabaseSync;
  readonly #statements;

  constructor(database: DatabaseSync) {
    this.#database = database;
    const prepare = (sql: string) => database.prepare(sql);
    this.#statements = {
      add: prepare('INSERT INTO account (name, role, password_hash) VALUES (?, ?, ?) ON CONFLICT DO NOTHING'),
      list: prepare('SELECT name, role FROM account ORDER BY name'),
      find: prepare('SELECT name, role, password_hash FROM account WHERE name = ?'),
      setPassword: prepare('UPDATE account SET password_hash = ? WHERE name = ?'),
      remove: prepare('DELETE FROM account WHERE name = ?'),
      endSessions: prepare('DELETE FROM session WHERE name = ?'),
      endExpired: prepare('DELETE FROM session WHERE expires_ms <= ?'),
      openSession: prepare('INSERT INTO session (token_hash, name, expires_ms) VALUES (?, ?, ?)'),
      findSession: prepare(
        'SELECT name, role FROM session JOIN account USING (name) WHERE token_hash = ? AND expires_ms > ?',
      ),
      endSession: prepare('DELETE FROM session WHERE token_hash = ?'),
    };
  }

  /** @throws AccountError */
  add(name: string, role: Role, passwordHash: string): void {
    if (name === reservedName) {
      throw new AccountError('account.reserved', `"${name}" is what the ledger says if nobody decided`);
    }
    if (this.#statements.add.run(name, role, passwordHash).changes === 0) {
      throw new AccountError('account.taken', `there is a user "${name}" already`);
    }
  }

  /** By name. */
  list(): Person[] {
    return this.#statements.list.all().flatMap(personOf);
  }

  /** Also ends every session of the user. @returns whether there was such a user */
  setPassword(name: string, passwordHash: string): boolean {
    const isThere = this.#statements.setPassword.run(passwordHash, name).changes > 0;
    this.#statements.endSessions.run(name);
    return isThere;
  }

  /** Also ends every session of the user. @returns whether there was such a user */
  remove(name: string): boolean {
    return this.#statements.remove.run(name).changes > 0;
  }

  async find(name: string): Promise<(Person & { readonly passwordHash: string }) | undefined> {
    const row = this.#statements.find.get(name);
    const [person] = row === undefined ? [] : personOf(row);
    return person && { ...person, passwordHash: String(row?.['password_hash']) };
  }

  async openSession(
    tokenHash: Uint8Array,
    { name }: Person,
    nowMs: number,
    expiresMs: number,
  ): Promise<void> {
    this.#statements.endExpired.run(nowMs);
    this.#statements.openSession.run(tokenHash, name, expiresMs);
  }

  async findSession(tokenHash: Uint8Array, nowMs: number): Promise<Person | undefined> {
    const row = this.#statements.findSession.get(tokenHash, nowMs);
    return row === undefined ? undefined : personOf(row)[0];
  }

  async endSession(tokenHash: Uint8Array): Promise<void> {
    this.#statements.endSession.run(tokenHash);
  }

  close(): void {
    this.#database.close();
  }
}

/** A role that this version does not know is nobody's. */
function personOf(row: Readonly<Record<string, unknown>>): Person[] {
  const role = roles.find((known) => known === row['role']);
  return role === undefined ? [] : [{ name: String(row['name']), role, scope }];
}
