/** Answers a CONNECT (MQTT 3.1.1 §3.2, MQTT 5 §3.2). */
import { parseNamespacePath } from '../../domain/namespace.ts';
import type { AcceptedConnect } from '../connection/connect-check.ts';
import { encodePacket } from '../../mqtt/packets/encode.ts';
import type { BrokerLimits } from '../limits.ts';
import type { ConnectPacket, ProtocolVersion } from './packets.ts';
import {
  byteProperty,
  emptyPropertySection,
  propertySection,
  reasonProperty,
  textProperty,
  uint16Property,
  uint32Property,
} from '../../mqtt/packets/property-writer.ts';
import { reasonCode } from './reason-codes.ts';
import type { ReasonCode } from './reason-codes.ts';

const connackType = 0x20;
/** A remaining length of four bytes, and the fixed header (§2.1.4). */
const mqttPacketBytesMax = 268_435_460;

/** @returns undefined if the client takes no packet so large [MQTT-3.1.2-24] */
export function acceptance(
  connect: ConnectPacket,
  accepted: AcceptedConnect,
  session: { readonly present: boolean; readonly identity: string },
  limits: BrokerLimits,
): Buffer | undefined {
  // [MQTT-3.2.2-2], [MQTT-3.2.2-3]; MQTT 3.1 §3.2 has no such flag.
  const fields = [session.present && connect.version !== 3 ? 1 : 0, reasonCode.success];
  if (connect.version !== 5) return encodePacket(connackType, fields);
  const said = [...differences(connect, accepted), ...bounds(limits)];
  const full = encodePacket(connackType, fields, propertySection([...said, ...offers(connect, session)]));
  const bytesMax = connect.properties.maximumPacketSize ?? Infinity;
  if (full.length <= bytesMax) return full;
  const short = encodePacket(connackType, fields, propertySection(said));
  return short.length <= bytesMax ? short : undefined;
}

function bounds(limits: BrokerLimits): Buffer[] {
  return [
    uint16Property('receiveMaximum', receiveMaximum(limits)),
    uint32Property('maximumPacketSize', Math.min(limits.packetBytesMax, mqttPacketBytesMax)),
    uint16Property('topicAliasMaximum', limits.topicAliasMax),
  ];
}

/** What is not said is available too (and QoS 2 cannot be said); saying it spares a client the guess. */
function offers({ properties }: ConnectPacket, { identity }: { readonly identity: string }): Buffer[] {
  const isSubtree = parseNamespacePath(identity) !== undefined;
  return [
    byteProperty('retainAvailable', 1),
    byteProperty('wildcardSubscriptionAvailable', 1),
    byteProperty('subscriptionIdentifierAvailable', 1),
    byteProperty('sharedSubscriptionAvailable', 1),
    ...(properties.requestResponseInformation === 1 && isSubtree
      ? [textProperty('responseInformation', identity)] // where it may read, so where answers can go
      : []), // [MQTT-3.1.2-28]
  ];
}

/** Of MQTT 5 §3.2.2.3, what is not as the client asked. */
function differences(connect: ConnectPacket, accepted: AcceptedConnect): Buffer[] {
  const { clientId, terms, keepAliveSeconds } = accepted;
  const parts: Buffer[] = [];
  if (terms.expirySeconds !== (connect.properties.sessionExpirySeconds ?? 0)) {
    parts.push(uint32Property('sessionExpiry', terms.expirySeconds));
  }
  if (clientId !== connect.clientId) parts.push(textProperty('assignedClientIdentifier', clientId)); // [MQTT-3.2.2-16]
  if (keepAliveSeconds !== connect.keepAliveSeconds) {
    parts.push(uint16Property('serverKeepAlive', keepAliveSeconds)); // [MQTT-3.1.2-21]
  }
  return parts;
}

/** QoS 1 and 2 messages that one client may send unacknowledged. */
export function receiveMaximum({ incomingQos2Max }: Pick<BrokerLimits, 'incomingQos2Max'>): number {
  return Math.min(incomingQos2Max, 65_535);
}

/** [MQTT-3.2.2-4], [MQTT-3.2.2-5], [MQTT-3.2.2-6], [MQTT-3.2.2-7] */
export function refusal(
  version: ProtocolVersion | undefined,
  codes: readonly [mqtt3: number, mqtt5: ReasonCode],
  why: string,
  packetBytesMax = Infinity,
): Buffer {
  const [mqtt3, mqtt5] = codes;
  if (version !== 5) return encodePacket(connackType, [0, mqtt3]);
  const full = encodePacket(connackType, [0, mqtt5], propertySection([reasonProperty(why)]));
  // [MQTT-3.2.2-19]
  return full.length <= packetBytesMax ? full : encodePacket(connackType, [0, mqtt5], emptyPropertySection);
}
