import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { BrokerProcess } from '../broker-process.ts';
import { killBrokerProcesses, startBrokerProcess } from '../broker-process.ts';
import type { Site } from '../fixture.ts';
import { Progress, openSite } from '../fixture.ts';

let site: Site;
before(() => void (site = openSite()));
after(async () => {
  await killBrokerProcesses();
  await site.remove();
});

const device = 'ms-acc-1/acc-1/dev-1';
const topics = [`${device}/snapshots`, `${device}/status`];

async function start(name: 'vendor' | 'customer', port: number, vendorPort = 0): Promise<BrokerProcess> {
  const directory = path.join(site.directory, name);
  mkdirSync(directory, { recursive: true });
  return startBrokerProcess(path.join(directory, 'broker.yaml'), {
    name,
    listen: `127.0.0.1:${port}`,
    identity: await site.identity(name === 'vendor' ? 'vendor-broker' : 'ms-acc-1', ['127.0.0.1']),
    data: path.join(directory, 'data'),
    ...(name === 'vendor'
      ? {}
      : { cascade: { upstream: `127.0.0.1:${vendorPort}`, brokerName: 'vendor-broker' } }),
  });
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
  const acknowledged = new Progress();
  const publishing = (async () => {
    while (acknowledged.value < wanted) {
      const publisher = await site.connect(customer, device, { clientId: 'p' }).catch(() => undefined);
      if (publisher === undefined) continue;
      const lost = new Promise<never>((_, reject) =>
        publisher.once('close', () => reject(new Error('lost'))),
      );
      lost.catch(() => undefined);
      try {
        while (acknowledged.value < wanted) {
          const batch = Array.from({ length: 10 }, (_, index) =>
            topics.map((topic) =>
              publisher.publishAsync(topic, String(acknowledged.value + index), { qos: 1 }),
            ),
          );
          await Promise.race([Promise.all(batch.flat()), lost]);
          acknowledged.add(10);
        }
      } catch {
        publisher.end(true);
      }
    }
  })();
  for (const victim of ['vendor', 'customer', 'vendor', 'customer'] as const) {
    await acknowledged.until(Math.min(wanted, acknowledged.value + 60));
    await brokers[victim]?.kill();
    brokers[victim] = await start(victim, victim === 'vendor' ? vendorPort : customer.port, vendorPort);
  }
  await publishing;
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
