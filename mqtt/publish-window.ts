/** The publishes of a link: what waits for room, what is on the wire, and what must be sent again. */
import { LinkError } from './link-error.ts';
import type { Outbound, Outgoing, Sender } from './outbound.ts';
import { failureFrom, publishIdMax } from './outbound.ts';

interface Pending extends Outgoing {
  sent: boolean;
  readonly resolve: () => void;
  readonly reject: (error: LinkError) => void;
}

/** @param code - reason code of MQTT 5; `undefined`: the packet is larger than the broker takes */
export type RefusalHandler = (topic: string, code: number | undefined, reason: string | undefined) => void;

/** Far above any window: a caller that does not wait for its promises has lost count of its own backlog. */
export const waitingMax = 65_536;

/** Keeps order: what was published first is sent first, and sent again first after a reconnect [MQTT-4.6.0-1]. */
export class PublishWindow implements Outbound {
  readonly #idMin: number;
  readonly #inFlightMax: number;
  readonly #onRefused: RefusalHandler;
  readonly #inFlight = new Map<number, Pending>();
  /** What the broker would not take; it is offered again by `retry`, and counts as in flight until then. */
  #refused: Pending[] = [];
  #waiting: Pending[] = [];
  #waitingHead = 0;
  #lastMessageId = publishIdMax;
  #sender: Sender | undefined;
  #closed = false;

  /** @param idMin - of its message ids, which go up to `publishIdMax` */
  constructor(inFlightMax: number, onRefused: RefusalHandler, idMin = 1) {
    this.#idMin = idMin;
    this.#inFlightMax = Math.min(inFlightMax, publishIdMax - idMin);
    this.#onRefused = onRefused;
  }

  get unacknowledged(): number {
    return this.#inFlight.size + this.#refused.length + this.#waiting.length - this.#waitingHead;
  }

  publish(outgoing: Outgoing): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(closedError());
      if (this.#waiting.length - this.#waitingHead >= waitingMax) {
        return reject(new LinkError('mqtt.backlog', `cannot publish: ${waitingMax} publishes wait already`));
      }
      this.#waiting.push({ ...outgoing, sent: false, resolve, reject });
      return this.pump();
    });
  }

  /** The connection is up: everything unacknowledged goes out again, as far as the broker takes it, then what waits. */
  connected(sender: Sender): void {
    this.#sender = sender;
    const again = [...this.#inFlight];
    this.#inFlight.clear();
    // With a smaller Receive Maximum than before, the rest waits in front of the others [MQTT-3.3.4-7].
    const waiting = again.splice(this.#roomOf(sender)).map(([, pending]) => pending);
    if (waiting.length > 0) {
      this.#waiting = [...waiting, ...this.#waiting.slice(this.#waitingHead)];
      this.#waitingHead = 0;
    }
    for (const [messageId, pending] of again) this.#inFlight.set(messageId, pending);
    for (const [messageId, pending] of again) {
      this.#send(sender, pending, messageId, pending.sent && sender.sessionPresent); // [MQTT-4.4.0-1], [MQTT-3.3.1-1]
    }
    this.retry();
  }

  disconnected(): void {
    this.#sender = undefined;
  }

  /** One for an unknown id is a repetition and means nothing. */
  acknowledged(messageId: number, code: number, reason: string | undefined): void {
    const pending = this.#inFlight.get(messageId);
    if (!pending) return;
    this.#inFlight.delete(messageId);
    if (code >= failureFrom) this.#refuse(pending, code, reason);
    else pending.resolve();
    this.pump();
  }

  /** Offers again what was refused, in front of what waits. */
  retry(): void {
    if (this.#refused.length > 0) {
      this.#waiting = [...this.#refused, ...this.#waiting.slice(this.#waitingHead)];
      this.#waitingHead = 0;
      this.#refused = [];
    }
    this.pump();
  }

  close(): void {
    this.#closed = true;
    this.#sender = undefined;
    const left = [...this.#inFlight.values(), ...this.#refused, ...this.#waiting.slice(this.#waitingHead)];
    this.#inFlight.clear();
    this.#refused = [];
    this.#waiting.length = 0;
    this.#waitingHead = 0;
    for (const pending of left) pending.reject(closedError());
  }

  pump(): void {
    for (;;) {
      const sender = this.#sender;
      const pending = this.#waiting[this.#waitingHead];
      if (!pending || sender?.isReady !== true) break;
      if (this.#inFlight.size + this.#refused.length >= this.#roomOf(sender)) break;
      this.#waitingHead++;
      if (pending.qos === 0) {
        this.#send(sender, pending, 0, false);
        pending.resolve();
        continue;
      }
      const messageId = this.#freeMessageId();
      this.#inFlight.set(messageId, pending);
      this.#send(sender, pending, messageId, false);
    }
    this.#compact();
  }

  #roomOf({ receiveMaximum }: Sender): number {
    return Math.min(this.#inFlightMax, receiveMaximum);
  }

  #send(sender: Sender, pending: Pending, messageId: number, duplicate: boolean): void {
    const { topic, payload, qos, retain, properties, expirySeconds } = pending;
    const bytes = sender.publish(
      topic,
      payload,
      qos,
      retain,
      duplicate,
      messageId,
      properties,
      expirySeconds,
    );
    pending.sent = true;
    if (bytes > 0) return;
    this.#inFlight.delete(messageId);
    if (qos === 1) this.#refuse(pending, undefined, undefined);
  }

  /** Nothing that was promised is given up: it is offered again, as it would be over a connection that was closed. */
  #refuse(pending: Pending, code: number | undefined, reason: string | undefined): void {
    pending.sent = false;
    this.#refused.push(pending);
    this.#onRefused(pending.topic, code, reason);
  }

  /** A shift() for each publish would move the whole backlog each time. */
  #compact(): void {
    if (this.#waitingHead < 1024 && this.#waitingHead < this.#waiting.length) return;
    this.#waiting.splice(0, this.#waitingHead);
    this.#waitingHead = 0;
  }

  #freeMessageId(): number {
    do this.#lastMessageId = this.#lastMessageId === publishIdMax ? this.#idMin : this.#lastMessageId + 1;
    while (this.#inFlight.has(this.#lastMessageId));
    return this.#lastMessageId;
  }
}

function closedError(): LinkError {
  return new LinkError('mqtt.closed', 'cannot publish: the link is closed');
}
