import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import type { Authority } from '../../../pki/authority/authority.ts';
import { createAuthority } from '../../../pki/authority/authority.ts';
import { bundlePath } from '../../../pki/authority/store.ts';
import { readFileSync } from 'node:fs';
import { loadTlsIdentity } from '../../../pki/identity.ts';
import type { RunningBroker } from '../../../broker/main.ts';
import { certificatesToPem } from '../../../pki/certificate.ts';
import { privateKeyToPem } from '../../../pki/private-key.ts';
import { clientAuth, rogueCertificate, stolenAuthority } from '../../pki/rogue-authority.ts';
import type { Journal, Site } from '../fixture.ts';
import { openSite } from '../fixture.ts';

let site: Site;
let broker: RunningBroker;
let journal: Journal;
before(async () => {
  site = openSite();
  ({ broker, journal } = await site.start());
});
after(() => site.remove());

const granted = 'granted';
const table: readonly (readonly [identity: string, filter: string, answer: typeof granted | 'denied'])[] = [
  ['ms-acc-1', 'ms-acc-1/#', granted],
  ['ms-acc-1', 'ms-acc-1/acc-1/dev-1/snapshots', granted],
  ['ms-acc-1', '#', 'denied'],
  ['ms-acc-1', 'ms-acc-10/#', 'denied'],
  ['ms-acc-1/acc-1', 'ms-acc-1/#', 'denied'],
  ['ms-acc-1/acc-1', 'ms-acc-1/acc-1', granted],
  ['ms-acc-1/acc-1', 'ms-acc-1/acc-1/#', granted],
  ['ms-acc-1/acc-1', 'ms-acc-1/acc-1/dev-1/snapshots', granted],
  ['ms-acc-1/acc-1/dev-1', 'ms-acc-1/acc-1/dev-1/#', granted],
  ['ms-acc-1/acc-1/dev-1', 'ms-acc-2/acc-1/dev-1/#', 'denied'],
  ['ms-acc-1/acc-1/dev-1', 'ms-acc-1/acc-1/dev-2/snapshots', 'denied'],
  ['ms-acc-1/acc-1/dev-1', 'ms-acc-1/acc-1/#', 'denied'],
  ['ms-acc-2', 'ms-acc-1/#', 'denied'],
  ['ms-acc-2', 'ms-acc-2/acc-1/#', granted],
  ['ms-acc-2/acc-1/dev-2', 'ms-acc-2/acc-1/dev-2/#', granted],
  ['ms-acc-2/acc-1/dev-2', 'ms-acc-2/acc-1/dev-1/#', 'denied'],
  ['ms-acc-2/acc-1/dev-2', '$SYS/#', 'denied'],
  ['ms-acc-2/acc-1/dev-2', '$share/g/ms-acc-2/acc-1/dev-2/#', granted],
  ['ms-acc-2/acc-1/dev-2', '$share/g/ms-acc-2/acc-1/dev-1/#', 'denied'],
  ['ms-acc-2/acc-1/dev-2', '$share/ms-acc-2/acc-1/dev-2/#', 'denied'],
  ['ms-acc-2/acc-1/dev-2', '$share/g/#', 'denied'],
  ['ms-acc-2/acc-1/dev-2', '$share/g/$share/g/ms-acc-2/acc-1/dev-2/#', 'denied'],
  ['MRO-Admin', '#', granted],
  ['MRO-Admin', '$SYS/#', granted],
  ['vendor-snapshot-service', '+/+/+/snapshots', granted],
  ['vendor-snapshot-service', '+/+/+/commands', 'denied'],
];

test('subscribe: DESIGN §4 over TLS, with 0x80 for what is denied', async () => {
  for (const identity of new Set(table.map(([name]) => name))) {
    const client = await site.rawConnect(broker, identity);
    await client.open({ clientId: 'table' });
    const rows = table.filter(([name]) => name === identity);
    client.send({
      cmd: 'subscribe',
      messageId: 1,
      subscriptions: rows.map(([, filter]) => ({ topic: filter, qos: 1 })),
    });
    const suback = await client.next('suback');
    assert.deepEqual(
      suback.granted,
      rows.map(([, , answer]) => (answer === granted ? 1 : 0x80)),
      identity,
    );
    client.socket.destroy();
  }
  assert(journal.find('subscription.denied', { identity: 'ms-acc-1', filter: '#', reason: 'no_right' }));
});

for (const filter of [
  '$share//ms-acc-2/acc-1/dev-2/#',
  '$share/+/ms-acc-2/acc-1/dev-2/#',
  '$share/g',
  'ms-acc-2/acc-1/dev-2/a#',
]) {
  test(`subscribe: ${filter} is no filter, and ends the connection`, async () => {
    const client = await site.rawConnect(broker, 'ms-acc-2/acc-1/dev-2');
    await client.open({ clientId: 'malformed' });
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: filter, qos: 1 }] });
    await client.closed;
    assert.deepEqual(client.packets, []);
  });
}

