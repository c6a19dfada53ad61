import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { cascadeFilters } from '../../../broker/cascade/filters.ts';
import { defaultRoles } from '../../../broker/access/roles.ts';
import type { RunningBroker } from '../../../broker/main.ts';
import { freePort } from '../../../runtime/free-ports.ts';
import type { Journal, Site } from '../fixture.ts';
import { openSite } from '../fixture.ts';
import { tlsBundleOf } from '../../pki/lists.ts';

let site: Site;
before(() => void (site = openSite()));
after(() => site.remove());

const device = 'ms-acc-1/acc-1/dev-1';
const reconnect = { firstMs: 20, maxMs: 100 };

async function startVendor(name: string, port?: number): Promise<RunningBroker> {
  const { broker } = await site.start({
    listen: `127.0.0.1:${port ?? (await freePort())}`,
    data: path.join(site.directory, name, 'vendor'),
  });
  return broker;
}

async function startCustomer(
  name: string,
  vendor: { readonly port: number },
  cascade: Readonly<Record<string, unknown>> = {},
  limits: Readonly<Record<string, unknown>> = {},
): Promise<{ broker: RunningBroker; journal: Journal }> {
  return site.start(
    {
      identity: await site.identity('ms-acc-1', ['127.0.0.1']),
      data: path.join(site.directory, name, 'customer'),
      limits,
      cascade: { upstream: `127.0.0.1:${vendor.port}`, brokerName: 'vendor-broker', ...cascade },
    },
    { reconnect },
  );
}

test('cascade: what devices publish goes up in order, and what the vendor sends comes down', async () => {
  const vendor = await startVendor('both');
  const { broker: customer } = await startCustomer('both', vendor);
  const service = await site.connect(vendor, 'vendor-snapshot-service');
  await service.subscribeAsync('+/+/+/snapshots', { qos: 1 });
  const dev = await site.connect(customer, device);
  await dev.subscribeAsync(`${device}/commands`, { qos: 1 });
  for (let index = 0; index < 50; index++)
    await dev.publishAsync(`${device}/snapshots`, String(index), { qos: 1 });
  assert.deepEqual(
    await site.received(service).count(50),
    Array.from({ length: 50 }, (_, index) => `${device}/snapshots=${index}`),
  );
  const commands = await site.connect(vendor, 'vendor-command-service');
  await commands.publishAsync(`${device}/commands`, 'reboot', { qos: 1 });
  assert.deepEqual(await site.received(dev).count(1), [`${device}/commands=reboot`]);
});

test('cascade: what came down never goes up again, even where the filters overlap', async () => {
  const vendor = await startVendor('loop');
  const topics = { up: ['ms-acc-1/#'], down: ['ms-acc-1/#'], retainDown: [] };
  const { broker: customer } = await startCustomer('loop', vendor, topics);
  const watcher = await site.connect(vendor, 'MRO-Admin');
  await watcher.subscribeAsync('ms-acc-1/+/+/+', { qos: 1 });
  const local = await site.connect(customer, 'ms-acc-1');
  await local.subscribeAsync('ms-acc-1/#', { qos: 1 });
  await watcher.publishAsync(`${device}/commands`, 'down', { qos: 1 });
  await site.received(local).count(1);
  await local.publishAsync(`${device}/snapshots`, 'up', { qos: 1 });
  // The one that went up is behind whatever the one that came down could have caused.
  assert.deepEqual(await site.received(watcher).count(2), [
    `${device}/commands=down`,
    `${device}/snapshots=up`,
  ]);
});

