import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import type { Socket } from 'node:net';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { FrameReader } from '../../../mqtt/packets/frames.ts';
import type { RunningBroker } from '../../../broker/main.ts';
import type { RawClient, Site } from '../fixture.ts';
import { openSite } from '../fixture.ts';

let site: Site;
before(() => void (site = openSite()));
after(() => site.remove());

const device = 'ms-acc-1/acc-1/dev-1';
let brokers = 0;
const start = (settings: object = {}, surroundings: object = {}) =>
  site.start({ data: path.join(site.directory, `data-${brokers++}`), ...settings }, surroundings);

async function open(broker: RunningBroker, name: string, clientId: string): Promise<RawClient> {
  const client = await site.rawConnect(broker, name, 5);
  assert.equal((await client.open({ clientId })).reasonCode, 0);
  return client;
}

function knock(broker: RunningBroker): Socket {
  const socket = connectTcp({ host: '127.0.0.1', port: broker.port });
  socket.on('error', () => undefined);
  return socket;
}
const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    if (socket.closed) return resolve();
    socket.once('close', () => resolve());
  });

test('FrameReader: a packet that comes byte by byte is kept in at most twice what came, and never beyond its length', () => {
  const packet = Buffer.concat([Buffer.from([0x30, 0x80, 0x80, 0x04]), Buffer.alloc(65_536, 7)]);
  const seen: Buffer[] = [];
  const reader = new FrameReader(1_000_000, (_first, data, bodyStart, end) => {
    seen.push(data.subarray(bodyStart, end));
    return true;
  });
  for (let index = 0; index < packet.length - 1; index++) {
    assert.equal(reader.push(packet.subarray(index, index + 1)), undefined);
    assert(
      reader.pendingBytes <= Math.min(2 * (index + 1), packet.length),
      `${reader.pendingBytes} at ${index}`,
    );
  }
  assert.equal(reader.push(packet.subarray(-1)), undefined);
  assert.equal(reader.pendingBytes, 0);
  reader.push(packet);
  assert.deepEqual(seen, [packet.subarray(4), packet.subarray(4)]);
});

test('CONNECT byte by byte: has no more time than any other, and no more bytes', async () => {
  let nowMs = 0;
  const { broker, journal } = await start({ limits: { connectSeconds: 10 } }, { monotonicMs: () => nowMs });
  const slow = await site.rawConnect(broker, device);
  slow.sendHex('10 fd 7f');
  const dribble = setInterval(() => {
    nowMs += 6000;
    slow.sendHex('00');
  }, 20);
  await slow.closed;
  clearInterval(dribble);
  assert(journal.find('connection.closed', { reason: 'connect_timeout' }));
  const long = await site.rawConnect(broker, device);
  long.sendHex('10');
  long.sendHex('ffff7f');
  await long.closed;
  assert(journal.find('packet.refused', { reason: 'packet_too_large' }));
});

test('handshakes that do not begin: half of their places at most from one address, each for its time', async () => {
  const { broker, journal } = await start({ limits: { handshakingMax: 10, handshakeSeconds: 1 } });
  const sockets = Array.from({ length: 20 }, () => knock(broker));
  const dribble = setInterval(
    () => sockets.forEach((socket) => socket.writable && socket.write('\x16')),
    100,
  );
  await Promise.all(sockets.map(closed));
  clearInterval(dribble);
  const refused = journal.lines.filter(({ reason }) => reason === 'handshaking_per_address_max');
  assert.equal(refused.length, 15);
});

test('handshakes that do not begin take no place of a client', async () => {
  const { broker, journal } = await start({ limits: { connectionsMax: 1, handshakingMax: 10 } });
  const waiting = Array.from({ length: 4 }, () => knock(broker));
  await Promise.all(waiting.map((socket) => once(socket, 'connect')));
  await open(broker, device, 'beside them');
  await assert.rejects(site.rawConnect(broker, device, 5));
  await journal.until('connection.refused', { reason: 'connections_max' });
  for (const socket of waiting) socket.destroy();
});

