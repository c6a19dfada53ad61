/** Somebody with a genuine certificate publishes what is no good: is each counted, logged and shown, and does the rest go on? */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { freePorts } from '../../runtime/free-ports.ts';
import { writeConfigs } from '../../cli/deployment/configs.ts';
import { makeKeys } from '../../cli/deployment/keys.ts';
import type { DevicePlan } from '../../cli/deployment/plan.ts';
import type { ContentType } from '../../cms/envelope-info.ts';
import { createSealer } from '../../cms/seal.ts';
import { encodeDeviceCertificates } from '../../domain/device-certificates.ts';
import type { NamespacePath } from '../../domain/namespace.ts';
import { parseDevicePath } from '../../domain/namespace.ts';
import { encodeSenmlCbor } from '../../domain/senml.ts';
import type { Link } from '../../mqtt/link.ts';
import { openLink } from '../../mqtt/link.ts';
import type { Certificate } from '../../pki/certificate.ts';
import { loadE2eIdentity, loadTlsIdentity } from '../../pki/identity.ts';
import { createLog } from '../../runtime/log.ts';
import { plombe, startPlombe, until } from './process.ts';
import { dashboardReader, startProgram } from './programs.ts';
import type { RunningProgram } from './programs.ts';

interface DeadLetter {
  readonly topic: string;
  readonly devicePath: string;
  readonly reason: string;
}
interface FleetRow {
  readonly path: string;
  readonly stored: number;
  readonly gapsOpen: number;
}

const directory = mkdtempSync(path.join(tmpdir(), 'plombe-bad-messages-'));
/** Has an agent; it alone is known to the backend from the start. */
const speaking = devicePath('dev-1');
/** Has published its certificates, and nothing else. */
const other = devicePath('dev-2');
/** Its certificates were never published. */
const unknown = devicePath('dev-3');
const running: RunningProgram[] = [];
const links: Link[] = [];
let backend: RunningProgram;
let brokerPort = 0;
let observePort = 0;
let auditorConfig = '';
let get: (route: string) => Promise<unknown>;
/** Of the speaking device, as its agent sent them. */
const genuine: Buffer[] = [];

before(async () => {
  const [broker = 0, http = 0, observe = 0] = await freePorts(3);
  [brokerPort, observePort] = [broker, observe];
  const address = `127.0.0.1:${broker}`;
  const device = (name: NamespacePath): DevicePlan => ({
    kind: 'simulator',
    path: name,
    type: 'FM',
    condition: 'healthy',
    intervalMs: 100,
    seed: 1,
  });
  const plan = {
    directory,
    vendor: {
      broker: { listen: address, address, hosts: ['127.0.0.1'] },
      http: `127.0.0.1:${http}`,
      backendObserve: `127.0.0.1:${observe}`,
      database: 'sqlite:./data/plombe.db',
    },
    customers: [
      {
        masterAccount: 'ms-acc-1',
        auditor: {},
        agents: [
          { name: 'agent', devices: [device(speaking)] },
          { name: 'silent', devices: [device(other), device(unknown)] },
        ],
      },
    ],
  };
  await makeKeys(plan);
  const files = writeConfigs(plan);
  const [customer] = files.customers;
  auditorConfig = customer?.auditor ?? '';
  const added = await startPlombe(
    ['user', 'add', 'operator', '--role', 'operator', '--config', files.backend],
    Buffer.from('correct horse battery\n'),
  ).finished;
  assert.equal(added.status, 0, added.stderr);
  running.push(await startProgram('broker', files.vendorBroker, 'broker.listening'));
  backend = await startProgram('backend', files.backend, 'backend.listening');
  running.push(backend);
  running.push(await startProgram('auditor', auditorConfig, 'auditor.subscribed'));
  await watch();
  running.push(await startProgram('agent', customer?.agents[0] ?? '', 'agent.started'));
  get = await dashboardReader(`http://127.0.0.1:${http}`, 'operator', 'correct horse battery');
  await until('the agent is stored', async () => (await storedOf(speaking)) > 0);
  await publishCertificates(other);
});

after(async () => {
  await Promise.all(links.map((link) => link.close()));
  // Who sends before who receives, so that none waits for an acknowledgement.
  for (const program of running.toReversed()) await program.stop();
  rmSync(directory, { recursive: true, force: true });
});

function devicePath(name: string): NamespacePath {
  const device = parseDevicePath(`ms-acc-1/acc-1/${name}`);
  assert.ok(device !== undefined);
  return device;
}

function keysOf(device: NamespacePath): string {
  const [, account = '', equipment = ''] = device.split('/');
  return path.join(directory, 'customers/ms-acc-1/identities/devices', account, equipment);
}

