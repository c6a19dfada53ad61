import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { RunningBroker } from '../../../broker/main.ts';
import type { Journal, Site } from '../fixture.ts';
import { openSite } from '../fixture.ts';

let site: Site;
let broker: RunningBroker;
let journal: Journal;
before(async () => {
  site = openSite();
  ({ broker, journal } = await site.start());
});
after(() => site.remove());

const device = 'ms-acc-1/acc-1/dev-1';

interface Finished {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function mosquitto(command: 'pub' | 'sub', name: string, args: readonly string[]): Promise<Finished> {
  const keys = await site.identity(name);
  const files = { cafile: 'tls-root.crt.pem', cert: 'tls.chain.pem', key: 'tls.key.pem' };
  const tls = Object.entries(files).flatMap(([option, file]) => [`--${option}`, path.join(keys, file)]);
  const where = ['-V', 'mqttv5', '-h', '127.0.0.1', '-p', String(broker.port)];
  const child = spawn(`mosquitto_${command}`, [...where, ...tls, ...args]);
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const [status] = (await once(child, 'close')) as unknown[];
  return { status: Number(status), stdout, stderr };
}

test('mosquitto_pub, mosquitto_sub -V mqttv5: properties of a retained message', async () => {
  const properties = [
    ['content-type', 'text/plain'],
    ['user-property', 'first', '1'],
    ['user-property', 'second', '2'],
    ['message-expiry-interval', '60'],
    ['topic-alias', '1'],
  ].flatMap((property) => ['-D', 'publish', ...property]);
  const message = ['-t', `${device}/status`, '-q', '2', '-r', '-m', 'hello', ...properties];
  const sent = await mosquitto('pub', device, message);
  assert.equal(sent.status, 0, sent.stderr);
  const asked = '-D connect receive-maximum 1 -D subscribe subscription-identifier 9'.split(' ');
  const format = ['-C', '1', '-W', '60', '-F', '%r %C %P %p'];
  const got = await mosquitto('sub', 'ms-acc-1', ['-t', `${device}/#`, '-q', '2', ...asked, ...format]);
  assert.equal(got.stdout.trim(), '1 text/plain first:1 second:2 hello', got.stderr);
});

test('mosquitto_sub -V mqttv5: a denied filter has its reason, and so has a denied message', async () => {
  const denied = await mosquitto('sub', 'ms-acc-2', ['-t', 'ms-acc-1/#', '-q', '1', '-C', '1', '-W', '60']);
  assert.match(denied.stderr, /All subscription requests were denied/);
  const forged = await mosquitto('pub', 'ms-acc-2', [
    '-t',
    `${device}/status`,
    '-q',
    '1',
    '-m',
    'forged',
    '-d',
  ]);
  assert.match(forged.stdout + forged.stderr, /RC:135/);
  assert(journal.find('publish.denied', { identity: 'ms-acc-2' }));
});

test('mosquitto_sub -V mqttv5: a session that waits, and a shared subscription', async () => {
  const session = ['-c', '-i', 'waiting', '-x', '300', '-q', '1', '-t', '$share/g/ms-acc-1/#'];
  const registered = await mosquitto('sub', 'ms-acc-1', [...session, '-E']);
  assert.equal(registered.status, 0, registered.stderr);
  const sent = await mosquitto('pub', device, ['-t', `${device}/snapshots`, '-q', '1', '-m', 'waited']);
  assert.equal(sent.status, 0, sent.stderr);
  const got = await mosquitto('sub', 'ms-acc-1', [...session, '-C', '1', '-W', '60']);
  assert.equal(got.stdout.trim(), 'waited', got.stderr);
});
