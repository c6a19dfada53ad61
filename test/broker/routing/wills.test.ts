import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { IConnectPacket } from 'mqtt-packet';
import { bundlePath } from '../../../pki/authority/store.ts';
import type { RunningBroker } from '../../../broker/main.ts';
import type { RawClient, Site } from '../fixture.ts';
import { Journal, openSite } from '../fixture.ts';
import { MemoryBroker } from '../memory-broker.ts';

let site: Site;
before(() => void (site = openSite()));
after(() => site.remove());

let sites = 0;
/** A broker whose clock and sweeps the test owns: `pass` lets time go by, and waits for the next sweep. */
async function start(data = path.join(site.directory, `wills-${sites++}`)): Promise<{
  broker: RunningBroker;
  journal: Journal;
  data: string;
  pass: (seconds: number) => void;
}> {
  let nowMs = Date.now();
  const started = await site.start({ data }, { clock: () => nowMs });
  return { ...started, data, pass: (seconds) => void (nowMs += seconds * 1000) };
}

const device = 'ms-acc-1/acc-1/dev-1';
const status = `${device}/status`;

/** Ends the connection without a goodbye; the broker has seen it when this resolves. */
async function lose(client: Pick<RawClient, 'sendHex' | 'closed'>): Promise<void> {
  client.sendHex('f0 00');
  await client.closed;
}

type WillOptions = NonNullable<IConnectPacket['will']>;

async function openWithWill(
  broker: RunningBroker,
  will: Partial<WillOptions> = {},
  more: Partial<IConnectPacket> = {},
): Promise<RawClient> {
  const client = await site.rawConnect(broker, device, 5);
  const { reasonCode } = await client.open({
    clientId: 'w',
    ...more,
    will: { topic: status, payload: Buffer.from('gone'), qos: 1, retain: true, ...will },
  });
  assert.equal(reasonCode, 0);
  return client;
}

async function watch(broker: RunningBroker): Promise<RawClient> {
  const watcher = await site.rawConnect(broker, 'ms-acc-1', 5);
  await watcher.open({ clientId: 'watcher' });
  watcher.send({
    cmd: 'subscribe',
    messageId: 1,
    subscriptions: [{ topic: 'ms-acc-1/+/+/status', qos: 0, rap: true }],
  });
  await watcher.next('suback');
  return watcher;
}

test('will: has its properties, and is not published after DISCONNECT 0 but after 4', async () => {
  const { broker } = await start();
  const watcher = await watch(broker);
  const properties = { contentType: 'text/plain', userProperties: { a: 'b' }, messageExpiryInterval: 60 };
  const polite = await openWithWill(broker, { properties });
  polite.send({ cmd: 'disconnect', reasonCode: 0 });
  await polite.closed;
  assert.deepEqual(await watcher.settled(), []);
  const leaving = await openWithWill(broker, { properties });
  leaving.send({ cmd: 'disconnect', reasonCode: 4 });
  const { payload, retain, properties: seen } = await watcher.next('publish');
  assert.deepEqual([payload.toString(), retain], ['gone', true]);
  assert.partialDeepStrictEqual(seen, { contentType: 'text/plain', messageExpiryInterval: 60 });
});

test('will delay: waits, unless the session ends before; a client that comes back in time takes it back', async () => {
  const { broker, pass } = await start();
  const watcher = await watch(broker);
  const lasting = { clean: false, properties: { sessionExpiryInterval: 100 } };
  const delayed = { properties: { willDelayInterval: 50 } };
  const first = await openWithWill(broker, delayed, lasting);
  await lose(first);
  const back = await openWithWill(broker, { ...delayed, payload: Buffer.from('second') }, lasting);
  pass(60);
  await lose(back);
  assert.deepEqual(await watcher.settled(), []);
  pass(51);
  assert.equal((await watcher.next('publish')).payload.toString(), 'second');
  const brief = await openWithWill(broker, { properties: { willDelayInterval: 1000 } }, lasting);
  await lose(brief);
  pass(101);
  assert.equal((await watcher.next('publish')).payload.toString(), 'gone');
  const restarted = await openWithWill(broker, { ...delayed, payload: Buffer.from('third') }, lasting);
  await lose(restarted);
  // A clean start ends the session, and so its will is due.
  const fresh = await site.rawConnect(broker, device, 5);
  await fresh.open({ clientId: 'w' });
  assert.equal((await watcher.next('publish')).payload.toString(), 'third');
});

