import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import * as fc from 'fast-check';
import mqttPacket from 'mqtt-packet';
import type { Packet } from 'mqtt-packet';
import type { WireFault } from '../../../mqtt/packets/packet-body.ts';
import type { IncomingPacket } from '../../../broker/packets/packets.ts';
import { PacketReader } from '../../../broker/packets/wire.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
const connects = {
  4: hex('10 0d 00 04 4d 51 54 54 04 02 00 3c 00 01 61'),
  5: hex('10 0e 00 04 4d 51 54 54 05 02 00 3c 00 00 01 61'),
} as const;

/** What follows a CONNECT of the version. */
function readAfterConnect(
  version: 4 | 5,
  bytes: Buffer,
): { packets: IncomingPacket[]; fault: WireFault | undefined } {
  const packets: IncomingPacket[] = [];
  const reader = new PacketReader(4096, (packet) => {
    packets.push(packet);
    return true;
  });
  assert.equal(reader.push(connects[version]), undefined);
  packets.pop();
  return { fault: reader.push(bytes), packets };
}

function decode(bytes: Buffer): IncomingPacket | undefined {
  const { packets, fault } = readAfterConnect(5, bytes);
  assert.equal(fault, undefined);
  return packets[0];
}

test('decodePublish: alias, expiry and format are read, and what is for the receiver is kept in its order', () => {
  const body = hex(
    `0001 61 0007 36 26 0001 6b 0001 31 23 0005 01 01 26 0001 6a 0001 32 02 00000009 03 0002 6374
     26 0001 6b 0001 33 08 0001 72 09 0002 00ff 70`.replaceAll(/\s/g, ''),
  );
  body[5] = body.length - 6 - 1;
  const publish = decode(Buffer.concat([Buffer.from([0x32, body.length]), body]));
  assert(publish?.type === 'publish');
  const { properties } = publish;
  assert.partialDeepStrictEqual(properties, {
    topicAlias: 5,
    payloadFormat: 1,
    messageExpirySeconds: 9,
    contentType: 'ct',
    responseTopic: 'r',
  });
  assert.equal(publish.payload.toString(), 'p');
  assert.deepEqual(
    properties.forwarded,
    hex(
      '26 0001 6b 0001 31 01 01 26 0001 6a 0001 32 03 0002 6374 26 0001 6b 0001 33 08 0001 72 09 0002 00ff',
    ),
  );
});

const generated: readonly (readonly [Packet, Partial<IncomingPacket>])[] = [
  [
    {
      cmd: 'subscribe',
      messageId: 7,
      properties: { subscriptionIdentifier: 268_435_455, userProperties: { a: 'b' } },
      subscriptions: [
        { topic: 'a/#', qos: 1, nl: true, rap: true, rh: 2 },
        { topic: 'b', qos: 2, nl: false, rap: false, rh: 0 },
      ],
    },
    {
      type: 'subscribe',
      packetId: 7,
      subscriptions: [
        { filter: 'a/#', qos: 1, noLocal: true, retainAsPublished: true, retainHandling: 2 },
        { filter: 'b', qos: 2, noLocal: false, retainAsPublished: false, retainHandling: 0 },
      ],
    },
  ],
  [
    { cmd: 'unsubscribe', messageId: 8, unsubscriptions: ['a', 'b/#'] },
    { type: 'unsubscribe', packetId: 8, filters: ['a', 'b/#'] },
  ],
  [
    { cmd: 'puback', messageId: 9, reasonCode: 0x97, properties: { reasonString: 'full' } },
    { type: 'puback', packetId: 9, reasonCode: 0x97 },
  ],
  [
    { cmd: 'pubcomp', messageId: 9, reasonCode: 0x92 },
    { type: 'pubcomp', packetId: 9, reasonCode: 0x92 },
  ],
  [
    { cmd: 'disconnect', reasonCode: 4, properties: { sessionExpiryInterval: 3 } },
    { type: 'disconnect', reasonCode: 4 },
  ],
];
for (const [packet, expected] of generated) {
  test(`PacketReader: reads the ${packet.cmd} that mqtt-packet writes for MQTT 5`, () => {
    const { packets, fault } = readAfterConnect(5, mqttPacket.generate(packet, { protocolVersion: 5 }));
    assert.equal(fault, undefined);
    assert.partialDeepStrictEqual(packets[0], expected);
  });
}

