/** Decodes the packets that a broker sends (MQTT 3.1.1 §3, MQTT 5 §3). */
import { isUtf8 } from 'node:buffer';
import type { WireFault } from './packets/packet-body.ts';
import { malformed, PacketBody, protocolError } from './packets/packet-body.ts';
import type { Properties } from './packets/properties.ts';
import { noProperties, readProperties } from './packets/properties.ts';
import type { Qos } from './packets/qos.ts';

/** 4: MQTT 3.1.1. */
export type LinkVersion = 4 | 5;

export interface Connack {
  readonly sessionPresent: boolean;
  /** A return code of MQTT 3.1.1 or a reason code of MQTT 5; 0 is acceptance in both. */
  readonly code: number;
  readonly properties: Properties;
}

export interface ReceivedPublish {
  readonly topic: string;
  /** A slice of the chunk that was read. */
  readonly payload: Buffer;
  readonly qos: Qos;
  readonly retain: boolean;
  readonly duplicate: boolean;
  /** 0 for QoS 0. */
  readonly packetId: number;
  readonly properties: Properties;
}

/** PUBACK, PUBREC, PUBREL or PUBCOMP; SUBACK and UNSUBACK have a code for each filter. */
export interface Answer {
  readonly packetId: number;
  readonly codes: readonly number[];
  readonly properties: Properties;
}

export interface Goodbye {
  readonly code: number;
  readonly properties: Properties;
}

export function decodeConnack(data: Buffer, start: number, end: number): Connack | WireFault {
  const body = new PacketBody(data, start, end);
  const flags = body.byte('the acknowledge flags');
  const code = body.byte('a reason code');
  if (flags > 1) return malformed(`CONNACK with flags ${flags}`); // [MQTT-3.2.2-1]
  // Whoever does not know MQTT 5 answers it in the form of 3.1.1 (§3.2.2.3 there).
  const properties = body.left > 0 ? readProperties(body, 'connack') : noProperties;
  return concluded(body, { sessionPresent: flags === 1, code, properties });
}

export function decodePublish(
  first: number,
  data: Buffer,
  start: number,
  end: number,
  version: LinkVersion,
): ReceivedPublish | WireFault {
  const qos = (first >> 1) & 3;
  if (qos === 3) return malformed('PUBLISH with QoS 3'); // [MQTT-3.3.1-4]
  if (end - start < 2) return malformed('PUBLISH without a topic');
  const topicEnd = start + 2 + data.readUInt16BE(start);
  const afterId = topicEnd + (qos === 0 ? 0 : 2);
  if (afterId > end) return malformed('PUBLISH whose topic is longer than the packet');
  const topic = data.subarray(start + 2, topicEnd);
  if (!isUtf8(topic)) return malformed('topic is not UTF-8'); // [MQTT-1.5.3-1], [MQTT-1.5.4-1]
  // The link announces no topic alias, so none may stand for a topic [MQTT-3.1.2-27].
  if (topic.length === 0) return protocolError('PUBLISH without a topic');
  const packetId = qos === 0 ? 0 : data.readUInt16BE(topicEnd);
  if (qos !== 0 && packetId === 0) return malformed('packet identifier 0'); // [MQTT-2.3.1-1], [MQTT-2.2.1-3]
  const body = new PacketBody(data, afterId, end);
  const properties = version === 5 ? readProperties(body, 'publish') : noProperties;
  if (body.fault !== undefined) return body.fault;
  return {
    topic: topic.toString('utf8'),
    payload: data.subarray(body.offset, end),
    qos: qos === 0 ? 0 : qos === 1 ? 1 : 2,
    retain: (first & 1) !== 0,
    duplicate: (first & 8) !== 0,
    packetId,
    properties,
  };
}

/** Of PUBACK and its like, which may leave out everything after the packet identifier (MQTT 5 §3.4.2.1). */
export function decodeAcknowledgement(
  data: Buffer,
  start: number,
  end: number,
  version: LinkVersion,
): Answer | WireFault {
  const body = new PacketBody(data, start, end);
  const packetId = body.uint16('a packet identifier');
  const code = version === 5 && body.left > 0 ? body.byte('a reason code') : 0;
  const properties = version === 5 && body.left > 0 ? readProperties(body, 'acknowledgement') : noProperties;
  return concluded(body, { packetId, codes: [code], properties });
}

export function decodeSuback(
  data: Buffer,
  start: number,
  end: number,
  version: LinkVersion,
): Answer | WireFault {
  const body = new PacketBody(data, start, end);
  const packetId = body.uint16('a packet identifier');
  const properties = version === 5 ? readProperties(body, 'acknowledgement') : noProperties;
  const codes: number[] = [];
  while (body.left > 0) codes.push(body.byte('a reason code'));
  return concluded(body, { packetId, codes, properties });
}

/** Only a broker of MQTT 5 says goodbye (§3.14). */
export function decodeGoodbye(data: Buffer, start: number, end: number): Goodbye | WireFault {
  const body = new PacketBody(data, start, end);
  const code = body.left > 0 ? body.byte('a reason code') : 0;
  const properties = body.left > 0 ? readProperties(body, 'serverDisconnect') : noProperties;
  return concluded(body, { code, properties });
}

function concluded<T>(body: PacketBody, packet: T): T | WireFault {
  if (body.fault !== undefined) return body.fault;
  return body.left === 0 ? packet : malformed(`${body.left} bytes after the last field`);
}
