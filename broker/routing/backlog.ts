/** What waits in a queue, in its order: the next ones in memory, and of a stored queue the others on disk alone. */
import type { Delivery } from './message.ts';
import type { StoredDelivery } from '../store/rows.ts';
import type { Store } from '../store/store.ts';

/** Where a queue rests. */
export interface StoredQueue {
  readonly store: Store;
  readonly session: number;
}

/** Packet identifiers are 1 to 65,535 [MQTT-2.3.1-1]. */
const packetIdMax = 65_535;
/** How many stored deliveries one page reads. */
const pageDeliveries = 128;
/** Beyond so many that wait, or so many bytes, what is new to a stored queue rests on disk alone. */
const loadedDeliveriesMax = 16_384;
const loadedBytesMax = 4 * 1024 ** 2;
/** A shift() for each delivery would move the whole queue each time. */
const takenMax = 1024;

export class Backlog {
  readonly #stored: StoredQueue | undefined;
  /** What follows in order, from `#head` on. */
  #loaded: Delivery[] = [];
  #head = 0;
  #loadedBytes = 0;
  /** Stored deliveries after the last loaded one. */
  #isMoreOnDisk: boolean;
  #lastLoaded = 0;
  #lastTaken = 0;

  /** @param isMoreOnDisk - whether the store has any of it */
  constructor(stored: StoredQueue | undefined, isMoreOnDisk: boolean) {
    this.#stored = stored;
    this.#isMoreOnDisk = isMoreOnDisk;
  }

  /** What is in memory. */
  get loaded(): Delivery[] {
    return this.#loaded.slice(this.#head);
  }

  /** Whether what is new may be kept in memory: nothing before it is on disk alone. */
  hasRoomFor(bytes: number): boolean {
    if (this.#stored === undefined) return true;
    const waiting = this.#loaded.length - this.#head;
    if (this.#isMoreOnDisk || waiting >= loadedDeliveriesMax) return false;
    return this.#loadedBytes + bytes <= loadedBytesMax;
  }

  /** Appends what there is room for. */
  append(delivery: Delivery): void {
    this.#loaded.push(delivery);
    this.#loadedBytes += delivery.bytes;
    this.#lastLoaded = delivery.sequence;
  }

  /** Something was stored behind all of it. */
  appendOnDisk(): void {
    this.#isMoreOnDisk = true;
  }

  /** @returns the next one, from the disk if need be */
  peek(): Delivery | undefined {
    if (this.#head < this.#loaded.length) {
      if (this.#head > takenMax) {
        this.#loaded.splice(0, this.#head);
        this.#head = 0;
      }
      return this.#loaded[this.#head];
    }
    this.#loaded = [];
    this.#head = 0;
    this.#loadedBytes = 0;
    if (this.#isMoreOnDisk) this.#readPage();
    return this.#loaded[0];
  }

  /** @param delivery - which `peek` returned */
  take(delivery: Delivery): void {
    this.#head++;
    this.#loadedBytes -= delivery.bytes;
    this.#lastTaken = delivery.sequence;
  }

  /** Takes the oldest that waits, unless its exchange has begun. */
  takeOldest(): Delivery | undefined {
    const oldest = this.#oldest();
    if (oldest === undefined || oldest.message === undefined) return undefined;
    if (this.#loaded[this.#head]?.sequence === oldest.sequence) {
      this.#head++;
      this.#loadedBytes -= oldest.bytes;
    }
    this.#lastTaken = Math.max(this.#lastTaken, oldest.sequence);
    this.#lastLoaded = Math.max(this.#lastLoaded, oldest.sequence);
    return oldest;
  }

  /** Nobody takes from it: all rests on disk, and is read again from the first. */
  rest(isSome: boolean): void {
    this.#loaded = [];
    this.#head = 0;
    this.#loadedBytes = 0;
    this.#lastLoaded = 0;
    this.#lastTaken = 0;
    this.#isMoreOnDisk = isSome;
  }

  #oldest(): Delivery | undefined {
    if (this.#stored === undefined) return this.#loaded[this.#head];
    const { store, session } = this.#stored;
    const [row] = store.readQueue(session, this.#lastTaken, 1);
    return row && loadedDelivery(row);
  }

  #readPage(): void {
    if (this.#stored === undefined) return;
    const { store, session } = this.#stored;
    const rows = store.readQueue(session, this.#lastLoaded, pageDeliveries);
    this.#loaded = rows.map(loadedDelivery);
    this.#loadedBytes = this.#loaded.reduce((sum, { bytes }) => sum + bytes, 0);
    this.#isMoreOnDisk = rows.length === pageDeliveries;
    this.#lastLoaded = rows.at(-1)?.sequence ?? this.#lastLoaded;
  }
}

/** The identifier follows from the sequence, so a restart sends the same message under the same one [MQTT-4.4.0-1]. */
export function packetIdOf(sequence: number): number {
  return ((sequence - 1) % packetIdMax) + 1;
}

function loadedDelivery(row: StoredDelivery): Delivery {
  const { message } = row;
  return {
    sequence: row.sequence,
    packetId: packetIdOf(row.sequence),
    qos: row.qos,
    retain: row.retain,
    identifiers: row.identifiers,
    share: row.share,
    bytes: row.bytes,
    state: row.released ? 'released' : 'queued',
    message: message && {
      id: message.id,
      storedTargets: message.pending,
      topic: message.topic,
      payload: message.payload,
      properties: message.properties,
      expiresMs: message.expiresMs,
    },
    duplicate: false,
  };
}
