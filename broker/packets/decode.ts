/** Decodes the body of each packet that a client sends (MQTT 3.1.1 §3, MQTT 5 §3). */
import type { Qos } from '../routing/message.ts';
import type { WireFault } from '../../mqtt/packets/packet-body.ts';
import { malformed, PacketBody, protocolError } from '../../mqtt/packets/packet-body.ts';
import type {
  AcknowledgementPacket,
  AcknowledgementType,
  ConnectPacket,
  IncomingPacket,
  ProtocolVersion,
  PublishPacket,
  RetainHandling,
  SubscriptionRequest,
  WillPacket,
} from './packets.ts';
import { isFilter, isTopicName } from './topic-form.ts';
import { topicText } from './topic-text.ts';
import { noProperties, readProperties } from '../../mqtt/packets/properties.ts';

/** Offsets of one packet in the bytes that were read. */
export interface Frame {
  readonly data: Buffer;
  readonly bodyStart: number;
  readonly end: number;
}

/** The hot path: neither a frame nor a body is made for it unless there are properties. */
export function decodePublish(
  first: number,
  data: Buffer,
  bodyStart: number,
  end: number,
  version: ProtocolVersion,
): PublishPacket | WireFault {
  const qos = (first >> 1) & 3;
  const duplicate = (first & 8) !== 0;
  if (qos === 3) return malformed('PUBLISH with QoS 3'); // [MQTT-3.3.1-4]
  if (qos === 0 && duplicate) return malformed('PUBLISH with QoS 0 and DUP'); // [MQTT-3.3.1-2]
  if (end - bodyStart < 2) return malformed('PUBLISH without a topic');
  const topicStart = bodyStart + 2;
  const topicEnd = topicStart + data.readUInt16BE(bodyStart);
  const afterId = topicEnd + (qos === 0 ? 0 : 2);
  if (afterId > end) return malformed('PUBLISH whose topic is longer than the packet');
  const topic = topicText(data, topicStart, topicEnd);
  if (topic === undefined) return malformed('topic is not UTF-8'); // [MQTT-1.5.3-1], [MQTT-1.5.4-1]
  const packetId = qos === 0 ? 0 : data.readUInt16BE(topicEnd);
  if (qos !== 0 && packetId === 0) return malformed('packet identifier 0'); // [MQTT-2.3.1-1], [MQTT-2.2.1-3]
  let properties = noProperties;
  let payloadStart = afterId;
  if (version === 5) {
    if (afterId === end) return malformed('PUBLISH without a property length');
    if (data[afterId] === 0) {
      payloadStart = afterId + 1;
    } else {
      const body = new PacketBody(data, afterId, end);
      properties = readProperties(body, 'publish');
      if (body.fault !== undefined) return body.fault;
      if (properties.subscriptionIdentifier !== undefined) {
        return protocolError('a subscription identifier from a client'); // [MQTT-3.3.4-6]
      }
      payloadStart = body.offset;
    }
    if (topic === '' && properties.topicAlias === undefined) {
      return protocolError('PUBLISH with neither a topic nor an alias'); // §3.3.2.1
    }
  }
  return {
    type: 'publish',
    topic,
    payload: data.subarray(payloadStart, end),
    qos: qos === 0 ? 0 : qos === 1 ? 1 : 2,
    retain: (first & 1) !== 0,
    duplicate,
    packetId,
    properties,
  };
}

const received = new Set([0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]);
const released = new Set([0x00, 0x92]);
/** MQTT 5 §3.4.2.1, §3.5.2.1, §3.6.2.1, §3.7.2.1. */
const acknowledgementCodes: Readonly<Record<AcknowledgementType, ReadonlySet<number>>> = {
  puback: received,
  pubrec: received,
  pubrel: released,
  pubcomp: released,
};

export function decodeAcknowledgement(
  type: AcknowledgementType,
  data: Buffer,
  bodyStart: number,
  end: number,
  version: ProtocolVersion,
): AcknowledgementPacket | WireFault {
  const length = end - bodyStart;
  if (length < 2 || (length > 2 && version !== 5)) return malformed(`${type} of ${length} bytes`);
  const packetId = data.readUInt16BE(bodyStart);
  if (packetId === 0) return malformed(`${type} with packet identifier 0`);
  if (length === 2) return { type, packetId, reasonCode: 0 };
  const body = new PacketBody(data, bodyStart + 2, end);
  const reasonCode = body.byte('a reason code');
  if (!acknowledgementCodes[type].has(reasonCode)) {
    return protocolError(`${type} with reason code ${reasonCode}`);
  }
  if (length > 3) readProperties(body, 'acknowledgement');
  return concluded(body, { type, packetId, reasonCode });
}

