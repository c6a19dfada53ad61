import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { BrokerProcess } from '../broker-process.ts';
import { killBrokerProcesses, startBrokerProcess } from '../broker-process.ts';
import type { RawClient, Site } from '../fixture.ts';
import { Progress, openSite } from '../fixture.ts';

let site: Site;
before(() => void (site = openSite()));
after(async () => {
  await killBrokerProcesses();
  await site.remove();
});

const device = 'ms-acc-1/acc-1/dev-1';
const snapshots = `${device}/snapshots`;

async function settings(name: string, port = 0): Promise<[string, Record<string, unknown>]> {
  const directory = path.join(site.directory, name);
  mkdirSync(directory, { recursive: true });
  return [
    path.join(directory, 'broker.yaml'),
    {
      name,
      listen: `127.0.0.1:${port}`,
      identity: await site.identity('vendor-broker', ['127.0.0.1']),
      data: path.join(directory, 'data'),
    },
  ];
}

test('kill -9: sessions, subscriptions and retained messages are there again', async () => {
  let broker = await startBrokerProcess(...(await settings('state')));
  const subscriber = await site.connect(broker, 'ms-acc-1', { clientId: 's', clean: false });
  await subscriber.subscribeAsync('ms-acc-1/+/+/snapshots', { qos: 2 });
  await subscriber.endAsync();
  const publisher = await site.connect(broker, device);
  await publisher.publishAsync(`${device}/status`, 'kept', { qos: 1, retain: true });
  await publisher.publishAsync(snapshots, 'waits', { qos: 2 });
  await broker.kill();
  broker = await startBrokerProcess(...(await settings('state')));
  const again = await site.connect(broker, 'ms-acc-1', { clientId: 's', clean: false });
  assert.deepEqual(await site.received(again).count(1), [`${snapshots}=waits`]);
  const other = await site.connect(broker, 'ms-acc-1');
  await other.subscribeAsync('ms-acc-1/+/+/status', { qos: 1 });
  assert.deepEqual(await site.received(other).count(1), [`${device}/status=kept`]);
  await broker.kill();
});

test('kill -9 during QoS 1 traffic: every acknowledged message arrives, in order when first seen', async () => {
  let broker: BrokerProcess = await startBrokerProcess(...(await settings('qos1')));
  const { port } = broker;
  const subscriber = await site.connect(broker, 'ms-acc-1', { clientId: 's', clean: false });
  await subscriber.subscribeAsync('ms-acc-1/+/+/snapshots', { qos: 1 });
  await subscriber.endAsync();
  const wanted = 1200;
  const acknowledged = new Progress();
  const publishing = (async () => {
    while (acknowledged.value < wanted) {
      const publisher = await site.connect({ port }, device, { clientId: 'p' }).catch(() => undefined);
      if (publisher === undefined) continue;
      const lost = new Promise<never>((_, reject) =>
        publisher.once('close', () => reject(new Error('lost'))),
      );
      lost.catch(() => undefined);
      try {
        while (acknowledged.value < wanted) {
          const batch = Array.from({ length: 20 }, (_, index) =>
            publisher.publishAsync(snapshots, String(acknowledged.value + index), { qos: 1 }),
          );
          await Promise.race([Promise.all(batch), lost]);
          acknowledged.add(20);
        }
      } catch {
        publisher.end(true);
      }
    }
  })();
  for (let kills = 0; kills < 5; kills++) {
    await acknowledged.until(Math.min(wanted, acknowledged.value + 100));
    await broker.kill();
    broker = await startBrokerProcess(...(await settings('qos1', port)));
  }
  await publishing;
  const reader = await site.connect(broker, 'ms-acc-1', { clientId: 's', clean: false });
  const texts = site.received(reader).texts;
  const seen = (): number[] => [...new Set(texts.map((text) => Number(text.split('=')[1])))];
  while (seen().length < wanted) await site.received(reader).count(texts.length + 1);
  assert.deepEqual(
    seen(),
    Array.from({ length: wanted }, (_, index) => index),
  );
  await broker.kill();
});

