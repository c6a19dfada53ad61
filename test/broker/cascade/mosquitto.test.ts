import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { TestContext } from 'node:test';
import type { RunningBroker } from '../../../broker/main.ts';
import { leashed } from '../../../scripts/leash.ts';
import { freePort } from '../../../runtime/free-ports.ts';
import { isListening } from '../../../scripts/listening.ts';
import type { Journal, Site } from '../fixture.ts';
import { openSite } from '../fixture.ts';

let site: Site;
before(() => void (site = openSite()));
after(() => site.remove());

const device = 'ms-acc-1/acc-1/dev-1';

/** Debian's Mosquitto as the vendor's broker. */
async function startMosquitto(
  context: TestContext,
  name: string,
  settings: readonly string[] = [],
): Promise<{ port: number }> {
  const port = await freePort();
  const keys = await site.identity('vendor-broker', ['127.0.0.1']);
  const directory = path.join(site.directory, name);
  mkdirSync(directory, { recursive: true });
  const file = path.join(directory, 'mosquitto.conf');
  const lines = [
    `listener ${port} 127.0.0.1`,
    `cafile ${path.join(keys, 'tls-root.crt.pem')}`,
    `certfile ${path.join(keys, 'tls.chain.pem')}`,
    `keyfile ${path.join(keys, 'tls.key.pem')}`,
    'require_certificate true',
    'use_identity_as_username true',
    'user root', // the keys are readable for nobody else
    ...settings,
  ];
  writeFileSync(file, `${lines.join('\n')}\n`);
  const child = spawn(...leashed(['/usr/sbin/mosquitto', '-c', file]), {
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  context.after(() => void child.kill('SIGKILL'));
  while (!(await isListening(port))) assert.equal(child.exitCode, null, 'mosquitto ended');
  return { port };
}

async function startCustomer(
  name: string,
  { port }: { readonly port: number },
): Promise<{ broker: RunningBroker; journal: Journal }> {
  return site.start(
    {
      identity: await site.identity('ms-acc-1', ['127.0.0.1']),
      data: path.join(site.directory, name, 'customer'),
      cascade: { upstream: `127.0.0.1:${port}`, brokerName: 'vendor-broker' },
    },
    { reconnect: { firstMs: 20, maxMs: 100 } },
  );
}

test('cascade to Mosquitto: MQTT 5, both directions, in order', async (context) => {
  const upstream = await startMosquitto(context, 'both');
  const { broker: customer, journal } = await startCustomer('both', upstream);
  await journal.until('link.connected', { version: 5 });
  const service = await site.connect(upstream, 'vendor-snapshot-service', { protocolVersion: 5 });
  await service.subscribeAsync('+/+/+/snapshots', { qos: 1 });
  const dev = await site.connect(customer, device);
  await dev.subscribeAsync(`${device}/commands`, { qos: 1 });
  await Promise.all(
    Array.from({ length: 200 }, (_, index) =>
      dev.publishAsync(`${device}/snapshots`, String(index), { qos: 1 }),
    ),
  );
  assert.deepEqual(
    await site.received(service).count(200),
    Array.from({ length: 200 }, (_, index) => `${device}/snapshots=${index}`),
  );
  await service.publishAsync(`${device}/commands`, 'down', { qos: 1 });
  assert.deepEqual(await site.received(dev).count(1), [`${device}/commands=down`]);
});

test('cascade to Mosquitto: its queue drops most of what it retains, and yet only what is gone disappears here', async (context) => {
  const upstream = await startMosquitto(context, 'retained', [
    'max_queued_messages 5',
    'max_inflight_messages 5',
  ]);
  const first = await startCustomer('retained', upstream);
  await first.journal.until('link.connected');
  const watcher = await site.connect(first.broker, 'ms-acc-1');
  await watcher.subscribeAsync('ms-acc-1/+/+/policy', { qos: 1 });
  const service = await site.connect(upstream, 'MRO-Admin');
  const topics = Array.from({ length: 60 }, (_, index) => `ms-acc-1/acc-1/dev-${index}/policy`);
  const [sentinel = ''] = topics;
  // Published again until it is here, for the subscription above may not stand yet.
  while (site.received(watcher).texts.length === 0) {
    await service.publishAsync(sentinel, 'kept', { qos: 1, retain: true });
    await new Promise(setImmediate);
  }
  for (const topic of topics.slice(1)) {
    await service.publishAsync(topic, 'kept', { qos: 1, retain: true });
    while (!site.received(watcher).texts.includes(`${topic}=kept`)) {
      await site.received(watcher).count(site.received(watcher).texts.length + 1);
    }
  }
  await watcher.endAsync();
  await site.stop(first.broker);
  const gone = topics.slice(50);
  for (const topic of gone) await service.publishAsync(topic, '', { qos: 1, retain: true });
  // Another client with its id ends its session above, with whatever waited in it.
  const thief = await site.connect(upstream, 'ms-acc-1', { clientId: 'cascade-of-ms-acc-1', clean: true });
  await thief.endAsync();
  const second = await startCustomer('retained', upstream);
  for (const topic of gone) await second.journal.until('cascade.retained_removed', { topic });
  const late = await site.connect(second.broker, 'ms-acc-1');
  await late.subscribeAsync('ms-acc-1/+/+/policy', { qos: 1 });
  const wanted = topics.slice(0, 50).map((topic) => `${topic}=kept`);
  assert.deepEqual((await site.received(late).count(50)).toSorted(), wanted.toSorted());
  assert.equal(second.broker.state().retained, 50);
});
