/** What a link sends: whoever has messages is told when there is a connection, and what became of each of them. */
import type { Qos } from './packets/qos.ts';

export interface Outgoing {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: 0 | 1;
  readonly retain: boolean;
  /** Those of MQTT 5 that are passed on, as they stand in a packet; dropped on a connection of 3.1.1. */
  readonly properties: Buffer;
  /** What is left of the message's life; undefined: it has no end. */
  readonly expirySeconds: number | undefined;
}

/** One connection, as far as it takes messages. */
export interface Sender {
  /** How many QoS 1 messages the broker takes unacknowledged (MQTT 5 §3.2.2.3.3). */
  readonly receiveMaximum: number;
  /** Whether the broker still knew this client: otherwise what is sent again is new to it. */
  readonly sessionPresent: boolean;
  /** False while the socket has enough to do; `pump` follows. */
  readonly isReady: boolean;
  /**
   * Plain arguments, for it is called for every message.
   *
   * @param packetId - ignored for QoS 0
   * @returns the bytes of the packet; 0 if the broker takes none so large: it was not sent
   */
  publish(
    topic: string,
    payload: Buffer,
    qos: Qos,
    retain: boolean,
    duplicate: boolean,
    packetId: number,
    properties: Buffer,
    expirySeconds: number | undefined,
  ): number;
}

/** The messages of one link, which outlive its connections. */
export interface Outbound {
  connected(sender: Sender): void;
  /** @param isHangUp - whether the broker ended the connection: neither this side nor silence did */
  disconnected(isHangUp: boolean): void;
  /** There is room in the socket again. */
  pump(): void;
  /** PUBACK. @param code - reason code; from 0x80 on the broker did not take the message */
  acknowledged(packetId: number, code: number, reason: string | undefined): void;
}

/** Message ids are 16-bit and not zero [MQTT-2.3.1-1]; the link's subscribes use the 255 above these [MQTT-2.3.1-4]. */
export const publishIdMax = 65_280;
/** Whoever keeps its messages itself uses ids up to this one; those above are left to what the link publishes beside them. */
export const outboundIdMax = 65_024;
/** From here on a reason code says that something failed (MQTT 5 §2.4). */
export const failureFrom = 0x80;
