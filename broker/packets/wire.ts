/** Reads MQTT packets from a byte stream: bounds first, then strict decoding. */
import type { Decoded, Frame } from './decode.ts';
import {
  decodeAcknowledgement,
  decodeAuth,
  decodeConnect,
  decodeDisconnect,
  decodePublish,
  decodeSubscribe,
  decodeUnsubscribe,
} from './decode.ts';
import { FrameReader } from '../../mqtt/packets/frames.ts';
import type { Continuation } from '../../mqtt/packets/frames.ts';
import type { WireFault } from '../../mqtt/packets/packet-body.ts';
import { malformed } from '../../mqtt/packets/packet-body.ts';
import type { AcknowledgementType, IncomingPacket, ProtocolVersion } from './packets.ts';

/** Control packet types (MQTT 3.1.1 §2.2.1, MQTT 5 §2.1.2). */
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
  auth: 15,
} as const;

const acknowledgements: ReadonlyMap<number, AcknowledgementType> = new Map([
  [packetType.puback, 'puback'],
  [packetType.pubrec, 'pubrec'],
  [packetType.pubrel, 'pubrel'],
  [packetType.pubcomp, 'pubcomp'],
]);

/** [MQTT-2.2.2-2], [MQTT-2.1.3-1]: the flags of every type but PUBLISH are fixed. */
const packetsWithFlagsTwo = new Set<number>([
  packetType.pubrel,
  packetType.subscribe,
  packetType.unsubscribe,
]);

/** Handles one packet. */
export type PacketHandler = (packet: IncomingPacket) => Continuation;

export class PacketReader {
  readonly #handler: PacketHandler;
  readonly #filtersMax: () => number;
  readonly #frames: FrameReader;
  #version: ProtocolVersion | undefined;

  /** @param filtersMax - of one SUBSCRIBE or UNSUBSCRIBE, asked at each */
  constructor(packetBytesMax: number, handler: PacketHandler, filtersMax: () => number = () => Infinity) {
    this.#handler = handler;
    this.#filtersMax = filtersMax;
    this.#frames = new FrameReader(packetBytesMax, (first, data, bodyStart, end) => {
      const packet = this.#decode(first, data, bodyStart, end);
      return 'reason' in packet ? packet : this.#handler(packet);
    });
  }

  /** Of a whole packet, fixed header included. */
  set packetBytesMax(bytes: number) {
    this.#frames.packetBytesMax = bytes;
  }

  /** As the CONNECT said, even if the rest of it was malformed. */
  get version(): ProtocolVersion | undefined {
    return this.#version;
  }

  /** @returns why the stream cannot be read any further, or undefined */
  push(chunk: Buffer): WireFault | undefined {
    return this.#frames.push(chunk);
  }

  /** Whether there is something for `readOn`. */
  get hasRest(): boolean {
    return this.#frames.hasRest;
  }

  /** Goes on behind the packet whose handler said later; for the rest as `push`. */
  readOn(): WireFault | undefined {
    return this.#frames.readOn();
  }

  #decode(first: number, data: Buffer, bodyStart: number, end: number): Decoded {
    const type = first >> 4;
    const version = this.#version ?? 4;
    if (type === packetType.publish) return decodePublish(first, data, bodyStart, end, version);
    if (type === packetType.connect) return this.#decodeConnect({ data, bodyStart, end }, first & 0x0f);
    // MQTT 3.1 §2.1 leaves them unused, or calls them DUP.
    if ((first & 0x0f) !== (packetsWithFlagsTwo.has(type) ? 2 : 0) && version !== 3) {
      return malformed(`flags ${first & 0x0f} of packet type ${type}`);
    }
    const acknowledgement = acknowledgements.get(type);
    if (acknowledgement !== undefined) {
      return decodeAcknowledgement(acknowledgement, data, bodyStart, end, version);
    }
    return this.#decodeRare(type, { data, bodyStart, end }, version);
  }

  #decodeRare(type: number, frame: Frame, version: ProtocolVersion): Decoded {
    switch (type) {
      case packetType.subscribe:
        return decodeSubscribe(frame, version, this.#filtersMax());
      case packetType.unsubscribe:
        return decodeUnsubscribe(frame, version, this.#filtersMax());
      case packetType.pingreq:
        return frame.bodyStart === frame.end ? { type: 'pingreq' } : malformed('PINGREQ with content');
      case packetType.disconnect:
        return decodeDisconnect(frame, version);
      case packetType.auth:
        return version === 5 ? decodeAuth(frame) : unexpected(type);
      default:
        return unexpected(type);
    }
  }

  #decodeConnect(frame: Frame, fixedFlags: number): Decoded {
    // Whoever has said it once has said its version; a second one is refused by whoever handles packets.
    const { packet, version } = decodeConnect(frame, fixedFlags);
    this.#version ??= version;
    this.#frames.areLengthsMinimal = this.#version === 5;
    return packet;
  }
}

function unexpected(type: number): WireFault {
  return { reason: 'unexpected_packet', detail: `packet type ${type} from a client` };
}
