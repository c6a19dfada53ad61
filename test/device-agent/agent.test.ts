import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';
import type { TestContext } from 'node:test';
import test from 'node:test';
import { decodeDeviceCertificates } from '../../domain/device-certificates.ts';
import { parseDeviceStatus } from '../../domain/device-status.ts';
import { decodeSenmlCbor } from '../../domain/senml.ts';
import { cmapssColumns, cmapssCycleMs, cmapssStartMs } from '../../device-agent/collector/cmapss.ts';
import { RecordedLog } from '../runtime/recorded-log.ts';
import { devicePath, masterAccount, openMessage, Site } from './site.ts';

const first = devicePath('ms-acc-1/acc-1/dev-1');
const second = devicePath('ms-acc-1/acc-1/dev-2');

/** C-MAPSS rows of two engines; the value of every sensor is its row's number. */
function engineRows(cycles: number): string {
  return [1, 2]
    .flatMap((engine) =>
      Array.from({ length: cycles }, (_, cycle) => {
        const sensors = cmapssColumns.slice(2).map(() => String(engine * 1000 + cycle));
        return [engine, cycle + 1, ...sensors].join(' ');
      }),
    )
    .join('\n');
}

async function openSite(context: TestContext): Promise<Site> {
  const site = new Site(context);
  await site.startBroker();
  for (const name of [masterAccount, first, second]) await site.issue(name);
  return site;
}

function replaySettings(site: Site, rows: string) {
  const file = path.join(site.folder, 'engines.txt');
  writeFileSync(file, rows);
  return {
    devices: [first, second].map((name) => ({ identity: path.join(site.folder, name) })),
    replay: { file, format: 'cmapss', speed: 'max', units: { 1: first, 2: second } },
  };
}

test('agent: a replayed fleet arrives whole, in order, and opens for its reader', async (context) => {
  const site = await openSite(context);
  const { received } = await site.reader(masterAccount, 'reader', [`${masterAccount}/+/+/snapshots`]);
  const opener = site.opener(masterAccount, [first, second]);
  const recorded = new RecordedLog();
  const rows = `${engineRows(150)}\n1 2 3\n`;
  const agent = await site.startAgent(replaySettings(site, rows), recorded.log);
  const finished = await recorded.event('collector.finished');
  assert.deepEqual(finished['devices'], { [first]: 150, [second]: 150 });
  assert.deepEqual(finished['rejected'], { 'column-count': 1 });
  const previous = new Map<string, Buffer>();
  const count = new Map<string, number>();
  for (let index = 0; index < 300; index++) {
    const opened = openMessage(opener, await received.next('/snapshots'));
    const device = devicePath(opened.originator.commonName);
    const sequence = (count.get(device) ?? 0) + 1;
    count.set(device, sequence);
    assert.equal(opened.sequence, sequence);
    assert.deepEqual(opened.previousDigest, previous.get(device));
    previous.set(device, opened.digest);
    const snapshot = decodeSenmlCbor(device, opened.content);
    assert.equal(snapshot.timeMs, cmapssStartMs + sequence * cmapssCycleMs);
    assert.equal(snapshot.readings.at(-1)?.value, (device === first ? 1000 : 2000) + sequence - 1);
  }
  await agent.stop();
  const [state] = agent.state().devices;
  assert.equal(state?.state, 'stopped');
  assert.deepEqual([state?.sealed, state?.delivered, state?.pending], [150, 150, 0]);
  assert.equal(agent.state().rejected['column-count'], 1);
  const stopped = await recorded.event('agent.stopped');
  assert.deepEqual(stopped['devices'], {
    [first]: { sealed: 150, delivered: 150, pending: 0 },
    [second]: { sealed: 150, delivered: 150, pending: 0 },
  });
});

test('agent: started again on the same file it takes no row twice', async (context) => {
  const site = await openSite(context);
  const settings = replaySettings(site, engineRows(20));
  const before = await site.startAgent(settings);
  await before.collected();
  await before.stop();
  const after = await site.startAgent(settings);
  await after.collected();
  assert.deepEqual(
    after.state().devices.map((device) => device.sealed),
    [20, 20],
  );
  await after.stop();
  // Another content under the same name is taken from its beginning.
  writeFileSync(settings.replay.file, engineRows(21));
  const third = await site.startAgent(settings);
  await third.collected();
  assert.deepEqual(
    third.state().devices.map((device) => device.sealed),
    [41, 41],
  );
});

test('agent: what it takes while the broker is away arrives when it is back, in order', async (context) => {
  const site = await openSite(context);
  const { received } = await site.reader(masterAccount, 'reader', [`${masterAccount}/+/+/snapshots`]);
  await site.stopBroker();
  const agent = await site.startAgent(replaySettings(site, engineRows(70)));
  await agent.collected();
  assert.deepEqual(
    agent.state().devices.map(({ pending, connected, state }) => [pending, connected, state]),
    [
      [70, false, 'offline'],
      [70, false, 'offline'],
    ],
  );
  await site.startBroker();
  const opener = site.opener(masterAccount, [first, second]);
  const numbers = new Map<string, number[]>([
    [first, []],
    [second, []],
  ]);
  for (let index = 0; index < 140; index++) {
    const { originator, sequence } = openMessage(opener, await received.next('/snapshots'));
    numbers.get(originator.commonName)?.push(sequence ?? 0);
  }
  const all = Array.from({ length: 70 }, (_, index) => index + 1);
  assert.deepEqual(Object.fromEntries(numbers), { [first]: all, [second]: all });
});

