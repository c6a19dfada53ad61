import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { connect as connectTcp } from 'node:net';
import type { Site } from '../fixture.ts';
import { openSite } from '../fixture.ts';

let site: Site;
before(() => void (site = openSite()));
after(() => site.remove());

const device = 'ms-acc-1/acc-1/dev-1';
const snapshots = `${device}/snapshots`;
let brokers = 0;
const start = (settings: Readonly<Record<string, unknown>> = {}) =>
  site.start({ data: path.join(site.directory, `data-${brokers++}`), ...settings });

test('before CONNECT: another packet, too many bytes, or silence end the connection', async () => {
  let nowMs = 0;
  const { broker, journal } = await start({ observe: '127.0.0.1:0', limits: { connectBytesMax: 200 } });
  const early = await site.rawConnect(broker, device);
  early.send({ cmd: 'pingreq' });
  await early.closed;
  assert(journal.find('packet.refused', { reason: 'unexpected_packet', identity: device }));
  const large = await site.rawConnect(broker, device);
  large.socket.write(Buffer.from([0x10, 0xff, 0x7f]));
  await large.closed;
  assert(journal.find('packet.refused', { reason: 'packet_too_large', identity: device }));
  const { broker: timed, journal: timedJournal } = await site.start(
    { data: path.join(site.directory, 'timed') },
    { monotonicMs: () => (nowMs += 20_000) },
  );
  const silent = await site.rawConnect(timed, device);
  await silent.closed;
  assert(timedJournal.find('connection.closed', { reason: 'connect_timeout' }));
  const metrics = await fetch(`http://127.0.0.1:${broker.observePort}/metrics`);
  assert.match(await metrics.text(), /plombe_broker_refusals_total\{reason="packet_too_large"\} 1/);
});

test('handshake: bytes that are not TLS are refused and logged', async () => {
  const { broker, journal } = await start();
  const socket = connectTcp({ host: '127.0.0.1', port: broker.port });
  socket.on('error', () => undefined);
  socket.write('GET / HTTP/1.1\r\n\r\n');
  await journal.until('connection.refused', { address: '127.0.0.1' });
  socket.destroy();
});

test('CONNECT: an empty client id needs a clean session, and a second CONNECT ends the connection', async () => {
  const { broker } = await start();
  const nameless = await site.rawConnect(broker, device);
  // mqtt-packet does not write what it is asked to refuse, so the bytes are written out.
  nameless.socket.write(Buffer.from([0x10, 12, 0, 4, 77, 81, 84, 84, 4, 0, 0, 0, 0, 0]));
  assert.partialDeepStrictEqual(await nameless.next('connack'), { returnCode: 2 });
  await nameless.closed;
  const named = await site.rawConnect(broker, device);
  named.socket.write(Buffer.from([0x10, 12, 0, 4, 77, 81, 84, 84, 4, 2, 0, 0, 0, 0]));
  assert.partialDeepStrictEqual(await named.next('connack'), { returnCode: 0 });
  const twice = await site.rawConnect(broker, device);
  await twice.open({ clientId: 'a' });
  twice.send({
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clean: true,
    clientId: 'b',
    keepalive: 0,
  });
  await twice.closed;
});

test('CONNECT: a level that nobody knows is refused with return code 1, so that a client can fall back', async () => {
  const { broker } = await start();
  const client = await site.rawConnect(broker, device);
  client.socket.write(Buffer.from('100e00044d5154540602000000000161', 'hex'));
  assert.partialDeepStrictEqual(await client.next('connack'), { returnCode: 1 });
  await client.closed;
});

test('sessions: one identity has a bounded number', async () => {
  const { broker } = await start({ limits: { perIdentity: { sessionsMax: 2 } } });
  for (const clientId of ['a', 'b']) {
    const client = await site.rawConnect(broker, device);
    await client.open({ clientId, clean: false });
  }
  const third = await site.rawConnect(broker, device);
  assert.partialDeepStrictEqual(await third.open({ clientId: 'c', clean: false }), { returnCode: 3 });
  const known = await site.rawConnect(broker, device);
  assert.partialDeepStrictEqual(await known.open({ clientId: 'a', clean: false }), {
    returnCode: 0,
    sessionPresent: true,
  });
});

async function offlineSubscriber(broker: { port: number }): Promise<void> {
  const subscriber = await site.connect(broker, 'ms-acc-1', { clientId: 's', clean: false });
  await subscriber.subscribeAsync('ms-acc-1/#', { qos: 1 });
  await subscriber.endAsync();
}

