import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { bundlePath } from '../../pki/authority/store.ts';
import { killBrokerProcesses, startBrokerProcess } from './broker-process.ts';
import { openSite } from './fixture.ts';
import type { Site } from './fixture.ts';

let site: Site;
before(() => {
  site = openSite();
});
after(async () => {
  await killBrokerProcesses();
  await site.remove();
});

const device = 'ms-acc-1/acc-1/dev-1';

interface Readiness {
  readonly status: number;
  readonly reasons: readonly string[];
}

async function readiness(port: number | undefined): Promise<Readiness> {
  const response = await fetch(`http://127.0.0.1:${port ?? 0}/readyz`);
  const { ready, reasons } = (await response.json()) as { ready: boolean; reasons: string[] };
  assert.equal(ready, response.status === 200);
  return { status: response.status, reasons };
}

async function healthStatus(port: number | undefined): Promise<number> {
  return (await fetch(`http://127.0.0.1:${port ?? 0}/healthz`)).status;
}

// MQTT 5 §4.11, §3.14.2.2.5
test('stop: clients of MQTT 5 are sent to the server that is configured', async () => {
  const { broker } = await site.start({ shutdown: { serverReference: 'other.example:8883' } });
  const client = await site.rawConnect(broker, device, 5);
  await client.open({ clientId: 'mqtt5' });
  const older = await site.rawConnect(broker, device, 4);
  await older.open({ clientId: 'mqtt3' });
  await site.stop(broker);
  const farewell = await client.next('disconnect');
  assert.equal(farewell.reasonCode, 0x9c);
  assert.equal(farewell.properties?.serverReference, 'other.example:8883');
  await older.closed;
  assert.deepEqual(older.packets, []);
});

test('stop: what is on its way up is acknowledged before the end, so nothing goes up twice', async () => {
  const vendor = await site.start({ data: path.join(site.directory, 'drain', 'vendor') });
  const settings = {
    identity: await site.identity('ms-acc-1', ['127.0.0.1']),
    data: path.join(site.directory, 'drain', 'customer'),
    cascade: {
      upstream: `127.0.0.1:${vendor.broker.port}`,
      brokerName: 'vendor-broker',
      inFlightMax: 1000,
    },
  };
  const reader = await site.connect(vendor.broker, 'vendor-snapshot-service');
  await reader.subscribeAsync('+/+/+/snapshots', { qos: 1 });
  const indexes = Array.from({ length: 600 }, (_, index) => index);
  for (const part of [indexes.slice(0, 200), indexes.slice(200, 400), indexes.slice(400)]) {
    const { broker, journal } = await site.start(settings);
    await journal.until('link.connected');
    const dev = await site.connect(broker, device);
    await Promise.all(
      part.map((index) => dev.publishAsync(`${device}/snapshots`, String(index), { qos: 1 })),
    );
    await setImmediate();
    await site.stop(broker);
  }
  const { broker } = await site.start(settings);
  const received = await site.received(reader).count(600);
  assert.deepEqual(
    received,
    indexes.map((index) => `${device}/snapshots=${index}`),
  );
  await site.stop(broker);
});

test('stop: an upstream that does not answer is not waited for longer than configured', async () => {
  const vendor = await startBrokerProcess(site, 'silent vendor');
  const { broker, journal } = await site.start({
    identity: await site.identity('ms-acc-1', ['127.0.0.1']),
    data: path.join(site.directory, 'silent', 'customer'),
    cascade: { upstream: `127.0.0.1:${vendor.port}`, brokerName: 'vendor-broker' },
    shutdown: { cascadeSeconds: 1 },
  });
  await journal.until('link.connected');
  await vendor.suspend();
  const dev = await site.connect(broker, device);
  await dev.publishAsync(`${device}/snapshots`, 'waits', { qos: 1 });
  assert.equal(broker.state().cascade?.inFlight, 1);
  await site.stop(broker);
  await vendor.kill();
});

test('readiness: a list that is too old for the policy, and an upstream that is required, stand against it; health does not care', async () => {
  let nowMs = Date.now();
  await site.identity(device);
  const { broker } = await site.start(
    {
      identity: await site.identity('ms-acc-1', ['127.0.0.1']),
      data: path.join(site.directory, 'ready'),
      observe: '127.0.0.1:0',
      crls: [bundlePath(path.join(site.directory, 'pki'), 'tls')],
      staleCrl: { action: 'refuse', afterHours: 1 },
      cascade: { upstream: '127.0.0.1:1', brokerName: 'vendor-broker' },
    },
    { clock: () => nowMs },
  );
  assert.deepEqual(await readiness(broker.observePort), { status: 200, reasons: [] });
  nowMs += 2 * 3_600_000;
  const stale = await readiness(broker.observePort);
  assert.equal(stale.status, 503);
  assert.match(stale.reasons.join(), /CRL/);
  nowMs -= 2 * 3_600_000;
  const next = await site.config({
    identity: await site.identity('ms-acc-1', ['127.0.0.1']),
    data: path.join(site.directory, 'ready'),
    observe: '127.0.0.1:0',
    cascade: { upstream: '127.0.0.1:1', brokerName: 'vendor-broker' },
    readyNeedsCascade: true,
  });
  assert(broker.reload(() => next));
  const alone = await readiness(broker.observePort);
  assert.deepEqual(alone, { status: 503, reasons: ['the upstream is not connected'] });
  assert.equal(await healthStatus(broker.observePort), 200);
});

test('SIGTERM: not ready, but still there for a while; the same signal again ends it at once', async () => {
  const broker = await startBrokerProcess(site, 'leaving', {
    settings: { observe: '127.0.0.1:0', shutdown: { delaySeconds: 300 } },
  });
  assert.equal((await readiness(broker.observePort)).status, 200);
  process.kill(broker.pid, 'SIGTERM');
  await broker.journal.until('program.stopping');
  assert.deepEqual(await readiness(broker.observePort), { status: 503, reasons: ['the broker stops'] });
  const late = await site.connect(broker, device);
  await late.publishAsync(`${device}/status`, 'still served', { qos: 1 });
  // A supervisor's signal after the terminal's is the same request.
  process.kill(broker.pid, 'SIGINT');
  await late.publishAsync(`${device}/status`, 'still served', { qos: 1 });
  process.kill(broker.pid, 'SIGTERM');
  await broker.died();
  assert(broker.journal.find('program.stop_forced', { signal: 'SIGTERM' }));
});