interface Step {
  readonly name: string;
  /** What the publisher has seen when the broker dies. */
  readonly before: (client: RawClient) => Promise<void>;
}
const publish = {
  cmd: 'publish',
  topic: snapshots,
  payload: 'once',
  qos: 2,
  retain: false,
  messageId: 9,
} as const;
const steps: readonly Step[] = [
  { name: 'PUBLISH', before: async (client) => client.send({ ...publish, dup: false }) },
  {
    name: 'PUBREC',
    before: async (client) => {
      client.send({ ...publish, dup: false });
      await client.next('pubrec');
    },
  },
  {
    name: 'PUBREL',
    before: async (client) => {
      client.send({ ...publish, dup: false });
      await client.next('pubrec');
      client.send({ cmd: 'pubrel', messageId: 9 });
    },
  },
];

for (const { name, before: reach } of steps) {
  test(`kill -9 of the broker after ${name} of a publisher: the QoS 2 message arrives exactly once`, async () => {
    let broker = await startBrokerProcess(...(await settings(`in-${name}`)));
    const subscriber = await site.connect(broker, 'ms-acc-1', { clientId: 's', clean: false });
    await subscriber.subscribeAsync('ms-acc-1/#', { qos: 2 });
    await subscriber.endAsync();
    const publisher = await site.rawConnect(broker, device);
    await publisher.open({ clientId: 'p', clean: false });
    await reach(publisher);
    await broker.kill();
    broker = await startBrokerProcess(...(await settings(`in-${name}`)));
    const again = await site.rawConnect(broker, device);
    await again.open({ clientId: 'p', clean: false });
    if (name !== 'PUBREL') {
      again.send({ ...publish, dup: true });
      await again.next('pubrec');
    }
    again.send({ cmd: 'pubrel', messageId: 9 });
    await again.next('pubcomp');
    again.send({ ...publish, payload: 'last', dup: false, messageId: 10 });
    await again.next('pubrec');
    const reader = await site.connect(broker, 'ms-acc-1', { clientId: 's', clean: false });
    assert.deepEqual(await site.received(reader).count(2), [`${snapshots}=once`, `${snapshots}=last`]);
    await broker.kill();
  });
}

for (const stage of ['PUBLISH', 'PUBREL'] as const) {
  test(`kill -9 of the broker before the subscriber answered ${stage}: the exchange goes on under the same identifier`, async () => {
    let broker = await startBrokerProcess(...(await settings(`out-${stage}`)));
    const subscriber = await site.rawConnect(broker, 'ms-acc-1');
    await subscriber.open({ clientId: 's', clean: false });
    subscriber.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'ms-acc-1/#', qos: 2 }] });
    await subscriber.next('suback');
    const publisher = await site.connect(broker, device);
    await publisher.publishAsync(snapshots, 'once', { qos: 2 });
    const { messageId = 0 } = await subscriber.next('publish');
    if (stage === 'PUBREL') {
      subscriber.send({ cmd: 'pubrec', messageId });
      await subscriber.next('pubrel');
    }
    await broker.kill();
    broker = await startBrokerProcess(...(await settings(`out-${stage}`)));
    const again = await site.rawConnect(broker, 'ms-acc-1');
    await again.open({ clientId: 's', clean: false });
    if (stage === 'PUBLISH') {
      assert.partialDeepStrictEqual(await again.next('publish'), { messageId, dup: true, qos: 2 });
      again.send({ cmd: 'pubrec', messageId });
    }
    assert.partialDeepStrictEqual(await again.next('pubrel'), { messageId });
    again.send({ cmd: 'pubcomp', messageId });
    again.send({ cmd: 'pingreq' });
    await again.next('pingresp');
    assert.deepEqual(again.packets, []);
    await broker.kill();
  });
}
