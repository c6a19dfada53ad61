import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { openSite } from './fixture.ts';
import type { Site } from './fixture.ts';

let site: Site;
before(() => {
  site = openSite();
});
after(() => site.remove());

const device = 'ms-acc-1/acc-1/dev-1';

/** As Mosquitto's manual names them: https://mosquitto.org/man/mosquitto-8.html */
const ofMosquitto = [
  'version',
  'uptime',
  'clients/connected',
  'clients/disconnected',
  'clients/total',
  'clients/maximum',
  'clients/expired',
  'clients/active',
  'clients/inactive',
  'messages/received',
  'messages/sent',
  'messages/stored',
  'bytes/received',
  'bytes/sent',
  'publish/messages/received',
  'publish/messages/sent',
  'publish/messages/dropped',
  'publish/bytes/received',
  'publish/bytes/sent',
  'retained messages/count',
  'store/messages/count',
  'store/messages/bytes',
  'subscriptions/count',
  'shared_subscriptions/count',
  'heap/current',
  'heap/maximum',
  ...[
    'messages/received',
    'messages/sent',
    'publish/received',
    'publish/sent',
    'publish/dropped',
    'bytes/received',
    'bytes/sent',
    'sockets',
    'connections',
  ].flatMap((name) => [1, 5, 15].map((span) => `load/${name}/${span}min`)),
];
const ours = ['name', 'queues/full', 'store/state', 'denials', 'refusals', 'dropped', 'disconnects'];
const ofCascade = ['connection/cascade/state', 'cascade/state'];

/** Subscribes with Debian's client until so many messages came. @returns the values by topic */
async function mosquittoSub(
  port: number,
  commonName: string,
  filter: string,
  count: number,
): Promise<Map<string, string>> {
  const keys = await site.identity(commonName);
  const place = ['-h', '127.0.0.1', '-p', String(port), '-V', '5'];
  const ca = ['--cafile', path.join(keys, 'tls-root.crt.pem')];
  const own = ['--cert', path.join(keys, 'tls.chain.pem'), '--key', path.join(keys, 'tls.key.pem')];
  const wanted = ['-t', filter, '-C', String(count), '-W', '60', '-F', '%t\t%r\t%p'];
  const { stdout } = await promisify(execFile)('mosquitto_sub', [...place, ...ca, ...own, ...wanted]);
  return new Map(
    stdout
      .trimEnd()
      .split('\n')
      .map((line) => {
        const [topic = '', retain, value = ''] = line.split('\t');
        assert.equal(retain, '1', `${topic} comes at once, as if it were retained`);
        return [topic.replace('$SYS/broker/', ''), value];
      }),
  );
}

test('$SYS: mosquitto_sub finds every name that Mosquitto has, and the numbers are true', async () => {
  const { broker } = await site.start({
    identity: await site.identity('ms-acc-1', ['127.0.0.1']),
    cascade: { upstream: '127.0.0.1:1', brokerName: 'vendor-broker' },
  });
  const dev = await site.connect(broker, device);
  const away = await site.connect(broker, 'ms-acc-1', { clientId: 'away', clean: false });
  await away.subscribeAsync(['ms-acc-1/#', '$share/a/ms-acc-1/+/+/status'], { qos: 1 });
  await away.endAsync();
  const payload = 'x'.repeat(1000);
  await dev.publishAsync(`${device}/snapshots`, payload, { qos: 1 });
  await dev.publishAsync(`${device}/status`, payload, { qos: 1, retain: true });
  await assert.rejects(dev.subscribeAsync('ms-acc-2/#'));
  const names = [...ofMosquitto, ...ours, ...ofCascade];
  const found = await mosquittoSub(broker.port, 'MRO-Admin', '$SYS/#', names.length);
  assert.deepEqual([...found.keys()].toSorted(), names.toSorted());
  const value = (name: string): string => found.get(name) ?? '';
  assert.match(value('version'), /^plombe version \d+\.\d+\.\d+/);
  assert.match(value('uptime'), /^\d+ seconds$/);
  assert.partialDeepStrictEqual(Object.fromEntries(found), {
    name: 'test',
    'clients/connected': '2',
    'clients/disconnected': '1',
    'clients/total': '3',
    'clients/maximum': '2',
    'clients/expired': '0',
    'publish/messages/received': '2',
    'publish/bytes/received': '2000',
    'publish/messages/dropped': '0',
    'retained messages/count': '1',
    'shared_subscriptions/count': '1',
    denials: '{"subscribe no_right":1}',
    'connection/cascade/state': '0',
  });
  // Two wait for who is away (one of them on both of its subscriptions), two for the upstream, and one is retained.
  assert.equal(value('store/messages/count'), '6');
  assert(Number(value('store/messages/bytes')) > 5000);
  assert(Number(value('bytes/received')) > 2000);
  assert(Number(value('messages/received')) >= 8);
  for (const name of ofMosquitto.slice(2)) assert(Number.isFinite(Number(value(name))), name);
  await site.stop(broker);
});

test('$SYS: nobody but the administrator reads it', async () => {
  const { broker } = await site.start();
  for (const name of [device, 'ms-acc-1', 'vendor-snapshot-service']) {
    const client = await site.connect(broker, name);
    for (const filter of ['$SYS/#', '$SYS/broker/uptime', '$share/a/$SYS/#']) {
      await assert.rejects(client.subscribeAsync(filter), `${name} ${filter}`);
    }
  }
  await site.stop(broker);
});