test('cascade: while the upstream is away messages wait on disk, and go up in order when it is back', async () => {
  let vendor = await startVendor('away');
  const { port } = vendor;
  const session = { clientId: 'ingest', clean: false };
  const service = await site.connect(vendor, 'vendor-snapshot-service', session);
  await service.subscribeAsync('+/+/+/snapshots', { qos: 1 });
  await service.endAsync();
  await site.stop(vendor);
  const first = await startCustomer('away', { port });
  const dev = await site.connect(first.broker, device);
  const count = 600;
  await Promise.all(
    Array.from({ length: count }, (_, index) =>
      dev.publishAsync(`${device}/snapshots`, String(index), { qos: 1 }),
    ),
  );
  await dev.publishAsync(`${device}/status`, 'online', { qos: 1, retain: true });
  assert.partialDeepStrictEqual(first.broker.state().cascade, { connected: false, queued: count + 1 });
  // The customer's broker is restarted meanwhile.
  await site.stop(first.broker);
  const second = await startCustomer('away', { port });
  assert.equal(second.broker.state().cascade?.queued, count + 1);
  vendor = await startVendor('away', port);
  const again = await site.connect(vendor, 'vendor-snapshot-service', session);
  const texts = await site.received(again).count(count);
  assert.deepEqual(
    texts,
    Array.from({ length: count }, (_, index) => `${device}/snapshots=${index}`),
  );
  const late = await site.connect(vendor, 'vendor-snapshot-service');
  await late.subscribeAsync('+/+/+/status', { qos: 1 });
  assert.deepEqual(await site.received(late).count(1), [`${device}/status=online`]);
});

test('cascade: policies and revocations are retained below, and a deletion is carried on', async () => {
  const vendor = await startVendor('retained');
  const service = await site.connect(vendor, 'vendor-recipient-service');
  await service.publishAsync('vendor/recipients', 'before', { qos: 1, retain: true });
  const { broker: customer } = await startCustomer('retained', vendor);
  const watcher = await site.connect(customer, device);
  await watcher.subscribeAsync('vendor/recipients', { qos: 1 });
  await site.received(watcher).count(1);
  await service.publishAsync('vendor/recipients', 'live', { qos: 1, retain: true });
  await site.received(watcher).count(2);
  const late = await site.connect(customer, 'ms-acc-1/acc-1/dev-2');
  await late.subscribeAsync('vendor/recipients', { qos: 1 });
  assert.deepEqual(await site.received(late).count(1), ['vendor/recipients=live']);
  await service.publishAsync('vendor/recipients', '', { qos: 1, retain: true });
  assert.deepEqual(await site.received(watcher).count(3), [
    'vendor/recipients=before',
    'vendor/recipients=live',
    'vendor/recipients=',
  ]);
  assert.equal(customer.state().retained, 0);
});

test('cascade: what finds no room below waits upstream, and comes down in order once there is', async () => {
  const vendor = await startVendor('room');
  const { broker: customer, journal } = await startCustomer('room', vendor, {}, { queuedMessagesMax: 2 });
  const session = { clientId: 'd', clean: false };
  const subscriber = await site.connect(customer, device, session);
  await subscriber.subscribeAsync(`${device}/commands`, { qos: 1 });
  await subscriber.endAsync();
  await journal.until('link.connected');
  const service = await site.connect(vendor, 'MRO-Admin');
  // Retained here only when the subscription stands; so this one is behind it.
  await service.publishAsync('vendor/recipients', 'stands', { qos: 1, retain: true });
  const watcher = await site.connect(customer, 'ms-acc-1');
  await watcher.subscribeAsync('vendor/recipients', { qos: 1 });
  await site.received(watcher).count(1);
  for (const text of ['1', '2', '3', '4', '5'])
    await service.publishAsync(`${device}/commands`, text, { qos: 1 });
  await journal.until('cascade.message_refused', { reason: 'queue_full' });
  const again = await site.connect(customer, device, session);
  assert.deepEqual(
    await site.received(again).count(5),
    [1, 2, 3, 4, 5].map((text) => `${device}/commands=${text}`),
  );
});

test('cascade: what waits for room of one device keeps nothing of the others waiting', async () => {
  const vendor = await startVendor('aside');
  const { broker: customer, journal } = await startCustomer('aside', vendor, {}, { queuedMessagesMax: 1 });
  const session = { clientId: 'd', clean: false };
  const full = await site.connect(customer, device, session);
  await full.subscribeAsync(`${device}/commands`, { qos: 1 });
  await full.endAsync();
  const other = 'ms-acc-1/acc-1/dev-2';
  const lively = await site.connect(customer, other);
  await lively.subscribeAsync([`${other}/commands`, 'vendor/recipients'], { qos: 1 });
  await journal.until('link.connected');
  const service = await site.connect(vendor, 'MRO-Admin');
  await service.publishAsync('vendor/recipients', 'stands', { qos: 1, retain: true });
  await site.received(lively).count(1);

  for (const text of ['1', '2', '3']) await service.publishAsync(`${device}/commands`, text, { qos: 1 });
  await journal.until('cascade.message_refused', { reason: 'queue_full' });
  for (const qos of [0, 1] as const) await service.publishAsync(`${other}/commands`, `${qos}`, { qos });
  await service.publishAsync('vendor/recipients', 'changed', { qos: 1, retain: true });
  assert.deepEqual((await site.received(lively).count(4)).slice(1), [
    `${other}/commands=0`,
    `${other}/commands=1`,
    'vendor/recipients=changed',
  ]);
  const again = await site.connect(customer, device, session);
  assert.deepEqual(
    await site.received(again).count(3),
    ['1', '2', '3'].map((text) => `${device}/commands=${text}`),
  );
});

