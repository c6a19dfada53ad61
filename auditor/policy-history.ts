/** Every policy that was in force here, with who signed it and since when: what entries name by its number is still readable later. */
import path from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import type { NamespacePath } from '../domain/namespace.ts';
import type { Policy } from '../domain/policy.ts';
import { decodePolicy, encodePolicy } from '../domain/policy.ts';
import { bytesOf, openSqliteFile, readSqliteFile } from '../runtime/sqlite-file.ts';

export interface PastPolicy {
  readonly policy: Policy;
  /** The common name of the certificate whose signature it carries. */
  readonly signer: string;
  /** By the signer's clock. */
  readonly signedMs: number;
  /** By this machine's clock. */
  readonly takenMs: number;
}

const fileName = 'policies.sqlite';
const schemaVersion = 1;
const schema = `
  CREATE TABLE policy (
    path TEXT NOT NULL,
    number INTEGER NOT NULL,
    content BLOB NOT NULL,
    signer TEXT NOT NULL,
    signed_ms INTEGER NOT NULL,
    taken_ms INTEGER NOT NULL,
    PRIMARY KEY (path, number)
  ) STRICT;
`;

/** @throws SqliteFileError */
export function openPolicyHistory(directory: string): PolicyHistory {
  const pragmas = ['synchronous = NORMAL'];
  return new PolicyHistory(
    openSqliteFile(path.join(directory, fileName), {
      locking: 'shared',
      pragmas,
      schema,
      schemaVersion,
    }),
  );
}

/** Of an auditor that is running. @throws what SQLite throws */
export function readPolicyHistory(directory: string): PolicyHistory {
  return new PolicyHistory(readSqliteFile(path.join(directory, fileName)));
}

export class PolicyHistory {
  readonly #database: DatabaseSync;
  readonly #statements;

  constructor(database: DatabaseSync) {
    this.#database = database;
    const prepare = (sql: string) => database.prepare(sql);
    this.#statements = {
      add: prepare('INSERT OR IGNORE INTO policy VALUES (?, ?, ?, ?, ?, ?)'),
      list: prepare('SELECT * FROM policy ORDER BY taken_ms DESC, number DESC LIMIT ?'),
      of: prepare('SELECT * FROM policy WHERE path = ? ORDER BY number DESC LIMIT ?'),
    };
  }

  /** One that is there already stays as it was first taken. */
  note({ policy, signer, signedMs, takenMs }: PastPolicy): void {
    this.#statements.add.run(policy.path, policy.number, encodePolicy(policy), signer, signedMs, takenMs);
  }

  /** The newest first. */
  list(max: number): PastPolicy[] {
    return this.#statements.list.all(max).map(pastPolicyOf);
  }

  /** Those of one path, the newest first. */
  of(scope: NamespacePath, max: number): PastPolicy[] {
    return this.#statements.of.all(scope, max).map(pastPolicyOf);
  }

  close(): void {
    this.#database.close();
  }
}

function pastPolicyOf(row: Readonly<Record<string, unknown>>): PastPolicy {
  return {
    policy: decodePolicy(bytesOf(row['content'])),
    signer: String(row['signer']),
    signedMs: Number(row['signed_ms']),
    takenMs: Number(row['taken_ms']),
  };
}
