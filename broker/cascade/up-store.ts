/** Where the queue to the upstream rests: one lane for each topic, in the broker's store. */
import { hash } from 'node:crypto';
import { bytesOf } from '../../runtime/sqlite-file.ts';
import type { Message } from '../routing/message.ts';
import { noBytes } from '../routing/message.ts';
import { sql } from '../store/store-statements.ts';
import type { Store } from '../store/store.ts';

/** One message that waits, or is on its way. */
export interface UpDelivery {
  /** Order of arrival. */
  readonly sequence: number;
  readonly lane: number;
  readonly retain: boolean;
  readonly bytes: number;
  readonly queuedMs: number;
  readonly message: Message;
}

/** A message that the upstream would not take, as an administrator sees it. */
export interface RefusedMessage {
  /** Never another one's. */
  readonly id: number;
  readonly topic: string;
  readonly bytes: number;
  readonly reason: string;
  readonly retain: boolean;
  readonly queuedMs: number;
  readonly refusedMs: number;
}

/** The same with all that is kept of it. */
export interface KeptMessage extends RefusedMessage {
  /** Its place in the queue; undefined if that is not known. */
  readonly sequence: number | undefined;
  readonly message: Message;
}

interface Total {
  readonly messages: number;
  readonly bytes: number;
}

const laneBytes = 6;
const sortedPage = 500;
/** Of topics that found no lane of their own, and of queues that are older than lanes. */
export const sharedLane = 0;

/**
 * The number of a topic's lane. Two topics that share one by chance, one in 2^48, only wait for each other.
 */
export function laneOf(topic: string): number {
  return hash('sha256', topic, 'buffer').readUIntBE(0, laneBytes);
}

export class UpStore {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** @returns how many messages wait in each lane that has any */
  lanes(): { lane: number; messages: number }[] {
    return this.#store
      .read(sql.upSizes)
      .map((row) => ({ lane: Number(row['lane']), messages: Number(row['messages']) }));
  }

  /** Gives each topic of the shared lane its own, at the start, when order is kept by all of them moving at once. */
  sortShared(): void {
    for (let after = 0; ;) {
      const page = this.readLane(sharedLane, after, sortedPage);
      for (const { sequence, message } of page) {
        this.#store.write(sql.upMove, laneOf(message.topic), sequence);
        after = sequence;
      }
      if (page.length < sortedPage) return;
    }
  }

  total(): Total & { readonly lastSequence: number } {
    const [row] = this.#store.read(sql.upTotal);
    return { ...totalOf(row), lastSequence: Number(row?.['last_sequence'] ?? 0) };
  }

  enqueue({ sequence, lane, message, retain, bytes, queuedMs }: UpDelivery): void {
    this.#store.write(sql.upEnqueue, sequence, lane, message.id, retain ? 1 : 0, bytes, queuedMs);
  }

  readLane(lane: number, afterSequence: number, limit: number): UpDelivery[] {
    return this.#store.read(sql.upReadLane, lane, afterSequence, limit).map(deliveryOf);
  }

  /**
   * @param sent - sequences of what may be there already
   * @returns the oldest of all lanes
   */
  *readOldestBut(sent: readonly number[], limit: number): Generator<UpDelivery> {
    const left = new Set(sent);
    let found = 0;
    for (const delivery of this.#store.read(sql.upReadOldest, 0, limit + left.size).map(deliveryOf)) {
      if (left.has(delivery.sequence)) continue;
      yield delivery;
      if (++found === limit) return;
    }
  }

  /** @returns when the oldest message arrived, or undefined if none waits */
  oldestMs(): number | undefined {
    const [row] = this.#store.read(sql.upOldest);
    return row && Number(row['queued_ms']);
  }

  /** The upstream has it, or it is given up. */
  delete({ sequence, message }: UpDelivery): void {
    this.#store.write(sql.upDelete, sequence);
    this.#store.releaseMessage(message.id, message.storedTargets);
  }

  /** Forgets all that waits, for there is no upstream any more. */
  clear(): void {
    this.#store.write(sql.upRelease);
    this.#store.write(sql.upClear);
    this.#store.write(sql.deleteDone);
  }

  /** @returns the topics of which the upstream has not got what is retained */
  owed(): string[] {
    return this.#store.read(sql.upOwed).map((row) => String(row['topic']));
  }

  owe(topic: string): void {
    this.#store.write(sql.upOwe, topic);
  }

  settle(topic: string): void {
    this.#store.write(sql.upSettle, topic);
  }

  /** Takes a message out of the queue and keeps it beside, with the reason. */
  setAside({ sequence, message, retain, bytes, queuedMs }: UpDelivery, reason: string, nowMs: number): void {
    const place = [retain ? 1 : 0, sequence, queuedMs];
    this.#store.write(sql.upSetAside, message.topic, bytes, reason, nowMs, message.id, ...place);
    this.#store.write(sql.upDelete, sequence);
  }

  refusedTotal(): Total {
    return totalOf(this.#store.read(sql.upSetAsideCount)[0]);
  }

  /** @returns the newest of what was set aside, newest first */
  refused(limit: number): RefusedMessage[] {
    return this.#store.read(sql.upSetAsideNewest, limit).map(refusedOf);
  }

  oldestRefused(): RefusedMessage | undefined {
    return this.#store.read(sql.upSetAsideOldest).map(refusedOf)[0];
  }

  /** @param id - of what was set aside */
  keptMessage(id: number): KeptMessage | undefined {
    const [row] = this.#store.read(sql.upSetAsideOne, id);
    if (row === undefined) return undefined;
    const { sequence } = row;
    return {
      ...refusedOf({ ...row, id: row['number'] }),
      sequence: sequence === null ? undefined : Number(sequence),
      message: messageOf(row),
    };
  }

  /** Puts what was set aside into the queue; in one transaction, as everything of one turn. */
  putBack(id: number, delivery: UpDelivery): void {
    this.#store.write(sql.upForgetSetAside, id);
    this.enqueue(delivery);
  }

  /** Gives up what was set aside. */
  forgetRefused(id: number): void {
    const [row] = this.#store.read(sql.upSetAsidePending, id);
    this.#store.write(sql.upForgetSetAside, id);
    if (row !== undefined) this.#store.releaseMessage(Number(row['id']), Number(row['pending']));
  }
}

function totalOf(row: Record<string, unknown> | undefined): Total {
  return { messages: Number(row?.['messages'] ?? 0), bytes: Number(row?.['bytes'] ?? 0) };
}

function refusedOf(row: Record<string, unknown>): RefusedMessage {
  return {
    id: Number(row['id']),
    topic: String(row['topic']),
    bytes: Number(row['bytes']),
    reason: String(row['reason']),
    retain: row['retain'] === 1,
    queuedMs: Number(row['queued_ms']),
    refusedMs: Number(row['refused_ms']),
  };
}

function deliveryOf(row: Record<string, unknown>): UpDelivery {
  return {
    sequence: Number(row['sequence']),
    lane: Number(row['lane']),
    retain: row['retain'] === 1,
    bytes: Number(row['bytes']),
    queuedMs: Number(row['queued_ms']),
    message: messageOf(row),
  };
}

function messageOf(row: Record<string, unknown>): Message {
  return {
    id: Number(row['id']),
    storedTargets: Number(row['pending']),
    topic: String(row['topic']),
    payload: bytesOf(row['payload']),
    properties: row['properties'] === null ? noBytes : bytesOf(row['properties']),
    expiresMs: row['expires_ms'] === null ? undefined : Number(row['expires_ms']),
  };
}
