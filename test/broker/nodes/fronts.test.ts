import assert from 'node:assert/strict';
import { once } from 'node:events';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { connect as connectTls } from 'node:tls';
import process from 'node:process';
import { after, before, test } from 'node:test';
import { killBrokerProcesses, startBrokerProcess } from '../broker-process.ts';
import type { MqttClient } from 'mqtt';
import type { BrokerProcess } from '../broker-process.ts';
import type { Site } from '../fixture.ts';
import { openSite } from '../fixture.ts';

let site: Site;
before(() => void (site = openSite()));
after(async () => {
  await killBrokerProcesses();
  await site.remove();
});

const device = 'ms-acc-1/acc-1/dev-1';

/** The processes that listen, in the order of their start. */
function frontsOf(broker: BrokerProcess): number[] {
  return broker.journal.lines
    .filter(({ event }) => event === 'front.listening')
    .map(({ pid }) => Number(pid));
}

/** Asks again and again, for what nobody announces. */
async function until(isReached: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isReached())) await new Promise((resolve) => setTimeout(resolve, 20));
}

test('processes: clients of different processes reach each other, and take sessions over from each other', async () => {
  const broker = await startBrokerProcess(site, 'meet', { settings: { processes: 2 } });
  // The system spreads them: that all of them are with one process is as likely as a coin that falls on one side 8 times.
  const clients: MqttClient[] = [];
  for (let index = 0; index < 8; index++) {
    clients.push(await site.connect(broker, 'ms-acc-1', { clientId: `s-${index}` }));
  }
  await Promise.all(clients.map((client) => client.subscribeAsync('ms-acc-1/+/+/snapshots', { qos: 2 })));
  const publisher = await site.connect(broker, device);
  await publisher.publishAsync(`${device}/snapshots`, 'all', { qos: 2 });
  for (const client of clients) {
    assert.deepEqual(await site.received(client).count(1), [`${device}/snapshots=all`]);
  }
  const closed = new Promise<void>((resolve) => clients[0]?.once('close', resolve));
  await site.connect(broker, 'ms-acc-1', { clientId: 's-0' });
  await closed;
  assert.equal(new Set(frontsOf(broker)).size, 2);
  await broker.kill();
});

test('processes: a large message passes, in parts, to one who takes it slowly', async () => {
  const broker = await startBrokerProcess(site, 'large', { settings: { processes: 2 } });
  const subscriber = await site.connect(broker, 'ms-acc-1');
  await subscriber.subscribeAsync(`${device}/snapshots`, { qos: 1 });
  const publisher = await site.connect(broker, device);
  const payload = 'x'.repeat(250_000);
  await Promise.all([1, 2, 3].map(() => publisher.publishAsync(`${device}/snapshots`, payload, { qos: 1 })));
  const got = await site.received(subscriber).count(3);
  assert(got.every((text) => text.length === payload.length + `${device}/snapshots=`.length));
  await broker.kill();
});

test('processes: kill -9 of one publishes the wills of its clients, and another one takes its place', async () => {
  const broker = await startBrokerProcess(site, 'front-killed', { settings: { processes: 2 } });
  const will = { topic: `${device}/status`, payload: Buffer.from('lost'), qos: 1, retain: true } as const;
  const client = await site.connect(broker, device, { clientId: 'd', will });
  const closed = new Promise<void>((resolve) => client.once('close', resolve));
  // One of them has it; the other one goes on meanwhile.
  const [first = 0, second = 0] = frontsOf(broker);
  process.kill(first, 'SIGKILL');
  await broker.journal.until('front.ended', { pid: first });
  await until(() => frontsOf(broker).length === 3);
  process.kill(second, 'SIGKILL');
  await broker.journal.until('front.ended', { pid: second });
  await closed;
  await broker.journal.until('connection.closed', { clientId: 'd', reason: 'connection_lost' });
  const subscriber = await site.connect(broker, 'ms-acc-1');
  await subscriber.subscribeAsync(`${device}/status`, { qos: 1 });
  assert.deepEqual(await site.received(subscriber).count(1), [`${device}/status=lost`]);
  await broker.kill();
});

test('processes: SIGTERM answers what was read, closes the clients and ends every process', async () => {
  const broker = await startBrokerProcess(site, 'stopped', { settings: { processes: 2 } });
  const fronts = frontsOf(broker);
  const client = await site.connect(broker, device);
  const closed = new Promise<void>((resolve) => client.once('close', resolve));
  process.kill(broker.pid, 'SIGTERM');
  await closed;
  await broker.died();
  for (const pid of fronts) assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
});

