/** What waits for the upstream: a lane for each topic, in order, the next messages of each in memory and all on disk. */
import type { Turns } from './fair-lanes.ts';
import { laneOf, sharedLane } from './up-store.ts';
import type { UpDelivery, UpStore } from './up-store.ts';

export interface Lane extends Turns {
  readonly id: number;
  /** Neither sent nor in `again`, on disk and in memory. */
  waiting: number;
  /** The next ones in order, as far as they are in memory. */
  loaded: UpDelivery[];
  lastLoaded: number;
  isMoreOnDisk: boolean;
  /** Sent before, and to be sent again before all others, in order. */
  again: UpDelivery[];
  inFlight: number;
  /** Times in a row that the upstream had no room. Until it has, one message at a time goes, so that order is kept. */
  refusals: number;
  heldUntilMs: number;
}

/** Topics that wait at once, each with its lane in memory; those that come when there are as many share one. */
const lanesMax = 100_000;
/** Numbers of lanes that were worked out. */
const knownTopicsMax = 20_000;
/** Of one lane in memory, so that taking its first is cheap. */
const laneLoadedMax = 1024;
/** Of payloads in memory that are not sent; more rests on disk alone. */
const loadedBytesMax = 8 * 1024 ** 2;
/** What one reading of a lane brings. */
const pageMessages = 64;
const pageBytes = 256 * 1024;

export class Lanes {
  readonly #store: UpStore;
  readonly #lanes = new Map<number, Lane>();
  readonly #ids = new Map<string, number>();
  #loadedBytes = 0;

  /** Takes over what the store has. */
  constructor(store: UpStore) {
    this.#store = store;
    store.sortShared();
    for (const { lane: id, messages: waiting } of store.lanes()) {
      Object.assign(this.#add(id), { waiting, isMoreOnDisk: true });
    }
  }

  all(): Iterable<Lane> {
    return this.#lanes.values();
  }

  /** @returns the lane that the next message of a topic goes to */
  of(topic: string): Lane {
    let id = this.#ids.get(topic);
    if (id === undefined) {
      id = laneOf(topic);
      if (this.#ids.size >= knownTopicsMax) this.#ids.clear();
      this.#ids.set(topic, id);
    }
    const own = this.#lanes.get(id);
    if (own !== undefined) return own;
    // As long as anything waits in the shared one, it may be of this topic.
    const shared = this.#lanes.get(sharedLane);
    if (shared !== undefined) return shared;
    return this.#add(this.#lanes.size < lanesMax ? id : sharedLane);
  }

  /** @param isWanted - whether somebody may soon take it */
  append(lane: Lane, delivery: UpDelivery, isWanted: boolean): void {
    lane.waiting++;
    const { bytes, sequence } = delivery;
    const hasRoom = this.#loadedBytes + bytes <= loadedBytesMax && lane.loaded.length < laneLoadedMax;
    if (lane.isMoreOnDisk || !isWanted || !hasRoom) {
      lane.isMoreOnDisk = true;
      return;
    }
    lane.loaded.push(delivery);
    lane.lastLoaded = sequence;
    this.#loadedBytes += bytes;
  }

  /** It was sent, and is to be sent again. */
  putBack(lane: Lane, delivery: UpDelivery): void {
    lane.again.push(delivery);
    lane.again.sort((a, b) => a.sequence - b.sequence);
  }

  /**
   * It had left its lane, and is where it was once more: before what came after it and still waits. It is on disk, like
   * all that waits.
   */
  restore(lane: Lane, delivery: UpDelivery): void {
    const { sequence } = delivery;
    this.#unload(lane);
    // Only what waits is on disk then, so it can be read from there on again.
    if (lane.inFlight + lane.again.length === 0) lane.lastLoaded = Math.min(lane.lastLoaded, sequence - 1);
    if (sequence <= lane.lastLoaded) return this.putBack(lane, delivery);
    lane.waiting++;
    lane.isMoreOnDisk = true;
    return undefined;
  }

  /** Takes the next message out of a lane. @param averageBytes - of what waits */
  shift(lane: Lane, averageBytes: number): UpDelivery | undefined {
    const again = lane.again.shift();
    if (again !== undefined) return again;
    if (lane.loaded.length === 0 && lane.isMoreOnDisk) this.#readPage(lane, averageBytes);
    const delivery = lane.loaded.shift();
    if (delivery === undefined) {
      lane.waiting = 0;
      return undefined;
    }
    lane.waiting--;
    this.#loadedBytes -= delivery.bytes;
    return delivery;
  }

  /** Takes one out that waits, oldest first. */
  remove({ lane: id, sequence, bytes }: UpDelivery): void {
    const lane = this.#lanes.get(id);
    if (lane === undefined) return;
    const againAt = lane.again.findIndex((one) => one.sequence === sequence);
    if (againAt >= 0) {
      lane.again.splice(againAt, 1);
    } else {
      lane.waiting--;
      if (lane.loaded[0]?.sequence === sequence) {
        lane.loaded.shift();
        this.#loadedBytes -= bytes;
      }
    }
    lane.lastLoaded = Math.max(lane.lastLoaded, sequence);
  }

  /** Nobody takes from them now: what is in memory of those that wait is on disk as well. */
  unload(): void {
    for (const lane of this.#lanes.values()) this.#unload(lane);
  }

  /** Nothing is left in it, nor on its way. */
  forget(lane: Lane): void {
    this.#lanes.delete(lane.id);
  }

  #unload(lane: Lane): void {
    const [next] = lane.loaded;
    if (next === undefined) return;
    this.#loadedBytes -= sumOf(lane.loaded);
    lane.loaded = [];
    lane.lastLoaded = next.sequence - 1;
    lane.isMoreOnDisk = true;
  }

  #readPage(lane: Lane, averageBytes: number): void {
    const fitting = Math.floor(pageBytes / Math.max(1, averageBytes));
    const limit = Math.max(1, Math.min(pageMessages, fitting));
    // Other lanes give up what they hold in memory before this one would exceed the bound.
    if (this.#loadedBytes >= loadedBytesMax) this.unload();
    lane.loaded = this.#store.readLane(lane.id, lane.lastLoaded, limit);
    lane.isMoreOnDisk = lane.loaded.length === limit;
    lane.lastLoaded = lane.loaded.at(-1)?.sequence ?? lane.lastLoaded;
    this.#loadedBytes += sumOf(lane.loaded);
  }

  #add(id: number): Lane {
    const lane: Lane = {
      id,
      waiting: 0,
      loaded: [],
      lastLoaded: 0,
      isMoreOnDisk: false,
      again: [],
      inFlight: 0,
      refusals: 0,
      heldUntilMs: 0,
      credit: 0,
      list: 'none',
    };
    this.#lanes.set(id, lane);
    return lane;
  }
}

function sumOf(deliveries: readonly UpDelivery[]): number {
  return deliveries.reduce((sum, { bytes }) => sum + bytes, 0);
}
