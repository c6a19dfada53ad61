import assert from 'node:assert/strict';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { askBroker } from '../../../broker/commands/ask-broker.ts';
import { commandDoorIn } from '../../../broker/commands/command-door.ts';
import type { Order } from '../../../broker/commands/order.ts';
import type { RefusedMessage } from '../../../broker/cascade/up-store.ts';
import type { RunningBroker } from '../../../broker/main.ts';
import { freePorts } from '../../../runtime/free-ports.ts';
import { plombe } from '../../system/process.ts';
import type { Finished } from '../../system/process.ts';
import { killBrokerProcesses, startBrokerProcess } from '../broker-process.ts';
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
const reconnect = { firstMs: 20, maxMs: 100 };
const large = 'x'.repeat(3000);

/** That takes no packet as large as the messages of these tests, or does. */
async function startVendor(name: string, port: number, packetBytesMax: number): Promise<RunningBroker> {
  const data = path.join(site.directory, name, 'vendor');
  const { broker } = await site.start({ listen: `127.0.0.1:${port}`, data, limits: { packetBytesMax } });
  return broker;
}

async function customerSettings(name: string, upstreamPort: number): Promise<Record<string, unknown>> {
  return {
    name: 'customer',
    identity: await site.identity('ms-acc-1', ['127.0.0.1']),
    data: path.join(site.directory, name, 'data'),
    cascade: { upstream: `127.0.0.1:${upstreamPort}`, brokerName: 'vendor-broker' },
  };
}

async function listed(data: string): Promise<readonly RefusedMessage[]> {
  const answer = await askBroker(data, { kind: 'list' });
  assert(answer.kind === 'list', JSON.stringify(answer));
  return answer.messages;
}

test('plombe broker aside: what the upstream refused is shown, goes up again once it would be taken, or is dropped', async () => {
  const [port = 0] = await freePorts(1);
  const small = await startVendor('typed', port, 2000);
  const settings = await customerSettings('typed', port);
  const { broker: customer, journal } = await site.start(settings, { reconnect });
  const data = String(settings['data']);
  const dev = await site.connect(customer, device);
  const topics = ['snapshots', 'commands/result'].map((name) => `${device}/${name}`);
  for (const topic of topics) {
    await dev.publishAsync(topic, `${topic}${large}`, { qos: 1 });
    await journal.until('cascade.message_set_aside', { topic });
  }
  const config = path.join(site.directory, 'typed.yaml');
  writeFileSync(config, JSON.stringify({ data }));
  const aside = (...args: string[]): Promise<Finished> =>
    plombe('broker', 'aside', ...args, '--config', config);

  const list = await aside('list');
  assert.match(list.stdout, /^1 {2}\S+Z {2}packet_too_large {2}\d+ {2}ms-acc-1\/acc-1\/dev-1\/snapshots\n2 /);
  const out = path.join(site.directory, 'payload');
  assert.match((await aside('show', '1', '--out', out)).stdout, /reason +packet_too_large\n/);
  assert.equal(readFileSync(out, 'utf8'), `${topics[0]}${large}`);
  assert.equal((await aside('show', '7')).status, 1);
  assert.match((await aside('drop')).stderr, /wanted are numbers/);
  assert.match((await aside('drop', '1', '--all')).stderr, /wanted are numbers/);
  assert.deepEqual(await aside('drop', '2', '7'), {
    status: 1,
    stdout: '7: not set aside\n1 dropped.\n',
    stderr: '',
  });

  await site.stop(small);
  const vendor = await startVendor('typed', port, 100_000);
  const service = await site.connect(vendor, 'vendor-snapshot-service');
  await service.subscribeAsync('+/+/+/snapshots', { qos: 1 });
  const retried = await aside('retry', '--topic', 'ms-acc-1/+/+/snapshots', '--reason', 'packet_too_large');
  assert.deepEqual(retried, { status: 0, stdout: '1 wait for the upstream again.\n', stderr: '' });
  assert.deepEqual(await site.received(service).count(1), [`${topics[0]}=${topics[0]}${large}`]);
  assert.equal((await aside('list')).stdout, '0 messages are set aside.\n');
  assert.equal(customer.state().cascade?.refused, 0);
  await site.stop(customer);
  const gone = await aside('list');
  assert.equal(gone.status, 1);
  assert.match(gone.stderr, /no broker runs on .*: start it/);
});

