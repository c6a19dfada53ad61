/** Writes packets, whichever side sends them (MQTT 3.1.1 §3, MQTT 5 §3). */
import type { Qos } from './qos.ts';

/**
 * Everything of a PUBLISH but its payload, which is written after it and never copied here. Plain arguments, for it
 * is called for every message to every receiver.
 *
 * @param packetId - ignored for QoS 0
 * @param properties - with their length; empty for MQTT 3.1.1
 */
export function encodePublishHeader(
  topic: string,
  payloadBytes: number,
  qos: Qos,
  retain: boolean,
  duplicate: boolean,
  packetId: number,
  properties: Buffer,
): Buffer {
  const topicBytes = Buffer.byteLength(topic);
  const headerBytes = 2 + topicBytes + (qos === 0 ? 0 : 2) + properties.length;
  const remaining = headerBytes + payloadBytes;
  const lengthBytes = remaining < 128 ? 1 : remaining < 16_384 ? 2 : remaining < 2_097_152 ? 3 : 4;
  const header = Buffer.allocUnsafe(1 + lengthBytes + headerBytes);
  header[0] = 0x30 | (duplicate ? 8 : 0) | (qos << 1) | (retain ? 1 : 0);
  let offset = 1;
  for (let rest = remaining; offset <= lengthBytes; rest = Math.floor(rest / 128)) {
    header[offset] = (rest % 128) | (offset < lengthBytes ? 0x80 : 0);
    offset++;
  }
  offset = header.writeUInt16BE(topicBytes, offset);
  offset += header.write(topic, offset);
  if (qos !== 0) offset = header.writeUInt16BE(packetId, offset);
  if (properties.length > 0) header.set(properties, offset);
  return header;
}

type AcknowledgementType = keyof typeof firstBytes;

const firstBytes = { puback: 0x40, pubrec: 0x50, pubrel: 0x62, pubcomp: 0x70 } as const;

/** Without a reason code, which in MQTT 5 means success (§3.4.2.1). */
export function encodeAcknowledgement(type: AcknowledgementType, packetId: number): Buffer {
  const packet = Buffer.allocUnsafe(4);
  packet.writeUInt16BE((firstBytes[type] << 8) | 2, 0);
  packet.writeUInt16BE(packetId, 2);
  return packet;
}

export function firstByteOf(type: AcknowledgementType): number {
  return firstBytes[type];
}

/** Any packet that is rare: its first byte, and its body in parts. */
export function encodePacket(first: number, ...body: readonly (readonly number[] | Buffer)[]): Buffer {
  const parts = body.map((part) => Buffer.from(part));
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  return Buffer.concat([Buffer.from([first, ...variableInteger(length)]), ...parts]);
}

/** One to four bytes (MQTT 3.1.1 §2.2.3, MQTT 5 §1.5.5). */
export function variableInteger(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  do {
    bytes.push((rest % 128) | (rest >= 128 ? 0x80 : 0));
    rest = Math.floor(rest / 128);
  } while (rest > 0);
  return bytes;
}

export const pingresp = Buffer.from([0xd0, 0]);
