/** Writes the packets that a broker sends (MQTT 3.1.1 §3). */
import type { Qos } from './message.ts';

/** CONNACK return codes (§3.2.2.3). */
export const connackCode = {
  accepted: 0,
  unacceptableProtocol: 1,
  identifierRejected: 2,
  serverUnavailable: 3,
  notAuthorized: 5,
} as const;
export type ConnackCode = (typeof connackCode)[keyof typeof connackCode];

/** SUBACK return code for a filter that was not granted (§3.9.3). */
export const subscriptionFailure = 0x80;

export interface PublishHeader {
  readonly topic: string;
  readonly payloadBytes: number;
  readonly qos: Qos;
  readonly retain: boolean;
  readonly duplicate: boolean;
  /** Ignored for QoS 0. */
  readonly packetId: number;
}

/** Everything of a PUBLISH but its payload, which is written after it and never copied here. */
export function encodePublishHeader(publish: PublishHeader): Buffer {
  const topicBytes = Buffer.byteLength(publish.topic);
  const remaining = 2 + topicBytes + (publish.qos === 0 ? 0 : 2) + publish.payloadBytes;
  const lengthBytes = remaining < 128 ? 1 : remaining < 16_384 ? 2 : remaining < 2_097_152 ? 3 : 4;
  const header = Buffer.allocUnsafe(1 + lengthBytes + remaining - publish.payloadBytes);
  header[0] = 0x30 | (publish.duplicate ? 8 : 0) | (publish.qos << 1) | (publish.retain ? 1 : 0);
  let offset = 1;
  for (let rest = remaining; offset <= lengthBytes; rest = Math.floor(rest / 128)) {
    header[offset] = (rest % 128) | (offset < lengthBytes ? 0x80 : 0);
    offset++;
  }
  offset = header.writeUInt16BE(topicBytes, offset);
  offset += header.write(publish.topic, offset);
  if (publish.qos !== 0) header.writeUInt16BE(publish.packetId, offset);
  return header;
}

const firstBytes = { puback: 0x40, pubrec: 0x50, pubrel: 0x62, pubcomp: 0x70 } as const;

export function encodeAcknowledgement(type: keyof typeof firstBytes, packetId: number): Buffer {
  const packet = Buffer.allocUnsafe(4);
  packet.writeUInt16BE((firstBytes[type] << 8) | 2, 0);
  packet.writeUInt16BE(packetId, 2);
  return packet;
}

export function encodeConnack(returnCode: ConnackCode, sessionPresent: boolean): Buffer {
  return Buffer.from([0x20, 2, sessionPresent ? 1 : 0, returnCode]);
}

export function encodeSuback(packetId: number, granted: readonly number[]): Buffer {
  return encodePacket(0x90, [packetId >> 8, packetId & 0xff, ...granted]);
}

export function encodeUnsuback(packetId: number): Buffer {
  return encodePacket(0xb0, [packetId >> 8, packetId & 0xff]);
}

function encodePacket(first: number, body: readonly number[]): Buffer {
  return Buffer.from([first, ...encodeVariableInteger(body.length), ...body]);
}

/** One to four bytes (§2.2.3). */
function encodeVariableInteger(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  do {
    bytes.push((rest % 128) | (rest >= 128 ? 0x80 : 0));
    rest = Math.floor(rest / 128);
  } while (rest > 0);
  return bytes;
}

export const pingresp = Buffer.from([0xd0, 0]);
