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
import type { WireFault } from './packet-body.ts';
import { malformed } from './packet-body.ts';
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

/** Not all of the fixed header is there. */
const unknownLength = 0;
const malformedLength = -1;

/** Handles one packet; false ends the reading. */
export type PacketHandler = (packet: IncomingPacket) => boolean;

/** Splits the stream at packet ends, so that no length inside a packet can reach into the next. */
export class PacketReader {
  /** Of a whole packet, fixed header included. */
  packetBytesMax: number;
  readonly #handler: PacketHandler;
  #version: ProtocolVersion | undefined;
  /** The beginning of a packet whose rest has not come. */
  #parts: Buffer[] = [];
  #partsBytes = 0;
  #wantedBytes = 0;
  #bodyStart = 0;

  constructor(packetBytesMax: number, handler: PacketHandler) {
    this.packetBytesMax = packetBytesMax;
    this.#handler = handler;
  }

  /** As the CONNECT said, even if the rest of it was malformed. */
  get version(): ProtocolVersion | undefined {
    return this.#version;
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
      const bytes = this.#readLength(data, offset);
      if (bytes === malformedLength) return malformed('the remaining length'); // [MQTT-1.5.5-1], §2.2.3
      if (bytes > this.packetBytesMax) {
        return { reason: 'packet_too_large', detail: `${bytes} bytes, at most ${this.packetBytesMax}` };
      }
      const end = offset + bytes;
      if (bytes === unknownLength || end > data.length) {
        this.#keep(data, offset, bytes);
        return undefined;
      }
      const packet = this.#decode(data, offset, this.#bodyStart, end);
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

  /**
   * Leaves in `#bodyStart` where the fixed header ends; no object is made for it, for every packet passes here.
   *
   * @returns the bytes of the whole packet, or `unknownLength` or `malformedLength`
   */
  #readLength(data: Buffer, start: number): number {
    let length = 0;
    for (let index = 0, unit = 1; index < 4; index++, unit *= 128) {
      const byte = data[start + 1 + index];
      if (byte === undefined) return unknownLength;
      length += (byte & 0x7f) * unit;
      if ((byte & 0x80) !== 0) continue;
      if (byte === 0 && index > 0 && this.#version === 5) return malformedLength; // longer than it has to be
      this.#bodyStart = start + 2 + index;
      return 2 + index + length;
    }
    return malformedLength;
  }

  #decode(data: Buffer, start: number, bodyStart: number, end: number): Decoded {
    const first = data.readUInt8(start);
    const type = first >> 4;
    const version = this.#version ?? 4;
    if (type === packetType.publish) return decodePublish(first, data, bodyStart, end, version);
    if ((first & 0x0f) !== (packetsWithFlagsTwo.has(type) ? 2 : 0)) {
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
      case packetType.connect:
        return this.#decodeConnect(frame);
      case packetType.subscribe:
        return decodeSubscribe(frame, version);
      case packetType.unsubscribe:
        return decodeUnsubscribe(frame, version);
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

  #decodeConnect(frame: Frame): Decoded {
    // Whoever has said it once has said its version; a second one is refused by whoever handles packets.
    const { packet, version } = decodeConnect(frame);
    this.#version ??= version;
    return packet;
  }
}

function unexpected(type: number): WireFault {
  return { reason: 'unexpected_packet', detail: `packet type ${type} from a client` };
}