function link(identityDirectory: string, onSnapshot?: (payload: Buffer) => void): Link {
  const opened = openLink({
    broker: { host: '127.0.0.1', port: brokerPort },
    brokerName: 'vendor-broker',
    identity: loadTlsIdentity(identityDirectory),
    clientId: `test-${links.length}`,
    cleanSession: true,
    log: createLog('test', 'silent'),
    ...(onSnapshot === undefined
      ? {}
      : {
          onMessage: (message, acknowledge) => {
            onSnapshot(message.payload);
            acknowledge();
          },
        }),
  });
  links.push(opened);
  return opened;
}

/** The customer may see what its own devices send. */
async function watch(): Promise<void> {
  const customer = link(path.join(directory, 'customers/ms-acc-1/identities/auditor'), (payload) => {
    if (genuine.length < 3) genuine.push(payload);
  });
  assert.equal(await customer.subscribe(`${speaking}/snapshots`, 1), 1);
}

async function publishCertificates(device: NamespacePath): Promise<void> {
  const { signature, keyAgreement } = loadE2eIdentity(keysOf(device));
  const payload = encodeDeviceCertificates({
    signature: signature.chain.map(({ der }) => der),
    keyAgreement: keyAgreement.chain.map(({ der }) => der),
  });
  await link(keysOf(device)).publish(`${device}/certificates`, payload, { qos: 1, retain: true });
  await until(`${device} is known`, () =>
    backend.records().some((one) => one.event === 'certificates.taken' && one['device'] === device),
  );
}

interface Sealing {
  readonly by: NamespacePath;
  readonly topic: string;
  readonly sequence: number;
  readonly content?: Uint8Array;
  readonly contentType?: ContentType;
}

/** With a device's own keys, for the vendor and the customer, as its agent does. */
function seal({ by, topic, sequence, content, contentType = 'senml+cbor' }: Sealing): Buffer {
  const recipients: Certificate[] = [
    path.join(directory, 'vendor/identities/vendor-snapshot-service'),
    path.join(directory, 'customers/ms-acc-1/identities/auditor'),
  ].map((folder) => loadE2eIdentity(folder).keyAgreement.certificate);
  const nowMs = Date.now();
  const readings = [{ channel: 'fuel.temperature', unit: 'Cel', value: 20 }];
  return createSealer(loadE2eIdentity(keysOf(by))).seal(
    content ?? encodeSenmlCbor(by, { timeMs: nowMs, deviceType: 'FM', readings }),
    recipients,
    { topic, sequence, previousDigest: undefined, contentType, signingTimeMs: nowMs },
  ).envelope;
}

