/** What goes up: stored in lanes, taken fairly, a window at a time, and deleted when the upstream has it. */
import assert from 'node:assert/strict';
import type { Clock } from '../../domain/clock.ts';
import type { BackoffLimits } from '../../runtime/retry.ts';
import { backoffMs } from '../../runtime/retry.ts';
import { FullAlarm } from '../routing/full-alarm.ts';
import type { Message, Terms } from '../routing/message.ts';
import { isExpired, messageBytes } from '../routing/message.ts';
import type { SessionQueue } from '../routing/session-queue.ts';
import { FairLanes } from './fair-lanes.ts';
import { Lanes } from './lanes.ts';
import type { Lane } from './lanes.ts';
import { OnTheirWay } from './on-their-way.ts';
import { OwedTopics } from './owed-topics.ts';
import { SetAside } from './set-aside.ts';
import { Suspects } from './suspects.ts';
import type { UpBounds } from './up-bounds.ts';
import type { HangUp, UpOutlet } from './up-outlet.ts';
import type { RefusedMessage, UpDelivery, UpStore } from './up-store.ts';

export type UpDropReason = 'queue_full' | 'message_expired' | 'cascade_too_old' | 'hops_exceeded';

export interface UpQueueOptions {
  readonly store: UpStore;
  /** Asked at each use, for a reload may change them. */
  readonly bounds: () => UpBounds;
  readonly clock: Clock;
  readonly onDropped: (reason: UpDropReason, delivery: UpDelivery) => void;
  readonly onRefused: (delivery: UpDelivery, reason: string) => void;
  /** One that was refused gave way to newer ones. */
  readonly onForgotten: (message: RefusedMessage) => void;
  readonly onFull: (isFull: boolean) => void;
  readonly random?: () => number;
}

/** What becomes of a message that was set aside and is to go up again; all but the first leave it where it is. */
export type RetryOutcome = 'queued' | 'unknown' | 'expired' | 'too_old' | 'queue_full';

/** What is on its way, at most, whatever the window says of its count. */
const inFlightBytesMax = 32 * 1024 ** 2;
/** What one turn sends before it lets others have theirs. */
const turnMessages = 256;
const quotaRetry: BackoffLimits = { firstMs: 1000, maxMs: 60_000 };
/** What is dropped for one of these would still be wanted. */
const quotas: ReadonlySet<UpDropReason> = new Set(['queue_full', 'cascade_too_old']);
/** Topics of one look at what is owed. */
const owedPage = 100;
/** What one look at the oldest messages lets go of. */
const agePage = 500;

export class UpQueue implements SessionQueue {
  readonly lastSent = 0;
  readonly seenUpTo = 0;
  /** What the upstream would not take. */
  readonly setAside: SetAside;
  /** Of which topics the upstream has not got what is retained. */
  readonly owed: OwedTopics;
  readonly #options: UpQueueOptions;
  readonly #store: UpStore;
  readonly #lanes: Lanes;
  readonly #fair = new FairLanes<Lane>();
  /** Lanes whose upstream has no room at the moment. */
  readonly #held = new Set<Lane>();
  readonly #inFlight = new OnTheirWay();
  #outlet: UpOutlet | undefined;
  #messages: number;
  #bytes: number;
  #lastSequence: number;
  #isResting = false;
  readonly #suspects = new Suspects();
  readonly #alarm: FullAlarm;
  /** Of the message that was hung up on alone: it waits until the upstream has taken another one. */
  #parked: Lane | undefined;

