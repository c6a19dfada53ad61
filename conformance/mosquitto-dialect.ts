/**
 * Mosquitto's tests compare answers byte by byte, and MQTT 5 leaves a server the order of properties, whether it says what
 * goes without saying, and whether it gives a reason in words. This puts answers into the form that Mosquitto gives them;
 * it changes no value and no reason code.
 */

export interface Dialect {
  /** Sees what the client sends, for its version. */
  readonly fromClient: (chunk: Buffer) => void;
  /** @returns what of the broker's answers is complete, in the other form */
  readonly fromBroker: (chunk: Buffer) => Buffer;
}

const packetType = {
  connack: 2,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  suback: 9,
  unsuback: 11,
  disconnect: 14,
} as const;

type Kind = 'byte' | 'uint16' | 'uint32' | 'binary' | 'pair';
/** Those that a server sends beside PUBLISH (MQTT 5 table 2-4). */
const kinds: ReadonlyMap<number, Kind> = new Map([
  [0x11, 'uint32'],
  [0x12, 'binary'],
  [0x13, 'uint16'],
  [0x15, 'binary'],
  [0x16, 'binary'],
  [0x1a, 'binary'],
  [0x1c, 'binary'],
  [0x1f, 'binary'],
  [0x21, 'uint16'],
  [0x22, 'uint16'],
  [0x24, 'byte'],
  [0x25, 'byte'],
  [0x26, 'pair'],
  [0x27, 'uint32'],
  [0x28, 'byte'],
  [0x29, 'byte'],
  [0x2a, 'byte'],
]);
const reasonString = 0x1f;
/** Retained messages, wildcards, subscription identifiers and shared subscriptions are available if nothing is said. */
const assumedOne = new Set([0x25, 0x28, 0x29, 0x2a]);
const topicAliasMaximum = 0x22;
const last = [0x27, 0x21]; // maximum packet size, receive maximum
const serverKeepAlive = 0x13;
/** PUBREC: no matching subscribers; PUBREL and PUBCOMP: packet identifier not found. */
const unsaid: Readonly<Record<number, number>> = { 5: 0x10, 6: 0x92, 7: 0x92 };
const levelOffsetMax = 16;

export function mosquittoDialect(): Dialect {
  let head: Buffer = Buffer.alloc(0);
  let rest: Buffer = Buffer.alloc(0);
  return {
    fromClient: (chunk) => {
      if (head.length < levelOffsetMax) head = Buffer.concat([head, chunk.subarray(0, levelOffsetMax)]);
    },
    fromBroker: (chunk) => {
      if (!isVersionFive(head)) return chunk;
      const data = Buffer.concat([rest, chunk]);
      const packets: Buffer[] = [];
      let offset = 0;
      for (;;) {
        const packet = packetAt(data, offset);
        if (packet === undefined) break;
        packets.push(translate(data.subarray(offset, packet.end), packet.bodyStart - offset));
        offset = packet.end;
      }
      rest = data.subarray(offset);
      return Buffer.concat(packets);
    },
  };
}

/** CONNECT: `MQTT`, then the protocol level (§3.1.2.2). */
function isVersionFive(head: Buffer): boolean {
  const name = head.indexOf('MQTT');
  return head[0] === 0x10 && name > 0 && head[name + 4] === 5;
}

function translate(packet: Buffer, bodyStart: number): Buffer {
  const first = packet.readUInt8(0);
  const body = packet.subarray(bodyStart);
  switch (first >> 4) {
    case packetType.connack:
      return encode(first, body.subarray(0, 2), section(propertiesAt(body, 2).properties));
    case packetType.puback:
    case packetType.pubrec:
    case packetType.pubrel:
    case packetType.pubcomp:
      return shortened(first, body, 2);
    case packetType.disconnect:
      return shortened(first, body, 0);
    case packetType.suback:
    case packetType.unsuback: {
      const { properties, end } = propertiesAt(body, 2);
      return encode(first, body.subarray(0, 2), section(properties), body.subarray(end));
    }
    default:
      return packet;
  }
}

/** Properties that are empty are left out, and a reason code that says success with them (§3.4.2.1, §3.14.2.1). */
function shortened(first: number, body: Buffer, codeOffset: number): Buffer {
  const properties = body.length > codeOffset + 1 ? propertiesAt(body, codeOffset + 1).properties : [];
  if (properties.length > 0) return encode(first, body.subarray(0, codeOffset + 1), section(properties));
  const isUnsaid = [0, unsaid[first >> 4]].includes(body[codeOffset] ?? 0);
  return encode(first, body.subarray(0, isUnsaid ? codeOffset : codeOffset + 1));
}

/** @returns each whole property, in Mosquitto's order, without what need not be said */
function propertiesAt(body: Buffer, start: number): { properties: Buffer[]; end: number } {
  const { value: length, next } = variableInteger(body, start);
  const end = next + length;
  const properties: Buffer[] = [];
  for (let offset = next; offset < end;) {
    const bytes = propertyBytes(body, offset);
    properties.push(body.subarray(offset, offset + bytes));
    offset += bytes;
  }
  const said = properties.filter(
    (property) => property[0] !== reasonString && !(assumedOne.has(property[0] ?? 0) && property[1] === 1),
  );
  const rank = (property: Buffer): number => {
    if (property[0] === serverKeepAlive) return -2;
    if (property[0] === topicAliasMaximum) return -1;
    return last.indexOf(property[0] ?? 0) + 1;
  };
  return { properties: said.toSorted((a, b) => rank(a) - rank(b)), end };
}

function propertyBytes(body: Buffer, offset: number): number {
  switch (kinds.get(body.readUInt8(offset))) {
    case 'byte':
      return 2;
    case 'uint16':
      return 3;
    case 'uint32':
      return 5;
    case 'binary':
      return 3 + body.readUInt16BE(offset + 1);
    case 'pair': {
      const name = 3 + body.readUInt16BE(offset + 1);
      return name + 2 + body.readUInt16BE(offset + name);
    }
    default:
      throw new Error(`the broker sent the property ${body.readUInt8(offset)} where it does not belong`);
  }
}

function section(properties: readonly Buffer[]): Buffer {
  const bytes = Buffer.concat(properties);
  return Buffer.concat([encodedInteger(bytes.length), bytes]);
}

function encode(first: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([first]), encodedInteger(body.length), body]);
}

function encodedInteger(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    bytes.push((rest % 128) | (rest >= 128 ? 0x80 : 0));
    if (rest < 128) return Buffer.from(bytes);
  }
}

function variableInteger(data: Buffer, start: number): { value: number; next: number } {
  let value = 0;
  for (let index = 0; index < 4; index++) {
    const byte = data.readUInt8(start + index);
    value += (byte & 0x7f) * 128 ** index;
    if (byte < 0x80) return { value, next: start + index + 1 };
  }
  throw new Error('the broker sent a length of more than four bytes');
}

/** @returns undefined if it has not come whole */
function packetAt(data: Buffer, offset: number): { bodyStart: number; end: number } | undefined {
  if (!data.subarray(offset + 1, offset + 5).some((byte) => byte < 0x80)) return undefined;
  const { value, next } = variableInteger(data, offset + 1);
  return next + value > data.length ? undefined : { bodyStart: next, end: next + value };
}
