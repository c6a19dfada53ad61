import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { BrokerProcess } from '../broker-process.ts';
import { killBrokerProcesses, startBrokerProcess } from '../broker-process.ts';
import type { Site } from '../fixture.ts';
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

test('kill -9: sessions, subscriptions and retained messages are there again', async () => {
  let broker = await startBrokerProcess(site, 'state');
  const subscriber = await site.connect(broker, 'ms-acc-1', { clientId: 's', clean: false });
  await subscriber.subscribeAsync('ms-acc-1/+/+/snapshots', { qos: 2 });
  await subscriber.endAsync();
  const publisher = await site.connect(broker, device);
  await publisher.publishAsync(`${device}/status`, 'kept', { qos: 1, retain: true });
  await publisher.publishAsync(snapshots, 'waits', { qos: 2 });
  await broker.kill();
  broker = await startBrokerProcess(site, 'state');
  const again = await site.connect(broker, 'ms-acc-1', { clientId: 's', clean: false });
  assert.deepEqual(await site.received(again).count(1), [`${snapshots}=waits`]);
  const other = await site.connect(broker, 'ms-acc-1');
  await other.subscribeAsync('ms-acc-1/+/+/status', { qos: 1 });
  assert.deepEqual(await site.received(other).count(1), [`${device}/status=kept`]);
  await broker.kill();
});

test('kill -9 during QoS 1 traffic: every acknowledged message arrives, in order when first seen', async () => {
  let broker: BrokerProcess = await startBrokerProcess(site, 'qos1');
  const { port } = broker;
  const subscriber = await site.connect(broker, 'ms-acc-1', { clientId: 's', clean: false });
  await subscriber.subscribeAsync('ms-acc-1/+/+/snapshots', { qos: 1 });
  await subscriber.endAsync();
  const wanted = 1200;
  const numbers = { topics: [snapshots], wanted, batch: 20 };
  const { acknowledged, done } = publishStubbornly(site, broker, device, numbers);
  for (let kills = 0; kills < 5; kills++) {
    await acknowledged.until(Math.min(wanted, acknowledged.value + 100));
    await broker.kill();
    broker = await startBrokerProcess(site, 'qos1', { port });
  }
  await done;
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
