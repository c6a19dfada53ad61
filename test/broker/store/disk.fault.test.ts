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
before(() => void (site = openSite()));
after(async () => {
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
  return new ExactClient({ tls, clientId: 'c', qos: 2, ...options });
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

/** A disk with little room, and how it gets more. */
interface Volume {
  readonly name: string;
  readonly open: () => { prologue?: string; data?: string; enlarge: (broker: BrokerProcess) => void };
}

const limitedFile: Volume = {
  name: 'a limit on the size of files',
  open: () => ({
    prologue: 'ulimit -S -f 2000', // blocks of 512 octets
    enlarge: ({ pid }) => {
      assert.equal(spawnSync('prlimit', ['--pid', String(pid), '--fsize=unlimited:unlimited']).status, 0);
    },
  }),
};

const smallDisk: Volume = {
  name: 'a small disk',
  open: () => {
    const folder = path.join(site.directory, 'small-disk');
    mkdirSync(folder);
    assert.equal(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', folder]).status, 0);
    mounts.push(folder);
    const ballast = path.join(folder, 'ballast');
    writeFileSync(ballast, Buffer.alloc(6_000_000));
    return { data: path.join(folder, 'data'), enlarge: () => rmSync(ballast) };
  },
};

/** Only root may mount a disk of its own; the limit does without. */
const volumes = [limitedFile, ...(process.getuid?.() === 0 ? [smallDisk] : [])];

for (const [index, { name, open }] of volumes.entries()) {
  test(`a full disk (${name}): the publisher stays unanswered, and all arrives once there is room`, async () => {
    const { prologue = ':', data, enlarge } = open();
    const broker = await startBrokerProcess(site, `full-${index}`, {
      settings: { ...settings, ...(data === undefined ? {} : { data }) },
      prologue,
    });
    const { subscriber, arrived, count } = await subscriberOf(broker.port);
    subscriber.drop();
    await broker.journal.until('connection.closed', { clientId: 'c' });
    const wanted = 150;
    const acknowledged = new Progress();
    const publisher = await client(device, {
      port: broker.port,
      window: 5,
      onAcknowledged: () => acknowledged.add(1),
    });
    const numbers = Array.from({ length: wanted }, (_, number) => String(number));
    for (const number of numbers) publisher.publish(topic, number.padEnd(20_000), 2);
    const publishing = publisher.stay();
    await broker.journal.until('store.failed');
    assert.ok(acknowledged.value > 0 && acknowledged.value < wanted, String(acknowledged.value));
    await requireUnhealthy(broker, /full|I\/O/);
    enlarge(broker);
    await acknowledged.until(wanted);
    await subscriber.open();
    await count.until(wanted);
    assert.deepEqual(arrived, numbers);
    publisher.drop();
    await publishing;
    await broker.kill();
  });
}

test('storeBytesMax: at the bound publishers stay unanswered; who reads makes room, and all arrives once', async () => {
  const broker = await startBrokerProcess(site, 'bound', {
    settings: { ...settings, limits: { storeBytesMax: 1_000_000 } },
  });
  const { subscriber, arrived, count } = await subscriberOf(broker.port);
  subscriber.drop();
  await broker.journal.until('connection.closed', { clientId: 'c' });
  const wanted = 100;
  const publisher = await client(device, { port: broker.port, window: 5 });
  const numbers = Array.from({ length: wanted }, (_, number) => String(number));
  for (const number of numbers) publisher.publish(topic, number.padEnd(20_000), 2);
  const publishing = publisher.stay();
  const { detail } = await broker.journal.until('store.failed');
  assert.match(String(detail), /full/);
  const reading = subscriber.stay();
  await count.until(wanted);
  assert.deepEqual(arrived, numbers);
  publisher.drop();
  subscriber.drop();
  await Promise.all([publishing, reading]);
  await broker.kill();
});