test('handshakes per second: refused before TLS, by address, and logged by name', async () => {
  const { broker, journal } = await start(
    { limits: { handshakesPerAddressPerSecondMax: 1 } },
    { monotonicMs: () => 0 }, // no credit ever comes
  );
  const sockets = Array.from({ length: 10 }, () => knock(broker));
  await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once('connect', resolve))));
  await closed(knock(broker));
  const fields = { address: '127.0.0.1', reason: 'handshakes_per_address_max' };
  await journal.until('connection.refused', fields);
  assert(!journal.find('connection.refused', { reason: 'tls' }));
  sockets.forEach((socket) => socket.destroy());
});

test('a greedy publisher: what it sends beyond its rate stays in its own buffers, and the others are served', async () => {
  const { broker, journal } = await start(
    { limits: { perIdentity: { messagesPerSecondMax: 10 } } },
    { monotonicMs: () => 0 }, // no credit ever comes
  );
  const greedy = await open(broker, device, 'greedy');
  const message = { cmd: 'publish', payload: 'x'.repeat(100), qos: 0, dup: false, retain: false } as const;
  for (let index = 0; index < 50_000; index++) greedy.send({ ...message, topic: `${device}/x` });
  await journal.until('publisher.held', { clientId: 'greedy' });
  const held = broker.state().received;
  // The burst, and what one read of a socket can bring: 64 KiB of messages with at least 127 bytes each.
  assert(held <= 10 * 10 + 65_536 / 127, `${held} messages were read`);
  const modest = await open(broker, 'ms-acc-1/acc-1/dev-2', 'modest');
  for (let index = 0; index < 50; index++) await modest.settled();
  assert.equal(broker.state().received, held);
});

test('subscribes and unsubscribes for ever: what was given back counts no more', async () => {
  const limits = { subscriptionsPerSessionMax: 10, perIdentity: { subscriptionsMax: 10 } };
  const { broker } = await start({ limits });
  const client = await open(broker, device, 'restless');
  for (let round = 0; round < 300; round++) {
    const topics = Array.from({ length: 10 }, (_, index) => `${device}/${round}/${index}`);
    const subscriptions = topics.map((topic) => ({ topic, qos: 1 as const }));
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions });
    assert.deepEqual((await client.next('suback')).granted, Array(10).fill(1));
    client.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: topics });
    await client.next('unsuback');
  }
});

test('a queue that is full: an alarm when it begins and one when it ends, and a number to look at', async () => {
  const { broker, journal } = await start({ observe: '127.0.0.1:0', limits: { queuedMessagesMax: 20 } });
  const options = { clientId: 'away', clean: false };
  const subscriber = await site.connect(broker, 'ms-acc-1', options);
  await subscriber.subscribeAsync('ms-acc-1/#', { qos: 1 });
  await subscriber.endAsync();
  const publisher = await open(broker, device, 'p');
  const send = async (): Promise<number> => {
    const topic = `${device}/x`;
    publisher.send({ cmd: 'publish', topic, payload: 'x', qos: 1, dup: false, retain: false, messageId: 1 });
    return (await publisher.next('puback')).reasonCode ?? 0;
  };
  for (let index = 0; index < 20; index++) assert.equal(await send(), 0);
  for (let index = 0; index < 5; index++) assert.equal(await send(), 0x97);
  const fields = { identity: 'ms-acc-1', clientId: 'away' };
  assert.equal(journal.lines.filter(({ event }) => event === 'queue.full').length, 1);
  assert(journal.find('queue.full', { ...fields, queued: 20 }));
  const administrator = await site.connect(broker, 'MRO-Admin');
  const received = site.received(administrator);
  await administrator.subscribeAsync('$SYS/broker/queues/full');
  assert.deepEqual(await received.count(1), ['$SYS/broker/queues/full=1']);
  const reader = await site.connect(broker, 'ms-acc-1', options);
  await site.received(reader).count(20);
  await journal.until('queue.relieved', fields);
  assert.equal(await send(), 0);
});
