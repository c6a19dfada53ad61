/** Frames between nodes and between processes: many connections over one, and nothing of MQTT in it. */

/** `length` octets of payload follow the header: one of type, four of channel, four of length. */
export const headerBytes = 9;

/** What opens a channel is small; anything longer is not one of us. */
export const openBytesMax = 64 * 1024;

export const frameType = { open: 1, data: 2, credit: 3, end: 4, close: 5, ping: 6 } as const;
export type FrameType = (typeof frameType)[keyof typeof frameType];

const frameTypes: ReadonlySet<number> = new Set(Object.values(frameType));

export function frameHeader(type: FrameType, channel: number, length: number): Buffer {
  const header = Buffer.allocUnsafe(headerBytes);
  header.writeUInt8(type, 0);
  header.writeUInt32BE(channel, 1);
  header.writeUInt32BE(length, 5);
  return header;
}

export function creditFrame(channel: number, bytes: number): Buffer {
  const payload = Buffer.allocUnsafe(4);
  payload.writeUInt32BE(bytes);
  return Buffer.concat([frameHeader(frameType.credit, channel, payload.length), payload]);
}

export interface FrameReceiver {
  /** A part of what a channel carries, as it comes: data is not gathered. */
  onData(channel: number, bytes: Buffer): void;
  /** Any other frame, whole. */
  onFrame(type: Exclude<FrameType, 2>, channel: number, payload: Buffer): void;
}

/** Cuts what comes into frames. */
export class FrameReader {
  readonly #receiver: FrameReceiver;
  #pending: Buffer = Buffer.alloc(0);
  #dataChannel = 0;
  #dataLeft = 0;

  constructor(receiver: FrameReceiver) {
    this.#receiver = receiver;
  }

  /** @returns what is wrong with it; then nothing more may be read */
  push(chunk: Buffer): string | undefined {
    let bytes = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    this.#pending = Buffer.alloc(0);
    for (;;) {
      if (this.#dataLeft > 0) {
        if (bytes.length === 0) return undefined;
        const part = bytes.subarray(0, this.#dataLeft);
        this.#dataLeft -= part.length;
        bytes = bytes.subarray(part.length);
        this.#receiver.onData(this.#dataChannel, part);
        continue;
      }
      if (bytes.length < headerBytes) break;
      const type = bytes.readUInt8(0);
      const channel = bytes.readUInt32BE(1);
      const length = bytes.readUInt32BE(5);
      if (!isFrameType(type)) return `a frame of type ${type}`;
      if (type === frameType.data) {
        this.#dataChannel = channel;
        this.#dataLeft = length;
        bytes = bytes.subarray(headerBytes);
        continue;
      }
      if (length > openBytesMax) return `a frame of ${length} octets`;
      if (bytes.length < headerBytes + length) break;
      const payload = bytes.subarray(headerBytes, headerBytes + length);
      bytes = bytes.subarray(headerBytes + length);
      if (type === frameType.credit && length !== 4) return `a credit of ${length} octets`;
      this.#receiver.onFrame(type, channel, payload);
    }
    this.#pending = bytes;
    return undefined;
  }
}

function isFrameType(type: number): type is FrameType {
  return frameTypes.has(type);
}

/** What a channel is for. */
export type ChannelPurpose =
  /** A client's connection from an address, whose certificates (DER, leaf first) have been shown in its handshake. */
  | { readonly kind: 'client'; readonly address: string; readonly chain: readonly Buffer[] }
  /** The durable state, as one file. */
  | { readonly kind: 'snapshot' };

/** An IPv6 address with a zone, which is the name of an interface. */
const addressBytesMax = 64;

/** One octet of kind; for a client its address and each certificate, after its length in four octets. */
export function encodePurpose(purpose: ChannelPurpose): Buffer {
  if (purpose.kind === 'snapshot') return Buffer.from([2]);
  const parts = [Buffer.from(purpose.address).subarray(0, addressBytesMax), ...purpose.chain];
  return Buffer.concat([Buffer.from([1]), ...parts.flatMap((part) => [lengthOf(part), part])]);
}

/** @returns undefined if it is none */
export function decodePurpose(bytes: Buffer): ChannelPurpose | undefined {
  if (bytes.length === 1 && bytes[0] === 2) return { kind: 'snapshot' };
  if (bytes[0] !== 1) return undefined;
  const parts: Buffer[] = [];
  for (let at = 1; at < bytes.length;) {
    if (at + 4 > bytes.length) return undefined;
    const end = at + 4 + bytes.readUInt32BE(at);
    if (end > bytes.length) return undefined;
    // Copies, for the certificates outlive the chunk that they were read from.
    parts.push(Buffer.from(bytes.subarray(at + 4, end)));
    at = end;
  }
  const [address, ...chain] = parts;
  if (address === undefined || address.length > addressBytesMax || chain.length === 0) return undefined;
  return { kind: 'client', address: address.toString(), chain };
}

function lengthOf(part: Buffer): Buffer {
  const length = Buffer.allocUnsafe(4);
  length.writeUInt32BE(part.length);
  return length;
}
