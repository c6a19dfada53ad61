/** Reads the fields of one packet, which lies whole in memory; the first fault sticks and ends every reading. */
import { isUtf8 } from 'node:buffer';

export type WireFaultReason =
  | 'malformed_packet'
  | 'protocol_error' // well-formed, but MQTT 5 does not allow it here or twice
  | 'packet_too_large'
  | 'subscriptions_max' // more filters in one packet than a session may have
  | 'unknown_protocol' // a CONNECT of another protocol's name
  | 'unsupported_version' // a CONNECT of another protocol level
  | 'unexpected_packet'; // one that only a server sends, or not now

/** A peer sent what MQTT does not allow [MQTT-4.8.0-1], [MQTT-4.13.1-1]. */
export interface WireFault {
  readonly reason: WireFaultReason;
  readonly detail: string;
}

export function malformed(detail: string): WireFault {
  return { reason: 'malformed_packet', detail };
}

export function protocolError(detail: string): WireFault {
  return { reason: 'protocol_error', detail };
}

/** @returns whether U+0001 to U+001F or U+007F to U+009F is in it, or NUL */
export function hasControlCharacter(text: string): boolean {
  return /\p{Cc}/u.test(text);
}

const nothing = Buffer.alloc(0);

/**
 * After a fault every read gives an empty value and nothing is left, so that a loop over what is left ends; the
 * caller looks at `fault` once, at the end.
 */
export class PacketBody {
  fault: WireFault | undefined;
  offset: number;
  readonly bytes: Buffer;
  #end: number;

  /** @param end - offset after the last byte */
  constructor(bytes: Buffer, start: number, end: number) {
    this.bytes = bytes;
    this.offset = start;
    this.#end = end;
  }

  get left(): number {
    return this.#end - this.offset;
  }

  fail(fault: WireFault): void {
    this.fault ??= fault;
    this.offset = this.#end;
  }

  byte(what: string): number {
    return this.#take(1, what) ? this.bytes.readUInt8(this.offset - 1) : 0;
  }

  uint16(what: string): number {
    return this.#take(2, what) ? this.bytes.readUInt16BE(this.offset - 2) : 0;
  }

  uint32(what: string): number {
    return this.#take(4, what) ? this.bytes.readUInt32BE(this.offset - 4) : 0;
  }

  /** MQTT 5 §1.5.5: one to four bytes, as few as possible [MQTT-1.5.5-1]. */
  variableInteger(what: string): number {
    let value = 0;
    for (let index = 0; index < 4; index++) {
      const byte = this.byte(what);
      value += (byte & 0x7f) * 128 ** index;
      if ((byte & 0x80) !== 0) continue;
      if (byte === 0 && index > 0) this.fail(malformed(`${what} is longer than it has to be`));
      return value;
    }
    this.fail(malformed(`${what} of more than four bytes`));
    return 0;
  }

  /** Bytes behind their length, not copied. */
  binary(what: string): Buffer {
    const length = this.uint16(what);
    return this.#take(length, what) ? this.bytes.subarray(this.offset - length, this.offset) : nothing;
  }

  /** [MQTT-1.5.3-1], [MQTT-1.5.4-1]: UTF-8 without surrogates; [MQTT-1.5.3-2], [MQTT-1.5.4-2]: without NUL. */
  text(what: string): string {
    const bytes = this.binary(what);
    if (isUtf8(bytes) && !bytes.includes(0)) return bytes.toString('utf8');
    this.fail(malformed(`${what} is not UTF-8, or has a NUL`));
    return '';
  }

  /** Checks a text as `text` does and makes nothing of it: a packet may have thousands, which cost others' time. */
  skipText(what: string): void {
    const length = this.uint16(what);
    const start = this.offset;
    if (!this.#take(length, what)) return;
    for (let at = start; at < this.offset; at++) {
      const octet = this.bytes[at] ?? 0;
      if (octet > 0 && octet < 0x80) continue;
      const rest = this.bytes.subarray(at, this.offset);
      if (!isUtf8(rest) || rest.includes(0)) this.fail(malformed(`${what} is not UTF-8, or has a NUL`));
      return;
    }
  }

  /** A text that ends up in logs and in rules of access: without control characters, which a receiver may refuse (§1.5.4). */
  name(what: string): string {
    const text = this.text(what);
    if (!hasControlCharacter(text)) return text;
    this.fail(malformed(`${what} has a control character`));
    return '';
  }

  /** The next bytes as a body of their own; what is read from it is no longer left here. */
  part(length: number, what: string): PacketBody {
    const isThere = this.#take(length, what);
    return new PacketBody(this.bytes, isThere ? this.offset - length : this.offset, this.offset);
  }

  #take(length: number, what: string): boolean {
    if (this.left >= length) {
      this.offset += length;
      return true;
    }
    this.fail(malformed(`${what} reaches beyond the packet`));
    return false;
  }
}
