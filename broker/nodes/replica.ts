/** This node's copy of the state while another node is active: follows the shared log, entry by entry. */
import path from 'node:path';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { sqliteConstraint, sqliteResultOf } from '../../runtime/sqlite-result.ts';
import type { Mark } from '../store/journal.ts';
import type { StoreFileOptions } from '../store/store-file.ts';
import { openStoreFile, storeError } from '../store/store-file.ts';
import { sql } from '../store/store-statements.ts';
import { readEntry } from './entry.ts';
import type { LogEntry, Place } from './shared-log.ts';

export const storeFileName = 'broker.sqlite';

export type Applied =
  | 'ok'
  /** An entry is missing, or does not fit: the copy is not one of this log. */
  | 'diverged'
  /** A node of another version wrote the entry. */
  | 'other_version';

const isEmptySql = `SELECT NOT EXISTS (SELECT 1 FROM session) AND NOT EXISTS (SELECT 1 FROM retained)
  AND NOT EXISTS (SELECT 1 FROM message) AND NOT EXISTS (SELECT 1 FROM will)
  AND NOT EXISTS (SELECT 1 FROM cascade_refused) AS is_empty`;

export class Replica {
  readonly #file: string;
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  #place: Place | undefined;

  /** @throws BrokerError `broker.store_locked`, `broker.store_too_new`, `broker.store_failed` */
  constructor(directory: string, options: Omit<StoreFileOptions, 'locking'>) {
    this.#file = path.join(directory, storeFileName);
    this.#database = openStoreFile(this.#file, { ...options, locking: 'shared' }).database;
    const row = this.#statement(sql.place).get();
    if (row === undefined) return;
    this.#place = {
      lineage: String(row['lineage']),
      position: Number(row['position']),
      epoch: Number(row['epoch']),
    };
  }

  /** Undefined: has never been part of a cluster. */
  get place(): Place | undefined {
    return this.#place;
  }

  /** Nothing is lost with it. */
  get isEmpty(): boolean {
    return this.#statement(isEmptySql).get()?.['is_empty'] === 1;
  }

  /** The copy is the beginning of a cluster's state. */
  beginLineage(lineage: string): Place {
    this.#statement(sql.putPlace).run(lineage, 0, 0);
    this.#place = { lineage, position: 0, epoch: 0 };
    return this.#place;
  }

  /** Up to there nothing was written. */
  moveTo(mark: Mark): void {
    this.#statement(sql.movePlace).run(mark.position, mark.epoch);
    if (this.#place !== undefined) this.#place = { ...this.#place, ...mark };
  }

  /**
   * All of them in one transaction, or none.
   *
   * @throws BrokerError `broker.store_failed`, for example on a full disk
   */
  apply(entries: readonly LogEntry[]): Applied {
    if (this.#place === undefined) return 'diverged';
    let last: Mark = this.#place;
    try {
      this.#database.exec('BEGIN IMMEDIATE');
      for (const { position, epoch, entry } of entries) {
        if (position !== last.position + 1 || epoch < last.epoch) return this.#undo('diverged');
        const writes = readEntry(entry);
        if (writes === undefined) return this.#undo('other_version');
        for (const { statement, values } of writes) this.#statement(statement).run(...values);
        last = { position, epoch };
      }
      this.#statement(sql.movePlace).run(last.position, last.epoch);
      this.#database.exec('COMMIT');
    } catch (cause) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      if (isConstraint(cause)) return 'diverged';
      throw storeError(this.#file, cause);
    }
    this.#place = { ...this.#place, position: last.position, epoch: last.epoch };
    return 'ok';
  }

  close(): void {
    if (this.#database.isOpen) this.#database.close();
  }

  #undo(outcome: Applied): Applied {
    this.#database.exec('ROLLBACK');
    return outcome;
  }

  #statement(text: string): StatementSync {
    let statement = this.#statements.get(text);
    if (statement === undefined) {
      statement = this.#database.prepare(text);
      this.#statements.set(text, statement);
    }
    return statement;
  }
}

/** The active node could write it, so this copy was another one. */
function isConstraint(error: unknown): boolean {
  const code = sqliteResultOf(error);
  return code !== undefined && (code & 0xff) === sqliteConstraint;
}
