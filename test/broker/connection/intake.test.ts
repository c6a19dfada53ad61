import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import mqttPacket from 'mqtt-packet';
import type { Packet } from 'mqtt-packet';
import { Intake, turnBytesMax, turnPacketsMax } from '../../../broker/connection/intake.ts';
import type { WireFault } from '../../../mqtt/packets/packet-body.ts';
import { Turn } from '../../../broker/store/turn.ts';
import type { Site } from '../fixture.ts';
import { Journal, openSite } from '../fixture.ts';
import { MemoryBroker } from '../memory-broker.ts';

let site: Site;
before(() => {
  site = openSite();
});
after(() => site.remove());

const turnOver = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

/** An intake whose chunks come from the test, and what it made of them. */
class Client {
  readonly topics: string[] = [];
  readonly faults: WireFault[] = [];
  isPaused = false;
  isWanted = true;
  bytes = 0;
  readonly intake: Intake;

  constructor() {
    const turn = new Turn((error) => assert.fail(error));
    this.intake = new Intake({
      transport: { pause: () => (this.isPaused = true), resume: () => (this.isPaused = false) },
      turn,
      filtersMax: () => 10,
      packetBytesMax: 100_000,
      onPacket: (packet) => {
        this.topics.push(packet.type === 'publish' ? packet.topic : packet.type);
        return this.isWanted;
      },
      onRead: (bytes, fault) => {
        this.bytes += bytes;
        if (fault !== undefined) this.faults.push(fault);
      },
    });
  }
}

const publish = (topic: string, payloadBytes = 0): Buffer =>
  mqttPacket.generate({
    cmd: 'publish',
    topic,
    payload: Buffer.alloc(payloadBytes),
    qos: 0,
    dup: false,
    retain: false,
  });
const names = (count: number): string[] => Array.from({ length: count }, (_, index) => `t/${index}`);

test('Intake: so many packets are handled in a turn, the rest in the next ones, in their order', async () => {
  const client = new Client();
  const all = names(3 * turnPacketsMax + 7);
  client.intake.read(Buffer.concat(all.map((topic) => publish(topic))));
  assert.equal(client.topics.length, turnPacketsMax);
  assert(client.isPaused);
  // What a transport has already taken from the system comes although it is paused.
  client.intake.read(publish('t/last'));
  assert.equal(client.topics.length, turnPacketsMax);
  for (const share of [2, 3]) {
    await turnOver();
    assert.equal(client.topics.length, share * turnPacketsMax);
    assert(client.isPaused);
  }
  await turnOver();
  assert.deepEqual(client.topics, [...all, 't/last']);
  assert(!client.isPaused);
});

test('Intake: whoever has had its bytes of a turn is not read from until the next', async () => {
  const client = new Client();
  const chunk = publish('t', 16 * 1024);
  let chunks = 0;
  while (!client.isPaused) {
    client.intake.read(chunk);
    chunks++;
  }
  assert.equal(chunks, Math.ceil(turnBytesMax / chunk.length));
  assert.equal(client.bytes, chunks * chunk.length);
  await turnOver();
  assert(!client.isPaused);
  for (let turn = 0; turn < 3; turn++) {
    client.intake.read(chunk);
    assert(!client.isPaused, 'each turn has its own count');
    await turnOver();
  }
});

test('Intake: a SUBSCRIBE, which may bring all that is retained, is the last packet of its turn', async () => {
  const client = new Client();
  const subscribe = mqttPacket.generate({
    cmd: 'subscribe',
    messageId: 1,
    subscriptions: [{ topic: '#', qos: 1 }],
  });
  client.intake.read(Buffer.concat([publish('t/1'), subscribe, subscribe, publish('t/2')]));
  assert.deepEqual(client.topics, ['t/1', 'subscribe']);
  await turnOver();
  assert.deepEqual(client.topics, ['t/1', 'subscribe', 'subscribe']);
  await turnOver();
  assert.deepEqual(client.topics, ['t/1', 'subscribe', 'subscribe', 't/2']);
});

test('Intake: answers to what was sent count by their bytes alone', async () => {
  const client = new Client();
  const puback = mqttPacket.generate({ cmd: 'puback', messageId: 1 });
  const count = 4 * turnPacketsMax;
  client.intake.read(Buffer.concat(Array<Buffer>(count).fill(puback)));
  assert.equal(client.topics.length, count);
  assert(!client.isPaused);
  client.intake.read(Buffer.concat(Array<Buffer>(turnBytesMax / puback.length).fill(puback)));
  assert(client.isPaused);
  await turnOver();
  assert(!client.isPaused);
});

test('Intake: one reason to wait that is over does not end another', async () => {
  const client = new Client();
  client.intake.pause('output');
  client.intake.read(Buffer.concat(names(turnPacketsMax + 1).map((topic) => publish(topic))));
  client.intake.pause('rate');
  await turnOver();
  assert.equal(client.topics.length, turnPacketsMax + 1);
  assert(client.isPaused);
  client.intake.resume('rate');
  assert(client.isPaused);
  client.intake.resume('output');
  assert(!client.isPaused);
});

test('Intake: nothing is handled after the end, and the transport flows so that it can be thrown away', async () => {
  for (const end of [
    (client: Client) => client.intake.end(),
    (client: Client) => void (client.isWanted = false),
  ]) {
    const client = new Client();
    const chunk = Buffer.concat(names(2 * turnPacketsMax).map((topic) => publish(topic)));
    client.intake.read(chunk);
    end(client);
    const handled = client.isWanted ? turnPacketsMax : turnPacketsMax + 1; // the one that it is told at
    await turnOver();
    await turnOver();
    client.intake.read(chunk);
    assert.equal(client.topics.length, handled);
    assert(!client.isPaused);
    assert.deepEqual(client.faults, []);
  }
});

test('Intake: a fault in the rest is told once', async () => {
  const client = new Client();
  const packets = names(turnPacketsMax).map((topic) => publish(topic));
  client.intake.read(Buffer.concat([...packets, Buffer.from('ff00', 'hex')]));
  assert.deepEqual(client.faults, []);
  await turnOver();
  client.intake.read(Buffer.from('ff00', 'hex'));
  assert.deepEqual(
    client.faults.map(({ reason }) => reason),
    ['malformed_packet'],
  );
});

test('Connection: one that sends thousands of packets at once keeps the next one waiting for a part of them', async () => {
  const broker = new MemoryBroker(site, await site.config(), { log: new Journal().log });
  try {
    const greedy = await broker.connect('ms-acc-1/acc-1/greedy', 4);
    await greedy.open({ clientId: 'greedy' });
    const modest = await broker.connect('ms-acc-1/acc-1/modest', 4);
    await modest.open({ clientId: 'modest' });
    const count = 10 * turnPacketsMax;
    const ping = mqttPacket.generate({ cmd: 'pingreq' });
    const answered: number[] = [];
    greedy.socket.on('data', () => answered.push(greedy.packets.length));
    greedy.socket.write(Buffer.concat(Array<Buffer>(count).fill(ping)));
    greedy.send({ cmd: 'disconnect' });
    const message: Packet = {
      cmd: 'publish',
      messageId: 1,
      topic: 'ms-acc-1/acc-1/modest/snapshots',
      payload: 'x',
      qos: 1,
      dup: false,
      retain: false,
    };
    modest.send(message);
    await modest.next('puback');
    const before = greedy.packets.length;
    assert(before <= 2 * turnPacketsMax, `${before} of the others went first`);
    await greedy.closed;
    assert.equal(greedy.packets.length, count);
    assert(answered.length >= count / turnPacketsMax);
  } finally {
    await broker.stop();
  }
});
