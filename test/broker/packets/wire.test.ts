import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import mqttPacket from 'mqtt-packet';
import type { Packet } from 'mqtt-packet';
import { encodePublishHeader } from '../../../mqtt/packets/encode.ts';
import { PacketReader } from '../../../broker/packets/wire.ts';
import type { WireFault } from '../../../mqtt/packets/packet-body.ts';
import type { IncomingPacket } from '../../../broker/packets/packets.ts';
import { noBytes } from '../../../broker/routing/message.ts';
import { noProperties } from '../../../mqtt/packets/properties.ts';

function read(
  chunks: readonly Buffer[],
  packetBytesMax = 4096,
): { packets: IncomingPacket[]; fault: WireFault | undefined } {
  const packets: IncomingPacket[] = [];
  const reader = new PacketReader(packetBytesMax, (packet) => {
    packets.push(packet);
    return true;
  });
  let fault: WireFault | undefined;
  for (const chunk of chunks) {
    fault = reader.push(chunk);
    if (fault !== undefined) break;
  }
  return { packets, fault };
}

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

const publish = fc
  .record({
    topic: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }),
    payload: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    qos: fc.constantFrom(0, 1, 2),
    retain: fc.boolean(),
    packetId: fc.integer({ min: 1, max: 65_535 }),
    duplicate: fc.boolean(),
  })
  .map((fields) => (fields.qos === 0 ? { ...fields, duplicate: false, packetId: 0 } : fields));

test('PacketReader: reads what encodePublishHeader and mqtt-packet write, however it is cut into chunks', () => {
  fc.assert(
    fc.property(
      fc.array(publish, { minLength: 1, maxLength: 5 }),
      fc.array(fc.nat(2000)),
      (publishes, cuts) => {
        const stream = Buffer.concat(
          publishes.flatMap((one, index) => {
            const { topic, payload, qos, retain, packetId, duplicate } = one;
            if (index % 2 === 0)
              return [
                encodePublishHeader(topic, payload.length, qos, retain, duplicate, packetId, noBytes),
                payload,
              ];
            return [
              mqttPacket.generate({
                cmd: 'publish',
                topic,
                payload,
                qos,
                retain,
                dup: duplicate,
                messageId: packetId,
              }),
            ];
          }),
        );
        const ends = [...new Set(cuts.map((cut) => cut % stream.length)), stream.length].toSorted(
          (a, b) => a - b,
        );
        const chunks = ends.map((end, index) => stream.subarray(ends[index - 1] ?? 0, end));
        const { packets, fault } = read(chunks);
        assert.equal(fault, undefined);
        assert.deepEqual(
          packets,
          publishes.map((one) => ({ type: 'publish', properties: noProperties, ...one })),
        );
      },
    ),
  );
});

test('PacketReader: any bytes give packets or one fault, never an exception', () => {
  const control: fc.Arbitrary<Packet> = fc.constantFrom<Packet>(
    { cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clean: true, clientId: 'c', keepalive: 9 },
    { cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'a/#', qos: 1 }] },
    { cmd: 'unsubscribe', messageId: 2, unsubscriptions: ['a/#', 'b'] },
    { cmd: 'publish', topic: 'a/b', payload: 'x', qos: 2, dup: true, retain: false, messageId: 3 },
    { cmd: 'pubrel', messageId: 4 },
    { cmd: 'pingreq' },
  );
  const flips = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 });
  fc.assert(
    fc.property(fc.array(control, { minLength: 1, maxLength: 4 }), flips, (packets, changes) => {
      const stream = Buffer.concat(packets.map((packet) => mqttPacket.generate(packet)));
      for (const [place, value] of changes) stream[place % stream.length] = value;
      read([stream]);
    }),
    { numRuns: 5000 },
  );
});

const refused: readonly (readonly [why: string, bytes: string, reason: WireFault['reason']])[] = [
  ['a remaining length of five bytes', '10 ff ff ff ff 01', 'malformed_packet'],
  ['packet type 0', '00 00', 'unexpected_packet'],
  ['packet type 15, of MQTT 5', 'f0 00', 'unexpected_packet'],
  ['CONNACK from a client', '20 02 00 00', 'unexpected_packet'],
  ['a packet larger than admitted', '30 ff 7f', 'packet_too_large'],
  ['PUBLISH with QoS 3', '36 05 00 01 61 00 01', 'malformed_packet'],
  ['PUBLISH with QoS 0 and DUP', '38 03 00 01 61', 'malformed_packet'],
  ['PUBLISH with packet identifier 0', '32 05 00 01 61 00 00', 'malformed_packet'],
  [
    'PUBLISH whose topic reaches into the next packet',
    '30 03 00 09 61 c0 00 c0 00 c0 00',
    'malformed_packet',
  ],
  ['PUBLISH whose identifier is cut off', '32 04 00 01 61 00', 'malformed_packet'],
  ['PUBLISH without a topic length', '30 01 00', 'malformed_packet'],
  ['a topic that is not UTF-8', '30 04 00 02 c3 28', 'malformed_packet'],
  ['a topic with a surrogate in UTF-8', '30 05 00 03 ed a0 80', 'malformed_packet'],
  ['PUBACK of three bytes', '40 03 00 01 00', 'malformed_packet'],
  ['PUBREL with flags 0', '60 02 00 01', 'malformed_packet'],
  ['SUBSCRIBE with flags 0', '80 06 00 01 00 01 61 01', 'malformed_packet'],
  ['SUBSCRIBE without a filter', '82 02 00 01', 'malformed_packet'],
  ['SUBSCRIBE with QoS 3', '82 06 00 01 00 01 61 03', 'malformed_packet'],
  [
    'SUBSCRIBE whose filter reaches into the next packet',
    '82 06 00 01 00 05 61 01 c0 00 c0 00',
    'malformed_packet',
  ],
  ['SUBSCRIBE with packet identifier 0', '82 06 00 00 00 01 61 01', 'malformed_packet'],
  ['UNSUBSCRIBE without a filter', 'a2 02 00 01', 'malformed_packet'],
  ['PINGREQ with content', 'c0 01 00', 'malformed_packet'],
  ['DISCONNECT with content', 'e0 01 00', 'malformed_packet'],
  ['CONNECT with the reserved flag', '10 0d 00 04 4d 51 54 54 04 03 00 00 00 01 61', 'malformed_packet'],
  [
    'CONNECT with a will of QoS 3',
    '10 13 00 04 4d 51 54 54 04 1e 00 00 00 01 61 00 01 62 00 01 63',
    'malformed_packet',
  ],
  [
    'CONNECT with a password and no user name',
    '10 10 00 04 4d 51 54 54 04 42 00 00 00 01 61 00 01 70',
    'malformed_packet',
  ],
  ['CONNECT of another protocol', '10 0d 00 04 4d 51 54 58 04 02 00 00 00 01 61', 'unknown_protocol'],
  ['CONNECT of level 6', '10 0d 00 04 4d 51 54 54 06 02 00 00 00 01 61', 'unsupported_version'],
  ['CONNECT with the bridge bit', '10 0d 00 04 4d 51 54 54 84 02 00 00 00 01 61', 'unsupported_version'],
];
for (const [why, bytes, reason] of refused) {
  test(`PacketReader: refuses ${why}`, () => {
    assert.equal(read([hex(bytes)]).fault?.reason, reason);
  });
}

test('PacketReader: refuses a large packet by its header, before its bytes are there', () => {
  const { fault } = read([hex('30 ff ff ff 7f')]);
  assert.equal(fault?.reason, 'packet_too_large');
});
