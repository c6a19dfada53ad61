/** What just happened, for whoever watches: the pages over Server-Sent Events. */
import type { ChangeName } from '../database/changes.ts';

export interface StoredEvent {
  readonly path: string;
  /** The highest sequence of the device in what was just stored, and when that snapshot was taken. */
  readonly sequence: number;
  readonly timeMs: number;
  /** How many snapshots the device has now. */
  readonly stored: number;
}

export interface FeedListener {
  stored(events: readonly StoredEvent[]): void;
  changed(what: ChangeName): void;
}

export class Feed {
  readonly #listeners = new Set<FeedListener>();

  get listeners(): number {
    return this.#listeners.size;
  }

  /** @returns ends it */
  listen(listener: FeedListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  stored(events: readonly StoredEvent[]): void {
    for (const listener of this.#listeners) listener.stored(events);
  }

  changed(what: ChangeName): void {
    for (const listener of this.#listeners) listener.changed(what);
  }
}
