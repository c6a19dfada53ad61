/** What the main thread asks of the one that stores, and what that answers. */
import type { ChangeName } from '../database/changes.ts';
import type { DeadLetter, DroppedLetters } from '../database/dead-letters.ts';
import type { DatabaseFault } from '../database/errors.ts';
import type { StoreOutcome } from '../database/ingest.ts';
import type { StoredEvent } from './feed.ts';
import type { KnownLayout } from './packed-arrivals.ts';

export interface StoreSettings {
  /** Of the database. */
  readonly url: string;
  /** Where it notes how far the database was. */
  readonly directory: string;
  /** What is kept as evidence, undefined: nothing is. */
  readonly evidenceMs: number | undefined;
}

/** Answered one by one, in their order. */
export type StoreRequest =
  | { readonly kind: 'store'; readonly packed: readonly Uint8Array[]; readonly nowMs: number }
  | { readonly kind: 'letters'; readonly letters: readonly DeadLetter[] }
  | { readonly kind: 'purge'; readonly nowMs: number }
  /** Whether the database is there. */
  | { readonly kind: 'look' };

export interface Stored {
  readonly kind: 'stored';
  /** In the order of what was packed. */
  readonly outcomes: readonly StoreOutcome[];
  readonly events: readonly StoredEvent[];
  readonly changed: ReadonlySet<ChangeName>;
  /** Values of another kind than their channel had. */
  readonly kindChanges: number;
  /** Commands that were finished, by how. */
  readonly finished: readonly string[];
  /** What is known now of layouts that were not. */
  readonly learnt: readonly KnownLayout[];
  readonly seconds: number;
  /** Why rows were refused for good. */
  readonly faults: readonly string[];
  /** The database has fewer batches than it once had. */
  readonly restored: Restored | undefined;
}

export interface Restored {
  readonly batchesMissing: number;
  /** When the database was last seen with them. */
  readonly seenMs: number;
}

export type StoreAnswer =
  | Stored
  | { readonly kind: 'done' }
  | { readonly kind: 'kept'; readonly dropped: DroppedLetters }
  | { readonly kind: 'purged'; readonly isDone: boolean }
  /** Nothing of it is in the database; the same may succeed later. */
  | { readonly kind: 'unavailable'; readonly fault: DatabaseFault; readonly detail: string };
