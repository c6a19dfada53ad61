import assert from 'node:assert/strict';
import test from 'node:test';
import mqttPacket from 'mqtt-packet';
import { Generator } from '../../fuzz/generator.ts';
import { packetSeeds } from '../../fuzz/packet-seeds.ts';
import { fuzzPackets, packetFault, reproducePackets } from '../../fuzz/packets.ts';

// V8 counts blocks only of what is loaded after it was told to, so nothing of broker/ is before this test.
test('fuzzPackets: a short run finds nothing and reaches most of the reader', async () => {
  const found: string[] = [];
  const end = await fuzzPackets({
    seed: 7,
    isDone: ({ executions }) => executions >= 3000,
    onFinding: ({ why }) => found.push(why),
  });
  assert.deepEqual(found, []);
  assert.ok(end.blocks.reached > 0.8 * end.blocks.known, `${end.blocks.reached} of ${end.blocks.known}`);
  assert.ok(end.corpus > packetSeeds().length);
});

test('reproducePackets: the sessions that it begins with are read without a fault', async () => {
  for (const seed of packetSeeds()) assert.equal(await reproducePackets(seed), undefined);
});

test('packetFault: notices a reader that depends on where the stream was cut, and one that reads something else', async () => {
  const { PacketReader } = await import('../../broker/packets/wire.ts');
  class Impatient extends PacketReader {
    override push(chunk: Buffer): ReturnType<InstanceType<typeof PacketReader>['push']> {
      return chunk.length === 1 ? { reason: 'malformed_packet', detail: 'short' } : super.push(chunk);
    }
  }
  class Forgetful extends PacketReader {
    constructor(...[bytesMax, handler]: ConstructorParameters<typeof PacketReader>) {
      super(bytesMax, (packet) =>
        handler(packet.type === 'publish' ? { ...packet, topic: 'another' } : packet),
      );
    }
  }
  const whole = packetSeeds().at(-1);
  assert.ok(whole);
  assert.match(packetFault(Impatient, whole, new Generator(3)) ?? '', /in pieces/);
  assert.match(packetFault(Forgetful, whole, new Generator(3)) ?? '', /mqtt-packet reads publish ms-acc-1/);
  assert.equal(packetFault(PacketReader, whole, new Generator(3)), undefined);
});

test('reproducePackets: what follows a second CONNECT, of another version, is not compared', async () => {
  const connect = { cmd: 'connect', clientId: 'dev-1', clean: true, keepalive: 60 } as const;
  const of3 = mqttPacket.generate({ ...connect, protocolId: 'MQIsdp', protocolVersion: 3 });
  const of5 = mqttPacket.generate({ ...connect, protocolId: 'MQTT', protocolVersion: 5 });
  // To MQTT 5 the first octet of the payload is the length of the properties.
  const publish = Buffer.from('30050001610007', 'hex');
  assert.equal(await reproducePackets(Buffer.concat([of3, of5, publish])), undefined);
});
