import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { ExactClient } from '../../../soak/exact-client.ts';
import type { ExactClientOptions } from '../../../soak/exact-client.ts';
import type { BrokerProcess } from '../broker-process.ts';
import { killBrokerProcesses, startBrokerProcess } from '../broker-process.ts';
import type { Site } from '../fixture.ts';
import { Progress, openSite } from '../fixture.ts';
import { DiskFaults } from './disk-faults.ts';

let site: Site;
const mounts: string[] = [];
const clients: ExactClient[] = [];
before(() => void (site = openSite()));
after(async () => {
  for (const one of clients) one.drop();
  await killBrokerProcesses();
  for (const folder of mounts) spawnSync('umount', [folder]);
  await site.remove();
});

const device = 'ms-acc-1/acc-1/dev-1';
const topic = `${device}/snapshots`;
const settings = { observe: '127.0.0.1:0' };

async function client(
  identity: string,
  options: Partial<ExactClientOptions> & { port: number },
): Promise<ExactClient> {
  const tls = await site.credentials(identity);
  const opened = new ExactClient({ tls, clientId: 'c', qos: 2, ...options });
  clients.push(opened);
  return opened;
}

/** A session that has everything of the device, and what it has got. */
async function subscriberOf(
  port: number,
): Promise<{ subscriber: ExactClient; arrived: string[]; count: Progress }> {
  const arrived: string[] = [];
  const count = new Progress();
  const subscriber = await client('ms-acc-1', {
    port,
    filters: [topic],
    onMessage: ({ payload }) => {
      arrived.push(payload.toString().slice(0, 8).trim());
      count.add(1);
    },
  });
  await subscriber.open();
  await subscriber.settled();
  return { subscriber, arrived, count };
}

async function ask({ observePort }: BrokerProcess, route: string): Promise<{ status: number; text: string }> {
  const answer = await fetch(`http://127.0.0.1:${observePort}${route}`);
  return { status: answer.status, text: await answer.text() };
}

async function requireUnhealthy(broker: BrokerProcess, reason: RegExp): Promise<void> {
  const { status, text } = await ask(broker, '/healthz');
  assert.equal(status, 503);
  assert.match(text, reason);
  assert.match((await ask(broker, '/metrics')).text, /^plombe_broker_store_failures_total [1-9]/m);
}

test('a failed fsync: nothing is acknowledged, everybody is disconnected, and it goes on when the disk does', async () => {
  const faults = new DiskFaults(site.directory);
  const options = { settings, environment: faults.environment };
  const broker = await startBrokerProcess(site, 'fsync', options);
  const { subscriber, arrived, count } = await subscriberOf(broker.port);
  const acknowledged: string[] = [];
  const publisher = await client(device, {
    port: broker.port,
    onAcknowledged: (payload) => acknowledged.push(payload),
  });
  await publisher.open();
  publisher.publish(topic, 'before', 2);
  await count.until(1);
  await publisher.settled();
  faults.begin('fail');
  publisher.publish(topic, 'during', 2);
  await Promise.all([publisher.lost(), subscriber.lost()]);
  assert.deepEqual(acknowledged, ['before']);
  const { level, detail } = await broker.journal.until('store.failed');
  assert.equal(level, 'error');
  assert.match(String(detail), /disk I\/O error/);
  await requireUnhealthy(broker, /disk I\/O error/);
  await assert.rejects(publisher.open());
  await broker.journal.until('connection.refused', { reason: 'unavailable' });
  faults.end();
  await broker.journal.until('store.reopened');
  assert.equal((await ask(broker, '/healthz')).status, 200);
  await Promise.all([publisher.open(), subscriber.open()]);
  publisher.publish(topic, 'after', 2);
  await count.until(3);
  assert.deepEqual(arrived, ['before', 'during', 'after']);
  await broker.kill();
});

async function times({ journal }: BrokerProcess, wanted: string, count: number): Promise<void> {
  while (journal.lines.filter(({ event }) => event === wanted).length < count) await journal.next(wanted);
}

const wanted = 150;
const payloadBytes = 20_000;
const numbers = Array.from({ length: wanted }, (_, number) => String(number));

/** A session that is away, and a publisher that does not give up although it is closed for each refusal. */
async function overfill(broker: BrokerProcess): Promise<{
  subscriber: ExactClient;
  arrived: string[];
  count: Progress;
  acknowledged: Progress;
  end: () => Promise<void>;
}> {
  const { subscriber, arrived, count } = await subscriberOf(broker.port);
  subscriber.drop();
  await broker.journal.until('connection.closed', { clientId: 'c' });
  const acknowledged = new Progress();
  const onAcknowledged = (): void => acknowledged.add(1);
  const publisher = await client(device, { port: broker.port, window: 5, onAcknowledged });
  for (const number of numbers) publisher.publish(topic, number.padEnd(payloadBytes), 2);
  const publishing = publisher.stay();
  const end = async (): Promise<void> => {
    publisher.drop();
    subscriber.drop();
    await publishing;
    await broker.kill();
  };
  return { subscriber, arrived, count, acknowledged, end };
}

