import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { Packet } from 'mqtt-packet';
import type { RunningBroker } from '../../../broker/main.ts';
import type { RawClient, Site } from '../fixture.ts';
import { openSite } from '../fixture.ts';

let site: Site;
before(() => void (site = openSite()));
after(() => site.remove());

const device = 'ms-acc-1/acc-1/dev-1';
const sibling = 'ms-acc-1/acc-1/dev-2';
let brokers = 0;
const freshData = (): string => path.join(site.directory, `data-${brokers++}`);
const lasting = { clean: false, properties: { sessionExpiryInterval: 1000 } };

async function open(
  broker: RunningBroker,
  name: string,
  clientId: string,
  options: object = lasting,
): Promise<RawClient> {
  const client = await site.rawConnect(broker, name, 5);
  assert.equal((await client.open({ clientId, ...options })).reasonCode, 0);
  return client;
}

const publish = (topic: string, payload: string, more: object = {}) =>
  ({ cmd: 'publish', topic, payload, qos: 1, dup: false, retain: true, messageId: 1, ...more }) as const;

test('sessions and subscriptions per account: refused by name, freed by their end, and right after a restart', async () => {
  const settings = { data: freshData(), limits: { perAccount: { sessionsMax: 2, subscriptionsMax: 3 } } };
  const refusedSession = async (broker: RunningBroker): Promise<void> => {
    const third = await site.rawConnect(broker, sibling, 5);
    assert.equal((await third.open({ clientId: 'third', ...lasting })).reasonCode, 0x97);
    await third.closed;
  };
  const subscribe = async (client: RawClient, topics: readonly string[]): Promise<number[]> => {
    const subscriptions = topics.map((topic) => ({ topic, qos: 1 as const }));
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions });
    return (await client.next('suback')).granted.map(Number);
  };
  const first = await site.start(settings);
  const one = await open(first.broker, device, 'one');
  const two = await open(first.broker, sibling, 'two');
  await refusedSession(first.broker);
  assert(first.journal.find('session.refused', { identity: sibling, reason: 'sessions_per_account_max' }));
  await open(first.broker, 'ms-acc-1/acc-2/dev-1', 'elsewhere');
  assert.deepEqual(await subscribe(one, [`${device}/a`, `${device}/b`]), [1, 1]);
  assert.deepEqual(await subscribe(two, [`${sibling}/a`, `${sibling}/b`, `${sibling}/a`]), [1, 0x97, 1]);
  const reason = 'subscriptions_per_account_max';
  assert(first.journal.find('subscription.denied', { identity: sibling, reason }));
  two.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: [`${sibling}/a`] });
  await two.next('unsuback');
  assert.deepEqual(await subscribe(two, [`${sibling}/b`]), [1]);
  await site.stop(first.broker);

  const { broker } = await site.start(settings);
  await refusedSession(broker);
  const again = await open(broker, device, 'one');
  assert.deepEqual(await subscribe(again, [`${device}/a`, `${device}/c`]), [1, 0x97]);
  again.send({ cmd: 'disconnect', reasonCode: 0, properties: { sessionExpiryInterval: 0 } });
  await again.closed;
  const third = await open(broker, sibling, 'third');
  assert.deepEqual(await subscribe(third, [`${sibling}/c`, `${sibling}/d`, `${sibling}/e`]), [1, 1, 0x97]);
});

test('retained messages: count and bytes of a device and of all, whoever wrote them, and right after a restart', async () => {
  const perIdentity = { retainedMax: 2, retainedBytesMax: 1000 };
  const settings = { data: freshData(), limits: { perIdentity, retainedMax: 4 } };
  let client: RawClient;
  const answers = async (topic: string, payload: string): Promise<number> => {
    client.send(publish(topic, payload));
    return (await client.next('puback')).reasonCode ?? 0;
  };
  const [taken, quota] = [0x10, 0x97]; // nobody subscribed
  const first = await site.start(settings);
  client = await open(first.broker, 'ms-acc-1', 'writer');
  assert.equal(await answers(`${device}/a`, 'x'), taken);
  assert.equal(await answers(`${device}/b`, 'x'), taken);
  assert.equal(await answers(`${device}/c`, 'x'), quota);
  assert(first.journal.find('publish.refused', { reason: 'retained_per_identity_max' }));
  assert.equal(await answers(`${device}/b`, 'x'.repeat(900)), quota);
  assert(first.journal.find('publish.refused', { reason: 'retained_bytes_per_identity_max' }));
  assert.equal(await answers(`${device}/b`, 'x'.repeat(400)), taken);
  assert.equal(await answers(`${sibling}/a`, 'x'), taken, 'another device has its own');
  assert.equal(await answers(`${device}/a`, ''), taken);
  assert.equal(await answers(`${device}/c`, 'x'), taken, 'what was deleted does not count');
  await site.stop(first.broker);

  const second = await site.start(settings);
  client = await open(second.broker, 'ms-acc-1', 'writer');
  assert.equal(await answers(`${device}/d`, 'x'), quota);
  assert.equal(await answers(`${device}/b`, 'x'.repeat(800)), quota);
  assert.equal(await answers(`${sibling}/b`, 'x'), taken);
  assert.equal(await answers('ms-acc-1/acc-1/dev-3/a', 'x'), quota);
  assert(second.journal.find('publish.refused', { reason: 'retained_max' }));
  assert.equal(second.broker.state().retained, 4);
});

