import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { IPublishPacket, ISubscription } from 'mqtt-packet';
import type { RunningBroker } from '../../../broker/main.ts';
import type { RawClient, Site } from '../fixture.ts';
import { openSite } from '../fixture.ts';

let site: Site;
let broker: RunningBroker;
before(async () => {
  site = openSite();
  ({ broker } = await site.start({ limits: { subscriptionsPerSessionMax: 8 } }));
});
after(() => site.remove());

const device = 'ms-acc-1/acc-1/dev-1';
const snapshots = `${device}/snapshots`;

async function open(name: string, clientId: string, version: 4 | 5 = 5): Promise<RawClient> {
  const client = await site.rawConnect(broker, name, version);
  await client.open({ clientId });
  return client;
}

async function subscribe(
  client: RawClient,
  subscriptions: readonly ISubscription[],
  subscriptionIdentifier?: number,
): Promise<readonly unknown[]> {
  client.send({
    cmd: 'subscribe',
    messageId: 1,
    subscriptions: [...subscriptions],
    ...(subscriptionIdentifier === undefined ? {} : { properties: { subscriptionIdentifier } }),
  });
  return (await client.next('suback')).granted;
}

const publish = (fields: Partial<IPublishPacket> = {}): IPublishPacket => ({
  cmd: 'publish',
  topic: snapshots,
  payload: 'x',
  qos: 1,
  dup: false,
  retain: false,
  messageId: 1,
  ...fields,
});

test('SUBACK: each filter has its own answer, and what is denied is not kept beside what is granted', async () => {
  const client = await open('ms-acc-1', 'codes');
  const asked = ['ms-acc-1/#', 'ms-acc-2/#', '#', `ms-acc-1${'/a'.repeat(8)}`, '$SYS/#'];
  assert.deepEqual(
    await subscribe(
      client,
      asked.map((topic) => ({ topic, qos: 2 })),
    ),
    [2, 0x87, 0x87, 0x8f, 0x87],
  );
  const more = Array.from({ length: 8 }, (_, index) => ({ topic: `ms-acc-1/${index}`, qos: 0 }) as const);
  assert.deepEqual(await subscribe(client, more), [0, 0, 0, 0, 0, 0, 0, 0x97]);
});

test('UNSUBACK: says whether there was a subscription', async () => {
  const client = await open('ms-acc-1', 'leaves');
  await subscribe(client, [{ topic: 'ms-acc-1/#', qos: 1 }]);
  client.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: ['ms-acc-1/#', 'ms-acc-1/#', '#'] });
  assert.deepEqual((await client.next('unsuback')).granted, [0, 0x11, 0x11]);
});

test('no local: a client does not get its own, others with the filter do, and a second filter without it counts', async () => {
  const client = await open('ms-acc-1', 'own');
  await subscribe(client, [{ topic: 'ms-acc-1/#', qos: 1, nl: true }], 7);
  client.send(publish());
  assert.equal((await client.next('puback')).reasonCode ?? 0, 0, 'its own subscription matches');
  const other = await open('ms-acc-1', 'other');
  await subscribe(other, [{ topic: 'ms-acc-1/#', qos: 1, nl: true }]);
  client.send(publish({ payload: 'own' }));
  assert.equal((await other.next('publish')).payload.toString(), 'own');
  await client.next('puback');
  assert.deepEqual(await client.settled(), []);
  await subscribe(client, [{ topic: 'ms-acc-1/+/+/snapshots', qos: 0 }], 8);
  client.send(publish({ payload: 'again' }));
  const own = await client.next('publish');
  assert.deepEqual([own.qos, own.properties?.subscriptionIdentifier], [0, 8]);
});

test('retain as published: the flag is as it was sent, without it a live message has none', async () => {
  const asPublished = await open('ms-acc-1', 'rap');
  await subscribe(asPublished, [{ topic: snapshots, qos: 1, rap: true }]);
  const plain = await open('ms-acc-1', 'no-rap');
  await subscribe(plain, [{ topic: snapshots, qos: 1, rap: false }]);
  const publisher = await open(device, 'p-rap');
  publisher.send(publish({ retain: true }));
  publisher.send(publish({ retain: false }));
  for (const [client, flags] of [
    [asPublished, [true, false]],
    [plain, [false, false]],
  ] as const) {
    for (const flag of flags) assert.equal((await client.next('publish')).retain, flag);
  }
  publisher.send(publish({ payload: '', retain: true }));
  await publisher.settled();
});

