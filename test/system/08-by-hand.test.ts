/** Does what the README says work for somebody who types it: a deployment of one's own, an authority, a single message? */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { Finished } from './process.ts';
import { plombe, script, startPlombe, until } from './process.ts';
import { dashboardReader, moveToFreePorts, startProgram } from './programs.ts';
import type { RunningProgram } from './programs.ts';

const directory = mkdtempSync(path.join(tmpdir(), 'plombe-by-hand-'));
const pki = path.join(directory, 'pki');
const device = 'ms-acc-1/acc-1/dev-1';
const service = 'vendor-snapshot-service';

before(async () => {
  await works('pki', 'init', '--dir', pki);
  await works('pki', 'issue', '--dir', pki, device);
  await works('pki', 'issue', '--dir', pki, service, '--kind', 'enc');
  await works('pki', 'issue', '--dir', pki, 'ms-acc-2', '--kind', 'enc');
});

after(() => rmSync(directory, { recursive: true, force: true }));

async function works(...args: readonly string[]): Promise<Finished> {
  const finished = await plombe(...args);
  assert.equal(finished.status, 0, `${args.join(' ')}: ${finished.stderr}`);
  return finished;
}

function keys(name: string, file: string): string {
  return path.join(pki, 'identities', name, file);
}

test('plombe init: what it writes starts as it is, and a snapshot arrives', async (context) => {
  const deployment = path.join(directory, 'deployment');
  const { stdout } = await works('init', deployment);
  const { http } = await moveToFreePorts(deployment);
  const started: RunningProgram[] = [];
  context.after(async () => {
    for (const program of started.toReversed()) await program.stop();
  });
  const firstEvents = new Map([
    ['broker', 'broker.listening'],
    ['backend', 'backend.listening'],
    ['bpm', 'bpm.started'],
    ['registrar', 'registrar.started'],
    ['auditor', 'auditor.subscribed'],
    ['agent', 'agent.started'],
  ]);
  const commands = Array.from(
    stdout.matchAll(/^ {4}plombe (\w+) +--config (\S+)$/gm),
    ([, name = '', config = '']) => ({ name, config: path.join(deployment, config) }),
  );
  assert.deepEqual(
    commands.map(({ name }) => name),
    ['broker', 'backend', 'bpm', 'registrar', 'broker', 'auditor', 'agent'],
    'the programs that it tells to start',
  );
  for (const { name, config } of commands)
    started.push(await startProgram(name, config, firstEvents.get(name) ?? ''));
  const added = await works(
    'user',
    'add',
    'anna',
    '--role',
    'operator',
    '--config',
    `${deployment}/vendor/backend.yaml`,
  );
  const password = /Password: (\S+)/.exec(added.stdout)?.[1] ?? '';
  const get = await dashboardReader(`http://127.0.0.1:${http}`, 'anna', password);
  await until('a snapshot is stored', async () => {
    const fleet = (await get('/api/fleet')) as { path: string; stored: number; condition: string }[];
    return fleet.some((row) => row.path === device && row.stored > 0);
  });
  const auditorConfig = `${deployment}/customers/ms-acc-1/auditor.yaml`;
  await until('the auditor has it too', async () =>
    /^\d+ {2}\S+ {2}ms-acc-1\/acc-1\/dev-1\/snapshots #1 .* ok$/m.test(
      (await plombe('auditor', 'list', '--config', auditorConfig)).stdout,
    ),
  );
  for (const program of started.splice(0).toReversed()) {
    assert.equal(await program.stop(), 0, 'SIGTERM ends it with 0');
    assert.deepEqual(
      program.records().filter(({ level }) => level === 'error'),
      [],
    );
  }
});

test('plombe init: a folder that is not empty is left alone; a device that is none is wrong use', async () => {
  const taken = await plombe('init', pki);
  assert.deepEqual([taken.status, taken.stdout], [1, '']);
  assert.match(taken.stderr, /^plombe: cannot write a deployment to \S+: the folder is not empty\n$/);
  const none = await plombe('init', path.join(directory, 'new'), '--device', 'dev-1');
  assert.deepEqual([none.status, none.stdout], [2, '']);
});

test('plombe pki: OpenSSL agrees with chain and CRLs as the commands left them, before and after a revocation', async () => {
  const [root, chain] = [keys(device, 'tls-root.crt.pem'), keys(device, 'tls.chain.pem')];
  const crl = path.join(pki, 'tls/crl.pem');
  const openssl = (): string => {
    const args = ['verify', '-crl_check_all', '-x509_strict', '-CAfile', root, '-CRLfile', crl];
    const { stdout, stderr } = spawnSync('openssl', [...args, '-untrusted', chain, chain], {
      encoding: 'utf8',
    });
    return stdout + stderr;
  };
  const ours = (): Promise<Finished> => plombe('pki', 'verify', '--root', root, '--crl', crl, chain);
  assert.match(openssl(), /: OK\n$/);
  assert.equal((await ours()).status, 0);
  await works('pki', 'revoke', '--dir', pki, device, '--kind', 'tls', '--reason', 'keyCompromise');
  await works('pki', 'crl', '--dir', pki, '--days', '3');
  assert.match(openssl(), /certificate revoked/);
  const refused = await ours();
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /^plombe: .*is revoked since .*\n$/);
});

test('plombe seal, inspect, open: with keys as `pki issue` writes them, and an exit status for each failure', async () => {
  const plain = Buffer.from('{"temperature": 21}');
  const own = (file: string): string => keys(device, file);
  const recipient = keys(service, 'enc.crt.pem');
  const sealed = rawOutput(
    [
      'seal',
      '--sig-key',
      own('sig.key.pem'),
      '--sig-cert',
      own('sig.chain.pem'),
      '--enc-key',
      own('enc.key.pem'),
      '--enc-cert',
      own('enc.chain.pem'),
      '--to',
      recipient,
      '--embed-chain',
      '--sequence',
      '7',
    ],
    plain,
  );
  const inspected = await startPlombe(['inspect'], sealed).finished;
  assert.equal(inspected.status, 0, inspected.stderr);
  assert.match(inspected.stdout, /ms-acc-1\/acc-1\/dev-1\/snapshots/);
  const open = (name: string, envelope: Buffer): Promise<Finished> =>
    startPlombe(
      [
        'open',
        '--enc-key',
        keys(name, 'enc.key.pem'),
        '--enc-cert',
        keys(name, 'enc.crt.pem'),
        '--trust',
        keys(name, 'e2e-root.crt.pem'),
      ],
      envelope,
    ).finished;
  const flipped = Buffer.from(sealed);
  flipped.writeUInt8(flipped.readUInt8(flipped.length - 1) ^ 1, flipped.length - 1);
  const opened = await open(service, sealed);
  assert.deepEqual([opened.status, opened.stdout], [0, plain.toString()], opened.stderr);
  for (const [status, name, envelope] of [
    [3, service, sealed.subarray(0, -1)],
    [4, 'ms-acc-2', sealed],
    [5, service, flipped],
  ] as const) {
    const refused = await open(name, envelope);
    assert.deepEqual([refused.status, refused.stdout], [status, ''], refused.stderr);
    assert.match(refused.stderr, /^[^\n]+\n$/, 'one line');
  }
});

/** An envelope is no text, so nothing decodes it on its way. */
function rawOutput(args: readonly string[], input: Buffer): Buffer {
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], { input });
  assert.equal(status, 0, stderr.toString());
  return stdout;
}
