/** How the broker speaks to one client: MQTT 3.1.1 or MQTT 5, chosen by its CONNECT, so that nothing else asks which. */
import {
  encodeAcknowledgement,
  encodePacket,
  encodePublishHeader,
  firstByteOf,
} from '../../mqtt/packets/encode.ts';
import type { Content, Terms } from '../routing/message.ts';
import { noBytes } from '../routing/message.ts';
import type { AcknowledgementType, ConnectPacket, ProtocolVersion } from './packets.ts';
import {
  emptyPropertySection,
  propertySection,
  reasonProperty,
  textProperty,
  uint16Property,
  uint32Property,
} from '../../mqtt/packets/property-writer.ts';
import { failureFrom, reasonCode } from './reason-codes.ts';
import type { ReasonCode } from './reason-codes.ts';

export interface Dialect {
  readonly version: ProtocolVersion;
  /** How many QoS 1 and 2 messages the client takes unacknowledged (MQTT 5 §4.9). */
  readonly receiveMaximum: number;
  /** How many filters may be answered in one packet, for the client takes none that is larger [MQTT-3.1.2-24]. */
  readonly filtersMax: number;
  /**
   * @param packetId - ignored for QoS 0
   * @param nowMs - used if the message expires
   * @returns undefined if the client takes no packet so large: then it is not sent [MQTT-3.1.2-24]
   */
  publishHeader(
    content: Content,
    terms: Terms,
    packetId: number,
    duplicate: boolean,
    nowMs: number,
  ): Buffer | undefined;
  acknowledgement(type: AcknowledgementType, packetId: number, code: ReasonCode, why?: string): Buffer;
  /** @param codes - the granted QoS, or a reason code, for each filter in order [MQTT-3.8.4-6] */
  suback(packetId: number, codes: readonly number[]): Buffer;
  unsuback(packetId: number, codes: readonly ReasonCode[]): Buffer;
  /**
   * @param serverReference - where the client finds another server (MQTT 5 §4.11)
   * @returns undefined where a server cannot say it
   */
  disconnect(code: ReasonCode, why: string, serverReference?: string): Buffer | undefined;
}

/** SUBACK return code for a filter that was not granted (MQTT 3.1.1 §3.9.3). */
const subscriptionFailure = 0x80;

/** MQTT 3.1 and 3.1.1, which have no reasons and no properties. */
export const mqtt3: Dialect = {
  version: 4,
  receiveMaximum: Infinity,
  filtersMax: Infinity,
  publishHeader: ({ topic, payload }, { qos, retain }, packetId, duplicate) =>
    encodePublishHeader(topic, payload.length, qos, retain, duplicate, packetId, noBytes),
  acknowledgement: encodeAcknowledgement,
  suback: (packetId, codes) =>
    encodePacket(
      0x90,
      uint16(packetId),
      codes.map((code) => (code >= failureFrom ? subscriptionFailure : code)),
    ),
  unsuback: (packetId) => encodePacket(0xb0, uint16(packetId)),
  disconnect: () => undefined,
};

/**
 * Of SUBACK and UNSUBACK: type, length, identifier and an empty property section. Every other answer is shorter than
 * the CONNACK, which the client took.
 */
const answerOverheadBytes = 1 + 4 + 2 + 1;

/** Topics that get an alias on one connection, first come first served; what comes later is sent in full. */
const outgoingAliasesMax = 64;

export class Mqtt5 implements Dialect {
  readonly version = 5;
  readonly receiveMaximum: number;
  readonly filtersMax: number;
  readonly #packetBytesMax: number;
  readonly #isProblemInformationWanted: boolean;
  readonly #aliasesMax: number;
  readonly #aliases = new Map<string, number>();