async function metric(name: string, labels = ''): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${observePort}/metrics`)).text();
  const line = text.split('\n').find((one) => one.startsWith(`${name}${labels} `));
  return Number(line?.split(' ').at(-1) ?? 0);
}

function rejected(reason: string): Promise<number> {
  return metric('plombe_backend_rejected_total', `{reason="${reason}"}`);
}

async function storedOf(device: NamespacePath): Promise<number> {
  const fleet = (await get('/api/fleet')) as FleetRow[];
  return fleet.find((row) => row.path === device)?.stored ?? 0;
}

async function deadLetters(device: NamespacePath, reason: string): Promise<DeadLetter[]> {
  const letters = (await get('/api/dead-letters')) as DeadLetter[];
  return letters.filter((letter) => letter.devicePath === device && letter.reason === reason);
}

/** Publishes, and asks for the reason in the metrics, in the log and among the dead letters. */
async function refusedFor(reason: string, device: NamespacePath, envelope: Buffer): Promise<void> {
  const [countedBefore, keptBefore] = [await rejected(reason), (await deadLetters(device, reason)).length];
  await link(keysOf(device)).publish(`${device}/snapshots`, envelope, { qos: 1 });
  await until(`${reason} is counted`, async () => (await rejected(reason)) > countedBefore);
  assert.equal(await rejected(reason), countedBefore + 1);
  await until(`${reason} is kept`, async () => (await deadLetters(device, reason)).length > keptBefore);
  const logged = backend.records().filter((one) => one.event === 'envelope.refused');
  assert.ok(
    logged.some((one) => one['reason'] === reason && one['device'] === device),
    `${reason} is in the log`,
  );
  const storedBefore = await storedOf(speaking);
  await until('what the agent sends goes on', async () => (await storedOf(speaking)) > storedBefore);
}

async function genuineEnvelope(): Promise<Buffer> {
  await until('an envelope of the agent was seen', () => genuine.length > 0);
  const [envelope] = genuine;
  assert.ok(envelope !== undefined);
  return envelope;
}

test('backend: bytes that are no envelope', () => refusedFor('cms.malformed', speaking, randomBytes(500)));

test('backend: a truncated envelope', async () => {
  const envelope = await genuineEnvelope();
  await refusedFor('cms.malformed', speaking, envelope.subarray(0, envelope.length - 100));
});

test('backend: an envelope with one octet changed', async () => {
  const envelope = Buffer.from(await genuineEnvelope());
  const middle = envelope.length >> 1;
  envelope.writeUInt8(envelope.readUInt8(middle) ^ 1, middle);
  await refusedFor('cms.rejected', speaking, envelope);
});

test("backend: another device's envelope, taken from its topic", () =>
  refusedFor('cms.wrong_topic', speaking, seal({ by: other, topic: `${other}/snapshots`, sequence: 1 })));

test('backend: an envelope that another device made for this topic', () =>
  refusedFor(
    'foreign_originator',
    speaking,
    seal({ by: other, topic: `${speaking}/snapshots`, sequence: 2 }),
  ));

test('backend: content that is no SenML, and content of another type', async () => {
  const topic = `${speaking}/snapshots`;
  const content = Buffer.from('twenty degrees');
  const sequence = 1_000_000;
  await refusedFor('senml.malformed', speaking, seal({ by: speaking, topic, sequence, content }));
  await refusedFor(
    'unexpected_content',
    speaking,
    seal({ by: speaking, topic, sequence, content, contentType: 'octets' }),
  );
});

test('backend: a second envelope with a sequence number that was used', () =>
  refusedFor('equivocation', speaking, seal({ by: speaking, topic: `${speaking}/snapshots`, sequence: 1 })));

test('backend: the same envelope again is recognised, and neither stored nor refused', async () => {
  const envelope = await genuineEnvelope();
  const before = await metric('plombe_backend_redelivered_total');
  const sender = link(keysOf(speaking));
  await sender.publish(`${speaking}/snapshots`, envelope, { qos: 1 });
  await sender.publish(`${speaking}/snapshots`, envelope, { qos: 1 });
  await until(
    'both were recognised',
    async () => (await metric('plombe_backend_redelivered_total')) > before + 1,
  );
  assert.equal(await metric('plombe_backend_redelivered_total'), before + 2);
});

test('backend: status and certificates that are none', async () => {
  const sender = link(keysOf(other));
  await sender.publish(`${other}/status`, 'fine, thanks', { qos: 1 });
  await until('the status is counted', async () => (await rejected('malformed_status')) === 1);
  await sender.publish(`${other}/certificates`, randomBytes(100), { qos: 1 });
  await until('the certificates are counted', async () => (await rejected('certificates.malformed')) > 0);
  assert.ok(backend.records().some((one) => one.event === 'certificates.refused' && one['device'] === other));
});

test('backend: a device that nobody knows waits, and is stored when its certificates come', async () => {
  await refusedFor(
    'unknown_originator',
    unknown,
    seal({ by: unknown, topic: `${unknown}/snapshots`, sequence: 1 }),
  );
  await publishCertificates(unknown);
  await until('it is stored', async () => (await storedOf(unknown)) === 1);
  await until(
    'it is no dead letter',
    async () => (await deadLetters(unknown, 'unknown_originator')).length === 0,
  );
});

test('backend: what was refused left no gap with the device, and nothing was stored twice', async () => {
  const fleet = (await get('/api/fleet')) as FleetRow[];
  assert.equal(fleet.find((row) => row.path === speaking)?.gapsOpen, 0);
  const { stored, duplicated } = (await get('/api/totals?count=exact')) as {
    stored: number;
    duplicated: number;
  };
  assert.ok(stored > 0);
  assert.equal(duplicated, 0);
});

test('plombe auditor list: the customer sees the same, while its auditor runs', async () => {
  const listed = async (
    ...args: readonly string[]
  ): Promise<{ readonly alarm?: { readonly reason: string } }[]> => {
    const { status, stdout, stderr } = await plombe(
      'auditor',
      'list',
      '--config',
      auditorConfig,
      '--json',
      ...args,
    );
    assert.equal(status, 0, stderr);
    return (JSON.parse(stdout) as { entries: { alarm?: { reason: string } }[] }).entries;
  };
  const ofOne = await listed('--device', speaking, '--alarms');
  const reasons = new Set(ofOne.map(({ alarm }) => alarm?.reason));
  assert.ok(reasons.has('cms.malformed') && reasons.has('cms.wrong_topic'), [...reasons].join(', '));
  assert.ok((await listed('--device', speaking)).length > ofOne.length);
});
