/** Reads MQTT 3.1.1 packets from a byte stream: bounds first, then strict decoding. */
import { isUtf8 } from 'node:buffer';
import mqttPacket from 'mqtt-packet';
import type { IConnectPacket, ISubscription, Packet, Parser } from 'mqtt-packet';
import type { Qos } from './message.ts';

export interface PublishPacket {
  readonly type: 'publish';
  readonly topic: string;
  /** A slice of the chunk that was read. */
  readonly payload: Buffer;
  readonly qos: Qos;
  readonly retain: boolean;
  readonly duplicate: boolean;
  /** 0 for QoS 0. */
  readonly packetId: number;
}
export type AcknowledgementType = 'puback' | 'pubrec' | 'pubrel' | 'pubcomp';
export type IncomingPacket =
  | PublishPacket
  | { readonly type: AcknowledgementType; readonly packetId: number }
  | { readonly type: 'connect'; readonly connect: IConnectPacket }
  | {
      readonly type: 'subscribe';
      readonly packetId: number;
      readonly subscriptions: readonly ISubscription[];
    }
  | { readonly type: 'unsubscribe'; readonly packetId: number; readonly filters: readonly string[] }
  | { readonly type: 'pingreq' }
  | { readonly type: 'disconnect' };

export type WireFaultReason =
  | 'malformed_packet'
  | 'packet_too_large'
  | 'unsupported_version' // a CONNECT of another protocol level
  | 'unexpected_packet'; // one that only a server sends

/** A peer sent what MQTT 3.1.1 does not allow [MQTT-4.8.0-1]. */
export interface WireFault {
  readonly reason: WireFaultReason;
  readonly detail: string;
}

/** Control packet types (MQTT 3.1.1 §2.2.1). */
const packetType = {
  connect: 1,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  subscribe: 8,
  unsubscribe: 10,
  pingreq: 12,
  disconnect: 14,
} as const;

const acknowledgements: ReadonlyMap<number, AcknowledgementType> = new Map([
  [packetType.puback, 'puback'],
  [packetType.pubrec, 'pubrec'],
  [packetType.pubrel, 'pubrel'],
  [packetType.pubcomp, 'pubcomp'],
]);

/** [MQTT-2.2.2-2]: the flags of every type but PUBLISH are fixed. */
const packetsWithFlagsTwo = new Set<number>([
  packetType.pubrel,
  packetType.subscribe,
  packetType.unsubscribe,
]);

/** Handles one packet; false ends the reading. */
export type PacketHandler = (packet: IncomingPacket) => boolean;

/**
 * Splits the stream at packet ends, so that no length inside a packet can reach into the next. PUBLISH and its
 * acknowledgements, the hot path, are decoded here; everything else by `mqtt-packet`.
 */
export class PacketReader {
  /** Of a whole packet, fixed header included. */
  packetBytesMax: number;
  readonly #handler: PacketHandler;
  readonly #parser: Parser;
  #parsed: Packet | undefined;
  #parseError: string | undefined;
  /** The beginning of a packet whose rest has not come. */
  #parts: Buffer[] = [];
  #partsBytes = 0;
  #wantedBytes = 0;

  constructor(packetBytesMax: number, handler: PacketHandler) {
    this.packetBytesMax = packetBytesMax;
    this.#handler = handler;
    this.#parser = mqttPacket.parser({ protocolVersion: 4 });
    this.#parser.on('packet', (packet) => (this.#parsed = packet));
    this.#parser.on('error', (error: unknown) => {
      this.#parseError ??= error instanceof Error ? error.message : String(error);
    });
  }

  /** @returns why the stream cannot be read any further, or undefined */
  push(chunk: Buffer): WireFault | undefined {
    let data = chunk;
    if (this.#partsBytes > 0) {
      this.#parts.push(chunk);
      this.#partsBytes += chunk.length;
      if (this.#partsBytes < this.#wantedBytes) return undefined;
      data = Buffer.concat(this.#parts);
      this.#parts = [];
      this.#partsBytes = 0;
    }
    let offset = 0;
    while (offset < data.length) {
      const header = readFixedHeader(data, offset);
      if (typeof header === 'string') return { reason: 'malformed_packet', detail: header };
      const end = header === undefined ? undefined : header.bodyStart + header.length;
      if (end !== undefined && end - offset > this.packetBytesMax) {
        return {
          reason: 'packet_too_large',
          detail: `${end - offset} bytes, at most ${this.packetBytesMax}`,
        };
      }
      if (header === undefined || end === undefined || end > data.length) {
        this.#keep(data, offset, end === undefined ? 0 : end - offset);
        return undefined;
      }
      const packet = this.#decode(data, offset, header.bodyStart, end);
      if ('reason' in packet) return packet;
      if (!this.#handler(packet)) return undefined;
      offset = end;
    }
    return undefined;
  }

  #keep(data: Buffer, offset: number, wantedBytes: number): void {
    this.#parts = [data.subarray(offset)];
    this.#partsBytes = data.length - offset;
    this.#wantedBytes = wantedBytes;
  }

  #decode(data: Buffer, start: number, bodyStart: number, end: number): IncomingPacket | WireFault {
    const first = data.readUInt8(start);
    const type = first >> 4;
    if (type === packetType.publish) return decodePublish(first, data, bodyStart, end);
    if ((first & 0x0f) !== (packetsWithFlagsTwo.has(type) ? 2 : 0))
      return malformed('reserved flags are set');
    const acknowledgement = acknowledgements.get(type);
    if (acknowledgement !== undefined) {
      if (end - bodyStart !== 2) return malformed(`${acknowledgement} of ${end - bodyStart} bytes`);
      return { type: acknowledgement, packetId: data.readUInt16BE(bodyStart) };
    }
    switch (type) {
      case packetType.pingreq:
      case packetType.disconnect:
        if (end !== bodyStart) return malformed('PINGREQ and DISCONNECT have no content');
        return { type: type === packetType.pingreq ? 'pingreq' : 'disconnect' };
      case packetType.connect:
      case packetType.subscribe:
      case packetType.unsubscribe:
        return this.#parse(data.subarray(start, end), bodyStart - start);
      default:
        return { reason: 'unexpected_packet', detail: `packet type ${type}` };
    }
  }

  #parse(frame: Buffer, bodyStart: number): IncomingPacket | WireFault {
    this.#parsed = undefined;
    this.#parseError = undefined;
    const left = this.#parser.parse(frame);
    const packet = this.#parsed as Packet | undefined;
    if (this.#parseError !== undefined) return parseFault(this.#parseError);
    if (packet === undefined || left !== 0) return malformed('the packet is cut short');
    if (packet.cmd === 'connect') return checkConnect(packet, frame, bodyStart);
    const packetId = packet.messageId ?? 0;
    if (packetId === 0) return malformed('packet identifier 0'); // [MQTT-2.3.1-1]
    if (packet.cmd === 'subscribe') {
      const { subscriptions } = packet;
      return subscriptions.length === 0
        ? malformed('SUBSCRIBE without a filter') // [MQTT-3.8.3-3]
        : { type: 'subscribe', packetId, subscriptions };
    }
    if (packet.cmd !== 'unsubscribe') return malformed(`unexpected ${packet.cmd}`);
    const { unsubscriptions: filters } = packet;
    return filters.length === 0
      ? malformed('UNSUBSCRIBE without a filter') // [MQTT-3.10.3-2]
      : { type: 'unsubscribe', packetId, filters };
  }
}

