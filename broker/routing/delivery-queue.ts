/** One session's outgoing QoS 1 and 2 messages: what waits, what is in flight, and what must be sent again. */
import assert from 'node:assert/strict';
import type { Clock } from '../../domain/clock.ts';
import type { BrokerLimits } from '../limits.ts';
import { Backlog, packetIdOf } from './backlog.ts';
import type { StoredQueue } from './backlog.ts';
import { FullAlarm } from './full-alarm.ts';
import type { Filling } from './full-alarm.ts';
import type { Delivery, Message, Terms } from './message.ts';
import { isExpired, messageBytes } from './message.ts';
import type { FullReason, SessionQueue } from './session-queue.ts';
import type { QueuedShare } from '../quota/queued-shares.ts';

/** Where deliveries go: a connection, or the link upstream. */
export interface Outlet {
  /** False pauses this session's delivery, and nobody else's, until `pump` is called. */
  readonly isReady: boolean;
  /** @returns false if the client takes no message so large: it is dropped */
  send(delivery: Delivery, message: Message): boolean;
  /** @param isKnown - whether there is such a delivery */
  release(packetId: number, isKnown: boolean): void;
  /** Calls `resume` of the queue in a later turn, for this one has done enough. */
  later(): void;
}

export interface QueueOptions {
  /** Where the queue rests; undefined for a clean session, whose queue ends with its connection. */
  readonly stored: StoredQueue | undefined;
  /** What a stored one counts for. */
  readonly share?: QueuedShare | undefined;
  /** What happens when the queues that count for the same hold too much together. Default: publishers were refused. */
  readonly whenShareFull?: () => 'refuse' | 'drop-oldest';
  readonly limits: Pick<
    BrokerLimits,
    | 'inFlightMax'
    | 'queuedMessagesMax'
    | 'queuedBytesMax'
    | 'memoryQueuedMessagesMax'
    | 'memoryQueuedBytesMax'
  >;
  readonly clock: Clock;
  /** Asked again at delivery, for rights may have changed since the message was queued. */
  readonly mayReceive: (topic: string) => boolean;
  /** @param dropped - how many this queue has dropped since the start, this one included */
  readonly onDropped: (reason: DropReason, dropped: number) => void;
  /** Something did not fit; and once more when there is room again. */
  readonly onFull: (isFull: boolean) => void;
}

/** What the store has of a queue. */
export interface ExistingQueue {
  readonly messages: number;
  readonly bytes: number;
  readonly lastSequence: number;
  /** The last sequence that the client may have seen; undefined if nobody knows. */
  readonly lastSent: number | undefined;
}

export type DropReason = FullReason | 'no_longer_allowed' | 'message_expired' | 'packet_too_large';

/**
 * What one call sends, or lets go of, before it lets others have their turn. With less, a subscriber that reads for many
 * falls behind them, and all that it is about to acknowledge is written first (`npm run bench -- broker '20 publishers'`).
 */
export const turnDeliveries = 1024;
export class DeliveryQueue implements SessionQueue {
  readonly whenFull = undefined;
  readonly #options: QueueOptions;
  readonly #inFlight = new Map<number, Delivery>();
  readonly #backlog: Backlog;
  #outlet: Outlet | undefined;
  #isResting = false;
  /** The smaller of the configured window and the client's. */
  #inFlightMax = 0;
  #lastSequence = 0;
  /** Up to here the client may have seen the messages on an earlier connection. */
  #lastSent = 0;
  /** After a crash nobody knows what was sent: at most the first window of what was left then, */
  #unknownSent = 0;
  /** up to this sequence. */
  #unknownUpTo = 0;
  #messages = 0;
  #bytes = 0;
  #dropped = 0;
  readonly #alarm: FullAlarm;
  /** Messages that gave way to newer ones since this queue last sent any. */
  #overflowed = 0;
  /**
   * A clean session's client that took nothing while its whole queue was replaced is not slow, it does not read: then
   * the queue stays as it is until it does. To keep each message for a moment, only to drop it for the next, would cost
   * everybody else a quarter of their rate (`npm run bench -- broker stalled`).
   */
  #isStalled = false;

