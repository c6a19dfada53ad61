/** Do clients that nobody here wrote get exactly their rights? Mosquitto's, with certificates from `plombe pki`. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { LogRecord } from '../../cli/demo/supervisor.ts';
import type { Finished, RunningCommand } from './process.ts';
import { plombe, startPlombe, until } from './process.ts';

const directory = mkdtempSync(path.join(tmpdir(), 'plombe-foreign-'));
const pki = path.join(directory, 'pki');
const names = ['ms-acc-1', 'ms-acc-1/acc-1', 'ms-acc-1/acc-1/dev-1', 'ms-acc-2', 'ms-acc-10', 'MRO-Admin'];
let broker: RunningCommand;
let port = 0;

before(async () => {
  for (const args of [
    ['init', '--dir', pki],
    ['issue', '--dir', pki, 'vendor-broker', '--kind', 'tls', '--host', 'localhost'],
    ...names.map((name) => ['issue', '--dir', pki, name, '--kind', 'tls']),
  ]) {
    const { status, stderr } = await plombe('pki', ...args);
    assert.equal(status, 0, stderr);
  }
  const config = path.join(directory, 'broker.yaml');
  writeFileSync(
    config,
    `name: vendor-broker\nlisten: 127.0.0.1:0\nidentity: ${pki}/identities/vendor-broker\ndata: ./data\n`,
  );
  broker = startPlombe(['broker', '--config', config]);
  const listening = (): LogRecord | undefined =>
    records().find((record) => record.event === 'broker.listening');
  await until('the broker listens', () => listening() !== undefined);
  port = Number(listening()?.['port']);
});

after(async () => {
  broker.process.kill('SIGTERM');
  await broker.finished;
  rmSync(directory, { recursive: true, force: true });
});

function records(): LogRecord[] {
  const whole = broker.output().split('\n').slice(0, -1);
  return whole.map((line) => JSON.parse(line) as LogRecord);
}

function mosquitto(
  command: 'mosquitto_pub' | 'mosquitto_sub',
  name: string,
  args: readonly string[],
): Promise<Finished> {
  const keys = path.join(pki, 'identities', name);
  const [root, chain, key] = ['tls-root.crt.pem', 'tls.chain.pem', 'tls.key.pem'].map((file) =>
    path.join(keys, file),
  );
  const tls = ['--cafile', root, '--cert', chain, '--key', key].filter((argument) => argument !== undefined);
  const child = spawn(command, ['-h', 'localhost', '-p', String(port), ...tls, ...args]);
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  return once(child, 'close').then(([status]: unknown[]) => ({ status: Number(status), stdout, stderr }));
}

test('mosquitto_pub, mosquitto_sub: a retained message of a device reaches its owner', async () => {
  const topic = 'ms-acc-1/acc-1/dev-1/status';
  const sent = await mosquitto('mosquitto_pub', 'ms-acc-1/acc-1/dev-1', [
    '-t',
    topic,
    '-q',
    '1',
    '-r',
    '-m',
    'hello',
  ]);
  assert.equal(sent.status, 0, sent.stderr);
  const got = await mosquitto('mosquitto_sub', 'ms-acc-1', [
    '-t',
    'ms-acc-1/#',
    '-q',
    '1',
    '-C',
    '1',
    '-W',
    '60',
    '-v',
  ]);
  assert.equal(got.stdout, `${topic} hello\n`, got.stderr);
});

for (const [name, filter] of [
  ['ms-acc-1', '#'],
  ['ms-acc-1', '+/#'],
  ['ms-acc-1', '+/+/+/snapshots'],
  ['ms-acc-1', '$SYS/#'],
  ['ms-acc-1', 'ms-acc-10/#'],
  ['ms-acc-10', 'ms-acc-1/#'],
  ['ms-acc-1/acc-1', 'ms-acc-1/#'],
  ['ms-acc-1/acc-1/dev-1', 'ms-acc-1/acc-1/#'],
  ['ms-acc-2', 'ms-acc-1/acc-1/dev-1/status'],
] as const) {
  test(`mosquitto_sub: ${name} is denied ${filter}`, async () => {
    const answer = await mosquitto('mosquitto_sub', name, ['-t', filter, '-q', '1', '-C', '1', '-W', '60']);
    // Mosquitto's client says so when every subscription was refused with 0x80.
    assert.match(answer.stderr, /All subscription requests were denied/);
    assert.equal(answer.stdout, '');
    assert.ok(
      records().some(
        (record) =>
          record.event === 'subscription.denied' &&
          record['identity'] === name &&
          record['filter'] === filter,
      ),
      'the denial is in the log',
    );
  });
}

test('mosquitto_sub: the administrator reads $SYS', async () => {
  const answer = await mosquitto('mosquitto_sub', 'MRO-Admin', [
    '-t',
    '$SYS/broker/version',
    '-C',
    '1',
    '-W',
    '60',
  ]);
  assert.match(answer.stdout, /\d+\.\d+/, answer.stderr);
});

test('mosquitto_pub: another customer is denied, nothing of it arrives, and the log says who', async () => {
  await mosquitto('mosquitto_pub', 'ms-acc-2', [
    '-t',
    'ms-acc-1/acc-1/dev-1/snapshots',
    '-q',
    '1',
    '-r',
    '-m',
    'forged',
  ]);
  const got = await mosquitto('mosquitto_sub', 'ms-acc-1', [
    '-t',
    'ms-acc-1/acc-1/dev-1/snapshots',
    '-C',
    '1',
    '-W',
    '2',
  ]);
  assert.equal(got.stdout, '');
  assert.ok(
    records().some((record) => record.event === 'publish.denied' && record['identity'] === 'ms-acc-2'),
  );
});

test('mosquitto_pub: without a certificate there is no connection', async () => {
  const root = path.join(pki, 'identities', 'ms-acc-1', 'tls-root.crt.pem');
  const child = spawn('mosquitto_pub', [
    '-h',
    'localhost',
    '-p',
    String(port),
    '--cafile',
    root,
    '-t',
    'a',
    '-m',
    'b',
  ]);
  const [status] = (await once(child, 'close')) as unknown[];
  assert.notEqual(status, 0);
});