test('retain handling: 0 sends what is retained each time, 1 to a new subscription only, 2 never', async () => {
  const publisher = await open(device, 'p-handling');
  publisher.send(publish({ topic: `${device}/status`, payload: 'kept', retain: true }));
  await publisher.next('puback');
  const expected = { 0: [1, 1], 1: [1, 0], 2: [0, 0] } as const;
  for (const rh of [0, 1, 2] as const) {
    const client = await open('ms-acc-1', `rh-${rh}`);
    for (const count of expected[rh]) {
      await subscribe(client, [{ topic: `${device}/status`, qos: 0, rh }], 5);
      const packets = [...(await client.settled())];
      assert.equal(packets.length, count, `retain handling ${rh}`);
      for (const packet of packets) {
        assert.partialDeepStrictEqual(packet, { retain: true, properties: { subscriptionIdentifier: 5 } });
      }
      client.packets.length = 0;
    }
  }
});

test('subscription identifiers: one copy carries those of all filters that match, also after a restart', async () => {
  const data = { data: path.join(site.directory, 'identifiers') };
  const first = await site.start(data);
  const session = { clientId: 's', clean: false, properties: { sessionExpiryInterval: 100 } };
  const subscriber = await site.rawConnect(first.broker, 'ms-acc-1', 5);
  await subscriber.open(session);
  await subscribe(subscriber, [{ topic: 'ms-acc-1/#', qos: 0 }], 1);
  await subscribe(subscriber, [{ topic: 'ms-acc-1/+/+/snapshots', qos: 2 }], 268_435_455);
  await subscribe(subscriber, [{ topic: 'ms-acc-1/other', qos: 2 }], 3);
  await subscribe(subscriber, [{ topic: snapshots, qos: 1 }]);
  const publisher = await site.rawConnect(first.broker, device, 5);
  await publisher.open({ clientId: 'p' });
  publisher.send(publish({ qos: 1 }));
  const live = await subscriber.next('publish');
  assert.deepEqual(live.properties?.subscriptionIdentifier, [1, 268_435_455]);
  assert.equal(live.qos, 1);
  await site.stop(first.broker);
  const second = await site.start(data);
  const again = await site.rawConnect(second.broker, 'ms-acc-1', 5);
  await again.open(session);
  const repeated = await again.next('publish');
  assert.deepEqual([repeated.properties?.subscriptionIdentifier, repeated.dup], [[1, 268_435_455], true]);
  const later = await site.rawConnect(second.broker, device, 5);
  await later.open({ clientId: 'p' });
  later.send(publish({ payload: 'later' }));
  assert.deepEqual((await again.next('publish')).properties?.subscriptionIdentifier, [1, 268_435_455]);
  // The same filter again replaces the identifier [MQTT-3.8.4-3].
  await subscribe(again, [{ topic: 'ms-acc-1/#', qos: 0 }], 9);
  later.send(publish({ payload: 'replaced' }));
  assert.deepEqual((await again.next('publish')).properties?.subscriptionIdentifier, [9, 268_435_455]);
});

test('MQTT.js 5: request and response with correlation data', async () => {
  const responder = await site.connect(broker, device, { protocolVersion: 5 });
  await responder.subscribeAsync(`${device}/commands`, { qos: 1 });
  const responded = new Promise((resolve, reject) => {
    responder.once('message', (_topic, payload, { properties }) => {
      responder
        .publishAsync(properties?.responseTopic ?? '', `done: ${payload.toString()}`, {
          qos: 1,
          properties: { correlationData: properties?.correlationData ?? Buffer.alloc(0) },
        })
        .then(resolve, reject);
    });
  });
  const asker = await site.connect(broker, 'ms-acc-1', { protocolVersion: 5 });
  await asker.subscribeAsync(`${device}/commands/result`, { qos: 1 });
  const answer = new Promise((resolve) =>
    asker.once('message', (_topic, payload, packet) =>
      resolve([payload.toString(), packet.properties?.correlationData?.toString()]),
    ),
  );
  await asker.publishAsync(`${device}/commands`, 'clean', {
    qos: 1,
    properties: { responseTopic: `${device}/commands/result`, correlationData: Buffer.from('c-1') },
  });
  assert.deepEqual(await answer, ['done: clean', 'c-1']);
  await responded;
});
