/** Writes the packets that a client sends (MQTT 3.1.1 §3, MQTT 5 §3). */
import { encodePacket } from './packets/encode.ts';
import {
  emptyPropertySection,
  propertySection,
  uint16Property,
  uint32Property,
} from './packets/property-writer.ts';
import type { Qos } from './packets/qos.ts';
import type { LinkVersion } from './server-packets.ts';

export interface Will {
  readonly topic: string;
  readonly payload: string | Uint8Array;
  readonly qos: 0 | 1;
  readonly retain: boolean;
}

export interface Connect {
  readonly clientId: string;
  readonly clean: boolean;
  readonly keepAliveSeconds: number;
  /** How long the session outlives the connection; MQTT 3.1.1 knows only always and not at all. */
  readonly sessionExpirySeconds: number;
  readonly packetBytesMax: number;
  /** Messages of QoS 1 and 2 that may come unacknowledged; undefined: as many as there are packet ids. */
  readonly receiveMaximum?: number;
  readonly will: Will | undefined;
}

export interface LinkSubscription {
  readonly filter: string;
  readonly qos: Qos;
  /** MQTT 5: what this client published itself does not come back. */
  readonly noLocal?: boolean;
  /** MQTT 5: the retain flag tells what to keep, not only what was kept. */
  readonly retainAsPublished?: boolean;
}

export function encodeConnect(connect: Connect, version: LinkVersion): Buffer {
  const { clientId, clean, keepAliveSeconds, will } = connect;
  const flags = (clean ? 2 : 0) | (will === undefined ? 0 : 4 | (will.qos << 3) | (will.retain ? 0x20 : 0));
  const properties = [
    ...(connect.sessionExpirySeconds > 0
      ? [uint32Property('sessionExpiry', connect.sessionExpirySeconds)]
      : []),
    uint32Property('maximumPacketSize', connect.packetBytesMax),
    ...(connect.receiveMaximum === undefined
      ? []
      : [uint16Property('receiveMaximum', connect.receiveMaximum)]),
  ];
  return encodePacket(
    0x10,
    text('MQTT'),
    [version, flags, keepAliveSeconds >> 8, keepAliveSeconds & 0xff],
    version === 5 ? propertySection(properties) : [],
    text(clientId),
    will === undefined ? [] : encodeWill(will, version),
  );
}

function encodeWill(will: Will, version: LinkVersion): Buffer {
  const payload = Buffer.from(will.payload);
  return Buffer.concat([
    version === 5 ? emptyPropertySection : Buffer.alloc(0),
    text(will.topic),
    Buffer.from([payload.length >> 8, payload.length & 0xff]),
    payload,
  ]);
}

export function encodeSubscribe(
  packetId: number,
  subscriptions: readonly LinkSubscription[],
  version: LinkVersion,
): Buffer {
  const filters = subscriptions.map(({ filter, qos, noLocal = false, retainAsPublished = false }) => {
    const options = version === 5 ? (noLocal ? 4 : 0) | (retainAsPublished ? 8 : 0) : 0;
    return Buffer.concat([text(filter), Buffer.from([qos | options])]);
  });
  return encodePacket(0x82, head(packetId, version), ...filters);
}

export function encodeUnsubscribe(
  packetId: number,
  filters: readonly string[],
  version: LinkVersion,
): Buffer {
  return encodePacket(0xa2, head(packetId, version), ...filters.map(text));
}

export const pingreq = Buffer.from([0xc0, 0]);
/** Without a reason code: normal disconnection, which discards the will (MQTT 5 §3.14.2.1). */
export const disconnect = Buffer.from([0xe0, 0]);
/** §3.14.2.1: the broker is to publish the will all the same. */
export const disconnectWithWill = Buffer.from([0xe0, 1, 0x04]);

/**
 * @param properties - those that are passed on, as they stand in a packet
 * @param expirySeconds - what is left of the message's life; undefined: it has no end
 * @returns the whole property section of a PUBLISH of MQTT 5
 */
export function publishProperties(properties: Buffer, expirySeconds: number | undefined): Buffer {
  if (expirySeconds === undefined) {
    return properties.length === 0 ? emptyPropertySection : propertySection([properties]);
  }
  return propertySection([properties, uint32Property('messageExpiry', expirySeconds)]);
}

function head(packetId: number, version: LinkVersion): Buffer {
  return Buffer.from([packetId >> 8, packetId & 0xff, ...(version === 5 ? [0] : [])]);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]);
}