/** @returns undefined if it has not come whole; a text if it is malformed (MQTT 3.1.1 §2.2.3) */
function readFixedHeader(
  data: Buffer,
  start: number,
): { bodyStart: number; length: number } | string | undefined {
  let length = 0;
  for (let index = 0; index < 4; index++) {
    const byte = data[start + 1 + index];
    if (byte === undefined) return undefined;
    length += (byte & 0x7f) * 128 ** index;
    if ((byte & 0x80) === 0) return { bodyStart: start + 2 + index, length };
  }
  return 'remaining length of more than four bytes';
}

function decodePublish(
  first: number,
  data: Buffer,
  bodyStart: number,
  end: number,
): PublishPacket | WireFault {
  const qos = (first >> 1) & 3;
  const duplicate = (first & 8) !== 0;
  if (qos === 3) return malformed('PUBLISH with QoS 3'); // [MQTT-3.3.1-4]
  if (qos === 0 && duplicate) return malformed('PUBLISH with QoS 0 and DUP'); // [MQTT-3.3.1-2]
  if (end - bodyStart < 2) return malformed('PUBLISH without a topic');
  const topicStart = bodyStart + 2;
  const topicEnd = topicStart + data.readUInt16BE(bodyStart);
  const payloadStart = topicEnd + (qos === 0 ? 0 : 2);
  if (payloadStart > end) return malformed('PUBLISH whose topic is longer than the packet');
  const topicBytes = data.subarray(topicStart, topicEnd);
  if (!isUtf8(topicBytes)) return malformed('topic is not UTF-8'); // [MQTT-1.5.3-1]
  const packetId = qos === 0 ? 0 : data.readUInt16BE(topicEnd);
  if (qos !== 0 && packetId === 0) return malformed('packet identifier 0'); // [MQTT-2.3.1-1]
  return {
    type: 'publish',
    topic: topicBytes.toString('utf8'),
    payload: data.subarray(payloadStart, end),
    qos: qos === 0 ? 0 : qos === 1 ? 1 : 2,
    retain: (first & 1) !== 0,
    duplicate,
    packetId,
  };
}

/** What `mqtt-packet` lets pass and MQTT 3.1.1 §3.1 does not. */
function checkConnect(connect: IConnectPacket, frame: Buffer, bodyStart: number): IncomingPacket | WireFault {
  const isMqtt311 = connect.protocolId === 'MQTT' && connect.protocolVersion === 4;
  const isMqtt31 = connect.protocolId === 'MQIsdp' && connect.protocolVersion === 3;
  if (!isMqtt311 && !isMqtt31) {
    return {
      reason: 'unsupported_version',
      detail: `${String(connect.protocolId)} ${String(connect.protocolVersion)}`,
    };
  }
  const levelOffset = bodyStart + 2 + frame.readUInt16BE(bodyStart);
  if ((frame.readUInt8(levelOffset) & 0x80) !== 0) {
    // Mosquitto's mark of a bridge that wants private behaviour; refused, it falls back to being a client.
    return { reason: 'unsupported_version', detail: 'the bridge bit of the protocol level' };
  }
  const flags = frame.readUInt8(levelOffset + 1);
  if ((flags & 0xc0) === 0x40) return malformed('a password without a user name'); // [MQTT-3.1.2-22]
  if ((flags & 0x18) === 0x18) return malformed('a will with QoS 3'); // [MQTT-3.1.2-14]
  return { type: 'connect', connect };
}

function parseFault(error: string): WireFault {
  return error.startsWith('Invalid protocol')
    ? { reason: 'unsupported_version', detail: error }
    : malformed(error);
}

function malformed(detail: string): WireFault {
  return { reason: 'malformed_packet', detail };
}

/**
 * Whether a string that `mqtt-packet` decoded was well-formed. It puts U+FFFD where bytes were not UTF-8, so a
 * filter or client identifier that really has U+FFFD in it is refused too; nobody names anything so.
 */
export function wasUtf8(text: string): boolean {
  return !text.includes('\ufffd') && !text.includes('\0');
}
