import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import type { TestContext } from 'node:test';
import test from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { identifies } from '../../cms/identifier.ts';
import { inspect } from '../../cms/inspect.ts';
import { createSealer } from '../../cms/seal.ts';
import { encodeCommand } from '../../domain/command.ts';
import type { RunningAgent } from '../../device-agent/main.ts';
import { createMetrics } from '../../runtime/observe.ts';
import { bundleOf, tlsBundleOf } from '../pki/lists.ts';
import type { LogRecord } from '../runtime/recorded-log.ts';
import { RecordedLog } from '../runtime/recorded-log.ts';
import { devicePath, masterAccount, Site } from './site.ts';
import type { Received } from './site.ts';

const device = devicePath('ms-acc-1/acc-1/dev-1');
const other = devicePath('ms-acc-1/acc-1/dev-2');
const service = 'vendor-snapshot-service';
const commandService = 'vendor-command-service';
const crlService = 'vendor-crl-service';

interface Desk {
  readonly site: Site;
  readonly recorded: RecordedLog;
  readonly received: Received;
  readonly publishLists: () => Promise<void>;
  readonly publishTlsLists: () => Promise<void>;
  readonly start: (settings?: object) => Promise<RunningAgent>;
  readonly stdin: PassThrough;
}

/** An agent with one device that seals lines for the service and for the owner. */
async function openDesk(context: TestContext): Promise<Desk> {
  const site = new Site(context);
  await site.startBroker();
  for (const name of [masterAccount, device, other, service, commandService, crlService])
    await site.issue(name);
  const { link } = await site.reader(crlService, 'lists', []);
  const { received } = await site.reader(masterAccount, 'owner', [`${device}/snapshots`]);
  const recorded = new RecordedLog();
  const stdin = new PassThrough();
  return {
    site,
    recorded,
    received,
    stdin,
    publishLists: () => link.publish('vendor/crl/e2e', bundleOf(site.authority), { qos: 1, retain: true }),
    publishTlsLists: () =>
      link.publish('vendor/crl/tls', tlsBundleOf(site.authority), { qos: 1, retain: true }),
    start: (settings = {}) =>
      site.startAgent(
        {
          devices: [{ identity: path.join(site.folder, device), collector: { kind: 'stdin' } }],
          recipients: [service, masterAccount].map((name) => path.join(site.folder, name, 'enc.chain.pem')),
          ...settings,
        },
        recorded.log,
        { stdin },
      ),
  };
}

const line = (value: number): string => `${JSON.stringify({ level: value })}\n`;

async function readersOfNext({ site, received }: Desk): Promise<string[]> {
  const { payload } = await received.next('/snapshots');
  const addressed = inspect(payload).agreements.flatMap(({ recipients }) => recipients);
  return [service, masterAccount].filter((name) =>
    addressed.some((identifier) => identifies(identifier, site.identity(name).keyAgreement.certificate)),
  );
}

test('agent: a revoked recipient is left out with an alarm, also after a restart', async (context) => {
  const desk = await openDesk(context);
  await desk.start();
  desk.stdin.write(line(1));
  assert.deepEqual(await readersOfNext(desk), [service, masterAccount]);
  await desk.site.authority.revoke({ target: { path: service }, kinds: ['enc'] });
  await desk.publishLists();
  await desk.recorded.event('crl.applied');
  desk.stdin.write(line(2));
  assert.deepEqual(await readersOfNext(desk), [masterAccount]);
  assert.equal((await desk.recorded.event('recipient.left_out'))['recipient'], service);
  await desk.site.stopAgents();
  const stdin = new PassThrough();
  await desk.site.stopBroker(); // so that no list can come
  await desk.site.startAgent(
    {
      devices: [{ identity: path.join(desk.site.folder, device), collector: { kind: 'stdin' } }],
      recipients: [path.join(desk.site.folder, service, 'enc.chain.pem')],
      drainSeconds: 0,
    },
    desk.recorded.log,
    { stdin },
  );
  stdin.write(line(3));
  await setImmediate(); // another chunk, and another line
  stdin.write(line(4));
  assert.equal((await desk.recorded.event('samples.delayed'))['reason'], 'readers.none');
});

test('agent: where it is configured so, nothing is sealed once a recipient is revoked', async (context) => {
  const desk = await openDesk(context);
  await desk.site.authority.revoke({ target: { path: service }, kinds: ['enc'] });
  await desk.publishLists();
  const agent = await desk.start({
    devices: [
      {
        identity: path.join(desk.site.folder, device),
        collector: { kind: 'simulator', type: 'FM', intervalMs: 10 },
      },
    ],
    whenRecipientRevoked: 'stop',
  });
  assert.equal((await desk.recorded.event('sample.rejected'))['reason'], 'readers.incomplete');
  assert.ok((agent.state().devices[0]?.rejected['readers.incomplete'] ?? 0) > 0);
});

