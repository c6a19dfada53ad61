import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { TestContext } from 'node:test';
import type { MqttClient } from 'mqtt';
import type { IPublishPacket } from 'mqtt-packet';
import type { RunningBroker } from '../../../broker/main.ts';
import { loadTlsIdentity } from '../../../pki/identity.ts';
import { freePort, freePorts } from '../../../runtime/free-ports.ts';
import { ScriptedBroker } from '../../mqtt/scripted-broker.ts';
import type { Conversation } from '../../mqtt/scripted-broker.ts';
import { Wire } from '../../mqtt/wire.ts';
import type { Journal, Site } from '../fixture.ts';
import { openSite } from '../fixture.ts';

let site: Site;
before(() => void (site = openSite()));
after(() => site.remove());

const device = 'ms-acc-1/acc-1/dev-1';
const reconnect = { firstMs: 20, maxMs: 100 };
const five = { protocolVersion: 5 } as const;

async function startVendor(
  name: string,
  { port, ...settings }: { readonly port?: number; readonly [setting: string]: unknown } = {},
): Promise<RunningBroker> {
  const data = path.join(site.directory, name, 'vendor');
  const listen = `127.0.0.1:${port ?? (await freePort())}`;
  return (await site.start({ listen, data, ...settings })).broker;
}

async function startCustomer(
  name: string,
  upstream: { readonly port: number } | readonly { readonly port: number }[],
  cascade: Readonly<Record<string, unknown>> = {},
  settings: Readonly<Record<string, unknown>> = {},
): Promise<{ broker: RunningBroker; journal: Journal }> {
  const addresses = [upstream].flat().map(({ port }) => `127.0.0.1:${port}`);
  return site.start(
    {
      name: 'customer',
      identity: await site.identity('ms-acc-1', ['127.0.0.1']),
      data: path.join(site.directory, name, 'customer'),
      cascade: {
        upstream: addresses.length === 1 ? addresses[0] : addresses,
        brokerName: 'vendor-broker',
        ...cascade,
      },
      ...settings,
    },
    { reconnect },
  );
}

function packets(client: MqttClient): (wanted: number) => Promise<IPublishPacket[]> {
  const all: IPublishPacket[] = [];
  let wake: () => void = () => undefined;
  client.on('packetreceive', (packet) => {
    if (packet.cmd === 'publish') all.push(packet);
    wake();
  });
  return async (wanted) => {
    while (all.length < wanted) await new Promise<void>((resolve) => (wake = resolve));
    return all;
  };
}

async function scriptedUpstream(context: TestContext): Promise<ScriptedBroker> {
  const broker = await ScriptedBroker.start(
    loadTlsIdentity(await site.identity('vendor-broker', ['127.0.0.1'])),
  );
  context.after(() => broker.stop());
  return broker;
}

/** The next packet on a topic of a device, whatever the cascade says of itself meanwhile. */
async function nextFromDevice(conversation: Conversation): Promise<IPublishPacket> {
  for (;;) {
    const packet = await conversation.next('publish');
    if (packet.topic.startsWith(device)) return packet;
    conversation.send({ cmd: 'puback', messageId: packet.messageId ?? 0 });
  }
}

async function scriptedSession(upstream: ScriptedBroker): Promise<Conversation> {
  const conversation = await upstream.welcome();
  const { messageId = 0, subscriptions } = await conversation.next('subscribe');
  conversation.send({ cmd: 'suback', messageId, granted: subscriptions.map(() => 1) });
  return conversation;
}

test('cascade: properties of a message are carried both ways, and its expiry counts the time that it waited', async () => {
  const vendor = await startVendor('properties');
  const { broker: customer, journal } = await startCustomer('properties', vendor);
  await journal.until('link.connected', { version: 5 });
  const service = await site.connect(vendor, 'MRO-Admin', five);
  const above = packets(service);
  await service.subscribeAsync('ms-acc-1/+/+/snapshots', { qos: 1 });
  const dev = await site.connect(customer, device, five);
  const below = packets(dev);
  await dev.subscribeAsync(`${device}/commands`, { qos: 1 });
  const properties = {
    messageExpiryInterval: 1000,
    contentType: 'application/cms',
    responseTopic: `${device}/answers`,
    correlationData: Buffer.from([0, 255, 1]),
    payloadFormatIndicator: true,
    userProperties: { b: ['1', '2'], a: '3' },
  };
  await dev.publishAsync(`${device}/snapshots`, 'up', { qos: 1, properties });
  await service.publishAsync(`${device}/commands`, 'down', { qos: 1, properties });
  for (const [packet] of [await above(1), await below(1)]) {
    const { userProperties, messageExpiryInterval = 0, ...others } = packet?.properties ?? {};
    const { userProperties: sent, messageExpiryInterval: _expiry, ...expected } = properties;
    assert.deepEqual({ ...others }, expected);
    assert.deepEqual({ ...userProperties }, { ...sent, 'plombe-hops': '1' });
    assert(messageExpiryInterval > 0 && messageExpiryInterval <= 1000);
  }
});