const refused: readonly (readonly [why: string, bytes: string, reason: WireFault['reason']])[] = [
  ['a remaining length that is longer than it has to be', 'c0 80 00', 'malformed_packet'],
  ['PUBLISH without a property length', '30 03 0001 61', 'malformed_packet'],
  ['PUBLISH whose properties reach beyond it', '30 06 0001 61 05 01 01', 'malformed_packet'],
  ['PUBLISH whose property is cut off', '30 05 0001 61 01 01', 'malformed_packet'],
  ['PUBLISH with a property length of five bytes', '30 09 0001 61 ff ff ff ff 01 00', 'malformed_packet'],
  ['PUBLISH with a property length that is too long', '30 05 0001 61 80 00', 'malformed_packet'],
  ['PUBLISH with a payload format twice', '30 08 0001 61 04 01 01 01 01', 'protocol_error'],
  ['PUBLISH with a payload format of 2', '30 06 0001 61 02 01 02', 'protocol_error'],
  ['PUBLISH with a message expiry twice', '30 0e 0001 61 0a 02 00000001 02 00000001', 'protocol_error'],
  ['PUBLISH with a topic alias twice', '30 0a 0001 61 06 23 0001 23 0001', 'protocol_error'],
  ['PUBLISH with a session expiry', '30 09 0001 61 05 11 00000001', 'malformed_packet'],
  ['PUBLISH with an unknown property', '30 06 0001 61 02 7e 00', 'malformed_packet'],
  ['PUBLISH with property 0', '30 06 0001 61 02 00 00', 'malformed_packet'],
  ['PUBLISH with a subscription identifier', '30 06 0001 61 02 0b 01', 'protocol_error'],
  ['PUBLISH with a wildcard in its response topic', '30 08 0001 61 04 08 0001 23', 'protocol_error'],
  ['PUBLISH with an empty response topic', '30 07 0001 61 03 08 0000', 'protocol_error'],
  ['PUBLISH with neither topic nor alias', '30 03 0000 00', 'protocol_error'],
  ['a user property with NUL', '30 0b 0001 61 07 26 0001 00 0001 31', 'malformed_packet'],
  ['a user property with a surrogate', '30 0d 0001 61 09 26 0003 eda080 0001 31', 'malformed_packet'],
  ['a content type that is not UTF-8', '30 08 0001 61 04 03 0001 ff', 'malformed_packet'],
  ['PUBACK with a reason code of another packet', '40 03 0001 92', 'protocol_error'],
  ['PUBACK with identifier 0', '40 02 0000', 'malformed_packet'],
  ['PUBREL with a reason string twice', '62 0b 0001 92 07 1f 0001 61 1f 0000', 'protocol_error'],
  ['PUBREC with bytes after its properties', '50 05 0001 00 00 00', 'malformed_packet'],
  ['SUBSCRIBE without a filter', '82 03 0001 00', 'protocol_error'],
  ['SUBSCRIBE with an empty filter', '82 06 0001 00 0000 00', 'malformed_packet'],
  ['UNSUBSCRIBE with an empty filter', 'a2 08 0001 00 0001 61 0000', 'malformed_packet'],
  ['SUBSCRIBE with identifier 0', '82 09 0001 02 0b 00 0001 61 00', 'protocol_error'],
  ['SUBSCRIBE with two identifiers', '82 0b 0001 04 0b 01 0b 02 0001 61 00', 'protocol_error'],
  [
    'SUBSCRIBE with an identifier of five bytes',
    '82 0d 0001 06 0b ffffffff7f 0001 61 00',
    'malformed_packet',
  ],
  ['SUBSCRIBE with reserved option bits', '82 07 0001 00 0001 61 40', 'malformed_packet'],
  ['SUBSCRIBE with QoS 3', '82 07 0001 00 0001 61 03', 'protocol_error'],
  ['SUBSCRIBE with retain handling 3', '82 07 0001 00 0001 61 30', 'protocol_error'],
  ['UNSUBSCRIBE without a filter', 'a2 03 0001 00', 'protocol_error'],
  ['DISCONNECT with a reason code that a server gives', 'e0 01 8b', 'protocol_error'],
  ['DISCONNECT with a server reference', 'e0 06 00 04 1c 0001 61', 'protocol_error'],
  ['DISCONNECT with a session expiry twice', 'e0 0c 00 0a 11 00000001 11 00000001', 'protocol_error'],
  ['AUTH with an unknown reason code', 'f0 01 01', 'protocol_error'],
];
for (const [why, bytes, reason] of refused) {
  test(`PacketReader: refuses ${why} (MQTT 5)`, () => {
    assert.equal(readAfterConnect(5, hex(bytes)).fault?.reason, reason);
  });
}

