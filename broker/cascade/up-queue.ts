/** What goes up: stored in lanes, taken fairly, a window at a time, and deleted when the upstream has it. */
import assert from 'node:assert/strict';
import type { Clock } from '../../domain/clock.ts';
import { outboundIdMax } from '../../mqtt/outbound.ts';
import type { BackoffLimits } from '../../runtime/retry.ts';
import { backoffMs } from '../../runtime/retry.ts';
import type { Message, Terms } from '../routing/message.ts';
import { isExpired, messageBytes } from '../routing/message.ts';
import type { SessionQueue } from '../routing/session-queue.ts';
import { FairLanes } from './fair-lanes.ts';
import type { Turns } from './fair-lanes.ts';
import { laneOf, sharedLane } from './up-store.ts';
import type { UpDelivery, UpStore } from './up-store.ts';

/** The connection upstream, as far as it takes messages. */
export interface UpOutlet {
  /** Messages that it takes unacknowledged. */
  readonly windowMax: number;
  readonly isReady: boolean;
  /** @returns bytes that were written, or why it cannot be sent at all */
  send(delivery: UpDelivery, packetId: number, duplicate: boolean): number | GiveUpReason;
  /** Calls `pump` in a later turn, for this one has done enough, or the cap says so. */
  later(delayMs: number): void;
  /** Of the bandwidth cap: milliseconds until the next message may go. */
  waitMs(): number;
}

/** `too_large` and what the upstream refuses is set aside; the others are over. */
export type GiveUpReason = 'packet_too_large' | 'hops_exceeded';
export type UpDropReason = 'queue_full' | 'message_expired' | 'cascade_too_old' | 'hops_exceeded';

export interface UpBounds {
  readonly messagesMax: number;
  readonly bytesMax: number;
  /** Undefined: a message waits as long as it takes. */
  readonly ageMsMax: number | undefined;
  /** Undefined: as the broker does for every other queue. */
  readonly whenFull: 'refuse' | 'drop-oldest' | undefined;
}

export interface UpQueueOptions {
  readonly store: UpStore;
  /** Asked at each use, for a reload may change them. */
  readonly bounds: () => UpBounds;
  readonly clock: Clock;
  readonly onDropped: (reason: UpDropReason, delivery: UpDelivery) => void;
  readonly onRefused: (delivery: UpDelivery, reason: string) => void;
  readonly random?: () => number;
}

interface Lane extends Turns {
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

interface InFlight {
  readonly delivery: UpDelivery;
  readonly lane: Lane;
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
/** What is on its way, at most, whatever the window says of its count. */
const inFlightBytesMax = 32 * 1024 ** 2;
/** What one turn sends before it lets others have theirs. */
const turnMessages = 256;
const quotaRetry: BackoffLimits = { firstMs: 1000, maxMs: 60_000 };
/** Of what was set aside, the newest are kept. */
export const refusedMax = 1000;
const refusedBytesMax = 64 * 1024 ** 2;
/** What one look at the oldest messages lets go of. */
const agePage = 500;

export class UpQueue implements SessionQueue {
  readonly lastSent = 0;
  readonly seenUpTo = 0;
  readonly #options: UpQueueOptions;
  readonly #store: UpStore;
  readonly #lanes = new Map<number, Lane>();
  readonly #laneIds = new Map<string, number>();
  readonly #fair = new FairLanes<Lane>();
  /** Lanes whose upstream has no room at the moment. */
  readonly #held = new Set<Lane>();
  readonly #inFlight = new Map<number, InFlight>();
  #outlet: UpOutlet | undefined;
  #inFlightBytes = 0;
  #loadedBytes = 0;
  #messages: number;
  #bytes: number;
  #lastSequence: number;
  #lastPacketId = 0;
  #isResting = false;
  #refused: number;
  #refusedBytes: number;

  constructor(options: UpQueueOptions) {
    this.#options = options;
    this.#store = options.store;
    const { messages, bytes, lastSequence } = this.#store.total();
    this.#messages = messages;
    this.#bytes = bytes;
    this.#lastSequence = lastSequence;
    const refused = this.#store.refusedTotal();
    this.#refused = refused.messages;
    this.#refusedBytes = refused.bytes;
    this.#store.sortShared();
    for (const { lane: id, messages: waiting } of this.#store.lanes()) {
      const lane = this.#addLane(id);
      lane.waiting = waiting;
      lane.isMoreOnDisk = true;
      this.#fair.addOld(lane);
    }
  }

