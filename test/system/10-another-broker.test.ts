/** Does everything else work unchanged with Debian's Mosquitto in the vendor's DMZ: cascade, kills, commands, revocations? */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { z } from 'zod';
import type { Mosquitto } from './mosquitto.ts';
import { prepareMosquitto } from './mosquitto.ts';
import { plombe, until } from './process.ts';
import type { RunningProgram } from './programs.ts';
import { dashboardReader, moveToFreePorts, startProgram } from './programs.ts';

const directory = mkdtempSync(path.join(tmpdir(), 'plombe-another-broker-'));
const device = 'ms-acc-1/acc-1/dev-1';
const stoppedType = z.object({ devices: z.record(z.string(), z.object({ sealed: z.number() })) });
const fleetType = z.array(z.object({ path: z.string(), stored: z.number() }));

let mosquitto: Mosquitto;
let ports: Awaited<ReturnType<typeof moveToFreePorts>>;
let get: (route: string, body?: unknown) => Promise<unknown>;
const programs = new Map<string, RunningProgram>();
const events: Readonly<Record<string, readonly [subcommand: string, event: string]>> = {
  'vendor/backend.yaml': ['backend', 'backend.listening'],
  'customers/ms-acc-1/broker.yaml': ['broker', 'broker.listening'],
  'customers/ms-acc-1/auditor.yaml': ['auditor', 'auditor.subscribed'],
  'customers/ms-acc-1/agent.yaml': ['agent', 'agent.started'],
};

async function start(config: string): Promise<RunningProgram> {
  const [subcommand = '', event = ''] = events[config] ?? [];
  const program = await startProgram(subcommand, path.join(directory, config), event);
  programs.set(config, program);
  return program;
}

async function killAndStart(config: string): Promise<void> {
  const program = programs.get(config);
  program?.process.kill('SIGKILL');
  await program?.finished;
  await start(config);
}

async function works(...args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await plombe(...args);
  assert.equal(status, 0, stderr);
  return stdout;
}

async function stored(): Promise<number> {
  const fleet = fleetType.parse(await get('/api/fleet'));
  return fleet.find((row) => row.path === device)?.stored ?? 0;
}

before(async () => {
  rmSync(directory, { recursive: true });
  await works('init', directory);
  ports = await moveToFreePorts(directory);
  const agent = path.join(directory, 'customers/ms-acc-1/agent.yaml');
  writeFileSync(agent, readFileSync(agent, 'utf8').replace(/intervalMs: \d+/, 'intervalMs: 200'));
  const keys = path.join(directory, 'vendor/identities/vendor-broker');
  mosquitto = await prepareMosquitto(path.join(directory, 'vendor/mosquitto'), keys, ports.vendor);
  await mosquitto.start();
  for (const config of Object.keys(events)) await start(config);
  const config = path.join(directory, 'vendor/backend.yaml');
  const added = await works('user', 'add', 'anna', '--role', 'operator', '--config', config);
  const password = /Password: (\S+)/.exec(added)?.[1] ?? '';
  get = await dashboardReader(`http://127.0.0.1:${ports.http}`, 'anna', password);
});

after(async () => {
  for (const program of [...programs.values()].toReversed()) await program.stop();
  await mosquitto.stop();
  rmSync(directory, { recursive: true, force: true });
});

test('snapshots travel through it, and each arrives once although everything else is killed and it is restarted', async () => {
  await until('a snapshot is stored', async () => (await stored()) > 0);
  await killAndStart('customers/ms-acc-1/broker.yaml');
  await killAndStart('vendor/backend.yaml');
  await mosquitto.stop();
  const before = await stored();
  await mosquitto.start();
  await until('more is stored', async () => (await stored()) > before + 3);
  // What the agent has sealed is there when it has stopped, for it waits for its broker, and that for Mosquitto.
  const agent = programs.get('customers/ms-acc-1/agent.yaml');
  assert.equal(await agent?.stop(), 0);
  const stopped = agent?.records().find(({ event }) => event === 'agent.stopped');
  const sealed = stoppedType.parse(stopped).devices[device]?.sealed ?? Number.NaN;
  await until(`all ${sealed} are stored`, async () => (await stored()) >= sealed);
  assert.equal(await stored(), sealed);
  await start('customers/ms-acc-1/agent.yaml');
});

test('a command goes down through it, and its result comes back', async () => {
  await get('/api/commands', { path: device, name: 'ping' });
  await until('it is done', async () =>
    JSON.stringify(await get(`/api/commands?path=${device}`)).includes('"done"'),
  );
});

test('a list of revocations that is retained on it reaches the customer', async () => {
  const pki = path.join(directory, 'pki');
  const service = path.join(directory, 'crl-service');
  await works('pki', 'issue', '--dir', pki, 'vendor-crl-service', '--kind', 'tls', '--out', service);
  const bundle = path.join(pki, 'tls/crl.pem');
  const { status, stderr } = publish(service, 'vendor/crl/tls', bundle);
  assert.equal(status, 0, stderr);
  const broker = programs.get('customers/ms-acc-1/broker.yaml');
  await until(
    'the list is applied',
    () => broker?.records().some(({ event }) => event === 'crl.applied') === true,
  );
});

function publish(keys: string, topic: string, file: string): { status: number | null; stderr: string } {
  const message = ['-r', '-t', topic, '-f', file];
  return spawnSync('mosquitto_pub', [...connectionAs(keys), ...message], { encoding: 'utf8' });
}

function connectionAs(keys: string): string[] {
  const files = ['--cafile', `${keys}/tls-root.crt.pem`, '--cert', `${keys}/tls.chain.pem`];
  return ['-h', 'localhost', '-p', String(ports.vendor), '-q', '1', ...files, '--key', `${keys}/tls.key.pem`];
}

test('it gives the snapshots to their owner, and to no other customer', async () => {
  const pki = path.join(directory, 'pki');
  const read = async (identity: string): Promise<{ topics: string[]; child: ReturnType<typeof spawn> }> => {
    const keys = path.join(directory, `reader-${identity}`);
    await works('pki', 'issue', '--dir', pki, identity, '--kind', 'tls', '--out', keys);
    const filters = ['#', 'ms-acc-1/#', '+/+/+/snapshots'].flatMap((filter) => ['-t', filter]);
    const args = [...connectionAs(keys), ...filters, '-d', '-F', 'got %t'];
    const child = spawn('mosquitto_sub', args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const lines: string[] = [];
    child.stdout.on('data', (chunk: Buffer) => lines.push(...chunk.toString().split('\n')));
    await until(`${identity} has subscribed`, () => lines.some((line) => line.startsWith('Subscribed')));
    return {
      child,
      get topics() {
        return lines.filter((line) => line.startsWith('got '));
      },
    };
  };
  const other = await read('ms-acc-2');
  const owner = await read('ms-acc-1');
  try {
    await until('the owner has one', () => owner.topics.includes(`got ${device}/snapshots`));
    // Through `#` it has what everyone may read.
    assert.deepEqual(
      other.topics.filter((line) => !line.startsWith('got vendor/')),
      [],
    );
  } finally {
    for (const { child } of [owner, other]) {
      const ended = once(child, 'exit');
      child.kill();
      await ended;
    }
  }
});