/** @returns also the version, for the answer to a CONNECT that is malformed after it */
export function decodeConnect(
  { data, bodyStart, end }: Frame,
  fixedFlags: number,
): {
  readonly packet: ConnectPacket | WireFault;
  readonly version: ProtocolVersion | undefined;
} {
  const body = new PacketBody(data, bodyStart, end);
  const name = body.text('the protocol name');
  const level = body.byte('the protocol level');
  if (body.fault !== undefined) return { packet: body.fault, version: undefined };
  const detail = `${JSON.stringify(name.slice(0, 16))} ${level}`;
  // [MQTT-3.1.2-1]: without an answer.
  if (!protocolNames.has(name)) return { packet: { reason: 'unknown_protocol', detail }, version: undefined };
  const version = versionOf(name, level);
  // [MQTT-2.2.2-2], [MQTT-2.1.3-1]; MQTT 3.1 §2.1 leaves them unused.
  if (fixedFlags !== 0 && version !== 3) return { packet: malformed('flags of CONNECT'), version };
  if (version === undefined) {
    // The highest bit is Mosquitto's mark of a bridge that wants private behaviour; refused, it falls back to a client.
    return { packet: { reason: 'unsupported_version', detail }, version };
  }
  return { packet: connectAfterVersion(body, version), version };
}

/** Of MQTT 3.1.1 and 5, and of MQTT 3.1. */
const protocolNames: ReadonlySet<string> = new Set(['MQTT', 'MQIsdp']);

function versionOf(name: string, level: number): ProtocolVersion | undefined {
  if (name === 'MQTT') return level === 4 || level === 5 ? level : undefined;
  return level === 3 ? 3 : undefined;
}

function connectAfterVersion(body: PacketBody, version: ProtocolVersion): ConnectPacket | WireFault {
  const flags = body.byte('the connect flags');
  const keepAliveSeconds = body.uint16('the keep-alive');
  if ((flags & 1) !== 0 && version !== 3) return malformed('the reserved connect flag'); // [MQTT-3.1.2-3]
  const hasWill = (flags & 0x04) !== 0;
  if (!hasWill && (flags & 0x38) !== 0) return malformed('flags of a will without one'); // [MQTT-3.1.2-11] to -15
  if ((flags & 0x18) === 0x18) return malformed('a will with QoS 3'); // [MQTT-3.1.2-14], [MQTT-3.1.2-12]
  const hasUserName = (flags & 0x80) !== 0;
  const hasPassword = (flags & 0x40) !== 0;
  if (version !== 5 && hasPassword && !hasUserName) return malformed('a password without a user name'); // [MQTT-3.1.2-22]
  const properties = version === 5 ? readProperties(body, 'connect') : noProperties;
  const clientId = body.name('the client identifier');
  const will = hasWill ? readWill(body, flags, version) : undefined;
  // Both are read for their form alone: who a client is, its certificate says.
  if (hasUserName) body.name('the user name');
  if (hasPassword) body.binary('the password');
  if (properties.authenticationData !== undefined && properties.authenticationMethod === undefined) {
    body.fail(protocolError('authentication data without a method')); // §3.1.2.11.10
  }
  const clean = (flags & 2) !== 0;
  return concluded(body, { type: 'connect', version, clean, keepAliveSeconds, clientId, will, properties });
}

function readWill(body: PacketBody, flags: number, version: ProtocolVersion): WillPacket {
  const properties = version === 5 ? readProperties(body, 'will') : noProperties;
  const topic = body.name('the topic of the will');
  if (!isTopicName(topic)) body.fail(malformed('the topic of the will is no topic name')); // [MQTT-4.7.1-1], [MQTT-4.7.3-1]
  const payload = body.binary('the will');
  const qos = (flags >> 3) & 3;
  return { topic, payload, qos: qos === 2 ? 2 : qos === 1 ? 1 : 0, retain: (flags & 0x20) !== 0, properties };
}

/** @param filtersMax - what is beyond is not read, for it is refused anyway */
export function decodeSubscribe(
  { data, bodyStart, end }: Frame,
  version: ProtocolVersion,
  filtersMax: number,
): Decoded {
  const body = new PacketBody(data, bodyStart, end);
  const packetId = readPacketId(body);
  const properties = version === 5 ? readProperties(body, 'subscribe') : noProperties;
  if (body.left === 0) body.fail(empty('SUBSCRIBE', version)); // [MQTT-3.8.3-3], [MQTT-3.8.3-2]
  const subscriptions: SubscriptionRequest[] = [];
  while (body.left > 0) {
    if (subscriptions.length >= filtersMax) return tooMany('SUBSCRIBE', filtersMax);
    const filter = readFilter(body);
    const options = body.byte('subscription options');
    const request = version === 5 ? requestOf5(filter, options) : requestOf3(filter, options);
    if ('reason' in request) body.fail(request);
    else subscriptions.push(request);
  }
  return concluded(body, { type: 'subscribe', packetId, subscriptions, properties });
}