test('a write that finds no room: the store is opened again at once, and who reads is served before anything new is taken', async () => {
  const prologue = 'ulimit -S -f 2000'; // blocks of 512 octets
  const broker = await startBrokerProcess(site, 'limited', { settings, prologue });
  const { subscriber, arrived, count, acknowledged, end } = await overfill(broker);
  await broker.journal.until('store.failed');
  await broker.journal.until('store.reopened');
  await broker.journal.until('store.full', { reason: 'write_failed' });
  await broker.journal.until('publish.refused', { identity: device, reason: 'store_full' });
  assert.equal((await ask(broker, '/healthz')).status, 200);
  const kept = acknowledged.value;
  assert(kept > 5 && kept < wanted, `${kept} were acknowledged`);
  await subscriber.open();
  await count.until(kept);
  assert.equal(spawnSync('prlimit', ['--pid', String(broker.pid), '--fsize=unlimited:unlimited']).status, 0);
  await acknowledged.until(wanted);
  await count.until(wanted);
  assert.deepEqual(arrived, numbers);
  await broker.journal.until('store.relieved');
  await end();
});

/** A disk of 8 MB, with a file that leaves little of it. */
function smallDisk(name: string, ballastBytes: number): { data: string; ballast: string } {
  const folder = path.join(site.directory, name);
  mkdirSync(folder);
  assert.equal(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', folder]).status, 0);
  mounts.push(folder);
  const ballast = path.join(folder, 'ballast');
  writeFileSync(ballast, Buffer.alloc(ballastBytes));
  return { data: path.join(folder, 'data'), ballast };
}

/** Only root may mount a disk of its own. */
if (process.getuid?.() === 0) {
  test('a disk that gets full: publishers are refused before, and who reads goes on even if others take the rest of it', async () => {
    const { data, ballast } = smallDisk('shared-disk', 4_500_000);
    const limits = { diskFreeBytesMin: 2_500_000 };
    const broker = await startBrokerProcess(site, 'shared', { settings: { ...settings, data, limits } });
    const { subscriber, arrived, count, acknowledged, end } = await overfill(broker);
    await broker.journal.until('store.full', { reason: 'disk_free' });
    // The turns in which it was noticed are over.
    await times(broker, 'publish.refused', 3);
    const rest = `${ballast}-of-others`;
    assert.throws(() => writeFileSync(rest, Buffer.alloc(4_000_000)), { code: 'ENOSPC' });
    const kept = acknowledged.value;
    assert(kept > 5 && kept < wanted, `${kept} were acknowledged`);
    const reading = subscriber.stay();
    await count.until(kept);
    assert.match((await ask(broker, '/state')).text, /"full":"disk_free"/);
    rmSync(rest);
    rmSync(ballast);
    await acknowledged.until(wanted);
    await count.until(wanted);
    assert.deepEqual(arrived, numbers);
    assert.equal(broker.journal.find('store.failed'), undefined);
    await end();
    await reading;
  });

  test('a disk without room for the log: a clear state, and all arrives once there is room', async () => {
    const { data, ballast } = smallDisk('full-disk', 6_000_000);
    const limits = { diskFreeBytesMin: 1 };
    const broker = await startBrokerProcess(site, 'full', { settings: { ...settings, data, limits } });
    const { subscriber, arrived, count, acknowledged, end } = await overfill(broker);
    await broker.journal.until('store.failed', { reason: 'broker.store_full' });
    await requireUnhealthy(broker, /full/);
    assert(acknowledged.value < wanted);
    rmSync(ballast);
    await broker.journal.until('store.reopened');
    await acknowledged.until(wanted);
    await subscriber.open();
    await count.until(wanted);
    assert.deepEqual(arrived, numbers);
    await end();
  });
}

test('a disk that fails on: nothing is ready before a commit has worked', async () => {
  const faults = new DiskFaults(site.directory);
  const broker = await startBrokerProcess(site, 'failing', { settings, environment: faults.environment });
  const publisher = await client(device, { port: broker.port, clientId: 'p' });
  await publisher.open();
  faults.begin('fail');
  publisher.publish(topic, 'x', 2);
  await publisher.lost();
  // Nobody asks for anything, and still it does not open.
  await times(broker, 'store.failed', 2);
  assert.equal(broker.journal.find('store.reopened'), undefined);
  assert.equal((await ask(broker, '/readyz')).status, 503);
  faults.end();
  await broker.journal.until('store.reopened');
  assert.equal((await ask(broker, '/readyz')).status, 200);
  await broker.kill();
});