test('subscribe: what was denied beside what was granted never arrives, not even after a reconnect or a restart', async () => {
  const data = { data: path.join(site.directory, 'denied') };
  let { broker: other } = await site.start(data);
  const session = { clientId: 'mixed', clean: false };
  const subscriber = await site.rawConnect(other, 'ms-acc-1/acc-1/dev-1');
  await subscriber.open(session);
  subscriber.send({
    cmd: 'subscribe',
    messageId: 1,
    subscriptions: [
      { topic: 'ms-acc-1/acc-1/dev-1/#', qos: 1 },
      { topic: 'ms-acc-1/acc-1/dev-2/#', qos: 1 },
    ],
  });
  assert.deepEqual((await subscriber.next('suback')).granted, [1, 0x80]);
  subscriber.socket.destroy();

  const publishBoth = async (): Promise<void> => {
    const publisher = await site.connect(other, 'ms-acc-1');
    await publisher.publishAsync('ms-acc-1/acc-1/dev-2/snapshots', 'foreign', { qos: 1 });
    await publisher.publishAsync('ms-acc-1/acc-1/dev-1/snapshots', 'own', { qos: 1 });
    await publisher.endAsync();
  };
  const receiveOne = async (): Promise<string> => {
    const client = await site.rawConnect(other, 'ms-acc-1/acc-1/dev-1');
    await client.open(session);
    const { payload, messageId } = await client.next('publish');
    client.send({ cmd: 'puback', messageId: messageId ?? 0 });
    client.send({ cmd: 'pingreq' });
    await client.next('pingresp');
    assert.deepEqual(client.packets, []);
    client.socket.destroy();
    return payload.toString();
  };
  await publishBoth();
  assert.equal(await receiveOne(), 'own');
  await site.stop(other);
  ({ broker: other } = await site.start(data));
  await publishBoth();
  assert.equal(await receiveOne(), 'own');
});

test('delivery: what was queued before the rights changed is not delivered, and the subscription is removed', async () => {
  const data = { data: path.join(site.directory, 'rights') };
  const roles = { 'vendor-test-service': { subscribe: ['+/+/+/snapshots'] } };
  const session = { clientId: 'rights', clean: false };
  const { broker: generous } = await site.start({ ...data, roles });
  const subscriber = await site.rawConnect(generous, 'vendor-test-service');
  await subscriber.open(session);
  subscriber.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: '+/+/+/snapshots', qos: 1 }] });
  assert.deepEqual((await subscriber.next('suback')).granted, [1]);
  subscriber.socket.destroy();
  const publisher = await site.connect(generous, 'ms-acc-1');
  await publisher.publishAsync('ms-acc-1/acc-1/dev-1/snapshots', 'secret', { qos: 1 });
  await publisher.endAsync();
  await site.stop(generous);
  const { broker: strict, journal: strictJournal } = await site.start(data);
  const again = await site.rawConnect(strict, 'vendor-test-service');
  await again.open(session);
  again.send({ cmd: 'pingreq' });
  await again.next('pingresp');
  assert.deepEqual(again.packets, []);
  assert(strictJournal.find('subscription.removed', { filter: '+/+/+/snapshots' }));
  assert(strictJournal.find('message.dropped', { reason: 'no_longer_allowed' }));
});

test('publish: a denied one closes the connection, unacknowledged, and reaches nobody', async () => {
  const owner = await site.connect(broker, 'ms-acc-2');
  await owner.subscribeAsync('ms-acc-2/#', { qos: 1 });
  const intruder = await site.rawConnect(broker, 'ms-acc-1/acc-1/dev-1');
  await intruder.open({ clientId: 'intruder' });
  const topic = 'ms-acc-2/acc-1/dev-1/snapshots';
  intruder.send({ cmd: 'publish', topic, payload: 'forged', qos: 1, dup: false, retain: true, messageId: 1 });
  await intruder.closed;
  assert.deepEqual(intruder.packets, []);
  assert(journal.find('publish.denied', { identity: 'ms-acc-1/acc-1/dev-1', topic, reason: 'no_right' }));
  await owner.publishAsync(topic, 'genuine', { qos: 1 });
  assert.deepEqual(await site.received(owner).count(1), [`${topic}=genuine`]);
});

test('publish: with `deniedPublish: drop` it is acknowledged, dropped and counted', async () => {
  const { broker: other } = await site.start({
    data: path.join(site.directory, 'drop'),
    deniedPublish: 'drop',
  });
  const owner = await site.connect(other, 'ms-acc-2');
  await owner.subscribeAsync('ms-acc-2/#', { qos: 1 });
  const intruder = await site.connect(other, 'ms-acc-1/acc-1/dev-1');
  for (const qos of [0, 1, 2] as const) await intruder.publishAsync('ms-acc-2/x', 'forged', { qos });
  await owner.publishAsync('ms-acc-2/x', 'genuine', { qos: 1 });
  assert.deepEqual(await site.received(owner).count(1), ['ms-acc-2/x=genuine']);
});