test('agent: a file waits while nobody may read it, and then goes on', async (context) => {
  const desk = await openDesk(context);
  const file = path.join(desk.site.folder, 'rows.csv');
  writeFileSync(file, 'level\n1\n');
  await desk.start({
    devices: [{ identity: path.join(desk.site.folder, device), collector: { kind: 'csv', file } }],
    staleCrl: { action: 'refuse' },
  });
  await desk.recorded.event('samples.delayed');
  await desk.publishLists();
  assert.deepEqual(await readersOfNext(desk), [service, masterAccount]);
  await desk.recorded.event('recipient.readmitted');
});

test('agent: two devices read the lists, and all of them obey', async (context) => {
  const desk = await openDesk(context);
  const metrics = createMetrics();
  await desk.publishLists();
  await desk.site.startAgent(
    {
      devices: [device, other].map((name) => ({
        identity: path.join(desk.site.folder, name),
        collector: { kind: 'simulator', type: 'FM', intervalMs: 10_000 },
      })),
    },
    desk.recorded.log,
    { metrics },
  );
  await desk.recorded.event('crl.applied');
  const taken = await metrics.registry.getSingleMetric('plombe_revocation_lists_taken_total')?.get();
  // The root's, the vendor's, the master account's and the account's: the second copy is not news.
  assert.deepEqual(
    taken?.values.map(({ value }) => value),
    [4],
  );
});

for (const [what, kind, reason] of [
  ['whose signature certificate is revoked', 'sig', 'command.issuer_revoked'],
  ['whose key agreement certificate is revoked', 'enc', 'command.issuer_revoked'],
] as const) {
  test(`command: one of an issuer ${what} is refused`, async (context) => {
    const desk = await openDesk(context);
    await desk.site.authority.revoke({ target: { path: commandService }, kinds: [kind] });
    await desk.publishLists();
    await startObeying(desk, {});
    await desk.recorded.event('crl.applied');
    await sendPing(desk);
    assert.equal((await desk.recorded.event('command.refused'))['reason'], reason);
  });
}

test('command: without lists, one is refused where the policy is to refuse', async (context) => {
  const desk = await openDesk(context);
  await startObeying(desk, { staleCrl: { action: 'refuse' } });
  await sendPing(desk);
  assert.equal((await desk.recorded.event('command.refused'))['reason'], 'command.issuer_unverifiable');
});

test('command: one that nobody could be answered is left to the broker, and not executed', async (context) => {
  const desk = await openDesk(context);
  await desk.site.authority.revoke({ target: { path: service }, kinds: ['enc'] });
  await desk.publishLists();
  await startObeying(desk, { whenRecipientRevoked: 'stop' });
  await desk.recorded.event('crl.applied');
  await sendPing(desk);
  assert.equal((await desk.recorded.event('command.not_stored'))['reason'], 'readers.incomplete');
  assert.equal(
    desk.recorded.records.some(({ event }) => event === 'command.answered'),
    false,
  );
});

async function startObeying(desk: Desk, settings: object): Promise<void> {
  const issuer = path.join(desk.site.folder, 'issuer');
  mkdirSync(issuer);
  for (const file of ['sig.chain.pem', 'enc.chain.pem']) {
    copyFileSync(path.join(desk.site.folder, commandService, file), path.join(issuer, file));
  }
  await desk.start({ commandIssuers: [issuer], ...settings });
  await desk.recorded.event('commands.subscribed');
}

async function sendPing({ site }: Desk): Promise<void> {
  const { signature, keyAgreement } = site.identity(commandService);
  const issuedAtMs = Date.now();
  const topic = `${device}/commands`;
  const content = encodeCommand({
    id: randomUUID(),
    name: 'ping',
    issuedAtMs,
    expiresAtMs: issuedAtMs + 3_600_000,
    parameters: {},
  });
  const { envelope } = createSealer({ signature, keyAgreement }).seal(
    content,
    [site.identity(device).keyAgreement.certificate],
    { topic, sequence: 1, previousDigest: undefined, contentType: 'command+cbor', signingTimeMs: issuedAtMs },
  );
  const { link } = await site.reader(commandService, 'commands', []);
  await link.publish(topic, envelope, { qos: 1 });
}

test('agent: a broker whose certificate is revoked gets nothing more, also after a restart; one with a new certificate does', async (context) => {
  const desk = await openDesk(context);
  await desk.start();
  desk.stdin.write(line(1));
  await readersOfNext(desk);
  await desk.site.revokeBroker();
  await desk.publishTlsLists();
  const isRevoked = (record: LogRecord): boolean => /revoked/.test(String(record['reason']));
  await desk.recorded.event('link.lost', isRevoked);
  await desk.recorded.event('link.connect_failed', isRevoked);
  await desk.site.stopAgents();

  const stdin = new PassThrough();
  const later = new RecordedLog();
  await desk.site.startAgent(
    {
      devices: [{ identity: path.join(desk.site.folder, device), collector: { kind: 'stdin' } }],
      drainSeconds: 0,
    },
    later.log,
    { stdin },
  );
  stdin.write(line(2));
  await later.event('link.connect_failed', isRevoked);
  assert.equal(
    later.records.some(({ event }) => event === 'link.connected'),
    false,
  );
  await desk.site.stopBroker();
  await desk.site.issue(masterAccount, ['127.0.0.1']);
  await desk.site.startBroker();
  await later.event('link.connected');
  await desk.received.next('/snapshots');
});
