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
import { Lanes } from './lanes.ts';
import type { Lane } from './lanes.ts';
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

interface InFlight {
  readonly delivery: UpDelivery;
  readonly lane: Lane;
}

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
  readonly #lanes: Lanes;
  readonly #fair = new FairLanes<Lane>();
  /** Lanes whose upstream has no room at the moment. */
  readonly #held = new Set<Lane>();
  readonly #inFlight = new Map<number, InFlight>();
  #outlet: UpOutlet | undefined;
  #inFlightBytes = 0;
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
    this.#lanes = new Lanes(this.#store);
    for (const lane of this.#lanes.all()) this.#fair.addOld(lane);
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
    const lane = this.#lanes.of(message.topic);
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
    this.#lanes.append(lane, delivery, this.#outlet !== undefined);
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
    this.#lanes.unload();
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
    const delivery = this.#lanes.shift(lane, this.#bytes / Math.max(1, this.#messages));
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
    if (isIdle && !this.#held.has(lane)) this.#lanes.forget(lane);
  }

  #sendAgain(delivery: UpDelivery, lane: Lane): void {
    this.#lanes.putBack(lane, delivery);
    this.#fair.add(lane);
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
    this.#lanes.remove(delivery);
    this.#drop(delivery, reason);
  }

  #freePacketId(): number {
    do this.#lastPacketId = (this.#lastPacketId % outboundIdMax) + 1;
    while (this.#inFlight.has(this.#lastPacketId));
    return this.#lastPacketId;
  }
}
