import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { IPublishPacket, ISubscribePacket } from 'mqtt-packet';
import type { RunningBroker } from '../../../broker/main.ts';
import type { Site } from '../fixture.ts';
import { openSite } from '../fixture.ts';
import { tlsBundleOf } from '../../pki/lists.ts';

let site: Site;
before(() => void (site = openSite()));
after(() => site.remove());

const device = 'ms-acc-1/acc-1/dev-1';
const topic = `${device}/snapshots`;
const status = `${device}/status`;

function publish(messageId: number, more: Partial<IPublishPacket> = {}): IPublishPacket {
  const payload = Buffer.alloc(20_000, messageId);
  return { cmd: 'publish', topic, payload, qos: 1, dup: false, retain: false, messageId, ...more };
}

function subscribe(filter: string): ISubscribePacket {
  return { cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: filter, qos: 1 }] };
}

/** A stored session that is away, and messages for it until no more is taken. @returns how many were */
async function fill(broker: RunningBroker): Promise<number> {
  const subscriber = await site.connect(broker, 'ms-acc-1', { clientId: 's', clean: false });
  await subscriber.subscribeAsync(topic, { qos: 1 });
  await subscriber.endAsync();
  const publisher = await site.rawConnect(broker, device, 5);
  await publisher.open({ clientId: 'filler' });
  for (let messageId = 1; messageId < 1000; messageId++) {
    publisher.send(publish(messageId));
    const { reasonCode } = await publisher.next('puback');
    if (reasonCode === 0) continue;
    assert.equal(reasonCode, 0x97);
    return messageId - 1;
  }
  throw new Error('it is never full');
}

test('a store near its bound: publishers are refused by name, nobody else is, and it takes up again once somebody has read', async () => {
  const { broker, journal } = await site.start({ observe: '127.0.0.1:0', limits: { storeBytesMax: 1e6 } });
  const bystander = await site.rawConnect(broker, 'ms-acc-1', 5);
  await bystander.open({ clientId: 'bystander' });
  bystander.send(subscribe(status));
  await bystander.next('suback');
  const publisher = await site.rawConnect(broker, device, 5);
  await publisher.open({ clientId: 'p' });
  publisher.send(publish(1, { topic: status, retain: true }));
  await bystander.next('publish');
  await publisher.next('puback');
  const acknowledged = await fill(broker);
  assert(acknowledged > 20, `${acknowledged} were acknowledged`);
  await journal.until('store.full', { reason: 'store_bytes_max', level: 'error' });
  await journal.until('publish.refused', {
    identity: device,
    clientId: 'filler',
    topic,
    reason: 'store_full',
  });
  const ask = async (route: string): Promise<string> =>
    (await fetch(`http://127.0.0.1:${broker.observePort}${route}`)).text();
  const refusals = async (): Promise<number> =>
    Number(/^plombe_broker_refusals_total\{reason="store_full"\} (\d+)$/m.exec(await ask('/metrics'))?.[1]);
  const warnings = ['the store is full (store_bytes_max): publishers are refused'];
  assert.deepEqual(JSON.parse(await ask('/readyz')), { ready: true, reasons: [], warnings });
  assert.partialDeepStrictEqual(broker.state(), { store: { full: 'store_bytes_max' } });

  // What need not be stored goes on; what makes room does, too.
  for (const qos of [0, 1] as const) {
    publisher.send(publish(2, { topic: status, payload: 'live', qos }));
    assert.equal((await bystander.next('publish')).payload.toString(), 'live');
    if (qos === 1) assert.equal((await publisher.next('puback')).reasonCode, 0);
  }
  publisher.send(publish(3, { topic: status, payload: '', retain: true }));
  assert.equal((await publisher.next('puback')).reasonCode, 0);
  publisher.send(publish(4, { topic: status, retain: true }));
  assert.equal((await publisher.next('puback')).reasonCode, 0x97);

  // What nobody is answered for is said to the administrator all the same.
  publisher.send(publish(6, { topic: status, retain: true, qos: 0 }));
  await publisher.settled();
  const will = { topic: status, payload: Buffer.from('gone'), qos: 1, retain: true } as const;
  const dying = await site.rawConnect(broker, device);
  await dying.open({ clientId: 'dying', will });
  dying.socket.destroy();
  await journal.until('will.refused', { identity: device, clientId: 'dying', reason: 'store_full' });
  await journal.until('publish.refused', { identity: device, clientId: 'p', reason: 'store_full' });
  assert.equal(await refusals(), 4);

  // With 3.1.1 the end of the connection is all that can be said.
  const older = await site.rawConnect(broker, device);
  await older.open({ clientId: 'older' });
  older.send(publish(1));
  await older.closed;
  await journal.until('connection.closed', { clientId: 'older', reason: 'store_full' });

  const stranger = await site.rawConnect(broker, device, 5);
  const properties = { sessionExpiryInterval: 100 };
  const { reasonCode } = await stranger.open({ clientId: 'new', properties });
  assert.equal(reasonCode, 0x97);
  await journal.until('session.refused', { clientId: 'new', reason: 'store_full' });

  const reader = await site.rawConnect(broker, 'ms-acc-1');
  await reader.open({ clientId: 's', clean: false });
  reader.send(subscribe(status));
  assert.deepEqual((await reader.next('suback')).granted, [0x80]);
  await journal.until('subscription.denied', { clientId: 's', reason: 'store_full' });
  for (let count = 0; count < acknowledged; count++) {
    const { messageId } = await reader.next('publish');
    reader.send({ cmd: 'puback', messageId: messageId ?? 0 });
  }
  await journal.until('store.relieved');
  publisher.send(publish(5));
  assert.equal((await publisher.next('puback')).reasonCode, 0);
  assert.equal((await reader.next('publish')).payload.length, 20_000);
  assert.deepEqual([bystander.isClosed, publisher.isClosed], [false, false]);
  assert.equal(journal.find('store.failed'), undefined);
  assert.equal(await refusals(), 6); // the older client and the new session, too; a subscription is a denial
  assert.match(await ask('/metrics'), /^plombe_broker_store_bytes [1-9]/m);
});

test('a store near its bound: whoever filled it does not keep out the list that revokes him', async () => {
  const { broker, journal } = await site.start({
    data: path.join(site.directory, 'revoked'),
    limits: { storeBytesMax: 1e6 },
  });
  await fill(broker);
  const thief = await site.rawConnect(broker, 'ms-acc-1/acc-1/dev-2');
  await thief.open({ clientId: 'thief' });
  await site.authority.revoke({ target: { path: 'ms-acc-1/acc-1/dev-2' }, reason: 'keyCompromise' });
  const lists = await site.rawConnect(broker, 'vendor-crl-service', 5);
  await lists.open({ clientId: 'lists' });
  const payload = Buffer.from(tlsBundleOf(site.authority));
  lists.send(publish(1, { topic: 'vendor/crl/tls', payload, retain: true }));
  assert.equal((await lists.next('puback')).reasonCode, 0x97, 'it is to be published again');
  await thief.closed;
  await journal.until('crl.applied');
});