test('plombe broker aside: killed at any moment of it, every message waits or is set aside, and none is lost', async () => {
  const [port = 0] = await freePorts(1);
  const small = await startVendor('killed', port, 2000);
  const settings = await customerSettings('killed', port);
  const data = String(settings['data']);
  const start = (): Promise<BrokerProcess> =>
    startBrokerProcess(site, 'killed', { settings: { ...settings, observe: '127.0.0.1:0' } });
  let customer = await start();
  const dev = await site.connect(customer, device);
  const count = 60;
  for (let index = 0; index < count; index++)
    await dev.publishAsync(`${device}/snapshots`, `${index} ${large}`, { qos: 1 });
  while ((await listed(data)).length < count) await customer.journal.next('cascade.message_set_aside');
  await site.stop(small);
  for (let round = 0; round < 4; round++) {
    const ids = (await listed(data)).slice(0, 10).map(({ id }) => id);
    const asked = askBroker(data, { kind: 'retry', ids }).then(
      () => undefined,
      () => undefined, // it was killed before it could answer
    );
    for (let turn = 0; turn < round * 30; turn++) await setImmediate();
    if (round === 3) await asked;
    await customer.kill();
    await asked;
    customer = await start();
    const state = (await (await fetch(`http://127.0.0.1:${customer.observePort}/state`)).json()) as {
      readonly cascade: { readonly queued: number; readonly refused: number };
    };
    const { queued, refused } = state.cascade;
    assert.equal(queued + refused, count);
    assert.equal((await listed(data)).length, refused);
    assert(refused < count || round < 3, 'what was answered is so');
  }
  const vendor = await startVendor('killed', port, 100_000);
  const service = await site.connect(vendor, 'vendor-snapshot-service');
  await service.subscribeAsync('+/+/+/snapshots', { qos: 1 });
  const rest = (await listed(data)).map(({ id }) => id);
  if (rest.length > 0) await askBroker(data, { kind: 'retry', ids: rest });
  const received = site.received(service);
  const distinct = (): Set<number> =>
    new Set(received.texts.map((text) => Number.parseInt(text.split('=')[1] ?? '', 10)));
  while (distinct().size < count) await received.count(received.texts.length + 1);
  await customer.kill();
});

test('plombe broker aside: a data folder whose path is longer than the name of a socket may be has a door, too', async () => {
  const data = path.join(site.directory, 'long'.repeat(40));
  const { broker } = await site.start({ data });
  assert.equal((await askBroker(data, { kind: 'list' })).kind, 'unavailable');
  assert(statSync(commandDoorIn(data)).isSocket());
  await site.stop(broker);
  await assert.rejects(askBroker(data, { kind: 'list' }), { message: /no broker runs on/ });
  await assert.rejects(askBroker(`${data}/nowhere`, { kind: 'list' }), { message: /no broker runs on/ });
  assert.throws(() => statSync(commandDoorIn(data)), { code: 'ENOENT' });
});

test('plombe broker aside: only the user that the broker runs as can ask it, and what is no order is refused', async () => {
  const { broker } = await site.start({ data: path.join(site.directory, 'door') });
  const data = path.join(site.directory, 'door');
  assert.equal(statSync(path.dirname(commandDoorIn(data))).mode & 0o777, 0o700);
  assert.deepEqual(await askBroker(data, { kind: 'list' }), {
    kind: 'unavailable',
    reason: 'this broker has no upstream at the moment',
  });
  const wrong = { kind: 'drop', ids: [] } as const satisfies Order;
  await assert.rejects(askBroker(data, wrong), { code: 'broker.not_reached', message: /did not understand/ });
  const flood = await new Promise<number | undefined>((resolve, reject) => {
    const sent = request({ socketPath: commandDoorIn(data), method: 'POST', path: '/' }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    sent.on('error', reject);
    sent.end(Buffer.alloc(100_000, 0x20));
  });
  assert.equal(flood, 400);
  await site.stop(broker);
});