function requestOf3(filter: string, options: number): SubscriptionRequest | WireFault {
  if (options > 2) return malformed(`SUBSCRIBE with QoS byte ${options}`); // [MQTT-3-8.3-4]
  const qos = options === 0 ? 0 : options === 1 ? 1 : 2;
  return { filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 };
}

function requestOf5(filter: string, options: number): SubscriptionRequest | WireFault {
  if ((options & 0xc0) !== 0) return malformed('reserved bits of subscription options'); // [MQTT-3.8.3-5]
  const qos = options & 3;
  if (qos === 3) return protocolError('a subscription with QoS 3'); // §3.8.3.1
  const retainHandling = (options >> 4) & 3;
  if (retainHandling === 3) return protocolError('retain handling 3'); // §3.8.3.1
  return {
    filter,
    qos: qos as Qos,
    noLocal: (options & 4) !== 0,
    retainAsPublished: (options & 8) !== 0,
    retainHandling: retainHandling as RetainHandling,
  };
}

/** @param filtersMax - as for SUBSCRIBE */
export function decodeUnsubscribe(
  { data, bodyStart, end }: Frame,
  version: ProtocolVersion,
  filtersMax: number,
): Decoded {
  const body = new PacketBody(data, bodyStart, end);
  const packetId = readPacketId(body);
  if (version === 5) readProperties(body, 'unsubscribe');
  if (body.left === 0) body.fail(empty('UNSUBSCRIBE', version)); // [MQTT-3.10.3-2]
  const filters: string[] = [];
  while (body.left > 0) {
    if (filters.length >= filtersMax) return tooMany('UNSUBSCRIBE', filtersMax);
    filters.push(readFilter(body));
  }
  return concluded(body, { type: 'unsubscribe', packetId, filters });
}

/** §3.14.2.1: what a client may give as its reason. */
const disconnectCodes = new Set([
  0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
]);

export function decodeDisconnect({ data, bodyStart, end }: Frame, version: ProtocolVersion): Decoded {
  if (bodyStart === end) return { type: 'disconnect', reasonCode: 0, properties: noProperties };
  if (version !== 5) return malformed('DISCONNECT with content'); // §3.14.2
  const body = new PacketBody(data, bodyStart, end);
  const reasonCode = body.byte('a reason code');
  if (!disconnectCodes.has(reasonCode)) return protocolError(`DISCONNECT with reason code ${reasonCode}`);
  const properties = body.left > 0 ? readProperties(body, 'disconnect') : noProperties;
  return concluded(body, { type: 'disconnect', reasonCode, properties });
}

/** Well-formed or not, it is refused: no CONNECT with an authentication method was accepted. */
export function decodeAuth({ data, bodyStart, end }: Frame): Decoded {
  if (bodyStart === end) return { type: 'auth' };
  const body = new PacketBody(data, bodyStart, end);
  const reasonCode = body.byte('a reason code');
  if (![0x00, 0x18, 0x19].includes(reasonCode)) return protocolError(`AUTH with reason code ${reasonCode}`); // [MQTT-3.15.2-1]
  if (body.left > 0) readProperties(body, 'auth');
  return concluded(body, { type: 'auth' });
}

function empty(what: string, version: ProtocolVersion): WireFault {
  const detail = `${what} without a filter`;
  return version === 5 ? protocolError(detail) : malformed(detail);
}

function tooMany(what: string, filtersMax: number): WireFault {
  return { reason: 'subscriptions_max', detail: `${what} with more than ${filtersMax} filters` };
}

export type Decoded = IncomingPacket | WireFault;

function readFilter(body: PacketBody): string {
  const filter = body.name('a topic filter');
  if (!isFilter(filter)) body.fail(malformed('a topic filter that is none')); // [MQTT-4.8.0-1]
  return filter;
}

function readPacketId(body: PacketBody): number {
  const packetId = body.uint16('a packet identifier');
  if (packetId === 0) body.fail(malformed('packet identifier 0')); // [MQTT-2.3.1-1], [MQTT-2.2.1-3]
  return packetId;
}

/** What is left over after the last field is as malformed as what is missing. */
function concluded<T>(body: PacketBody, packet: T): T | WireFault {
  if (body.fault !== undefined) return body.fault;
  return body.left === 0 ? packet : malformed(`${body.left} bytes after the last field`);
}