  constructor(options: QueueOptions, existing?: ExistingQueue) {
    this.#options = options;
    this.#alarm = new FullAlarm(options.onFull);
    this.#backlog = new Backlog(options.stored, existing !== undefined);
    if (existing === undefined) return;
    this.#count(existing.messages, existing.bytes);
    // What was sent after the last that is left was acknowledged; its numbers are used up all the same.
    this.#lastSequence = Math.max(existing.lastSequence, existing.lastSent ?? 0);
    if (existing.lastSent === undefined) {
      this.#unknownSent = options.limits.inFlightMax;
      this.#unknownUpTo = existing.lastSequence;
    } else {
      this.#lastSent = existing.lastSent;
    }
  }

  /** Unacknowledged messages, those in flight included. */
  get messages(): number {
    return this.#messages;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get inFlight(): number {
    return this.#inFlight.size;
  }

  /** The last sequence that the client may have seen; undefined while nobody knows. */
  get lastSent(): number | undefined {
    return this.#unknownSent > 0 && this.#lastSent < this.#unknownUpTo ? undefined : this.#lastSent;
  }

  get seenUpTo(): number {
    const { stored } = this.#options;
    if (stored === undefined || this.#unknownSent === 0) return this.#lastSent;
    const unknown = stored.store.readQueue(stored.session, 0, this.#unknownSent);
    return Math.max(this.#lastSent, Math.min(unknown.at(-1)?.sequence ?? 0, this.#unknownUpTo));
  }

  /** Whether one more message would exceed a bound. */
  isFullFor(bytes: number): boolean {
    return this.#isItselfFullFor(bytes) || this.#options.share?.hasRoomFor(bytes, this) === false;
  }

  raiseFull(bytes: number): FullReason {
    const reason = this.#isItselfFullFor(bytes) ? undefined : this.#options.share?.raise(bytes, this);
    if (reason !== undefined) return reason;
    this.#alarm.raise();
    return 'queue_full';
  }

  /** Appends a message, dropping the oldest that wait if it has to. @returns false if the message itself was dropped */
  enqueue(message: Message, qos: 1 | 2, terms: Terms): boolean {
    if (this.#isStalled) {
      this.#options.onDropped('queue_full', ++this.#dropped);
      return false;
    }
    const bytes = messageBytes(message);
    const reason = this.isFullFor(bytes) ? this.#makeRoomFor(bytes) : undefined;
    if (reason === undefined) {
      this.#append(message, qos, bytes, terms);
      return true;
    }
    // Everything that counts is in flight: then the new one is what cannot be kept.
    this.#options.onDropped(reason, ++this.#dropped);
    if (this.#options.stored !== undefined) this.#releaseMessage(message);
    return false;
  }

  /** Its session is over: what it holds counts for nobody any more. */
  end(): void {
    this.#options.share?.end(this);
  }

  /** @returns why that is not possible, or undefined */
  #makeRoomFor(bytes: number): FullReason | undefined {
    const bytesBefore = this.#bytes;
    while (this.isFullFor(bytes)) {
      if (!this.#isItselfFullFor(bytes)) {
        // Publishers were asked to wait; one message for several queues of an identity is no reason to drop another.
        if (this.#options.whenShareFull?.() !== 'drop-oldest') return undefined;
        // What the others have beyond the bound, as after it was lowered, is not for this one to make up for.
        if (bytesBefore - this.#bytes >= bytes) return undefined;
      }
      const reason = this.raiseFull(bytes);
      if (!this.#dropOldest(reason)) return reason;
    }
    return undefined;
  }

  #append(message: Message, qos: 1 | 2, bytes: number, { retain, identifiers, share }: Terms): void {
    const sequence = ++this.#lastSequence;
    const delivery: Delivery = {
      sequence,
      packetId: packetIdOf(sequence),
      qos,
      retain,
      identifiers,
      share,
      bytes,
      state: 'queued',
      message,
      duplicate: false,
    };
    this.#count(1, bytes);
    const { stored } = this.#options;
    const isLoaded = (this.#outlet !== undefined || stored === undefined) && this.#backlog.hasRoomFor(bytes);
    if (stored !== undefined) {
      const mayWait = isLoaded && qos === 1 && !stored.store.isLate(stored.session);
      stored.store.enqueue(stored.session, delivery, message.id, mayWait);
    }
    if (isLoaded) this.#backlog.append(delivery);
    else this.#backlog.appendOnDisk();
  }

  /**
   * The client is connected: what is in flight goes out again in its order [MQTT-4.4.0-1], then what waits.
   *
   * @param receiveMaximum - messages that it takes unacknowledged [MQTT-3.3.4-9]
   */
  attach(outlet: Outlet, receiveMaximum = Infinity): void {
    assert(this.#outlet === undefined, 'a queue has one outlet at a time');
    this.#outlet = outlet;
    this.#inFlightMax = Math.min(this.#options.limits.inFlightMax, receiveMaximum);
    this.pump();
  }

  /** The client is gone. A stored queue rests on disk alone; it is read again in order on the next connect. */
  detach(): void {
    this.#outlet = undefined;
    this.#isResting = false;
    this.#inFlight.clear();
    this.#backlog.rest(this.#messages > 0);
    const { stored } = this.#options;
    stored?.store.expectNothing(stored.session);
  }

  /** Sends while the window has room and the outlet takes it. */
  pump(): void {
    this.#pump();
    this.#lowerFull();
  }

  /** Continues after a rest. */
  resume(): void {
    this.#isResting = false;
    this.pump();
  }

  #pump(): void {
    // In this order, for the last question is the dearest one.
    for (let taken = 0; !this.#isResting && this.#inFlight.size < this.#inFlightMax; taken++) {
      if (this.#outlet?.isReady !== true) return;
      const delivery = this.#backlog.peek();
      // A window is far smaller than the identifiers, but one that a client never acknowledges blocks its own.
      if (delivery === undefined || this.#inFlight.has(delivery.packetId)) return;
      // What has expired or is denied leaves no trace in the window, which alone would not bound this.
      if (taken >= turnDeliveries) {
        this.#isResting = true;
        return this.#outlet.later();
      }
      this.#backlog.take(delivery);
      this.#overflowed = 0;
      this.#isStalled = false;
      this.#send(this.#outlet, delivery);
    }
  }

  /** PUBACK. One for an unknown identifier, or of a QoS 2 message, means nothing. */
  acknowledged(packetId: number): void {
    const delivery = this.#inFlight.get(packetId);
    if (delivery === undefined || delivery.qos !== 1) return;
    this.#finish(delivery);
    this.pump();
  }

  /** PUBREC: the message has arrived; its identifier is freed by PUBCOMP. */
  received(packetId: number): void {
    const delivery = this.#inFlight.get(packetId);
    if (delivery?.state === 'sent' && delivery.qos === 2) {
      const { stored } = this.#options;
      stored?.store.releaseDelivery(stored.session, delivery.sequence);
      this.#releaseMessage(delivery.message);
      delivery.state = 'released';
      delivery.message = undefined;
    }
    // [MQTT-4.3.3-1]; also for an unknown identifier, so that a client with an older state can end its exchange.
    this.#outlet?.release(packetId, delivery?.state === 'released');
  }

  /** PUBREC with a reason why not: the exchange is over (MQTT 5 §4.3.3). */
  refused(packetId: number): void {
    const delivery = this.#inFlight.get(packetId);
    if (delivery?.state !== 'sent' || delivery.qos !== 2) return;
    this.#finish(delivery);
    this.pump();
  }

  /** PUBCOMP. */
  completed(packetId: number): void {
    const delivery = this.#inFlight.get(packetId);
    if (delivery?.state !== 'released') return;
    this.#finish(delivery);
    this.pump();
  }

  /** Lets go of what has expired among the oldest `limit` messages of a stored queue whose client is away. */
  dropExpired(nowMs: number, limit: number): void {
    const { stored, onDropped } = this.#options;
    if (stored === undefined || this.#outlet !== undefined) return;
    const { store, session } = stored;
    for (const { sequence, bytes, message, pending } of store.expiredDeliveries(session, nowMs, limit)) {
      onDropped('message_expired', ++this.#dropped);
      this.#count(-1, -bytes);
      store.deleteDelivery(session, sequence);
      store.releaseMessage(message, pending);
    }
    this.#backlog.rest(this.#messages > 0);
    this.#lowerFull();
  }

  /** What of QoS 2 the client may have is for nobody else [MQTT-4.8.2-5]. */
  shared(): Delivery[] {
    return [...this.#inFlight.values(), ...this.#backlog.loaded].filter(
      ({ share, qos, sequence }) => share !== undefined && (qos === 1 || sequence > this.#lastSent),
    );
  }

  #count(messages: number, bytes: number): void {
    this.#messages += messages;
    this.#bytes += bytes;
    this.#options.share?.add(messages, bytes);
  }

  #isItselfFullFor(bytes: number): boolean {
    const most = this.#most();
    return this.#messages >= most.messages || this.#bytes + bytes > most.bytes;
  }

  #lowerFull(): void {
    this.#alarm.lower(this, () => this.#most());
  }

  #most(): Filling {
    const { limits, stored } = this.#options;
    return stored === undefined
      ? { messages: limits.memoryQueuedMessagesMax, bytes: limits.memoryQueuedBytesMax }
      : { messages: limits.queuedMessagesMax, bytes: limits.queuedBytesMax };
  }

  /** Whether an answer belongs to another exchange than the message's (MQTT 5 §4.3); an unknown identifier is none. */
  isWrongAnswer(type: 'puback' | 'pubrec' | 'pubcomp', packetId: number): boolean {
    const delivery = this.#inFlight.get(packetId);
    if (delivery === undefined) return false;
    if (delivery.qos === 1) return type !== 'puback';
    return type === 'puback' || (type === 'pubcomp' && delivery.state !== 'released');
  }

  #send(outlet: Outlet, delivery: Delivery): void {
    const { message } = delivery;
    if (message !== undefined) {
      if (!this.#options.mayReceive(message.topic)) return this.#drop(delivery, 'no_longer_allowed');
      // [MQTT-3.3.2-5]
      if (message.expiresMs !== undefined && isExpired(message, this.#options.clock())) {
        return this.#drop(delivery, 'message_expired');
      }
    }
    const isUnknown = this.#unknownSent > 0 && delivery.sequence <= this.#unknownUpTo;
    delivery.duplicate = delivery.sequence <= this.#lastSent || isUnknown;
    if (isUnknown) this.#unknownSent--;
    this.#lastSent = Math.max(this.#lastSent, delivery.sequence);
    this.#inFlight.set(delivery.packetId, delivery);
    if (message === undefined) {
      delivery.state = 'released';
      outlet.release(delivery.packetId, true);
      return undefined;
    }
    delivery.state = 'sent';
    // [MQTT-3.1.2-25]: then it counts as delivered.
    return outlet.send(delivery, message) ? undefined : this.#drop(delivery, 'packet_too_large');
  }

  #drop(delivery: Delivery, reason: DropReason): void {
    this.#options.onDropped(reason, ++this.#dropped);
    this.#finish(delivery);
  }

  #finish(delivery: Delivery): void {
    const { stored } = this.#options;
    this.#isStalled = false;
    this.#inFlight.delete(delivery.packetId);
    this.#count(-1, -delivery.bytes);
    if (stored === undefined) return;
    stored.store.deleteDelivery(stored.session, delivery.sequence);
    this.#releaseMessage(delivery.message);
  }

  #releaseMessage(message: Message | undefined): void {
    if (message === undefined || message.id === 0) return;
    this.#options.stored?.store.releaseMessage(message.id, message.storedTargets);
  }

  /** @returns whether there was one that waits; what is in flight stays */
  #dropOldest(reason: FullReason): boolean {
    const oldest = this.#backlog.takeOldest();
    if (oldest === undefined) return false;
    this.#drop(oldest, reason);
    this.#isStalled = this.#options.stored === undefined && ++this.#overflowed > this.#messages;
    return true;
  }
}
