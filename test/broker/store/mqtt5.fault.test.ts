import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { IConnectPacket } from 'mqtt-packet';
import type { BrokerProcess } from '../broker-process.ts';
import { killBrokerProcesses, startBrokerProcess } from '../broker-process.ts';
import type { RawClient, Site } from '../fixture.ts';
import { openSite } from '../fixture.ts';
import { publishStubbornly } from '../stubborn-publisher.ts';

let site: Site;
before(() => void (site = openSite()));
after(async () => {
  await killBrokerProcesses();
  await site.remove();
});

const device = 'ms-acc-1/acc-1/dev-1';
const snapshots = `${device}/snapshots`;

const start = (name: string, port = 0): Promise<BrokerProcess> => startBrokerProcess(site, name, { port });

async function open(
  to: BrokerProcess,
  name: string,
  clientId: string,
  options: Partial<IConnectPacket> = {},
): Promise<RawClient> {
  const client = await site.rawConnect(to, name, 5);
  const { reasonCode } = await client.open({ clientId, ...options });
  assert.equal(reasonCode, 0);
  return client;
}

async function subscribe(client: RawClient, topic: string, qos: 0 | 1 | 2): Promise<void> {
  client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic, qos }] });
  assert.deepEqual((await client.next('suback')).granted, [qos]);
}

const lasting = { clean: false, properties: { sessionExpiryInterval: 3600 } };

test('kill -9: the wills of all who were connected are published by the next process, none that was taken back', async () => {
  let broker = await start('wills');
  const watcher = await open(broker, 'ms-acc-1', 'watcher', lasting);
  await subscribe(watcher, 'ms-acc-1/+/+/status', 1);
  for (const [index, options] of [{}, lasting].entries()) {
    const topic = `ms-acc-1/acc-1/dev-${index}/status`;
    const payload = Buffer.from(`gone ${index}`);
    const will = { topic, payload, qos: 1, retain: true, properties: { contentType: 'text/plain' } } as const;
    await open(broker, `ms-acc-1/acc-1/dev-${index}`, 'w', { ...options, will });
  }
  const delayed = { willDelayInterval: 3600 };
  const base = {
    topic: `${device}-later/status`,
    payload: Buffer.from('too early'),
    qos: 1,
    retain: false,
  } as const;
  await open(broker, `${device}-later`, 'w', { ...lasting, will: { ...base, properties: delayed } });
  const polite = await open(broker, device, 'polite', {
    will: { topic: `${device}/status`, payload: Buffer.from('never'), qos: 1, retain: false },
  });
  polite.send({ cmd: 'disconnect', reasonCode: 0 });
  await polite.closed;
  await broker.kill();
  broker = await start('wills');
  const again = await open(broker, 'ms-acc-1', 'watcher', lasting);
  const seen = [await again.next('publish'), await again.next('publish')];
  assert.deepEqual(seen.map(({ payload }) => payload.toString()).toSorted(), ['gone 0', 'gone 1']);
  for (const { properties } of seen) assert.equal(properties?.contentType, 'text/plain');
  assert.deepEqual(await again.settled(), []);
  await broker.kill();
});

test('kill -9: properties, expiry and identifiers of what was acknowledged are there again, and an ended session is not', async () => {
  let broker = await start('properties');
  const away = await open(broker, 'ms-acc-1', 'away', lasting);
  away.send({
    cmd: 'subscribe',
    messageId: 1,
    properties: { subscriptionIdentifier: 7 },
    subscriptions: [{ topic: 'ms-acc-1/#', qos: 2 }],
  });
  await away.next('suback');
  away.socket.destroy();
  // Connected when the broker dies, and to end with its connection although it was stored before.
  const ending = await open(broker, 'ms-acc-1', 'ending', lasting);
  ending.socket.destroy();
  await open(broker, 'ms-acc-1', 'ending', { clean: false });
  const publisher = await open(broker, device, 'p');
  const properties = {
    messageExpiryInterval: 3000,
    correlationData: Buffer.from([0, 255]),
    userProperties: { a: ['1', '2'] },
  };
  const packet = { cmd: 'publish', topic: snapshots, payload: 'kept', retain: true, dup: false } as const;
  publisher.send({ ...packet, qos: 2, messageId: 1, properties });
  await publisher.next('pubrec');
  publisher.send({
    ...packet,
    qos: 1,
    messageId: 2,
    properties: { messageExpiryInterval: 1 },
    retain: false,
  });
  await publisher.next('puback');
  await broker.kill();
  broker = await start('properties');
  const again = await open(broker, 'ms-acc-1', 'away', lasting);
  const first = await again.next('publish');
  assert.deepEqual({ ...first.properties?.userProperties }, { a: ['1', '2'] });
  assert.deepEqual(first.properties?.correlationData, Buffer.from([0, 255]));
  assert.equal(first.properties?.subscriptionIdentifier, 7);
  const left = first.properties?.messageExpiryInterval ?? 0;
  assert(left > 2000 && left <= 3000, String(left));
  const late = await open(broker, 'ms-acc-1', 'late');
  await subscribe(late, snapshots, 1);
  assert.equal((await late.next('publish')).properties?.correlationData?.length, 2);
  const ended = await site.rawConnect(broker, 'ms-acc-1', 5);
  assert.equal((await ended.open({ clientId: 'ending', clean: false })).sessionPresent, false);
  await broker.kill();
});

test('kill -9 during traffic to a shared subscription: every acknowledged message reaches one of its members', async () => {
  let broker = await start('shared');
  const { port } = broker;
  const filter = '$share/workers/+/+/+/snapshots';
  const service = 'vendor-snapshot-service';
  const clientIds = ['w-1', 'w-2', 'w-3'];
  const seen = new Set<string>();
  const work = async (clientId: string): Promise<RawClient | undefined> => {
    const client = await site.rawConnect(broker, service, 5).catch(() => undefined);
    if (client === undefined) return undefined;
    await client.open({ clientId, ...lasting });
    await subscribe(client, filter, 1);
    const serve = async (): Promise<void> => {
      for (;;) {
        const { payload, messageId } = await client.next('publish');
        seen.add(payload.toString());
        client.send({ cmd: 'puback', messageId: messageId ?? 0, reasonCode: 0 });
      }
    };
    serve().catch(() => undefined); // until the broker is gone
    return client;
  };
  const wanted = 600;
  for (const clientId of clientIds) await work(clientId);
  const numbers = { topics: [snapshots], wanted, batch: 20 };
  const { acknowledged, done } = publishStubbornly(site, broker, device, numbers);
  for (let kills = 0; kills < 4; kills++) {
    await acknowledged.until(Math.min(wanted, acknowledged.value + 60));
    await broker.kill();
    broker = await start('shared', port);
    // One of them stays away until the end, with what it was given.
    for (const clientId of clientIds.slice(1)) await work(clientId);
  }
  await done;
  const last = await work('w-1');
  assert(last !== undefined);
  while (seen.size < wanted) await last.settled();
  assert.deepEqual(
    [...seen].map(Number).toSorted((a, b) => a - b),
    Array.from({ length: wanted }, (_, index) => index),
  );
  await broker.kill();
});
