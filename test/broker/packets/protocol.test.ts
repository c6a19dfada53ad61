import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { RunningBroker } from '../../../broker/main.ts';
import type { Journal, Site } from '../fixture.ts';
import { limitsType } from '../../../broker/limits.ts';
import { openSite } from '../fixture.ts';

let site: Site;
let broker: RunningBroker;
let journal: Journal;
before(async () => {
  site = openSite();
  ({ broker, journal } = await site.start());
});
after(() => site.remove());

const device = 'ms-acc-1/acc-1/dev-1';
const snapshots = `${device}/snapshots`;

test('publish: every QoS arrives at the lesser of what was published and granted', async () => {
  const publisher = await site.connect(broker, device);
  for (const granted of [0, 1, 2] as const) {
    const subscriber = await site.connect(broker, 'ms-acc-1', { clientId: `granted-${granted}` });
    const qosSeen: number[] = [];
    const allSeen = new Promise<void>((resolve) => {
      subscriber.on('message', (_topic, _payload, { qos }) => {
        qosSeen.push(qos);
        if (qosSeen.length === 3) resolve();
      });
    });
    await subscriber.subscribeAsync(`${device}/#`, { qos: granted });
    for (const qos of [0, 1, 2] as const) await publisher.publishAsync(snapshots, 'x', { qos });
    await allSeen;
    assert.deepEqual(
      qosSeen,
      [0, 1, 2].map((qos) => Math.min(qos, granted)),
    );
    await subscriber.endAsync();
  }
});

test('publish: overlapping subscriptions give one copy, with the best QoS', async () => {
  const subscriber = await site.connect(broker, 'ms-acc-1');
  const received = site.received(subscriber);
  await subscriber.subscribeAsync({ 'ms-acc-1/#': { qos: 0 }, 'ms-acc-1/+/+/snapshots': { qos: 1 } });
  const publisher = await site.connect(broker, device);
  await publisher.publishAsync(snapshots, 'one', { qos: 1 });
  await publisher.publishAsync(snapshots, 'two', { qos: 1 });
  assert.deepEqual(await received.count(2), [`${snapshots}=one`, `${snapshots}=two`]);
});

test('retained: the last one is replayed with the flag, an empty one deletes it', async () => {
  const topic = `${device}/status`;
  const publisher = await site.connect(broker, device);
  await publisher.publishAsync(topic, 'old', { qos: 1, retain: true });
  await publisher.publishAsync(topic, 'new', { qos: 1, retain: true });
  const first = await site.connect(broker, 'ms-acc-1');
  const replayed = new Promise((resolve) =>
    first.once('message', (_t, payload, { retain }) => resolve([payload.toString(), retain])),
  );
  await first.subscribeAsync('ms-acc-1/+/+/status', { qos: 1 });
  assert.deepEqual(await replayed, ['new', true]);
  await publisher.publishAsync(topic, '', { qos: 1, retain: true });
  const second = await site.connect(broker, 'ms-acc-1');
  const received = site.received(second);
  await second.subscribeAsync('ms-acc-1/+/+/status', { qos: 1 });
  await publisher.publishAsync(topic, 'live', { qos: 1 });
  assert.deepEqual(await received.count(1), [`${topic}=live`]);
});

test('retained: come in the order of their topics, a parent before its children', async () => {
  const publisher = await site.connect(broker, 'ms-acc-7');
  for (const name of ['b/c', 'a', 'b', 'a/c/d']) {
    await publisher.publishAsync(`ms-acc-7/${name}`, 'x', { qos: 1, retain: true });
  }
  const reader = await site.connect(broker, 'ms-acc-7');
  const received = site.received(reader);
  await reader.subscribeAsync('ms-acc-7/#', { qos: 0 });
  assert.deepEqual(
    await received.count(4),
    ['a', 'a/c/d', 'b', 'b/c'].map((name) => `ms-acc-7/${name}=x`),
  );
});

test('will: published when the connection is lost, not after DISCONNECT', async () => {
  const watcher = await site.connect(broker, 'ms-acc-1');
  const received = site.received(watcher);
  await watcher.subscribeAsync('ms-acc-1/acc-2/+/status', { qos: 1 });
  const will = (name: string) =>
    ({
      topic: `ms-acc-1/acc-2/${name}/status`,
      payload: Buffer.from('offline'),
      qos: 1,
      retain: false,
    }) as const;
  const polite = await site.connect(broker, 'ms-acc-1/acc-2/polite', { will: will('polite') });
  await polite.endAsync();
  const lost = await site.connect(broker, 'ms-acc-1/acc-2/lost', { will: will('lost') });
  lost.stream.destroy();
  assert.deepEqual(await received.count(1), ['ms-acc-1/acc-2/lost/status=offline']);
});

test('will: one on a foreign topic is refused with return code 5', async () => {
  const client = await site.rawConnect(broker, device);
  client.send({
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clean: true,
    clientId: 'w',
    keepalive: 0,
    will: { topic: 'ms-acc-2/acc-1/dev-1/status', payload: 'x', qos: 0, retain: true },
  });
  const connack = await client.next('connack');
  assert.equal(connack.returnCode, 5);
  await client.closed;
});