test('processes: kill -9 of the one with the state ends the others', async () => {
  const broker = await startBrokerProcess(site, 'killed', { settings: { processes: 2 } });
  const client = await site.connect(broker, device);
  const closed = new Promise<void>((resolve) => client.once('close', resolve));
  await broker.kill();
  await closed;
});

test('processes: an address in use is said in one line, and nothing is left running', async () => {
  const broker = await startBrokerProcess(site, 'first', { settings: { processes: 1 } });
  await assert.rejects(
    startBrokerProcess(site, 'second', { port: broker.port, settings: { processes: 2 } }),
    /ended with 1/,
  );
  await broker.kill();
});

test('processes: a certificate that a process refuses is counted by the broker', async () => {
  const broker = await startBrokerProcess(site, 'counted', {
    settings: { processes: 1, observe: '127.0.0.1:0' },
  });
  const { rootsPem } = await site.tls(device);
  await site.rawConnectWith(broker.port, { ca: rootsPem }).then(
    (client) => client.closed,
    () => undefined,
  );
  const metrics = `http://127.0.0.1:${broker.observePort}/metrics`;
  await until(async () =>
    (await (await fetch(metrics)).text()).includes('plombe_broker_refusals_total{reason="tls"} 1'),
  );
  await broker.kill();
});

test('processes: the log names the address of a client, also where the one with the state refuses it', async () => {
  const broker = await startBrokerProcess(site, 'addresses', { settings: { processes: 1 } });
  const client = await site.connect(broker, device, { clientId: 'd' });
  const opened = await broker.journal.until('session.opened', { clientId: 'd' });
  assert.equal(opened['address'], '127.0.0.1');
  await client.endAsync();
  const closed = await broker.journal.until('connection.closed', { clientId: 'd' });
  assert.equal(closed['address'], '127.0.0.1');
  await broker.kill();
});

/** The serial number of the certificate that is shown, in a handshake with whichever process takes it. */
async function servedSerial({ port }: BrokerProcess): Promise<string | undefined> {
  const socket = connectTls({ host: '127.0.0.1', port, ...(await site.credentials(device)) });
  await once(socket, 'secureConnect');
  const serial = socket.getPeerX509Certificate()?.serialNumber;
  socket.destroy();
  return serial;
}

test('processes: a reload reaches each of them, and ends no connection', async () => {
  const identity = path.join(site.directory, 'keys/reloaded');
  const issue = { path: 'vendor-broker', kinds: ['tls' as const], hosts: ['127.0.0.1'] };
  await site.authority.issue({ ...issue, outputDirectory: identity });
  const broker = await startBrokerProcess(site, 'reloaded', { settings: { processes: 2, identity } });
  const subscribers: MqttClient[] = [];
  for (let index = 0; index < 8; index++) {
    const client = await site.connect(broker, 'ms-acc-1', { clientId: `r-${index}` });
    await client.subscribeAsync('ms-acc-1/+/+/snapshots', { qos: 1 });
    subscribers.push(client);
  }
  const before = await servedSerial(broker);
  const renewed = path.join(site.directory, 'keys/renewed');
  await site.authority.issue({ ...issue, outputDirectory: renewed });
  cpSync(renewed, identity, { recursive: true });
  const file = path.join(site.directory, 'reloaded/broker.yaml');
  writeFileSync(
    file,
    `${readFileSync(file, 'utf8')}limits: { perIdentity: { messagesPerSecondMax: 777 } }\n`,
  );
  process.kill(broker.pid, 'SIGHUP');
  const { changed } = await broker.journal.until('config.reloaded');
  assert.deepEqual(changed, ['limits.perIdentity', 'identity']);
  // Whoever of the two takes a handshake: both have it when none of as many shows the old one.
  for (let fresh = 0; fresh < 8;) fresh = (await servedSerial(broker)) === before ? 0 : fresh + 1;
  const publisher = await site.connect(broker, device);
  await publisher.publishAsync(`${device}/snapshots`, 'after', { qos: 1 });
  for (const client of subscribers) {
    assert.deepEqual(await site.received(client).count(1), [`${device}/snapshots=after`]);
  }
  assert.equal(broker.journal.find('connection.closed', { identity: 'ms-acc-1' }), undefined);
  assert.equal(broker.journal.find('front.ended'), undefined);
  await broker.kill();
});