test('connections per identity: one more is refused at its CONNECT, one that takes over is not', async () => {
  const { broker, journal } = await site.start({
    data: freshData(),
    limits: { perIdentity: { connectionsMax: 2 } },
  });
  await open(broker, device, 'one');
  await open(broker, device, 'two');
  const third = await site.rawConnect(broker, device, 5);
  assert.equal((await third.open({ clientId: 'three' })).reasonCode, 0x97);
  await third.closed;
  assert(journal.find('session.refused', { identity: device, reason: 'connections_per_identity_max' }));
  await open(broker, device, 'two');
  await open(broker, sibling, 'other');
});

test('publish rate: who is faster is read more slowly, and nothing of it is lost', async () => {
  let nowMs = 0;
  const { broker, journal } = await site.start(
    { data: freshData(), limits: { perIdentity: { messagesPerSecondMax: 50 } } },
    { monotonicMs: () => nowMs },
  );
  const reader = await site.connect(broker, 'ms-acc-1');
  await reader.subscribeAsync('ms-acc-1/#', { qos: 0 });
  const client = await open(broker, device, 'greedy');
  const sent = Array.from({ length: 540 }, (_, index) => String(index));
  for (const payload of sent) client.send(publish(`${device}/x`, payload, { qos: 0, retain: false }));
  client.send({ cmd: 'pingreq' });
  await journal.until('publisher.held', { identity: device, clientId: 'greedy', reason: 'publish_rate' });
  nowMs += 1000;
  assert.deepEqual(
    await site.received(reader).count(sent.length),
    sent.map((payload) => `${device}/x=${payload}`),
  );
  await client.next('pingresp');
  client.send(publish(`${device}/x`, 'and one more'));
  await client.next('puback');
});

test('publish rate: filters that are asked for count, and so does what is retained and stored for them', async () => {
  let nowMs = 0;
  const { broker, journal } = await site.start(
    { data: freshData(), limits: { perAccount: { messagesPerSecondMax: 10 } } },
    { monotonicMs: () => nowMs },
  );
  const service = await site.connect(broker, 'MRO-Admin');
  const topics = Array.from({ length: 400 }, (_, index) => `${device}/kept/${index}`);
  await Promise.all(topics.map((topic) => service.publishAsync(topic, 'x', { qos: 1, retain: true })));
  const subscribe = (topic: string) =>
    ({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic, qos: 1 }] }) satisfies Packet;
  const answered = async (client: RawClient, times: number): Promise<void> => {
    for (let index = 0; index < times; index++) await client.next('suback');
  };
  const stored = await open(broker, device, 'stored');
  for (let index = 0; index < 6; index++) stored.send(subscribe(`${device}/#`)); // 21 each, of 100
  await journal.until('publisher.held', { identity: device, clientId: 'stored' });
  await answered(stored, 5);
  assert(stored.packets.every(({ cmd }) => cmd !== 'suback'));
  nowMs += 20_000;
  await answered(stored, 1);
  nowMs += 20_000;
  const clean = await open(broker, sibling, 'clean', {});
  for (let index = 0; index < 110; index++) clean.send(subscribe(`${sibling}/none`));
  await journal.until('publisher.held', { identity: sibling, clientId: 'clean' });
  nowMs += 20_000;
  await answered(clean, 110);
});

test('publish rate: who goes on for too long is closed with 0x96, and its sibling is not', async () => {
  let nowMs = 0;
  const { broker, journal } = await site.start(
    {
      data: freshData(),
      limits: { perIdentity: { messagesPerSecondMax: 1 }, overRateSeconds: 5, keepAliveSecondsMax: 60_000 },
    },
    { monotonicMs: () => nowMs },
  );
  const client = await open(broker, device, 'greedy');
  const other = await open(broker, sibling, 'modest');
  const burst = (count: number): void => {
    for (let index = 0; index < count; index++) {
      client.send(publish(`${device}/x`, 'x', { qos: 0, retain: false }));
    }
  };
  burst(30);
  await journal.until('publisher.held', { identity: device });
  burst(30); // not read before the twenty messages of before are paid for
  other.send(publish(`${sibling}/x`, 'x'));
  await other.next('puback');
  assert.equal(journal.find('connection.closed', { identity: device }), undefined);
  nowMs += 20_000;
  assert.equal((await client.next('disconnect')).reasonCode, 0x96);
  await client.closed;
  assert(journal.find('connection.closed', { clientId: 'greedy', reason: 'publish_rate' }));
  await other.settled();
});