  constructor({ properties }: Pick<ConnectPacket, 'properties'>) {
    this.receiveMaximum = properties.receiveMaximum ?? 65_535;
    this.#packetBytesMax = properties.maximumPacketSize ?? Infinity;
    this.filtersMax = this.#packetBytesMax - answerOverheadBytes;
    this.#isProblemInformationWanted = properties.requestProblemInformation !== 0;
    this.#aliasesMax = Math.min(properties.topicAliasMaximum ?? 0, outgoingAliasesMax);
  }

  publishHeader(
    content: Content,
    terms: Terms,
    packetId: number,
    duplicate: boolean,
    nowMs: number,
  ): Buffer | undefined {
    const { topic, payload } = content;
    const alias = this.#aliasesMax === 0 ? undefined : this.#aliasFor(topic);
    const name = alias?.isKnown === true ? '' : topic;
    const properties = propertiesOf(terms, content, nowMs, alias?.number);
    const { qos, retain } = terms;
    const header = encodePublishHeader(name, payload.length, qos, retain, duplicate, packetId, properties);
    if (header.length + payload.length > this.#packetBytesMax) return undefined;
    // Only what is really sent teaches the client what the alias means.
    if (alias?.isKnown === false) this.#aliases.set(topic, alias.number);
    return header;
  }

  acknowledgement(type: AcknowledgementType, packetId: number, code: ReasonCode, why?: string): Buffer {
    if (code === reasonCode.success) return encodeAcknowledgement(type, packetId);
    return this.#withReason(firstByteOf(type), [...uint16(packetId), code], why);
  }

  suback(packetId: number, codes: readonly number[]): Buffer {
    return encodePacket(0x90, uint16(packetId), emptyPropertySection, codes);
  }

  unsuback(packetId: number, codes: readonly ReasonCode[]): Buffer {
    return encodePacket(0xb0, uint16(packetId), emptyPropertySection, codes);
  }

  disconnect(code: ReasonCode, why: string, serverReference?: string): Buffer {
    if (serverReference === undefined) return this.#withReason(0xe0, [code], why);
    const reference = propertySection([textProperty('serverReference', serverReference)]);
    const full = encodePacket(0xe0, [code], reference);
    return full.length > this.#packetBytesMax ? encodePacket(0xe0, [code]) : full;
  }

  /** [MQTT-3.4.2-2], [MQTT-3.14.2-3]: a reason string only where it fits; [MQTT-3.1.2-29]: and is wanted. */
  #withReason(first: number, fields: readonly number[], why: string | undefined): Buffer {
    const bare = encodePacket(first, fields);
    if (why === undefined || !this.#isProblemInformationWanted) return bare;
    const full = encodePacket(first, fields, propertySection([reasonProperty(why)]));
    return full.length > this.#packetBytesMax ? bare : full;
  }

  #aliasFor(topic: string): { readonly number: number; readonly isKnown: boolean } | undefined {
    const known = this.#aliases.get(topic);
    if (known !== undefined) return { number: known, isKnown: true };
    if (this.#aliases.size >= this.#aliasesMax) return undefined; // [MQTT-3.1.2-26], [MQTT-3.1.2-27]
    return { number: this.#aliases.size + 1, isKnown: false };
  }
}

/** What the publisher said, less the time that it took [MQTT-3.3.2-6], and what the subscriber asked for. */
function propertiesOf(
  { identifiers }: Terms,
  { properties, expiresMs }: Content,
  nowMs: number,
  alias: number | undefined,
): Buffer {
  if (properties.length === 0 && identifiers.length === 0 && expiresMs === undefined && alias === undefined) {
    return emptyPropertySection;
  }
  const parts = [properties, identifiers];
  if (expiresMs !== undefined) {
    parts.push(uint32Property('messageExpiry', Math.max(0, Math.ceil((expiresMs - nowMs) / 1000))));
  }
  if (alias !== undefined) parts.push(uint16Property('topicAlias', alias));
  return propertySection(parts);
}

function uint16(value: number): number[] {
  return [value >> 8, value & 0xff];
}