test('listener: a certificate that a customer CA issued for another customer is refused, with a log line', async () => {
  await site.identity('ms-acc-1/acc-1/dev-1');
  const customer = stolenAuthority(site.authority, 'tls', 'ms-acc-1/acc-1');
  const account = stolenAuthority(site.authority, 'tls', 'ms-acc-1');
  const { key, certificate } = rogueCertificate({
    issuer: customer,
    commonName: 'ms-acc-2/acc-1/dev-1',
    extendedKeyUsage: [clientAuth],
  });
  const privateKeyPem = privateKeyToPem(key);
  const chainPem = certificatesToPem([certificate, customer.certificate, account.certificate]);
  const socket = connectTls({
    host: '127.0.0.1',
    port: broker.port,
    key: privateKeyPem,
    cert: chainPem,
    ca: (await site.tls('ms-acc-1')).rootsPem,
  });
  socket.on('error', () => undefined);
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.resume();
  await closed;
  const line = await journal.until('connection.refused', { identity: 'ms-acc-2/acc-1/dev-1' });
  assert.equal(line['reason'], 'pki.path_discipline');
});

test('listener: a certificate of another root is refused before MQTT begins', async () => {
  const stranger: Authority = createAuthority({ directory: path.join(site.directory, 'stranger') });
  const directory = path.join(site.directory, 'stranger-keys');
  await stranger.issue({ path: 'ms-acc-1', kinds: ['tls'], outputDirectory: directory });
  const { privateKeyPem, chainPem } = loadTlsIdentity(directory);
  const socket = connectTls({
    host: '127.0.0.1',
    port: broker.port,
    key: privateKeyPem,
    cert: chainPem,
    ca: (await site.tls('ms-acc-1')).rootsPem,
  });
  socket.on('error', () => undefined);
  socket.resume();
  await new Promise((resolve) => socket.once('close', resolve));
  const line = await journal.until('connection.refused', { reason: 'tls' });
  assert.equal(line['identity'], 'ms-acc-1');
  assert.equal(line['detail'], 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY');
});

test('listener: a client without a certificate is refused', async () => {
  const socket = connectTls({
    host: '127.0.0.1',
    port: broker.port,
    ca: (await site.tls('ms-acc-1')).rootsPem,
  });
  socket.on('error', () => undefined);
  socket.resume();
  await new Promise((resolve) => socket.once('close', resolve));
  const { reason } = await journal.until('connection.refused', { identity: undefined });
  assert.equal(reason, 'tls');
});

test('listener: a resumed TLS session is verified like the first', async () => {
  const { privateKeyPem, chainPem, rootsPem } = await site.tls('ms-acc-1/acc-1/dev-1');
  const options = { host: '127.0.0.1', port: broker.port, key: privateKeyPem, cert: chainPem, ca: rootsPem };
  const first = connectTls({ ...options, maxVersion: 'TLSv1.2' });
  first.resume();
  const session = await new Promise<Buffer>((resolve) => first.once('session', resolve));
  first.destroy();
  const second = await site.rawConnectWith(broker.port, { ...options, session, maxVersion: 'TLSv1.2' });
  assert(second.socket.isSessionReused());
  assert.partialDeepStrictEqual(await second.open({ clientId: 'resumed' }), { returnCode: 0 });
});

test('revocation: a list on vendor/crl/tls closes the session of the revoked, and keeps it out', async () => {
  const victim = await site.rawConnect(broker, 'ms-acc-7/acc-1/dev-1');
  await victim.open({ clientId: 'victim' });
  const bystander = await site.rawConnect(broker, 'ms-acc-7/acc-1/dev-2');
  await bystander.open({ clientId: 'bystander' });
  await site.authority.revoke({ target: { path: 'ms-acc-7/acc-1/dev-1' }, reason: 'keyCompromise' });
  const service = await site.connect(broker, 'vendor-crl-service');
  const bundle = readFileSync(bundlePath(path.join(site.directory, 'pki'), 'tls'));
  await service.publishAsync('vendor/crl/tls', bundle, { qos: 1, retain: true });
  await victim.closed;
  bystander.send({ cmd: 'pingreq' });
  await bystander.next('pingresp');
  const again = await site.rawConnect(broker, 'ms-acc-7/acc-1/dev-1');
  await again.closed;
  await journal.until('connection.refused', { identity: 'ms-acc-7/acc-1/dev-1', reason: 'pki.revoked' });
});

test('$SYS: the administrator reads the version and the number of clients', async () => {
  const admin = await site.connect(broker, 'MRO-Admin');
  await admin.subscribeAsync(['$SYS/broker/version', '$SYS/broker/clients/connected'], { qos: 0 });
  const [version = '', connected = ''] = await site.received(admin).count(2);
  assert.match(version, /^\$SYS\/broker\/version=plombe version \d+\.\d+\.\d+$/);
  assert.match(connected, /^\$SYS\/broker\/clients\/connected=[1-9]\d*$/);
});