const connectProperties: readonly (readonly [
  why: string,
  properties: string,
  reason: WireFault['reason'],
])[] = [
  ['a receive maximum of 0', '21 0000', 'protocol_error'],
  ['a maximum packet size of 0', '27 00000000', 'protocol_error'],
  ['a session expiry twice', '11 00000001 11 00000001', 'protocol_error'],
  ['request problem information of 2', '17 02', 'protocol_error'],
  ['request response information of 2', '19 02', 'protocol_error'],
  ['authentication data without a method', '16 0001 61', 'protocol_error'],
  ['a topic alias', '23 0001', 'malformed_packet'],
  ['a will delay outside of a will', '18 00000001', 'malformed_packet'],
];
for (const [why, properties, reason] of connectProperties) {
  test(`PacketReader: refuses CONNECT with ${why}, and knows its version`, () => {
    const bytes = hex(properties);
    const frame = Buffer.concat([
      hex(`10 ${(14 + bytes.length).toString(16).padStart(2, '0')} 0004 4d515454 05 02 003c`),
      Buffer.from([bytes.length]),
      bytes,
      hex('0001 61'),
    ]);
    const reader = new PacketReader(4096, () => true);
    assert.equal(reader.push(frame)?.reason, reason);
    assert.equal(reader.version, 5);
  });
}

test('decodePublish: the texts of a user property are UTF-8 without NUL, or the packet is malformed', () => {
  const octet = fc.oneof(fc.constantFrom(0, 0x61, 0x7f, 0x80, 0xc3, 0xa9, 0xed, 0xa0, 0xf0), fc.nat(255));
  const well = fc.string({ unit: 'binary', maxLength: 6 }).map((text) => Buffer.from(text.toWellFormed()));
  const some = fc.oneof(
    well,
    fc.array(octet, { maxLength: 6 }).map((octets) => Buffer.from(octets)),
  );
  const field = (bytes: Buffer): Buffer => Buffer.concat([Buffer.from([0, bytes.length]), bytes]);
  fc.assert(
    fc.property(some, some, (name, value) => {
      const pair = Buffer.concat([Buffer.from([0x26]), field(name), field(value)]);
      const body = Buffer.concat([hex('0001 61 0001'), Buffer.from([pair.length]), pair]);
      const { packets, fault } = readAfterConnect(5, Buffer.concat([Buffer.from([0x32, body.length]), body]));
      const isText = [name, value].every((bytes) => isUtf8(bytes) && !bytes.includes(0));
      assert.equal(fault?.reason, isText ? undefined : 'malformed_packet');
      if (!isText) return;
      assert(packets[0]?.type === 'publish');
      assert.deepEqual(packets[0].properties.forwarded, pair);
    }),
    { numRuns: 2000 },
  );
});

