import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { askBroker } from '../../../broker/commands/ask-broker.ts';
import { killBrokerProcesses } from '../broker-process.ts';
import type { Site } from '../fixture.ts';
import { openSite } from '../fixture.ts';
import type { Nodes } from './node-processes.ts';
import { nodesOf } from './node-processes.ts';
import { killRedisProcesses } from '../../../soak/redis-process.ts';

let site: Site;
let nodes: Nodes;
before(async () => {
  site = openSite();
  // Longer than a busy machine stands still: nobody is to take over.
  nodes = await nodesOf(site, 'calm', ['a', 'b'], { durability: 'os', cluster: { leaseSeconds: 30 } });
  await nodes.start();
});
after(async () => {
  await killBrokerProcesses();
  await killRedisProcesses();
  await site.remove();
});

const device = 'ms-acc-1/acc-1/dev-1';
const snapshots = `${device}/snapshots`;

function node(index: number): { readonly port: number } {
  const found = nodes.all[index];
  assert(found);
  return found;
}

test('nodes: clients of different nodes reach each other, at each QoS, and find what was retained', async () => {
  const subscriber = await site.connect(node(1), 'ms-acc-1', { clientId: 'reach', clean: false });
  await subscriber.subscribeAsync('ms-acc-1/#', { qos: 2 });
  const publisher = await site.connect(node(0), device, { clientId: 'p' });
  const far = await site.connect(node(1), device, { clientId: 'q' });
  await publisher.publishAsync(snapshots, 'one', { qos: 1 });
  await far.publishAsync(snapshots, 'two', { qos: 2 });
  await far.publishAsync(`${device}/status`, 'kept', { qos: 1, retain: true });
  assert.deepEqual(await site.received(subscriber).count(3), [
    `${snapshots}=one`,
    `${snapshots}=two`,
    `${device}/status=kept`,
  ]);
  const late = await site.connect(node(0), 'ms-acc-1');
  await late.subscribeAsync(`${device}/status`, { qos: 1 });
  assert.deepEqual(await site.received(late).count(1), [`${device}/status=kept`]);
  await Promise.all([subscriber, publisher, far, late].map((client) => client.endAsync()));
});

test('nodes: a client id is taken over by a connection to another node, which gets what waited', async () => {
  const first = await site.rawConnect(node(1), 'ms-acc-1');
  await first.open({ clientId: 'moving', clean: false });
  first.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'ms-acc-1/#', qos: 1 }] });
  await first.next('suback');
  const publisher = await site.connect(node(0), device);
  await publisher.publishAsync(snapshots, 'unacknowledged', { qos: 1 });
  await first.next('publish');
  const second = await site.rawConnect(node(0), 'ms-acc-1');
  assert.equal((await second.open({ clientId: 'moving', clean: false })).sessionPresent, true);
  await first.closed;
  assert.partialDeepStrictEqual(await second.next('publish'), { dup: true });
  second.send({ cmd: 'disconnect' });
  await second.closed;
  await publisher.endAsync();
});

test('nodes: a share group has its members on both nodes, and each message goes to one of them', async () => {
  const members = await Promise.all([0, 1].map((index) => site.connect(node(index), 'ms-acc-1')));
  await Promise.all(
    members.map((member) => member.subscribeAsync('$share/g/ms-acc-1/+/+/snapshots', { qos: 1 })),
  );
  const publisher = await site.connect(node(1), device);
  for (let sent = 0; sent < 10; sent++) await publisher.publishAsync(snapshots, String(sent), { qos: 1 });
  const got = await Promise.all(members.map((member) => site.received(member).count(5)));
  assert.deepEqual(
    got.flat().toSorted(),
    Array.from({ length: 10 }, (_, sent) => `${snapshots}=${sent}`),
  );
  await Promise.all([...members, publisher].map((client) => client.endAsync()));
});

test('nodes: a certificate of a client is no ticket to the link between nodes', async () => {
  const active = await nodes.settled();
  const { privateKeyPem, chainPem, rootsPem } = await site.tls('ms-acc-1');
  const raw = await site.rawConnectWith(active.linkPort, {
    key: privateKeyPem,
    cert: chainPem,
    ca: rootsPem,
  });
  await raw.closed;
  await active.broker.journal.until('node.refused', { identity: 'ms-acc-1' });
});

test('plombe broker aside: a node that is passive says so, and the active one answers', async () => {
  const active = await nodes.settled();
  for (const { name } of nodes.all) {
    const data = path.join(site.directory, name, 'data');
    assert.deepEqual(await askBroker(data, { kind: 'list' }), {
      kind: 'unavailable',
      reason:
        name === active.name
          ? 'this broker has no upstream at the moment'
          : 'another node is active: ask that one',
    });
  }
});
