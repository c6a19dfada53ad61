/** Follows every write of the durable state, so that other nodes can write the same (docs/decisions/0008-nodes.md). */

export type StoredValue = string | number | null | Buffer;

/** The last entry of the shared log that a copy contains. Two copies with the same mark are the same. */
export interface Mark {
  /** Of the entry, from 1 without gaps. */
  readonly position: number;
  /** Grows with each change of the node that writes. */
  readonly epoch: number;
}

/** Called by the store, in the order of its writes. */
export interface Journal {
  /** A write of the open transaction; its values are only lent. */
  record(statement: string, values: readonly StoredValue[]): void;
  /** The transaction is about to be committed. @returns what is stored with it */
  mark(): Mark;
  /** It was committed. */
  committed(): void;
}