test('session: a stored one keeps subscriptions and messages in order, a clean one forgets', async () => {
  const options = { clientId: 'stored', clean: false };
  const first = await site.connect(broker, 'ms-acc-3', options);
  await first.subscribeAsync('ms-acc-3/#', { qos: 1 });
  await first.endAsync();
  const publisher = await site.connect(broker, 'ms-acc-3/acc-1/dev-1');
  const sent = Array.from({ length: 300 }, (_, index) => `ms-acc-3/acc-1/dev-1/snapshots=${index}`);
  await Promise.all(
    sent.map((text) =>
      publisher.publishAsync('ms-acc-3/acc-1/dev-1/snapshots', text.split('=')[1] ?? '', { qos: 1 }),
    ),
  );
  const second = await site.connect(broker, 'ms-acc-3', options);
  const received = site.received(second);
  assert.deepEqual(await received.count(300), sent);
  await second.endAsync();
  const clean = await site.rawConnect(broker, 'ms-acc-3');
  assert.partialDeepStrictEqual(await clean.open({ clientId: 'stored', clean: true }), {
    sessionPresent: false,
  });
  clean.send({ cmd: 'disconnect' });
  await clean.closed;
  const again = await site.rawConnect(broker, 'ms-acc-3');
  assert.partialDeepStrictEqual(await again.open({ clientId: 'stored', clean: false }), {
    sessionPresent: false,
  });
});

test('session: the same client id of the same identity takes over; of another identity it does not', async () => {
  const first = await site.rawConnect(broker, 'ms-acc-4');
  await first.open({ clientId: 'same' });
  const foreign = await site.rawConnect(broker, 'ms-acc-5');
  await foreign.open({ clientId: 'same' });
  first.send({ cmd: 'pingreq' });
  await first.next('pingresp');
  const second = await site.rawConnect(broker, 'ms-acc-4');
  await second.open({ clientId: 'same' });
  await first.closed;
  foreign.send({ cmd: 'pingreq' });
  await foreign.next('pingresp');
  assert(journal.find('connection.closed', { identity: 'ms-acc-4', reason: 'taken_over' }));
});

test('keep-alive: a silent client is closed', async () => {
  const client = await site.rawConnect(broker, device);
  await client.open({ clientId: 'silent', keepalive: 1 });
  await client.closed;
  assert(
    journal.find('connection.closed', { identity: device, clientId: 'silent', reason: 'keep_alive_timeout' }),
  );
});

test('QoS 2: a repeated PUBLISH is routed once, until PUBREL', async () => {
  const subscriber = await site.connect(broker, 'ms-acc-1');
  const received = site.received(subscriber);
  await subscriber.subscribeAsync(`${device}/twice`, { qos: 2 });
  const publisher = await site.rawConnect(broker, device);
  await publisher.open({ clientId: 'twice' });
  const publish = {
    cmd: 'publish',
    topic: `${device}/twice`,
    payload: 'once',
    qos: 2,
    retain: false,
    messageId: 7,
  } as const;
  publisher.send({ ...publish, dup: false });
  await publisher.next('pubrec');
  publisher.send({ ...publish, dup: true });
  await publisher.next('pubrec');
  publisher.send({ cmd: 'pubrel', messageId: 7 });
  await publisher.next('pubcomp');
  publisher.send({ ...publish, payload: 'second', dup: false });
  await publisher.next('pubrec');
  assert.deepEqual(await received.count(2), [`${device}/twice=once`, `${device}/twice=second`]);
});

test('in flight: at most the window is sent until acknowledged, and everything again in order after a reconnect', async () => {
  const [window, sent] = [limitsType.parse({}).inFlightMax, 300];
  assert(window < sent);
  const subscriber = await site.rawConnect(broker, 'ms-acc-6');
  await subscriber.open({ clientId: 'window', clean: false });
  subscriber.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'ms-acc-6/#', qos: 1 }] });
  await subscriber.next('suback');
  const publisher = await site.connect(broker, 'ms-acc-6/acc-1/dev-1');
  await Promise.all(
    Array.from({ length: sent }, (_, index) =>
      publisher.publishAsync('ms-acc-6/acc-1/dev-1/snapshots', String(index), { qos: 1 }),
    ),
  );
  subscriber.send({ cmd: 'pingreq' });
  await subscriber.next('pingresp');
  assert.equal(subscriber.packets.length, window);
  const ids = subscriber.packets.map(({ messageId }) => messageId);
  subscriber.send({ cmd: 'puback', messageId: ids[0] ?? 0 });
  subscriber.socket.end();
  await subscriber.closed;
  const again = await site.rawConnect(broker, 'ms-acc-6');
  assert.partialDeepStrictEqual(await again.open({ clientId: 'window', clean: false }), {
    sessionPresent: true,
  });
  const seen: { payload: string; id: number | undefined; dup: boolean }[] = [];
  while (seen.length < sent - 1) {
    const { payload, messageId, dup } = await again.next('publish');
    seen.push({ payload: payload.toString(), id: messageId, dup });
    again.send({ cmd: 'puback', messageId: messageId ?? 0 });
  }
  assert.deepEqual(
    seen.map(({ payload }) => payload),
    Array.from({ length: sent - 1 }, (_, index) => String(index + 1)),
  );
  assert.deepEqual(
    seen.slice(0, window - 1).map(({ id }) => id),
    ids.slice(1),
  );
  assert(seen.slice(0, window - 1).every(({ dup }) => dup));
  assert(!seen.at(-1)?.dup);
});
