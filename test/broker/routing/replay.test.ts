import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { RunningBroker } from '../../../broker/main.ts';
import type { Site } from '../fixture.ts';
import { openSite } from '../fixture.ts';

let site: Site;
let broker: RunningBroker;
const count = 3000;
const filter = 'ms-acc-1/acc-1/+/status';
const topics = Array.from({ length: count }, (_, index) => `ms-acc-1/acc-1/${index + 1000}/status`);

/** More than a queue in memory holds, and more than a connection takes at once. */
before(async () => {
  site = openSite();
  const limits = { memoryQueuedMessagesMax: 100, outputBytesMax: 64 * 1024 };
  broker = (await site.start({ limits })).broker;
  const publisher = await site.connect(broker, 'MRO-Admin');
  const payload = 'x'.repeat(200);
  // As many as one client may have under way at QoS 2.
  for (let first = 0; first < count; first += 1000) {
    const some = topics.slice(first, first + 1000);
    await Promise.all(some.map((topic) => publisher.publishAsync(topic, payload, { qos: 2, retain: true })));
  }
  await publisher.endAsync();
});
after(() => site.remove());

for (const qos of [0, 1, 2] as const) {
  test(`SUBSCRIBE at QoS ${qos}: all that is retained comes, in order and each once, however much it is`, async () => {
    const client = await site.connect(broker, 'ms-acc-1');
    const got: string[] = [];
    const complete = new Promise<void>((resolve) => {
      client.on('message', (topic, _payload, packet) => {
        assert(packet.retain);
        got.push(topic);
        if (got.length === count) resolve();
      });
    });
    await client.subscribeAsync(filter, { qos });
    await complete;
    assert.deepEqual(got, topics);
    await client.endAsync();
  });
}

test('SUBSCRIBE: what is retained waits for a client that does not read, and what is published meanwhile does not', async () => {
  const slow = await site.rawConnect(broker, 'ms-acc-1');
  await slow.open({ clientId: 'slow' });
  slow.socket.pause();
  slow.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: filter, qos: 0 }] });
  const other = await site.connect(broker, 'ms-acc-1');
  await other.subscribeAsync('ms-acc-1/live', { qos: 1 });
  await other.publishAsync('ms-acc-1/live', 'now', { qos: 1 });
  assert.deepEqual(await site.received(other).count(1), ['ms-acc-1/live=now']);
  slow.socket.resume();
  for (const topic of topics) assert.equal((await slow.next('publish')).topic, topic);
});

test('UNSUBSCRIBE: what is retained and was not sent yet does not come any more', async () => {
  const client = await site.rawConnect(broker, 'ms-acc-1', 5);
  await client.open({ clientId: 'leaving', properties: { receiveMaximum: 1 } });
  client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: filter, qos: 1 }] });
  let next = await client.next('publish');
  client.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: [filter] });
  await client.next('unsuback');
  let received = 1;
  for (; ; received++) {
    client.send({ cmd: 'puback', messageId: next.messageId ?? 0 });
    const packets = await client.settled();
    const found = packets.find((packet) => packet.cmd === 'publish');
    if (found === undefined) break;
    next = await client.next('publish');
  }
  assert(received < 300, `${received} came, of which the queue had most by then`);
});

test('SUBSCRIBE: what is retained takes no place from what waits in a full queue, and comes after it', async () => {
  const limits = { queuedMessagesMax: 4, inFlightMax: 1 };
  const { broker: small } = await site.start({ data: path.join(site.directory, 'small'), limits });
  const device = 'ms-acc-1/acc-1/dev-1';
  const publisher = await site.connect(small, device);
  const kept = ['certificates', 'status'].map((name) => `${device}/${name}`);
  for (const topic of kept) await publisher.publishAsync(topic, 'kept', { qos: 1, retain: true });
  const session = { clientId: 'stored', clean: false };
  const snapshots = `${device}/snapshots`;
  const away = await site.connect(small, 'ms-acc-1', session);
  await away.subscribeAsync(snapshots, { qos: 1 });
  await away.endAsync();
  for (const text of ['1', '2', '3', '4']) await publisher.publishAsync(snapshots, text, { qos: 1 });

  const back = await site.rawConnect(small, 'ms-acc-1');
  await back.open(session);
  back.send({ cmd: 'subscribe', messageId: 9, subscriptions: [{ topic: `${device}/#`, qos: 1 }] });
  const got: string[] = [];
  while (got.length < 6) {
    const { topic, payload, messageId = 0 } = await back.next('publish');
    got.push(`${topic}=${payload.toString()}`);
    back.send({ cmd: 'puback', messageId });
  }
  assert.deepEqual(got, [
    ...['1', '2', '3', '4'].map((text) => `${snapshots}=${text}`),
    ...kept.map((topic) => `${topic}=kept`),
  ]);
});