test('cascade: the retain flag comes down as it was published, and no setting says which topics it counts for', async () => {
  const vendor = await startVendor('flag');
  const { broker: customer } = await startCustomer('flag', vendor, { retainDown: [] });
  const service = await site.connect(vendor, 'MRO-Admin');
  const dev = await site.connect(customer, device);
  await dev.subscribeAsync([`${device}/policy`, `${device}/commands`], { qos: 1 });
  await service.publishAsync(`${device}/policy`, 'kept', { qos: 1, retain: true });
  await service.publishAsync(`${device}/commands`, 'not kept', { qos: 1 });
  await site.received(dev).count(2);
  assert.equal(customer.state().retained, 1);
});

test('cascade: what was deleted above while this broker was away disappears here, and what was not stays', async () => {
  const vendor = await startVendor('reconcile');
  const service = await site.connect(vendor, 'MRO-Admin');
  const topics = Array.from({ length: 40 }, (_, index) => `ms-acc-1/acc-1/dev-${index}/policy`);
  for (const topic of topics) await service.publishAsync(topic, 'first', { qos: 1, retain: true });
  const first = await startCustomer('reconcile', vendor);
  const watcher = await site.connect(first.broker, 'ms-acc-1');
  await watcher.subscribeAsync('ms-acc-1/+/+/policy', { qos: 1 });
  await site.received(watcher).count(topics.length);
  await watcher.endAsync();
  await site.stop(first.broker);
  // The upstream forgets its session too, so nothing of what follows waits there.
  const [kept, changed, ...deleted] = topics;
  for (const topic of deleted) await service.publishAsync(topic, '', { qos: 1, retain: true });
  await service.publishAsync(changed ?? '', 'second', { qos: 1, retain: true });
  const thief = await site.connect(vendor, 'ms-acc-1', { clientId: 'cascade-of-ms-acc-1', clean: true });
  await thief.endAsync();
  const second = await startCustomer('reconcile', vendor);
  for (const topic of deleted) await second.journal.until('cascade.retained_removed', { topic });
  const late = await site.connect(second.broker, 'ms-acc-1');
  await late.subscribeAsync('ms-acc-1/+/+/policy', { qos: 1 });
  assert.deepEqual(
    (await site.received(late).count(2)).toSorted(),
    [`${kept}=first`, `${changed}=second`].toSorted(),
  );
  assert.equal(second.broker.state().retained, 2);
});

test('cascade: what was deleted or changed here while the link was down is so above', async () => {
  let vendor = await startVendor('upwards');
  const { port } = vendor;
  const { broker: customer, journal } = await startCustomer('upwards', vendor);
  const dev = await site.connect(customer, device);
  await dev.publishAsync(`${device}/status`, 'online', { qos: 1, retain: true });
  await dev.publishAsync(`${device}/certificates`, 'old', { qos: 1, retain: true });
  const before = await site.connect(vendor, 'MRO-Admin');
  await before.subscribeAsync([`${device}/status`, `${device}/certificates`], { qos: 1 });
  await site.received(before).count(2);
  await site.stop(vendor);
  await journal.until('link.lost');
  await dev.publishAsync(`${device}/status`, '', { qos: 1, retain: true });
  await dev.publishAsync(`${device}/certificates`, 'new', { qos: 1, retain: true });
  vendor = await startVendor('upwards', { port });
  const watcher = await site.connect(vendor, 'MRO-Admin');
  await watcher.subscribeAsync(`${device}/certificates`, { qos: 1 });
  const received = site.received(watcher);
  while (!received.texts.includes(`${device}/certificates=new`))
    await received.count(received.texts.length + 1);
  const late = await site.connect(vendor, 'MRO-Admin');
  await late.subscribeAsync([`${device}/status`, `${device}/certificates`], { qos: 1 });
  assert.deepEqual(await site.received(late).count(1), [`${device}/certificates=new`]);
});