test('PacketReader: any change of any MQTT 5 packet gives packets or one fault, never an exception', () => {
  const packets = generated.map(([packet]) => mqttPacket.generate(packet, { protocolVersion: 5 }));
  packets.push(hex('32 12 0001 61 0007 0b 26 0001 6b 0001 31 23 0005 01 01 70'));
  const flips = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(fc.constantFrom(...packets), flips, fc.nat(), (packet, changes, cut) => {
      const bytes = Buffer.from(packet);
      for (const [place, value] of changes) bytes[place % bytes.length] = value;
      readAfterConnect(5, bytes.subarray(0, 1 + (cut % bytes.length)));
      readAfterConnect(5, bytes);
    }),
    { numRuns: 5000 },
  );
});

const seeds = path.resolve(import.meta.dirname, '../../../../shared/data/mqtt_malformed');

interface Seed {
  readonly error: string;
  readonly hex: string;
  readonly proto_ver: 3 | 4 | 5 | null;
}

/** Packets of a server, which no client sends, whatever is wrong in them. */
const fromServer = new Set([0x0, 0x2, 0x9, 0xb, 0xd]);

function reasonsFor({ error, hex: bytes }: Seed): readonly WireFault['reason'][] {
  if (error === 'Invalid protocolId') return ['unknown_protocol'];
  if (error.startsWith('Invalid protocol')) return ['unsupported_version'];
  // It takes the name of one version with the level of another.
  if (bytes.startsWith('100a00044d51545403')) return ['unsupported_version'];
  if (/variable byte/.test(error)) return ['malformed_packet', 'packet_too_large'];
  if (fromServer.has(Number.parseInt(bytes[0] ?? '', 16))) return ['unexpected_packet', 'malformed_packet'];
  if (error === 'Not supported auth packet for this version MQTT') return ['unexpected_packet'];
  if (/reason code|no payload|QoS, must|retain handling/.test(error))
    return ['protocol_error', 'malformed_packet'];
  return ['malformed_packet'];
}

test('PacketReader: the packets that the tests of mqtt-packet call malformed are refused, for the right reason', () => {
  const file = readFileSync(path.join(seeds, 'mqtt_packet_parse_errors.json'), 'utf8');
  const { packets } = JSON.parse(file) as { packets: readonly Seed[] };
  assert.equal(packets.length, 60);
  for (const seed of packets) {
    const bytes = hex(seed.hex);
    const reader = new PacketReader(4096, () => true);
    if (bytes[0] !== undefined && bytes[0] >> 4 !== 1) {
      assert.equal(reader.push(connects[seed.proto_ver === 5 ? 5 : 4]), undefined);
    }
    const fault = reader.push(bytes);
    // Some are cut short: then the rest has to come before anything can be said of them.
    const isWhole = isFramed(bytes);
    if (!isWhole) {
      assert.equal(fault, undefined, seed.hex);
      continue;
    }
    assert(fault !== undefined, seed.hex);
    assert(reasonsFor(seed).includes(fault.reason), `${seed.error} ${seed.hex}: ${fault.reason}`);
  }
});

function isFramed(bytes: Buffer): boolean {
  let length = 0;
  for (let index = 1; index <= 4; index++) {
    const byte = bytes[index] ?? 0;
    length += (byte & 0x7f) * 128 ** (index - 1);
    if ((byte & 0x80) === 0) return bytes.length >= 1 + index + length;
  }
  return true;
}

test('PacketReader: every packet that real clients sent is read, whole and cut anywhere', () => {
  const files = readdirSync(path.join(seeds, 'fsecure_seeds'), { recursive: true, withFileTypes: true });
  let read = 0;
  for (const file of files) {
    if (!file.isFile()) continue;
    const bytes = readFileSync(path.join(file.parentPath, file.name));
    for (let cut = 0; cut < bytes.length; cut++) {
      const reader = new PacketReader(4096, () => true);
      if ((bytes[0] ?? 0) >> 4 !== 1) reader.push(connects[4]);
      const fault = reader.push(bytes.subarray(0, cut)) ?? reader.push(bytes.subarray(cut));
      // One of them names a protocol "hj".
      const expected = bytes.includes('hj') && bytes[0] === 0x10 ? 'unknown_protocol' : undefined;
      assert.equal(fault?.reason, expected, `${file.name}: ${fault?.detail}`);
    }
    read++;
  }
  assert(read > 70);
});
