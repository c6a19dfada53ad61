import assert from 'node:assert/strict';
import { once } from 'node:events';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import type { BrokerConfig } from '../../broker/config.ts';
import type { RunningBroker } from '../../broker/main.ts';
import { bundlePath } from '../../pki/authority/store.ts';
import { ConfigError } from '../../runtime/config.ts';
import { killBrokerProcesses, startBrokerProcess } from './broker-process.ts';
import { openSite } from './fixture.ts';
import type { Journal, Site } from './fixture.ts';

let site: Site;
before(() => {
  site = openSite();
});
after(async () => {
  await killBrokerProcesses();
  await site.remove();
});

const device = 'ms-acc-1/acc-1/dev-1';
const service = 'vendor-snapshot-service';

interface Reloading {
  readonly broker: RunningBroker;
  readonly journal: Journal;
  readonly reload: (changed: Readonly<Record<string, unknown>>) => Promise<boolean>;
}

async function start(name: string, settings: Readonly<Record<string, unknown>> = {}): Promise<Reloading> {
  const all = { data: path.join(site.directory, name), ...settings };
  const { broker, journal } = await site.start(all, {
    watchMs: 20,
    reconnect: { firstMs: 20, maxMs: 100 },
  });
  const reload = async (changed: Readonly<Record<string, unknown>>): Promise<boolean> => {
    const next: BrokerConfig = await site.config({ ...all, ...changed });
    return broker.reload(() => next);
  };
  return { broker, journal, reload };
}

/** A key directory of a broker that a test may write into. */
async function ownIdentity(name: string, from: Site = site): Promise<string> {
  const directory = path.join(site.directory, 'own', name);
  cpSync(await from.identity('vendor-broker', ['127.0.0.1']), directory, { recursive: true });
  return directory;
}

async function renew(directory: string): Promise<void> {
  const renewed = `${directory}.renewed`;
  await site.authority.issue({
    path: 'vendor-broker',
    kinds: ['tls'],
    outputDirectory: renewed,
    hosts: ['127.0.0.1'],
  });
  cpSync(renewed, directory, { recursive: true });
}

async function servedSerial(port: number): Promise<string | undefined> {
  const { privateKeyPem, chainPem, rootsPem } = await site.tls(device);
  const socket = connectTls({ host: '127.0.0.1', port, key: privateKeyPem, cert: chainPem, ca: rootsPem });
  await once(socket, 'secureConnect');
  const serial = socket.getPeerX509Certificate()?.serialNumber;
  socket.destroy();
  return serial;
}

test('reload: a renewed certificate is served by itself to whoever connects from then on, and who is there stays', async () => {
  const identity = await ownIdentity('renewed');
  const { broker, journal } = await start('renewed', { identity, listenWebSocket: '127.0.0.1:0' });
  const reader = await site.connect(broker, service);
  await reader.subscribeAsync('+/+/+/snapshots', { qos: 1 });
  const writer = await site.connect(broker, device);
  const before = await servedSerial(broker.port);
  await renew(identity);
  const { changed } = await journal.until('config.reloaded');
  assert.deepEqual(changed, ['identity']);
  const now = await servedSerial(broker.port);
  assert.notEqual(now, before);
  assert.equal(await servedSerial(broker.webSocketPort ?? 0), now);
  await writer.publishAsync(`${device}/snapshots`, 'still here', { qos: 1 });
  assert.deepEqual(await site.received(reader).count(1), [`${device}/snapshots=still here`]);
  assert.equal(journal.find('connection.closed', { identity: service }), undefined);
});

test('reload: a key without its certificate changes nothing, and is taken over once both are there', async () => {
  const identity = await ownIdentity('halves');
  const { broker, journal } = await start('halves', { identity });
  const before = await servedSerial(broker.port);
  const renewed = await ownIdentity('halves-source');
  await renew(renewed);
  cpSync(path.join(renewed, 'tls.key.pem'), path.join(identity, 'tls.key.pem'));
  const refused = await journal.until('config.refused', { reason: 'pki.malformed_key' });
  assert.match(String(refused['detail']), /tls\.key\.pem: the key is not the one/);
  assert.equal(await servedSerial(broker.port), before);
  cpSync(path.join(renewed, 'tls.chain.pem'), path.join(identity, 'tls.chain.pem'));
  await journal.until('config.reloaded');
  assert.notEqual(await servedSerial(broker.port), before);
});