test('cascade: what the upstream refuses for good is set aside with its reason, and the next ones go on', async (context) => {
  const upstream = await scriptedUpstream(context);
  const { broker: customer, journal } = await startCustomer('refused', upstream.endpoint);
  const conversation = await scriptedSession(upstream);
  const dev = await site.connect(customer, device);
  for (const text of ['bad', 'good']) await dev.publishAsync(`${device}/snapshots`, text, { qos: 1 });
  const bad = await nextFromDevice(conversation);
  conversation.send({ cmd: 'puback', messageId: bad.messageId ?? 0, reasonCode: 0x87 });
  const good = await nextFromDevice(conversation);
  conversation.send({ cmd: 'puback', messageId: good.messageId ?? 0, reasonCode: 0 });
  const line = await journal.until('cascade.message_set_aside', { reason: '0x87' });
  assert.equal(line['topic'], `${device}/snapshots`);
  await dev.publishAsync(`${device}/snapshots`, 'last', { qos: 1 });
  await nextFromDevice(conversation);
  assert.partialDeepStrictEqual(customer.state().cascade, { refused: 1, forwardedUp: 1, queued: 1 });
});

test('cascade: a message larger than the upstream takes is set aside', async () => {
  const vendor = await startVendor('large', { limits: { packetBytesMax: 2000 } });
  const { broker: customer, journal } = await startCustomer('large', vendor);
  const service = await site.connect(vendor, 'vendor-snapshot-service');
  await service.subscribeAsync('+/+/+/snapshots', { qos: 1 });
  const dev = await site.connect(customer, device);
  await dev.publishAsync(`${device}/snapshots`, 'x'.repeat(3000), { qos: 1 });
  await dev.publishAsync(`${device}/snapshots`, 'small', { qos: 1 });
  assert.deepEqual(await site.received(service).count(1), [`${device}/snapshots=small`]);
  await journal.until('cascade.message_set_aside', { reason: 'packet_too_large' });
});

test('cascade: an upstream whose queue is full gets it once there is room', async () => {
  const vendor = await startVendor('quota', { limits: { queuedMessagesMax: 2 } });
  const session = { clientId: 'ingest', clean: false };
  const service = await site.connect(vendor, 'vendor-snapshot-service', session);
  await service.subscribeAsync('+/+/+/snapshots', { qos: 1 });
  await service.endAsync();
  const { broker: customer, journal } = await startCustomer('quota', vendor);
  const dev = await site.connect(customer, device);
  for (let index = 0; index < 5; index++)
    await dev.publishAsync(`${device}/snapshots`, String(index), { qos: 1 });
  await journal.until('cascade.upstream_full', { reasonCode: '0x97' });
  const again = await site.connect(vendor, 'vendor-snapshot-service', session);
  assert.deepEqual(
    await site.received(again).count(5),
    Array.from({ length: 5 }, (_, index) => `${device}/snapshots=${index}`),
  );
  assert.equal(customer.state().cascade?.refused, 0);
});

test('cascade: over a wire that swallows everything, without a word, nothing is lost and order is kept', async (context) => {
  const vendor = await startVendor('silent');
  const session = { clientId: 'ingest', clean: false };
  const service = await site.connect(vendor, 'vendor-snapshot-service', session);
  await service.subscribeAsync('+/+/+/snapshots', { qos: 1 });
  const received = site.received(service);
  const wire = await Wire.to(vendor.port);
  context.after(() => wire.stop());
  const { broker: customer, journal } = await startCustomer('silent', wire.endpoint, { keepAliveSeconds: 1 });
  await journal.until('link.connected');
  const dev = await site.connect(customer, device);
  for (let index = 0; index < 100; index++) {
    if (index === 50) wire.fallSilent();
    await dev.publishAsync(`${device}/snapshots`, String(index), { qos: 1 });
  }
  await journal.until('link.lost', { reason: 'the broker stopped answering' });
  const complete = Array.from({ length: 100 }, (_, index) => `${device}/snapshots=${index}`);
  for (;;) {
    const distinct = [...new Set(received.texts)];
    if (distinct.length === complete.length) {
      assert.deepEqual(distinct, complete);
      return;
    }
    await received.count(received.texts.length + 1);
  }
});