test('agent: says who it is, that it is there, and that it goes', async (context) => {
  const site = await openSite(context);
  const { received } = await site.reader(masterAccount, 'reader', [`${first}/#`]);
  const agent = await site.startAgent({
    devices: [{ identity: path.join(site.folder, first), collector: { kind: 'simulator', type: 'FM' } }],
  });
  const { signature } = decodeDeviceCertificates((await received.next('/certificates')).payload);
  assert.deepEqual(
    signature.map((der) => Buffer.from(der)),
    site.identity(first).signature.chain.map((certificate) => certificate.der),
  );
  const online = parseDeviceStatus((await received.next('/status')).payload);
  assert.deepEqual([online?.state, online?.sentUpTo], ['online', 0]);
  const opened = openMessage(site.opener(masterAccount, [first]), await received.next('/snapshots'));
  const snapshot = decodeSenmlCbor(first, opened.content);
  assert.equal(snapshot.deviceType, 'FM');
  assert.equal(snapshot.readings.length, 40);
  assert.equal(agent.state().devices[0]?.lastValue?.channel, 'fuel.flow');
  await agent.stop();
  const offline = parseDeviceStatus((await received.next('/status')).payload);
  assert.equal(offline?.state, 'offline');
  const { sealed = 0, pending } = agent.state().devices[0] ?? {};
  assert.deepEqual([offline.sentUpTo, pending], [sealed, 0], 'everything was taken');
});

test('agent: lines of standard input are snapshots', async (context) => {
  const site = await openSite(context);
  const { received } = await site.reader(masterAccount, 'reader', [`${first}/snapshots`]);
  const stdin = new Readable({ read() {} });
  const agent = await site.startAgent(
    {
      devices: [
        { identity: path.join(site.folder, first), collector: { kind: 'stdin', deviceType: 'TANK' } },
      ],
    },
    undefined,
    { stdin },
  );
  stdin.push('nonsense\n{"level": 3, "time": 1760000000}\n');
  const opened = openMessage(site.opener(masterAccount, [first]), await received.next('/snapshots'));
  assert.deepEqual(decodeSenmlCbor(first, opened.content), {
    timeMs: 1_760_000_000_000,
    deviceType: 'TANK',
    readings: [{ channel: 'level', value: 3 }],
  });
  assert.deepEqual(agent.state().devices[0]?.rejected, { 'not-json': 1 });
  const closed = once(stdin, 'close');
  await agent.stop();
  await closed;
});

test('agent: a full outbox slows a file down and loses nothing', async (context) => {
  const site = await openSite(context);
  const agent = await site.startAgent({
    ...replaySettings(site, engineRows(200)),
    outbox: { envelopesMax: 10 },
  });
  await agent.collected();
  await agent.stop();
  assert.deepEqual(
    agent.state().devices.map(({ sealed, delivered, dropped }) => [sealed, delivered, dropped]),
    [
      [200, 200, 0],
      [200, 200, 0],
    ],
  );
});

test('agent: a full outbox refuses what a machine says now, and counts it', async (context) => {
  const site = await openSite(context);
  await site.stopBroker();
  const recorded = new RecordedLog();
  const agent = await site.startAgent(
    {
      devices: [
        {
          identity: path.join(site.folder, first),
          collector: { kind: 'simulator', type: 'PC', intervalMs: 10 },
        },
      ],
      outbox: { envelopesMax: 10 },
      drainSeconds: 0,
    },
    recorded.log,
  );
  const { reason } = await recorded.event('sample.rejected');
  assert.equal(reason, 'outbox.full');
  await agent.stop();
  const [state] = agent.state().devices;
  assert.equal(state?.pending, 10);
  assert.ok((state?.rejected['outbox.full'] ?? 0) >= 1);
});

test('agent: a recipient that the roots do not know is refused at the start', async (context) => {
  const site = await openSite(context);
  const stranger = new Site(context);
  await stranger.issue('vendor-snapshot-service');
  const recipients = [path.join(stranger.folder, 'vendor-snapshot-service', 'enc.chain.pem')];
  await assert.rejects(site.startAgent({ ...replaySettings(site, engineRows(1)), recipients }), {
    code: 'pki.untrusted',
    message: /enc\.chain\.pem/,
  });
});

test('agent: an identity that is no device is refused at the start', async (context) => {
  const site = await openSite(context);
  await assert.rejects(site.startAgent({ devices: [{ identity: path.join(site.folder, masterAccount) }] }), {
    message: /ms-acc-1 is not a device/,
  });
});
