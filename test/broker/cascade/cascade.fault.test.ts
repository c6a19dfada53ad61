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
const topics = [`${device}/snapshots`, `${device}/status`];

function start(name: 'vendor' | 'customer', port: number, vendorPort = 0): Promise<BrokerProcess> {
  return name === 'vendor'
    ? startBrokerProcess(site, name, { port })
    : startCustomer(port, { upstream: `127.0.0.1:${vendorPort}`, brokerName: 'vendor-broker' });
}

async function startCustomer(
  port: number,
  cascade: Readonly<Record<string, unknown>>,
): Promise<BrokerProcess> {
  const identity = await site.identity('ms-acc-1', ['127.0.0.1']);
  return startBrokerProcess(site, 'customer', { port, settings: { identity, cascade } });
}

test('kill -9 of either broker during traffic: all that a device was acknowledged reaches the vendor, in order per topic', async () => {
  const brokers = { vendor: await start('vendor', 0), customer: undefined as BrokerProcess | undefined };
  const vendorPort = brokers.vendor.port;
  const customer = await start('customer', 0, vendorPort);
  brokers.customer = customer;
  const session = { clientId: 'ingest', clean: false };
  const service = await site.connect(brokers.vendor, 'vendor-snapshot-service', session);
  await service.subscribeAsync(['+/+/+/snapshots', '+/+/+/status'], { qos: 1 });
  await service.endAsync();

  const wanted = 600;
  const { acknowledged, done } = publishStubbornly(site, customer, device, { topics, wanted, batch: 10 });
  for (const victim of ['vendor', 'customer', 'vendor', 'customer'] as const) {
    await acknowledged.until(Math.min(wanted, acknowledged.value + 60));
    await brokers[victim]?.kill();
    brokers[victim] = await start(victim, victim === 'vendor' ? vendorPort : customer.port, vendorPort);
  }
  await done;
  const reader = await site.connect(brokers.vendor, 'vendor-snapshot-service', session);
  const received = site.received(reader);
  const seen = (topic: string): number[] => [
    ...new Set(
      received.texts.filter((text) => text.startsWith(`${topic}=`)).map((text) => Number(text.split('=')[1])),
    ),
  ];
  const complete = Array.from({ length: wanted }, (_, index) => index);
  while (topics.some((topic) => seen(topic).length < wanted)) await received.count(received.texts.length + 1);
  for (const topic of topics) assert.deepEqual(seen(topic), complete);
});