test('will delay: a clock that is set back by a day makes it no longer than it is from then on', async (context) => {
  let nowMs = Date.now();
  const config = await site.config({ data: path.join(site.directory, 'set-back') });
  const broker = new MemoryBroker(site, config, { log: new Journal().log, clock: () => nowMs });
  context.after(() => broker.stop());
  const watcher = await broker.connect('ms-acc-1', 4);
  await watcher.open({ clientId: 'watcher' });
  watcher.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: status, qos: 0 }] });
  await watcher.next('suback');
  const client = await broker.connect(device, 5);
  const will = { topic: status, payload: Buffer.from('gone'), qos: 1 as const, retain: false };
  await client.open({
    clientId: 'w',
    properties: { sessionExpiryInterval: 100 },
    will: { ...will, properties: { willDelayInterval: 10 } },
  });
  await lose(client);
  nowMs -= 86_400_000;
  broker.sweep();
  nowMs += 9_999;
  broker.sweep();
  assert.deepEqual(await watcher.settled(), []);
  nowMs += 1;
  broker.sweep();
  assert.equal((await watcher.next('publish')).payload.toString(), 'gone');
});

test('will: of a client that is taken over is published, unless the session goes on and it has a delay', async () => {
  const { broker } = await start();
  const watcher = await watch(broker);
  const lasting = { clean: false, properties: { sessionExpiryInterval: 100 } };
  await openWithWill(broker, { properties: { willDelayInterval: 50 } }, lasting);
  await openWithWill(broker, { payload: Buffer.from('at once') }, lasting);
  const last = await site.rawConnect(broker, device, 5);
  await last.open({ clientId: 'w', ...lasting });
  assert.equal((await watcher.next('publish')).payload.toString(), 'at once');
  assert.deepEqual(await watcher.settled(), []);
});

test('will: what waits over a stop of the broker is published when it is due', async () => {
  const first = await start();
  const client = await openWithWill(
    first.broker,
    { properties: { willDelayInterval: 3600 } },
    { clean: false, properties: { sessionExpiryInterval: 100_000 } },
  );
  await lose(client);
  await site.stop(first.broker);
  const second = await start(first.data);
  const watcher = await watch(second.broker);
  assert.deepEqual(await watcher.settled(), []);
  second.pass(3601);
  assert.equal((await watcher.next('publish')).payload.toString(), 'gone');
});

test('will: of a revoked certificate is not published, neither at once nor after a delay', async () => {
  const { broker, journal, pass } = await start();
  const watcher = await watch(broker);
  const lasting = { clean: false, properties: { sessionExpiryInterval: 100_000 } };
  const delayed = await openWithWill(
    broker,
    { properties: { willDelayInterval: 50 } },
    { ...lasting, clientId: 'delayed' },
  );
  await lose(delayed);
  const connected = await openWithWill(broker, {}, { clientId: 'connected' });
  const other = await site.rawConnect(broker, 'ms-acc-1/acc-1/dev-2', 5);
  await other.open({
    clientId: 'other',
    will: { topic: 'ms-acc-1/acc-1/dev-2/status', payload: Buffer.from('genuine'), qos: 0, retain: false },
  });
  await site.authority.revoke({ target: { path: device }, reason: 'keyCompromise' });
  const service = await site.connect(broker, 'vendor-crl-service');
  const bundle = readFileSync(bundlePath(path.join(site.directory, 'pki'), 'tls'));
  pass(10);
  await service.publishAsync('vendor/crl/tls', bundle, { qos: 1, retain: true });
  assert.equal((await connected.next('disconnect')).reasonCode, 0x98);
  await journal.until('will.denied', { clientId: 'connected', reason: 'pki.revoked' });
  pass(60);
  await journal.until('will.denied', { clientId: 'delayed', reason: 'pki.revoked' });
  other.socket.destroy();
  assert.equal((await watcher.next('publish')).payload.toString(), 'genuine');
  assert.deepEqual(await watcher.settled(), []);
});
