/** The publishes of a link: what waits for room, what is on the wire, and what must be sent again. */
import { LinkError } from './link-error.ts';

export interface Outgoing {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: 0 | 1;
  readonly retain: boolean;
}

interface Pending extends Outgoing {
  sent: boolean;
  readonly resolve: () => void;
  readonly reject: (error: LinkError) => void;
}

export type SendPublish = (publish: Outgoing, messageId: number, duplicate: boolean) => void;

/** Message ids are 16-bit and not zero [MQTT-2.3.1-1]; the link's subscribes use the 255 above these. */
const messageIdMax = 65_280;
/** Far above any window: a caller that does not wait for its promises has lost count of its own backlog. */
export const waitingMax = 65_536;

/** Keeps order: what was published first is sent first, and sent again first after a reconnect [MQTT-4.6.0-1]. */
export class PublishWindow {
  readonly #inFlightMax: number;
  readonly #inFlight = new Map<number, Pending>();
  readonly #waiting: Pending[] = [];
  #waitingHead = 0;
  #lastMessageId = 0;
  #send: SendPublish | undefined;
  #closed = false;

  constructor(inFlightMax: number) {
    this.#inFlightMax = Math.min(inFlightMax, messageIdMax - 1);
  }

  get unacknowledged(): number {
    return this.#inFlight.size + this.#waiting.length - this.#waitingHead;
  }

  publish(outgoing: Outgoing): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(closedError());
      if (this.#waiting.length - this.#waitingHead >= waitingMax) {
        return reject(new LinkError('mqtt.backlog', `cannot publish: ${waitingMax} publishes wait already`));
      }
      this.#waiting.push({ ...outgoing, sent: false, resolve, reject });
      return this.#fill();
    });
  }

  /** The connection is up: everything unacknowledged goes out again, then what waits. */
  connected(send: SendPublish): void {
    this.#send = send;
    for (const [messageId, pending] of this.#inFlight) {
      send(pending, messageId, pending.sent); // [MQTT-4.4.0-1], [MQTT-3.3.1-1]
      pending.sent = true;
    }
    this.#fill();
  }

  disconnected(): void {
    this.#send = undefined;
  }

  /** A PUBACK came; one for an unknown id is a repetition and means nothing. */
  acknowledged(messageId: number): void {
    const pending = this.#inFlight.get(messageId);
    if (!pending) return;
    this.#inFlight.delete(messageId);
    pending.resolve();
    this.#fill();
  }

  close(): void {
    this.#closed = true;
    this.#send = undefined;
    const left = [...this.#inFlight.values(), ...this.#waiting.slice(this.#waitingHead)];
    this.#inFlight.clear();
    this.#waiting.length = 0;
    this.#waitingHead = 0;
    for (const pending of left) pending.reject(closedError());
  }

  #fill(): void {
    while (this.#send && this.#inFlight.size < this.#inFlightMax) {
      const pending = this.#waiting[this.#waitingHead];
      if (!pending) break;
      this.#waitingHead++;
      if (pending.qos === 0) {
        this.#send(pending, 0, false);
        pending.resolve();
        continue;
      }
      const messageId = this.#freeMessageId();
      this.#inFlight.set(messageId, pending);
      pending.sent = true;
      this.#send(pending, messageId, false);
    }
    this.#compact();
  }

  /** A shift() for each publish would move the whole backlog each time. */
  #compact(): void {
    if (this.#waitingHead < 1024 && this.#waitingHead < this.#waiting.length) return;
    this.#waiting.splice(0, this.#waitingHead);
    this.#waitingHead = 0;
  }

  #freeMessageId(): number {
    do this.#lastMessageId = (this.#lastMessageId % messageIdMax) + 1;
    while (this.#inFlight.has(this.#lastMessageId));
    return this.#lastMessageId;
  }
}

function closedError(): LinkError {
  return new LinkError('mqtt.closed', 'cannot publish: the link is closed');
}
