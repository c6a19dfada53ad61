/** What a link receives: each message is acknowledged when the receiver says so, in any order. */
import type { Qos } from './packets/qos.ts';
import type { ReceivedPublish } from './server-packets.ts';

export interface ReceivedMessage {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: Qos;
  readonly retain: boolean;
  readonly duplicate: boolean;
  /** The properties of MQTT 5 that are passed on, as they stand in the packet; empty for most messages. */
  readonly properties: Buffer;
  /** What is left of the message's life; undefined: it has no end. */
  readonly expirySeconds: number | undefined;
}

/** `acknowledge` may be called once at any time; after a reconnect it does nothing, and the broker sends the message again. */
export type MessageHandler = (message: ReceivedMessage, acknowledge: () => void) => void;

type Answer = (type: 'puback' | 'pubrec' | 'pubcomp', packetId: number) => void;

export class Inbox {
  readonly #handler: MessageHandler;
  /** Ids of QoS 2 messages that the handler has or had, until their PUBREL [MQTT-4.3.3-2]. */
  readonly #unreleased = new Set<number>();
  #connection = 0;

  constructor(handler: MessageHandler) {
    this.#handler = handler;
  }

  publish({ packetId, properties, ...packet }: ReceivedPublish, answer: Answer): void {
    const connection = this.#connection;
    const message = {
      ...packet,
      properties: properties.forwarded,
      expirySeconds: properties.messageExpirySeconds,
    };
    switch (packet.qos) {
      case 0:
        return this.#handler(message, () => undefined);
      case 1:
        return this.#handler(message, () => {
          if (connection === this.#connection) answer('puback', packetId);
        });
      case 2: {
        if (this.#unreleased.has(packetId)) return answer('pubrec', packetId);
        return this.#handler(message, () => {
          if (connection !== this.#connection) return;
          this.#unreleased.add(packetId);
          answer('pubrec', packetId);
        });
      }
    }
  }

  release(packetId: number, answer: Answer): void {
    this.#unreleased.delete(packetId);
    answer('pubcomp', packetId); // [MQTT-4.3.3-2]: also for an id that is not known (any more)
  }

  /** In a new session the broker uses the same ids for other messages [MQTT-3.2.2-5]. */
  connected(sessionPresent: boolean): void {
    if (!sessionPresent) this.#unreleased.clear();
  }

  disconnected(): void {
    this.#connection++;
  }
}