  constructor(options: UpQueueOptions) {
    this.#options = options;
    this.#store = options.store;
    const { messages, bytes, lastSequence } = this.#store.total();
    this.#messages = messages;
    this.#bytes = bytes;
    this.#lastSequence = lastSequence;
    this.setAside = new SetAside(this.#store, options.onForgotten);
    this.#alarm = new FullAlarm(options.onFull);
    this.owed = new OwedTopics(this.#store);
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

  /** Whether nothing is to go up beside the one message that is on its way. */
  get isCautious(): boolean {
    return this.#suspects.areSome;
  }

  get whenFull(): UpBounds['whenFull'] {
    return this.#options.bounds().whenFull;
  }

  isFullFor(bytes: number): boolean {
    const { messagesMax, bytesMax } = this.#options.bounds();
    return this.#messages >= messagesMax || this.#bytes + bytes > bytesMax;
  }

  raiseFull(): 'queue_full' {
    this.#alarm.raise();
    return 'queue_full';
  }

  /** How long the oldest message has been waiting; 0 if none does. */
  oldestWaitingMs(): number {
    const queuedMs = this.#messages === 0 ? undefined : this.#store.oldestMs();
    return queuedMs === undefined ? 0 : Math.max(0, this.#options.clock() - queuedMs);
  }

  enqueue(message: Message, _qos: 1 | 2, { retain }: Terms): boolean {
    const bytes = messageBytes(message);
    if (this.isFullFor(bytes)) this.raiseFull();
    while (this.isFullFor(bytes) && this.#dropOldest());
    if (retain) this.owed.settled(message.topic);
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
    return true;
  }

  /**
   * The upstream is connected: what is on its way goes again, in its order.
   *
   * @param isKnown - whether the upstream may have seen it under the same packet identifier
   */
  attach(outlet: UpOutlet, isKnown: boolean): void {
    assert(this.#outlet === undefined, 'a queue has one outlet at a time');
    this.#outlet = outlet;
    this.#suspects.connected();
    for (const [index, { packetId, delivery, lane }] of this.#inFlight.takeAll().entries()) {
      // A smaller window than the last one's; the rest follows when there is room.
      if (index < outlet.windowMax && !this.isCautious) this.#send(outlet, delivery, lane, packetId, isKnown);
      else this.#sendAgain(delivery, lane);
    }
    if (this.#parked !== undefined) this.#fair.remove(this.#parked);
    this.pump();
  }

  /**
   * The upstream is gone. What was on its way is kept in memory, for it goes first on the next connection.
   *
   * @param hangUp - undefined if it was not the upstream that ended the connection
   */
  detach(hangUp?: HangUp): void {
    const wasConnected = this.#outlet !== undefined;
    this.#outlet = undefined;
    this.#isResting = false;
    if (hangUp !== undefined && wasConnected) this.#hungUp(hangUp);
    for (const lane of this.#held) this.#fair.add(lane);
    this.#held.clear();
    this.#lanes.unload();
  }

  /** @returns some of the topics that are owed, while there is plenty of room for what is retained of them */
  owedNow(): string[] {
    const { messagesMax, bytesMax } = this.#options.bounds();
    const hasRoom = this.#messages < messagesMax / 2 && this.#bytes < bytesMax / 2;
    return hasRoom && this.#outlet !== undefined ? this.owed.first(owedPage) : [];
  }

  /** Continues after a rest. */
  resume(): void {
    this.#isResting = false;
    this.pump();
  }

  pump(): void {
    for (let sent = 0; !this.#isResting; sent++) {
      const outlet = this.#outlet;
      if (outlet?.isReady !== true || this.#inFlight.size >= this.#windowOf(outlet)) return;
      if (this.#inFlight.bytes >= inFlightBytesMax) return;
      const lane = this.#fair.next() ?? this.#unpark();
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
    const taken = this.#inFlight.take(packetId);
    if (taken === undefined) return undefined;
    this.#suspects.taken();
    this.#unpark();
    taken.lane.refusals = 0;
    this.#finish(taken.delivery);
    this.#settle(taken.lane);
    return taken.delivery;
  }

  /** PUBACK with a reason that will be the same tomorrow: kept beside, so that the others go on. */
  refusedForGood(packetId: number, reason: string): void {
    const taken = this.#inFlight.take(packetId);
    if (taken === undefined) return;
    this.#giveUp(taken.delivery, reason);
    this.#settle(taken.lane);
  }

  /** PUBACK with a reason that passes: again later, and with it whatever of its topic comes after it. */
  refusedForNow(packetId: number): void {
    const taken = this.#inFlight.take(packetId);
    if (taken === undefined) return;
    const { delivery, lane } = taken;
    this.#suspects.settled(delivery.sequence);
    this.#sendAgain(delivery, lane);
    const { clock, random } = this.#options;
    if (!this.#held.has(lane)) lane.heldUntilMs = clock() + backoffMs(lane.refusals++, quotaRetry, random);
    this.#fair.remove(lane);
    this.#held.add(lane);
    this.pump();
  }

  /**
   * Puts messages that were set aside back to their places: each before what came after it and still waits.
   *
   * @param isRetained - whether it is still what is retained: an older one must not take the place of a newer one
   */
  retry(ids: readonly number[], isRetained: (message: Message) => boolean): RetryOutcome[] {
    const outcomes = ids.map((id) => this.#retry(id, isRetained));
    this.pump(); // only now, or one could overtake another
    return outcomes;
  }

  /** Called every second: lanes whose upstream had no room try again, and what has become too old is let go of. */
  sweep(): void {
    const { clock, bounds } = this.#options;
    const nowMs = clock();
    for (const lane of this.#held) {
      // The clock may be set back, which must not hold it for as long.
      lane.heldUntilMs = Math.min(lane.heldUntilMs, nowMs + quotaRetry.maxMs);
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
    this.owed.clear();
  }

  dropExpired(): void {
    // What has expired is let go of when its turn comes.
  }

  shared(): never[] {
    return [];
  }

  #retry(id: number, isRetained: (message: Message) => boolean): RetryOutcome {
    const { clock, bounds } = this.#options;
    const kept = this.setAside.find(id);
    if (kept === undefined) return 'unknown';
    const { message, bytes, queuedMs, retain } = kept;
    const { ageMsMax = Infinity } = bounds();
    if (isExpired(message, clock())) return 'expired';
    if (queuedMs < clock() - ageMsMax) return 'too_old';
    if (this.isFullFor(bytes)) return 'queue_full';
    const lane = this.#lanes.of(message.topic);
    const delivery: UpDelivery = {
      sequence: kept.sequence ?? ++this.#lastSequence,
      lane: lane.id,
      retain: retain && isRetained(message),
      bytes,
      queuedMs,
      message,
    };
    this.setAside.putBack(id, delivery);
    this.#messages++;
    this.#bytes += bytes;
    this.#lanes.restore(lane, delivery);
    if (!this.#held.has(lane)) this.#fair.add(lane);
    return 'queued';
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
    return this.#send(outlet, delivery, lane, this.#inFlight.freePacketId(), false);
  }

  #send(outlet: UpOutlet, delivery: UpDelivery, lane: Lane, packetId: number, duplicate: boolean): void {
    const sent = outlet.send(delivery, packetId, duplicate);
    if (typeof sent === 'string') {
      if (!this.#held.has(lane)) this.#fair.add(lane); // its turn comes, if only to be forgotten
      return sent === 'hops_exceeded' ? this.#drop(delivery, sent) : this.#giveUp(delivery, sent);
    }
    this.#fair.sent(lane, sent);
    this.#inFlight.add(packetId, delivery, lane);
    return undefined;
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
    this.#store.delete(delivery);
    this.#left(delivery);
  }

  /** It does not wait any more. */
  #left({ sequence, bytes }: UpDelivery): void {
    this.#messages--;
    this.#bytes -= bytes;
    this.#suspects.settled(sequence);
    this.#alarm.lower(this, () => {
      const { messagesMax, bytesMax } = this.#options.bounds();
      return { messages: messagesMax, bytes: bytesMax };
    });
  }

  #windowOf({ windowMax }: UpOutlet): number {
    return this.isCautious ? 1 : windowMax;
  }

  #hungUp(hangUp: HangUp): void {
    const { bounds, clock } = this.#options;
    const alone = this.#suspects.hungUp(this.#inFlight.sequences);
    const taken = alone === undefined ? undefined : this.#inFlight.takeBySequence(alone);
    if (taken === undefined) return;
    const { delivery, lane } = taken;
    const isProof = hangUp === 'hung_up_on_message';
    if (isProof && this.#suspects.isProven(delivery.sequence, bounds().hangUpsMax, clock())) {
      this.#giveUp(delivery, 'upstream_hung_up');
      this.#settle(lane);
    } else {
      this.#sendAgain(delivery, lane);
      this.#parked = lane;
    }
  }

  #unpark(): Lane | undefined {
    const lane = this.#parked;
    this.#parked = undefined;
    if (lane !== undefined && !this.#held.has(lane)) this.#fair.add(lane);
    return lane;
  }

  #drop(delivery: UpDelivery, reason: UpDropReason): void {
    this.#finish(delivery);
    if (delivery.retain && quotas.has(reason)) this.owed.add(delivery.message.topic);
    this.#options.onDropped(reason, delivery);
  }

  #giveUp(delivery: UpDelivery, reason: string): void {
    this.setAside.add(delivery, reason, this.#options.clock());
    this.#left(delivery);
    this.#options.onRefused(delivery, reason);
  }

  /** @returns whether there was one that is not on its way */
  #dropOldest(): boolean {
    const [oldest] = this.#store.readOldestBut(this.#inFlight.sequences, 1);
    if (oldest === undefined) return false;
    this.#dropWaiting(oldest, 'queue_full');
    return true;
  }

  #dropOlderThan(queuedBeforeMs: number): void {
    for (const delivery of this.#store.readOldestBut(this.#inFlight.sequences, agePage)) {
      if (delivery.queuedMs >= queuedBeforeMs) return;
      this.#dropWaiting(delivery, 'cascade_too_old');
    }
  }

  #dropWaiting(delivery: UpDelivery, reason: UpDropReason): void {
    this.#lanes.remove(delivery);
    this.#drop(delivery, reason);
  }
}
