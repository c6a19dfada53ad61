/** Writes properties (MQTT 5 §2.2.2). */
import { variableInteger } from './encode.ts';

/** Identifiers of table 2-4. */
const id = {
  messageExpiry: 0x02,
  subscriptionIdentifier: 0x0b,
  sessionExpiry: 0x11,
  assignedClientIdentifier: 0x12,
  serverKeepAlive: 0x13,
  responseInformation: 0x1a,
  serverReference: 0x1c,
  reasonString: 0x1f,
  receiveMaximum: 0x21,
  topicAliasMaximum: 0x22,
  topicAlias: 0x23,
  retainAvailable: 0x25,
  maximumPacketSize: 0x27,
  wildcardSubscriptionAvailable: 0x28,
  subscriptionIdentifierAvailable: 0x29,
  sharedSubscriptionAvailable: 0x2a,
} as const;
type PropertyName = keyof typeof id;

/** In characters; a reason is for a person at a log. */
const reasonLengthMax = 256;

export function byteProperty(name: PropertyName, value: 0 | 1): Buffer {
  return Buffer.from([id[name], value]);
}

export function uint16Property(name: PropertyName, value: number): Buffer {
  const bytes = Buffer.from([id[name], 0, 0]);
  bytes.writeUInt16BE(value, 1);
  return bytes;
}

export function uint32Property(name: PropertyName, value: number): Buffer {
  const bytes = Buffer.from([id[name], 0, 0, 0, 0]);
  bytes.writeUInt32BE(value, 1);
  return bytes;
}

export function textProperty(name: PropertyName, value: string): Buffer {
  const text = Buffer.from(value);
  const head = Buffer.from([id[name], 0, 0]);
  head.writeUInt16BE(text.length, 1);
  return Buffer.concat([head, text]);
}

export function reasonProperty(why: string): Buffer {
  return textProperty('reasonString', why.slice(0, reasonLengthMax).toWellFormed().replaceAll('\0', ''));
}

/** @returns one property for each, which may be stored with a delivery and written into a packet as they are */
export function subscriptionIdentifierProperties(identifiers: readonly number[]): Buffer {
  return Buffer.from(identifiers.flatMap((one) => [id.subscriptionIdentifier, ...variableInteger(one)]));
}

/** Properties behind their length, as they stand in a packet. */
export function propertySection(parts: readonly Buffer[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  return Buffer.concat([Buffer.from(variableInteger(length)), ...parts]);
}

export const emptyPropertySection = Buffer.from([0]);
