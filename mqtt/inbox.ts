/** What a link receives: each message is acknowledged when the receiver says so, in any order. */
import type { IPublishPacket, Packet, QoS } from 'mqtt-packet';

export interface ReceivedMessage {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly duplicate: boolean;
}

/** `acknowledge` may be called once at any time; after a reconnect it does nothing, and the broker sends the message again. */
export type MessageHandler = (message: ReceivedMessage, acknowledge: () => void) => void;

type Answer = (packet: Packet) => void;

export class Inbox {
  readonly #handler: MessageHandler;
  /** Ids of QoS 2 messages that the handler has or had, until their PUBREL [MQTT-4.3.3-2]. */
  readonly #unreleased = new Set<number>();
  #connection = 0;

  constructor(handler: MessageHandler) {
    this.#handler = handler;
  }

  publish(packet: IPublishPacket, answer: Answer): void {
    const messageId = packet.messageId ?? 0;
    const connection = this.#connection;
    const message = {
      topic: packet.topic,
      payload: Buffer.isBuffer(packet.payload) ? packet.payload : Buffer.from(packet.payload),
      qos: packet.qos,
      retain: packet.retain,
      duplicate: packet.dup,
    };
    switch (packet.qos) {
      case 0:
        return this.#handler(message, () => undefined);
      case 1:
        return this.#handler(message, () => {
          if (connection === this.#connection) answer({ cmd: 'puback', messageId });
        });
      case 2: {
        if (this.#unreleased.has(messageId)) return answer({ cmd: 'pubrec', messageId });
        return this.#handler(message, () => {
          if (connection !== this.#connection) return;
          this.#unreleased.add(messageId);
          answer({ cmd: 'pubrec', messageId });
        });
      }
    }
  }

  release(messageId: number, answer: Answer): void {
    this.#unreleased.delete(messageId);
    answer({ cmd: 'pubcomp', messageId }); // [MQTT-4.3.3-2]: also for an id that is not known (any more)
  }

  disconnected(): void {
    this.#connection++;
  }
}