test('reload: a narrowed role ends a live subscription, a stored one and a remembered right at once', async () => {
  const { broker, journal, reload } = await start('narrowed', { deniedPublish: 'drop' });
  const live = await site.connect(broker, service, { clientId: 'live' });
  await live.subscribeAsync(['+/+/+/snapshots', '$share/a/+/+/+/snapshots', '+/+/+/status'], { qos: 1 });
  const away = await site.connect(broker, service, { clientId: 'away', clean: false });
  await away.subscribeAsync('+/+/+/snapshots', { qos: 1 });
  await away.endAsync();
  const dev = await site.connect(broker, device);
  await dev.publishAsync(`${device}/snapshots`, 'before', { qos: 1 });
  await site.received(live).count(2);
  const command = await site.connect(broker, 'vendor-command-service');
  await dev.subscribeAsync(`${device}/commands`, { qos: 1 });
  await command.publishAsync(`${device}/commands`, 'before', { qos: 1 });
  await site.received(dev).count(1);

  const narrowed = { subscribe: ['+/+/+/status'] };
  assert(await reload({ roles: { [service]: narrowed, 'vendor-command-service': {} } }));
  const filters = ['+/+/+/snapshots', '$share/a/+/+/+/snapshots'];
  for (const filter of filters) assert(journal.find('subscription.removed', { clientId: 'live', filter }));
  assert(journal.find('subscription.removed', { clientId: 'away', filter: '+/+/+/snapshots' }));

  await dev.publishAsync(`${device}/snapshots`, 'after', { qos: 1 });
  await command.publishAsync(`${device}/commands`, 'after', { qos: 1 });
  assert(journal.find('publish.denied', { identity: 'vendor-command-service', reason: 'no_right' }));
  await dev.publishAsync(`${device}/status`, 'after', { qos: 1 });
  assert.deepEqual((await site.received(live).count(3)).slice(2), [`${device}/status=after`]);
  assert.deepEqual(site.received(dev).texts, [`${device}/commands=before`]);
  // What was queued under the old right is not delivered under the new one.
  const back = await site.connect(broker, service, { clientId: 'away', clean: false });
  await journal.until('message.dropped', { clientId: 'away', reason: 'no_longer_allowed' });
  await back.endAsync();
  assert.deepEqual(site.received(back).texts, []);
});

test('reload: a widened role grants from the next packet on', async () => {
  const { broker, reload } = await start('widened', { roles: { [service]: {} } });
  const reader = await site.connect(broker, service);
  await assert.rejects(reader.subscribeAsync('+/+/+/snapshots', { qos: 1 }));
  assert(await reload({ roles: undefined }));
  await reader.subscribeAsync('+/+/+/snapshots', { qos: 1 });
  const dev = await site.connect(broker, device);
  await dev.publishAsync(`${device}/snapshots`, 'now', { qos: 1 });
  await site.received(reader).count(1);
});

test('reload: whose root is no longer trusted is closed, who stands below another stays', async () => {
  const other = openSite();
  try {
    const identity = await ownIdentity('roots');
    const roots = path.join(identity, 'tls-root.crt.pem');
    const foreign = await ownIdentity('roots-foreign', other);
    const ownRoot = readFileSync(roots, 'utf8');
    writeFileSync(roots, ownRoot + readFileSync(path.join(foreign, 'tls-root.crt.pem'), 'utf8'));
    const { broker, journal, reload } = await start('roots', { identity });
    const stays = await site.connect(broker, device);
    const { privateKeyPem, chainPem } = await other.tls(device);
    const goes = await site.rawConnectWith(broker.port, {
      key: privateKeyPem,
      cert: chainPem,
      ca: ownRoot,
    });
    await goes.open({ clientId: 'goes' });
    writeFileSync(roots, ownRoot);
    assert(await reload({}));
    await goes.closed;
    await journal.until('connection.closed', { clientId: 'goes', reason: 'pki.untrusted' });
    await stays.publishAsync(`${device}/status`, 'here', { qos: 1 });
    const again = await site.rawConnectWith(broker.port, {
      key: privateKeyPem,
      cert: chainPem,
      ca: ownRoot,
    });
    await again.closed;
    await journal.until('connection.refused', { reason: 'tls' });
  } finally {
    await other.remove();
  }
});

test('reload: a CRL file that changes closes whoever it revokes', async () => {
  const bundle = path.join(site.directory, 'watched.crl.pem');
  const revoked = 'ms-acc-1/acc-1/dev-9';
  await site.identity(revoked);
  cpSync(bundlePath(path.join(site.directory, 'pki'), 'tls'), bundle);
  const { broker, journal } = await start('crls', { crls: [bundle] });
  const client = await site.connect(broker, revoked);
  const closed = new Promise((resolve) => {
    client.once('close', () => resolve(undefined));
  });
  await site.authority.revoke({ target: { path: revoked } });
  cpSync(bundlePath(path.join(site.directory, 'pki'), 'tls'), bundle);
  await closed;
  await journal.until('connection.closed', { identity: revoked, reason: 'pki.revoked' });
  const { changed } = await journal.until('config.reloaded');
  assert.deepEqual(changed, ['crls']);
});

test('reload: limits, policies and the log level change for whoever is there', async () => {
  const { broker, journal, reload } = await start('limits');
  const client = await site.connect(broker, device);
  await client.subscribeAsync(`${device}/a`, { qos: 0 });
  assert(
    await reload({
      limits: { subscriptionsPerSessionMax: 1, connectionsMax: 1 },
      deniedPublish: 'drop',
      log: { level: 'warn' },
    }),
  );
  assert.equal(journal.log.level, 'warn');
  await assert.rejects(client.subscribeAsync(`${device}/b`, { qos: 0 }));
  await client.publishAsync('ms-acc-2/x', 'denied, and dropped', { qos: 1 });
  await assert.rejects(site.connect(broker, service));
  await journal.until('connection.refused', { reason: 'connections_max' });
});