test('queue full, `refuse`: the publisher is not acknowledged, nothing is lost', async () => {
  const { broker, journal } = await start({ limits: { queuedMessagesMax: 3 } });
  await offlineSubscriber(broker);
  const publisher = await site.rawConnect(broker, device);
  await publisher.open({ clientId: 'p' });
  for (const messageId of [1, 2, 3, 4]) {
    publisher.send({
      cmd: 'publish',
      topic: snapshots,
      payload: String(messageId),
      qos: 1,
      dup: false,
      retain: false,
      messageId,
    });
  }
  await publisher.closed;
  assert.deepEqual(
    publisher.packets.map(({ messageId }) => messageId),
    [1, 2, 3],
  );
  assert(journal.find('publish.refused', { identity: device, reason: 'queue_full' }));
  const reader = await site.connect(broker, 'ms-acc-1', { clientId: 's', clean: false });
  assert.deepEqual(
    await site.received(reader).count(3),
    [1, 2, 3].map((text) => `${snapshots}=${text}`),
  );
});

test('queue full, `drop-oldest`: the newest remain, and each loss is logged', async () => {
  const { broker, journal } = await start({ queueFull: 'drop-oldest', limits: { queuedMessagesMax: 3 } });
  await offlineSubscriber(broker);
  const publisher = await site.connect(broker, device);
  for (const text of ['1', '2', '3', '4', '5']) await publisher.publishAsync(snapshots, text, { qos: 1 });
  const reader = await site.connect(broker, 'ms-acc-1', { clientId: 's', clean: false });
  assert.deepEqual(
    await site.received(reader).count(3),
    [3, 4, 5].map((text) => `${snapshots}=${text}`),
  );
  assert(journal.find('message.dropped', { identity: 'ms-acc-1', reason: 'queue_full', dropped: 1 }));
});

test('queue full, `refuse`: whoever fills his own keeps nobody from publishing what everyone, or all below him, may read', async () => {
  const limits = { queuedMessagesMax: 3, memoryQueuedMessagesMax: 3, inFlightMax: 1 };
  const { broker, journal } = await start({ limits });
  const policy = 'ms-acc-1/policy';
  for (const [clientId, clean, prefix] of [
    ['dev-1', false, ''],
    ['dev-2', true, '$share/g/'],
  ] as const) {
    const own = `ms-acc-1/acc-1/${clientId}`;
    const hoarder = await site.rawConnect(broker, own);
    await hoarder.open({ clientId, clean });
    const subscriptions = [`${prefix}vendor/recipients`, `${prefix}${policy}`, `${own}/#`].map((topic) => ({
      topic,
      qos: 1 as const,
    }));
    hoarder.send({ cmd: 'subscribe', messageId: 1, subscriptions });
    await hoarder.next('suback');
    const packet = {
      cmd: 'publish',
      topic: `${own}/snapshots`,
      payload: 'x',
      dup: false,
      retain: false,
    } as const;
    for (const messageId of [2, 3, 4]) {
      hoarder.send({ ...packet, qos: 1, messageId });
      await hoarder.next('puback');
    }
    for (const [identity, topic] of [
      ['MRO-Admin', 'vendor/recipients'],
      ['ms-acc-1', policy],
    ] as const) {
      const publisher = await site.connect(broker, identity);
      await publisher.publishAsync(topic, clientId, { qos: 1, retain: true });
      const reader = await site.connect(broker, 'ms-acc-1/acc-1/dev-3');
      await reader.subscribeAsync(topic, { qos: 1 });
      assert.deepEqual(await site.received(reader).count(1), [`${topic}=${clientId}`]);
    }
    await journal.until('queue.full', { clientId });
    hoarder.socket.destroy();
    await journal.until('connection.closed', { clientId });
  }
});

test('a stalled subscriber: the others go on, and its queue is bounded', async () => {
  const { broker, journal } = await start({
    limits: { memoryQueuedMessagesMax: 200, outputBytesMax: 65_536 },
  });
  const stalled = await site.rawConnect(broker, 'ms-acc-1');
  await stalled.open({ clientId: 'stalled' });
  stalled.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'ms-acc-1/#', qos: 1 }] });
  await stalled.next('suback');
  stalled.socket.pause();
  const lively = await site.connect(broker, 'ms-acc-1');
  await lively.subscribeAsync('ms-acc-1/#', { qos: 1 });
  const publisher = await site.connect(broker, device);
  const payload = 'x'.repeat(20_000);
  for (let index = 0; index < 300; index++) await publisher.publishAsync(snapshots, payload, { qos: 1 });
  await site.received(lively).count(300);
  assert(journal.find('message.dropped', { clientId: 'stalled', reason: 'queue_full', dropped: 100 }));
});

test('start: a data directory that another broker has open is one clear error', async () => {
  const data = path.join(site.directory, 'shared');
  await site.start({ data });
  await assert.rejects(site.start({ data }), { code: 'broker.store_locked' });
});

test('start: a client certificate is no broker', async () => {
  await assert.rejects(site.start({ identity: await site.identity(device) }), {
    code: 'broker.wrong_identity',
  });
});