  get messages(): number {
    return this.#messages;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get inFlight(): number {
    return this.#inFlight.size;
  }

  /** Messages that were set aside and are still kept. */
  get refused(): number {
    return this.#refused;
  }

  get whenFull(): UpBounds['whenFull'] {
    return this.#options.bounds().whenFull;
  }

  isFullFor(bytes: number): boolean {
    const { messagesMax, bytesMax } = this.#options.bounds();
    return this.#messages >= messagesMax || this.#bytes + bytes > bytesMax;
  }

  /** How long the oldest message has been waiting; 0 if none does. */
  oldestWaitingMs(): number {
    const queuedMs = this.#messages === 0 ? undefined : this.#store.oldestMs();
    return queuedMs === undefined ? 0 : Math.max(0, this.#options.clock() - queuedMs);
  }

  enqueue(message: Message, _qos: 1 | 2, { retain }: Terms): void {
    const bytes = messageBytes(message);
    while (this.isFullFor(bytes) && this.#dropOldest());
    const lane = this.#laneOf(message.topic);
    const delivery: UpDelivery = {
      sequence: ++this.#lastSequence,
      lane: lane.id,
      retain,
      bytes,
      queuedMs: this.#options.clock(),
      message,
    };
    this.#store.enqueue(delivery);
    this.#messages++;
    this.#bytes += bytes;
    lane.waiting++;
    const hasRoom = this.#loadedBytes + bytes <= loadedBytesMax && lane.loaded.length < laneLoadedMax;
    if (!lane.isMoreOnDisk && this.#outlet !== undefined && hasRoom) {
      lane.loaded.push(delivery);
      lane.lastLoaded = delivery.sequence;
      this.#loadedBytes += bytes;
    } else {
      lane.isMoreOnDisk = true;
    }
    if (!this.#held.has(lane)) this.#fair.add(lane);
  }

  /**
   * The upstream is connected: what is on its way goes again, in its order.
   *
   * @param isKnown - whether the upstream may have seen it under the same packet identifier
   */
  attach(outlet: UpOutlet, isKnown: boolean): void {
    assert(this.#outlet === undefined, 'a queue has one outlet at a time');
    this.#outlet = outlet;
    const again = [...this.#inFlight];
    this.#inFlight.clear();
    this.#inFlightBytes = 0;
    for (const [index, [packetId, { delivery, lane }]] of again.entries()) {
      lane.inFlight--;
      // A smaller window than the last one's; the rest follows when there is room.
      if (index < outlet.windowMax) this.#send(outlet, delivery, lane, packetId, isKnown);
      else this.#sendAgain(delivery, lane);
    }
    this.pump();
  }

  /** The upstream is gone. What was on its way is kept in memory, for it goes first on the next connection. */
  detach(): void {
    this.#outlet = undefined;
    this.#isResting = false;
    for (const lane of this.#held) this.#fair.add(lane);
    this.#held.clear();
    for (const lane of this.#lanes.values()) this.#unload(lane);
  }

  /** Continues after a rest. */
  resume(): void {
    this.#isResting = false;
    this.pump();
  }

  pump(): void {
    for (let sent = 0; !this.#isResting; sent++) {
      const outlet = this.#outlet;
      if (outlet?.isReady !== true || this.#inFlight.size >= outlet.windowMax) return;
      if (this.#inFlightBytes >= inFlightBytesMax) return;
      const lane = this.#fair.next();
      if (lane === undefined) return;
      const waitMs = outlet.waitMs();
      if (waitMs > 0 || sent >= turnMessages) {
        this.#isResting = true;
        return outlet.later(waitMs);
      }
      this.#sendNext(outlet, lane);
    }
  }

  /** PUBACK: the upstream has it, and nothing here needs it any more. */
  acknowledged(packetId: number): UpDelivery | undefined {
    const taken = this.#take(packetId);
    if (taken === undefined) return undefined;
    taken.lane.refusals = 0;
    this.#finish(taken.delivery);
    this.#settle(taken.lane);
    return taken.delivery;
  }

  /** PUBACK with a reason that will be the same tomorrow: kept beside, so that the others go on. */
  refusedForGood(packetId: number, reason: string): void {
    const taken = this.#take(packetId);
    if (taken === undefined) return;
    this.#setAside(taken.delivery, reason);
    this.#settle(taken.lane);
  }

  /** PUBACK with a reason that passes: again later, and with it whatever of its topic comes after it. */
  refusedForNow(packetId: number): void {
    const taken = this.#take(packetId);
    if (taken === undefined) return;
    const { delivery, lane } = taken;
    this.#sendAgain(delivery, lane);
    const { clock, random } = this.#options;
    if (!this.#held.has(lane)) lane.heldUntilMs = clock() + backoffMs(lane.refusals++, quotaRetry, random);
    this.#fair.remove(lane);
    this.#held.add(lane);
    this.pump();
  }

  /** Called every second: lanes whose upstream had no room try again, and what has become too old is let go of. */
  sweep(): void {
    const { clock, bounds } = this.#options;
    const nowMs = clock();
    for (const lane of this.#held) {
      if (lane.heldUntilMs > nowMs) continue;
      this.#held.delete(lane);
      this.#fair.add(lane);
    }
    const { ageMsMax } = bounds();
    if (ageMsMax !== undefined && this.#messages > 0) this.#dropOlderThan(nowMs - ageMsMax);
    this.pump();
  }

  /** There is no upstream any more. */
  clear(): void {
    this.#store.clear();
  }

  dropExpired(): void {
    // What has expired is let go of when its turn comes.
  }

  shared(): never[] {
    return [];
  }

  #sendNext(outlet: UpOutlet, lane: Lane): void {
    // After a refusal one at a time, or what follows could overtake it.
    if (lane.refusals > 0 && lane.inFlight > 0) return this.#fair.remove(lane);
    const delivery = this.#shift(lane);
    if (delivery === undefined) {
      this.#fair.emptied(lane);
      return this.#forgetIdle(lane);
    }
    const { message } = delivery;
    if (message.expiresMs !== undefined && isExpired(message, this.#options.clock())) {
      return this.#drop(delivery, 'message_expired'); // [MQTT-3.3.2-5]
    }
    return this.#send(outlet, delivery, lane, this.#freePacketId(), false);
  }

  #send(outlet: UpOutlet, delivery: UpDelivery, lane: Lane, packetId: number, duplicate: boolean): void {
    const sent = outlet.send(delivery, packetId, duplicate);
    if (typeof sent === 'string') {
      if (!this.#held.has(lane)) this.#fair.add(lane); // its turn comes, if only to be forgotten
      return sent === 'hops_exceeded' ? this.#drop(delivery, sent) : this.#setAside(delivery, sent);
    }
    this.#fair.sent(lane, sent);
    this.#inFlight.set(packetId, { delivery, lane });
    this.#inFlightBytes += delivery.bytes;
    lane.inFlight++;
    return undefined;
  }

  #take(packetId: number): InFlight | undefined {
    const taken = this.#inFlight.get(packetId);
    if (taken === undefined) return undefined;
    this.#inFlight.delete(packetId);
    this.#inFlightBytes -= taken.delivery.bytes;
    taken.lane.inFlight--;
    return taken;
  }

  /** One answer has come: its lane goes on, or is forgotten if nothing is left in it. */
  #settle(lane: Lane): void {
    if (lane.waiting + lane.again.length > 0) {
      if (!this.#held.has(lane)) this.#fair.add(lane);
    } else {
      this.#forgetIdle(lane);
    }
    this.pump();
  }

  #forgetIdle(lane: Lane): void {
    const isIdle = lane.list === 'none' && lane.inFlight === 0 && lane.waiting + lane.again.length === 0;
    if (isIdle && !this.#held.has(lane)) this.#lanes.delete(lane.id);
  }

  #sendAgain(delivery: UpDelivery, lane: Lane): void {
    lane.again.push(delivery);
    lane.again.sort((a, b) => a.sequence - b.sequence);
    this.#fair.add(lane);
  }

  /** Takes the next message out of a lane. */
  #shift(lane: Lane): UpDelivery | undefined {
    const again = lane.again.shift();
    if (again !== undefined) return again;
    if (lane.loaded.length === 0 && lane.isMoreOnDisk) this.#readPage(lane);
    const delivery = lane.loaded.shift();
    if (delivery === undefined) {
      lane.waiting = 0;
      return undefined;
    }
    lane.waiting--;
    this.#loadedBytes -= delivery.bytes;
    return delivery;
  }

  #readPage(lane: Lane): void {
    const averageBytes = Math.max(1, this.#bytes / Math.max(1, this.#messages));
    const limit = Math.max(1, Math.min(pageMessages, Math.floor(pageBytes / averageBytes)));
    // Other lanes give up what they hold in memory before this one would exceed the bound.
    if (this.#loadedBytes >= loadedBytesMax) for (const other of this.#lanes.values()) this.#unload(other);
    lane.loaded = this.#store.readLane(lane.id, lane.lastLoaded, limit);
    lane.isMoreOnDisk = lane.loaded.length === limit;
    lane.lastLoaded = lane.loaded.at(-1)?.sequence ?? lane.lastLoaded;
    this.#loadedBytes += sumOf(lane.loaded);
  }

  /** What is in memory of a lane that waits is on disk as well. */
  #unload(lane: Lane): void {
    const [next] = lane.loaded;
    if (next === undefined) return;
    this.#loadedBytes -= sumOf(lane.loaded);
    lane.loaded = [];
    lane.lastLoaded = next.sequence - 1;
    lane.isMoreOnDisk = true;
  }

  #finish(delivery: UpDelivery): void {
    this.#messages--;
    this.#bytes -= delivery.bytes;
    this.#store.delete(delivery);
  }

  #drop(delivery: UpDelivery, reason: UpDropReason): void {
    this.#finish(delivery);
    this.#options.onDropped(reason, delivery);
  }

  #setAside(delivery: UpDelivery, reason: string): void {
    this.#messages--;
    this.#bytes -= delivery.bytes;
    this.#store.setAside(delivery, reason, this.#options.clock());
    this.#refused++;
    this.#refusedBytes += delivery.bytes;
    this.#options.onRefused(delivery, reason);
    while (this.#refused > refusedMax || (this.#refusedBytes > refusedBytesMax && this.#refused > 1)) {
      const forgotten = this.#store.forgetOldestRefused();
      if (forgotten === undefined) return;
      this.#refused--;
      this.#refusedBytes -= forgotten.bytes;
    }
  }

  /** @returns whether there was one that is not on its way */
  #dropOldest(): boolean {
    const [oldest] = this.#waitingOldest(1);
    if (oldest === undefined) return false;
    this.#dropWaiting(oldest, 'queue_full');
    return true;
  }

  #dropOlderThan(queuedBeforeMs: number): void {
    for (const delivery of this.#waitingOldest(agePage)) {
      if (delivery.queuedMs >= queuedBeforeMs) return;
      this.#dropWaiting(delivery, 'cascade_too_old');
    }
  }

  /** What is on its way may be there already. */
  *#waitingOldest(limit: number): Generator<UpDelivery> {
    const sent = new Set(Array.from(this.#inFlight.values(), ({ delivery }) => delivery.sequence));
    let found = 0;
    for (const delivery of this.#store.readOldest(0, limit + sent.size)) {
      if (sent.has(delivery.sequence)) continue;
      yield delivery;
      if (++found === limit) return;
    }
  }

  #dropWaiting(delivery: UpDelivery, reason: UpDropReason): void {
    const lane = this.#lanes.get(delivery.lane);
    if (lane !== undefined) {
      const againAt = lane.again.findIndex(({ sequence }) => sequence === delivery.sequence);
      if (againAt >= 0) {
        lane.again.splice(againAt, 1);
      } else {
        lane.waiting--;
        if (lane.loaded[0]?.sequence === delivery.sequence) {
          lane.loaded.shift();
          this.#loadedBytes -= delivery.bytes;
        }
      }
      lane.lastLoaded = Math.max(lane.lastLoaded, delivery.sequence);
    }
    this.#drop(delivery, reason);
  }

  #laneOf(topic: string): Lane {
    let id = this.#laneIds.get(topic);
    if (id === undefined) {
      id = laneOf(topic);
      if (this.#laneIds.size >= knownTopicsMax) this.#laneIds.clear();
      this.#laneIds.set(topic, id);
    }
    const own = this.#lanes.get(id);
    if (own !== undefined) return own;
    // As long as anything waits in the shared one, it may be of this topic.
    const shared = this.#lanes.get(sharedLane);
    if (shared !== undefined) return shared;
    return this.#addLane(this.#lanes.size < lanesMax ? id : sharedLane);
  }

  #addLane(id: number): Lane {
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

  #freePacketId(): number {
    do this.#lastPacketId = (this.#lastPacketId % outboundIdMax) + 1;
    while (this.#inFlight.has(this.#lastPacketId));
    return this.#lastPacketId;
  }
}

function sumOf(deliveries: readonly UpDelivery[]): number {
  return deliveries.reduce((sum, { bytes }) => sum + bytes, 0);
}