test('cascade: when the preferred upstream is away the next one gets what waits', async () => {
  const first = await startVendor('failover-1');
  const second = await startVendor('failover-2');
  const { broker: customer, journal } = await startCustomer('failover', [first, second]);
  await journal.until('link.connected', { broker: `127.0.0.1:${first.port}` });
  const service = await site.connect(second, 'vendor-snapshot-service');
  await service.subscribeAsync('+/+/+/snapshots', { qos: 1 });
  await site.stop(first);
  const dev = await site.connect(customer, device);
  await dev.publishAsync(`${device}/snapshots`, 'x', { qos: 1 });
  assert.deepEqual(await site.received(service).count(1), [`${device}/snapshots=x`]);
  assert.equal(customer.state().cascade?.upstream, `127.0.0.1:${second.port}`);
});

test('cascade: topics are renamed on their way up and down', async () => {
  const vendor = await startVendor('renamed');
  const mapping = { local: 'ms-acc-1/hall/#', remote: `ms-acc-1/acc-1/#` };
  const { broker: customer } = await startCustomer('renamed', vendor, { up: [mapping], down: [mapping] });
  const service = await site.connect(vendor, 'MRO-Admin');
  await service.subscribeAsync(`${device}/snapshots`, { qos: 1 });
  const local = await site.connect(customer, 'ms-acc-1');
  await local.subscribeAsync('ms-acc-1/hall/dev-1/commands', { qos: 1 });
  await local.publishAsync('ms-acc-1/hall/dev-1/snapshots', 'up', { qos: 1 });
  assert.deepEqual(await site.received(service).count(1), [`${device}/snapshots=up`]);
  await service.publishAsync(`${device}/commands`, 'down', { qos: 1 });
  assert.deepEqual(await site.received(local).count(1), ['ms-acc-1/hall/dev-1/commands=down']);
});

test('cascade: a request says where its answer is awaited, under the name that the answer has there', async () => {
  const vendor = await startVendor('request');
  const mapping = { local: 'ms-acc-1/hall/#', remote: `ms-acc-1/acc-1/#` };
  const { broker: customer } = await startCustomer('request', vendor, { up: [mapping], down: [mapping] });
  const service = await site.connect(vendor, 'MRO-Admin', five);
  const above = packets(service);
  await service.subscribeAsync([`${device}/snapshots`, `${device}/answers`], { qos: 1 });
  const local = await site.connect(customer, 'ms-acc-1', five);
  const below = packets(local);
  await local.subscribeAsync('ms-acc-1/hall/dev-1/commands', { qos: 1 });

  const hall = { responseTopic: 'ms-acc-1/hall/dev-1/commands', correlationData: Buffer.from('1') };
  await local.publishAsync('ms-acc-1/hall/dev-1/snapshots', 'from below', { qos: 1, properties: hall });
  const { responseTopic = '' } = (await above(1))[0]?.properties ?? {};
  assert.equal(responseTopic, `${device}/commands`);
  const answer = { responseTopic: `${device}/answers`, correlationData: Buffer.from('2') };
  await service.publishAsync(responseTopic, 'from above', { qos: 1, properties: answer });
  const { properties } = (await below(1))[0] ?? {};
  assert.equal(properties?.responseTopic, 'ms-acc-1/hall/dev-1/answers');
  assert.deepEqual(properties.correlationData, Buffer.from('2'));
});

test('cascade: what is to come down no longer is not taken, although the upstream keeps the subscription', async () => {
  const vendor = await startVendor('narrowed-down');
  const [commands, policy] = [`${device}/commands`, `${device}/policy`];
  const first = await startCustomer('narrowed-down', vendor, { up: [], down: [commands, policy] });
  await first.journal.until('link.connected');
  const service = await site.connect(vendor, 'MRO-Admin');
  await service.publishAsync(policy, 'stands', { qos: 1, retain: true });
  const early = await site.connect(first.broker, device);
  await early.subscribeAsync(policy, { qos: 1 });
  await site.received(early).count(1);
  await site.stop(first.broker);

  const { broker: customer, journal } = await startCustomer('narrowed-down', vendor, {
    up: [],
    down: [policy],
  });
  const dev = await site.connect(customer, device);
  await dev.subscribeAsync([commands, policy], { qos: 1 });
  await site.received(dev).count(1);
  await service.publishAsync(commands, 'unwanted', { qos: 1 });
  await service.publishAsync(policy, 'wanted', { qos: 1, retain: true });
  assert.deepEqual((await site.received(dev).count(2)).slice(1), [`${policy}=wanted`]);
  await journal.until('cascade.message_dropped', { topic: commands, reason: 'not_carried' });
});