test('reload: what only a start can change is refused by name, and nothing else of the file counts', async () => {
  const { broker, journal, reload } = await start('fixed');
  const changed = { listen: '127.0.0.1:1', durability: 'disk', limits: { storeBytesMax: 1_000_000 } };
  assert.equal(await reload({ ...changed, roles: { [service]: {} } }), false);
  const { detail } = await journal.until('config.refused', { reason: 'broker.needs_restart' });
  assert.equal(
    detail,
    'cannot change listen, durability, limits.storeBytesMax while the broker runs: restart it',
  );
  const reader = await site.connect(broker, service);
  await reader.subscribeAsync('+/+/+/snapshots', { qos: 1 });
});

test('reload: whatever is wrong with a configuration, each fault is a line and nothing changes', async () => {
  const { broker, journal, reload } = await start('faults');
  const before = broker.state();
  const refused = broker.reload(() => {
    throw new ConfigError('broker.yaml', [
      { path: 'limits.inFlightMax', message: 'too small' },
      { path: '', message: 'cannot read it' },
    ]);
  });
  assert.equal(refused, false);
  assert(journal.find('config.refused', { setting: 'limits.inFlightMax', detail: 'too small' }));
  assert(journal.find('config.refused', { detail: 'cannot read it' }));
  const expected = { identity: 'ms-acc-1', clientId: 'x', subscriptions: ['ms-acc-2/#'] };
  assert.equal(await reload({ expectedSessions: [expected] }), false);
  assert(journal.find('config.refused', { reason: 'broker.expected_session' }));
  assert.deepEqual(broker.state(), before);
});

test('reload: a session that is expected from now on exists from now on', async () => {
  const { broker, reload } = await start('expected');
  const expected = { identity: service, clientId: 'later', subscriptions: ['+/+/+/snapshots'] };
  assert(await reload({ expectedSessions: [expected] }));
  const dev = await site.connect(broker, device);
  await dev.publishAsync(`${device}/snapshots`, 'kept', { qos: 1 });
  const client = await site.connect(broker, service, { clientId: 'later', clean: false });
  assert.deepEqual(await site.received(client).count(1), [`${device}/snapshots=kept`]);
});

test('reload: another upstream reopens the link alone, and what waits goes there', async () => {
  const first = await start('first upstream');
  const second = await start('second upstream');
  const upstream = (broker: RunningBroker): Readonly<Record<string, unknown>> => ({
    cascade: { upstream: `127.0.0.1:${broker.port}`, brokerName: 'vendor-broker', inFlightMax: 7 },
  });
  const identity = await site.identity('ms-acc-1', ['127.0.0.1']);
  const customer = await start('customer', { identity, ...upstream(first.broker) });
  const dev = await site.connect(customer.broker, device);
  const collect = async ({ broker }: Reloading): Promise<() => Promise<string[]>> => {
    const client = await site.connect(broker, service);
    await client.subscribeAsync('+/+/+/snapshots', { qos: 1 });
    return () => site.received(client).count(1);
  };
  const [fromFirst, fromSecond] = [await collect(first), await collect(second)];
  await dev.publishAsync(`${device}/snapshots`, 'one', { qos: 1 });
  assert.deepEqual(await fromFirst(), [`${device}/snapshots=one`]);
  await site.stop(first.broker);
  await dev.publishAsync(`${device}/snapshots`, 'two', { qos: 1 });
  assert(await customer.reload(upstream(second.broker)));
  assert.deepEqual(await fromSecond(), [`${device}/snapshots=two`]);
  assert.equal(customer.journal.find('connection.closed', { identity: device }), undefined);
  assert.equal(await customer.reload({ cascade: undefined }), false);
});

test('SIGHUP: the file is read again; a broken one is said to be so and changes nothing', async () => {
  const broker = await startBrokerProcess(site, 'signalled', { settings: { log: { level: 'info' } } });
  const file = path.join(site.directory, 'signalled', 'broker.yaml');
  const text = readFileSync(file, 'utf8');
  const reader = await site.connect(broker, service);
  await reader.subscribeAsync('+/+/+/snapshots', { qos: 1 });
  writeFileSync(file, `${text}lisen: nowhere\nqueueFull: perhaps\n`);
  process.kill(broker.pid, 'SIGHUP');
  await broker.journal.until('config.refused', { setting: 'lisen', detail: 'no such setting' });
  await broker.journal.until('config.refused', { setting: 'queueFull' });
  const dev = await site.connect(broker, device);
  await dev.publishAsync(`${device}/snapshots`, 'as before', { qos: 1 });
  await site.received(reader).count(1);
  writeFileSync(file, `${text}roles: { ${service}: {} }\n`);
  process.kill(broker.pid, 'SIGHUP');
  await broker.journal.until('subscription.removed', { identity: service });
});
