/** The statements on one file: every write joins the open transaction, and is nothing before its commit. */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { BrokerError } from '../errors.ts';
import type { Journal, Mark, StoredValue } from './journal.ts';
import type { Row } from './rows.ts';
import { checkpointPages, isWantOfRoom, pageBytes, storeError } from './store-file.ts';
import { sql } from './store-statements.ts';

export interface TransactionsOptions {
  /** For messages. */
  readonly file: string;
  readonly database: DatabaseSync;
  /** Called at the first write after a commit. */
  readonly onFirstWrite: () => void;
  readonly journal: Journal | undefined;
}

/** Each call throws BrokerError `broker.store_failed`: then nothing since the last commit is there. */
export class Transactions {
  readonly #options: TransactionsOptions;
  readonly #statements = new Map<string, StatementSync>();
  #isOpen = false;
  /** Whether something has to be durable before it is answered. */
  isCommitNeeded = false;

  constructor(options: TransactionsOptions) {
    this.#options = options;
  }

  /** Whether anything was written since the last commit. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** What somebody is told about once it is committed. */
  write(text: string, ...values: readonly StoredValue[]): void {
    this.isCommitNeeded = true;
    this.writeRow(text, ...values);
  }

  /** What nobody waits for. */
  writeRow(text: string, ...values: readonly StoredValue[]): void {
    this.#begin();
    this.#options.journal?.record(text, values);
    const statement = this.#statement(text);
    this.#run(() => statement.run(...values));
  }

  /** A write that says something in return. */
  writeAndRead(text: string, ...values: readonly StoredValue[]): Row | undefined {
    this.#begin();
    this.#options.journal?.record(text, values);
    const statement = this.#statement(text);
    return this.#run(() => statement.get(...values));
  }

  read(text: string, ...values: readonly number[]): Row[] {
    const statement = this.#statement(text);
    return this.#run(() => statement.all(...values));
  }

  /** The first row, if there is one. */
  readOne(text: string, ...values: readonly number[]): Row {
    return this.read(text, ...values)[0] ?? {};
  }

  commit(): void {
    this.isCommitNeeded = false;
    if (!this.#isOpen) return;
    const { journal, database } = this.#options;
    if (journal !== undefined) this.#movePlace(journal.mark());
    this.#run(() => database.exec('COMMIT'));
    this.#isOpen = false;
    journal?.committed();
  }

  /**
   * While room is scarce the log is made part of the file more often, so that it goes on in a room that is small but its
   * own; and at once, for what is in the log alone would need room when there is none.
   */
  keepLogShort(isShort: boolean): void {
    this.read(`PRAGMA wal_autocheckpoint = ${isShort ? checkpointPages.scarce : checkpointPages.usual}`);
    this.read(`PRAGMA journal_size_limit = ${isShort ? 2 * checkpointPages.scarce * pageBytes : -1}`);
    if (!isShort) return;
    try {
      this.read(sql.checkpoint);
    } catch (error) {
      // Then it stays in the log, where it is as safe.
      if (!(error instanceof BrokerError && isWantOfRoom(error))) throw error;
    }
  }

  /** Closes the file without a commit. */
  abandon(): void {
    const { database } = this.#options;
    if (database.isOpen) database.close();
  }

  #movePlace({ position, epoch }: Mark): void {
    const statement = this.#statement(sql.movePlace);
    this.#run(() => statement.run(position, epoch));
  }

  #begin(): void {
    if (this.#isOpen) return;
    const { database, onFirstWrite } = this.#options;
    this.#run(() => database.exec('BEGIN IMMEDIATE'));
    this.#isOpen = true;
    onFirstWrite();
  }

  #statement(text: string): StatementSync {
    let statement = this.#statements.get(text);
    if (statement === undefined) {
      statement = this.#run(() => this.#options.database.prepare(text));
      this.#statements.set(text, statement);
    }
    return statement;
  }

  #run<T>(work: () => T): T {
    try {
      return work();
    } catch (cause) {
      throw storeError(this.#options.file, cause);
    }
  }
}