test('cascade: what is retained under a topic that is new takes no place from what waits, and goes up after it', async () => {
  const [upstreamPort = 0] = await freePorts(1);
  const [snapshots, status] = [`${device}/snapshots`, `${device}/status`];
  const queue = { messagesMax: 3 };
  const first = await startCustomer('widened', { port: upstreamPort }, { up: [snapshots], queue });
  const dev = await site.connect(first.broker, device);
  await dev.publishAsync(status, 'kept', { qos: 1, retain: true });
  for (const text of ['1', '2', '3']) await dev.publishAsync(snapshots, text, { qos: 1 });
  await site.stop(first.broker);
  const { journal } = await startCustomer(
    'widened',
    { port: upstreamPort },
    { up: [snapshots, status], queue },
  );
  await journal.until('link.connect_failed');
  const vendor = await startVendor('widened', { port: upstreamPort });
  const service = await site.connect(vendor, 'MRO-Admin');
  await service.subscribeAsync(`${device}/#`, { qos: 1 });
  assert.deepEqual((await site.received(service).count(4)).toSorted(), [
    ...['1', '2', '3'].map((text) => `${snapshots}=${text}`),
    `${status}=kept`,
  ]);
});

test('cascade: what waits and is to go up no longer, or under no name that is known, is set aside', async () => {
  const [upstreamPort = 0] = await freePorts(1);
  const [snapshots, status] = [`${device}/snapshots`, `${device}/status`];
  const first = await startCustomer('narrowed-up', { port: upstreamPort }, { up: [snapshots, status] });
  const dev = await site.connect(first.broker, device);
  await dev.publishAsync(snapshots, 'no longer', { qos: 1 });
  await dev.publishAsync(status, 'still', { qos: 1 });
  await site.stop(first.broker);
  const vendor = await startVendor('narrowed-up', { port: upstreamPort });
  const service = await site.connect(vendor, 'MRO-Admin');
  await service.subscribeAsync(`${device}/#`, { qos: 1 });
  const { journal } = await startCustomer('narrowed-up', vendor, { up: [status] });
  await journal.until('cascade.message_set_aside', { topic: snapshots, reason: 'not_carried' });
  assert.deepEqual(await site.received(service).count(1), [`${status}=still`]);
});

test('cascade: a ring of brokers ends a message after eight of them, with an event', async () => {
  const identity = await site.identity('ms-acc-1', ['127.0.0.1']);
  const ports = await freePorts(2);
  const journals: Journal[] = [];
  for (const [index, port] of ports.entries()) {
    const { journal } = await site.start(
      {
        listen: `127.0.0.1:${port}`,
        identity,
        data: path.join(site.directory, 'ring', String(index)),
        cascade: {
          upstream: `127.0.0.1:${ports[1 - index]}`,
          brokerName: 'ms-acc-1',
          up: ['ms-acc-1/+/+/snapshots'],
          down: [],
        },
      },
      { reconnect },
    );
    journals.push(journal);
  }
  const dev = await site.connect({ port: ports[0] ?? 0 }, device);
  await dev.subscribeAsync(`${device}/snapshots`, { qos: 1 });
  await dev.publishAsync(`${device}/snapshots`, 'round', { qos: 1 });
  await Promise.race(journals.map((journal) => journal.until('cascade.ring_ended')));
  // Its own, and every second of the eight.
  assert.equal((await site.received(dev).count(5)).length, 5);
});

test('cascade: its state is retained above, and says offline when it goes', async () => {
  const vendor = await startVendor('status');
  const { broker: customer } = await startCustomer('status', vendor);
  const service = await site.connect(vendor, 'vendor-snapshot-service');
  await service.subscribeAsync('+/broker/status', { qos: 1 });
  const [first] = await site.received(service).count(1);
  const [topic, json] = first?.split('=') ?? [];
  assert.equal(topic, 'ms-acc-1/broker/status');
  assert.partialDeepStrictEqual(JSON.parse(json ?? ''), {
    state: 'online',
    name: 'customer',
    queued: 0,
    refused: 0,
  });
  await site.stop(customer);
  const all = await site.received(service).count(2);
  assert.equal(all.at(-1), 'ms-acc-1/broker/status={"state":"offline","name":"customer"}');
});