test('cascade: an upstream that is another broker than the one named gets nothing', async () => {
  const vendor = await startVendor('impostor');
  const { broker: customer, journal } = await startCustomer('impostor', vendor, {
    brokerName: 'vendor-broker-2',
  });
  const line = await journal.until('link.connect_failed');
  assert.match(String(line['reason']), /is "vendor-broker", not "vendor-broker-2"/);
  assert.partialDeepStrictEqual(customer.state().cascade, { connected: false });
});

test('cascadeFilters: the defaults are the device topics of the own subtree, and what everyone may read', () => {
  const filters = cascadeFilters('ms-acc-1', {}, defaultRoles);
  const up = filters.up.map(({ remote }) => remote);
  const down = filters.down.map(({ remote }) => remote);
  assert(up.includes('ms-acc-1/+/+/snapshots'));
  assert(!up.some((filter) => filter.endsWith('/commands')));
  assert(down.includes('ms-acc-1/+/+/commands'));
  assert(down.includes('vendor/crl/tls'));
  assert.deepEqual(cascadeFilters('ms-acc-1/acc-1', {}, defaultRoles).up[0], {
    local: 'ms-acc-1/acc-1/+/snapshots',
    remote: 'ms-acc-1/acc-1/+/snapshots',
  });
});

test('cascadeFilters: what the certificate may not do upstream is a fault of the configuration', () => {
  for (const filters of [
    { up: ['#'] },
    { up: ['ms-acc-2/#'] },
    { down: ['+/+/+/commands'] },
    { down: ['vendor/#'] },
  ]) {
    assert.throws(() => cascadeFilters('ms-acc-1', filters, defaultRoles), { code: 'broker.cascade_denied' });
  }
});

test('cascade: an upstream whose certificate is revoked gets nothing more; what waits goes to one with a new certificate', async (context) => {
  const own = openSite();
  context.after(() => own.remove());
  const listen = `127.0.0.1:${await freePort()}`;
  const data = path.join(own.directory, 'vendor');
  const { broker: thief } = await own.start({ listen, data });
  const { broker: customer, journal } = await own.start(
    {
      identity: await own.identity('ms-acc-1', ['127.0.0.1']),
      data: path.join(own.directory, 'customer'),
      cascade: { upstream: listen, brokerName: 'vendor-broker' },
    },
    { reconnect },
  );
  await journal.until('link.connected');
  await own.authority.revoke({ target: { path: 'vendor-broker' }, kinds: ['tls'] });
  const lists = await own.connect(customer, 'vendor-crl-service');
  await lists.publishAsync('vendor/crl/tls', tlsBundleOf(own.authority), { qos: 1, retain: true });
  assert.match(String((await journal.until('link.lost'))['reason']), /revoked/);
  assert.match(String((await journal.until('link.connect_failed'))['reason']), /revoked/);
  const dev = await own.connect(customer, device);
  await dev.publishAsync(`${device}/snapshots`, 'sealed', { qos: 1 });
  await own.stop(thief);

  const identity = path.join(own.directory, 'renewed');
  await own.authority.issue({
    path: 'vendor-broker',
    kinds: ['tls'],
    hosts: ['127.0.0.1'],
    outputDirectory: identity,
  });
  const { broker: vendor } = await own.start({ listen, data, identity });
  const service = await own.connect(vendor, 'vendor-snapshot-service');
  await service.subscribeAsync('+/+/+/snapshots', { qos: 1 });
  assert.deepEqual(await own.received(service).count(1), [`${device}/snapshots=sealed`]);
});
