/** Who may begin a cluster, who may join one, and through which Redis. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Redis } from 'ioredis';
import { killBrokerProcesses, startBrokerProcess } from '../broker-process.ts';
import type { Site } from '../fixture.ts';
import { openSite } from '../fixture.ts';
import type { NodeProcess } from './node-processes.ts';
import { nodeOf, nodesOf } from './node-processes.ts';
import type { RedisProcess } from '../../../soak/redis-process.ts';
import { killRedisProcesses, startRedis } from '../../../soak/redis-process.ts';

let site: Site;
let redis: RedisProcess;
before(async () => {
  site = openSite();
  redis = await startRedis(path.join(site.directory, 'redis'), []);
});
after(async () => {
  await killBrokerProcesses();
  await killRedisProcesses();
  await site.remove();
});

const device = 'ms-acc-1/acc-1/dev-1';
const snapshots = `${device}/snapshots`;
const pollMs = 20;
/** Nobody is to lose the lease on a busy machine, and little time to be waited for. */
const leaseSeconds = 3;

function start(
  cluster: string,
  node: string,
  {
    folder = `${cluster}-${node}`,
    ...settings
  }: { folder?: string; redis?: string; redisCaFile?: string } = {},
): Promise<NodeProcess> {
  return started(
    nodeOf(site, folder, node, {
      durability: 'os',
      cluster: { redis: redis.url, name: cluster, leaseSeconds, ...settings },
    }),
  );
}

async function started(made: Promise<NodeProcess>): Promise<NodeProcess> {
  const node = await made;
  await node.start();
  return node;
}

async function inRole(node: NodeProcess, role: string): Promise<void> {
  for (;;) {
    const state = await node.state();
    if (state.node.role === role && state.healthy) return;
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

/** What it says is wrong, once it says this. */
async function complains(node: NodeProcess, wanted: RegExp): Promise<void> {
  for (;;) {
    const { healthy, reason = '' } = await node.state();
    if (!healthy && wanted.test(reason)) return;
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

test('a broker that was alone becomes the first node, and what it held outlives it on the second', async () => {
  const folder = 'alone-first';
  const alone = await startBrokerProcess(site, folder);
  const reader = await site.connect(alone, 'ms-acc-1', { clientId: 'reader', clean: false });
  await reader.subscribeAsync('ms-acc-1/+/+/snapshots', { qos: 2 });
  await reader.endAsync();
  const writer = await site.connect(alone, device);
  await writer.publishAsync(snapshots, 'queued', { qos: 2 });
  await writer.publishAsync(`${device}/status`, 'kept', { qos: 1, retain: true });
  await alone.kill();
  const first = await start('grown', 'first', { folder });
  await inRole(first, 'active');
  const second = await start('grown', 'second');
  await inRole(second, 'front');
  await second.broker.journal.until('snapshot.received');
  await first.kill();
  await inRole(second, 'active');
  const back = await site.connect(second, 'ms-acc-1', { clientId: 'reader', clean: false });
  assert.deepEqual(await site.received(back).count(1), [`${snapshots}=queued`]);
  await back.subscribeAsync(`${device}/status`, { qos: 1 });
  assert.deepEqual((await site.received(back).count(2)).at(-1), `${device}/status=kept`);
  await second.kill();
});

test('a node with a state of its own, also that of another cluster, does not join; its state stays', async () => {
  const first = await start('ours', 'first');
  await inRole(first, 'active');
  const folder = 'not-ours';
  const stranger = await start('theirs', 'stranger', { folder });
  await inRole(stranger, 'active');
  const writer = await site.connect(stranger, device);
  await writer.publishAsync(`${device}/status`, 'theirs', { qos: 1, retain: true });
  await stranger.kill();
  const joining = await start('ours', 'stranger', { folder });
  await complains(joining, /holds a broker's state that is not that of the cluster: empty it/);
  await joining.kill();
  const back = await start('theirs', 'stranger', { folder });
  await inRole(back, 'active');
  const reader = await site.connect(back, 'ms-acc-1');
  await reader.subscribeAsync(`${device}/status`, { qos: 1 });
  assert.deepEqual(await site.received(reader).count(1), [`${device}/status=theirs`]);
  await Promise.all([first.kill(), back.kill()]);
});

test('a second node of the same name is refused, and takes nothing from the first', async () => {
  const { all, redis: own } = await nodesOf(site, 'twins', ['a', 'b'], {
    durability: 'os',
    cluster: { leaseSeconds },
  });
  const [a, b] = all;
  assert(a && b);
  await a.start();
  await inRole(a, 'active');
  await b.start();
  await inRole(b, 'front');
  const client = await site.connect(b, 'ms-acc-1');
  const twins = await Promise.all(
    ['a', 'b'].map((name) => start('twins', name, { folder: `twin-${name}`, redis: own.url })),
  );
  await Promise.all(
    twins.map((twin) => complains(twin, /another process is node "[ab]" of this cluster: .*cluster\.node/)),
  );
  assert.deepEqual([(await a.state()).node.role, (await b.state()).node.role], ['active', 'front']);
  assert(client.connected, 'and nobody lost its connection');
  assert.equal(a.broker.journal.find('node.failed') ?? b.broker.journal.find('node.failed'), undefined);
  await Promise.all([...all, ...twins].map((node) => node.kill()));
});

test('what is in Redis under the name of a cluster, but is of none or of another version, is left alone', async () => {
  const connection = new Redis(redis.url);
  await connection.set('plombe:{foreign}:meta', 'something else');
  await connection.hset('plombe:{newer}:meta', { format: '2', lineage: 'l' });
  const foreign = await start('foreign', 'a');
  await complains(foreign, /plombe:\{foreign\}:meta is not of a cluster/);
  const newer = await start('newer', 'a');
  await complains(newer, /plombe:\{newer\}:meta is of another version of this program: format 2/);
  assert.equal(await connection.get('plombe:{foreign}:meta'), 'something else');
  assert.deepEqual(await connection.hgetall('plombe:{newer}:meta'), { format: '2', lineage: 'l' });
  connection.disconnect();
  await Promise.all([foreign.kill(), newer.kill()]);
});

test('rediss: a Redis is known by a certificate below the pinned CA, and by no other', async () => {
  const keys = await site.identity('vendor-broker', ['127.0.0.1']);
  const secured = await startRedis(path.join(site.directory, 'secured'), [], keys);
  const trusted = { redis: secured.url, redisCaFile: path.join(keys, 'tls-root.crt.pem') };
  const other = openSite();
  const foreignKeys = await other.identity('vendor-broker', ['127.0.0.1']);
  const misled = await start('secured', 'misled', {
    ...trusted,
    redisCaFile: path.join(foreignKeys, 'tls-root.crt.pem'),
  });
  await complains(misled, /^Redis: .*(self-signed|unable to)/);
  assert.equal(misled.broker.journal.find('cluster.founded'), undefined);
  const first = await start('secured', 'first', trusted);
  await inRole(first, 'active');
  const writer = await site.connect(first, device);
  await writer.publishAsync(snapshots, 'through it', { qos: 1 });
  await Promise.all([misled.kill(), first.kill()]);
  await secured.stop();
  await other.remove();
});

test('a Redis that may forget is refused where the disk is promised', async () => {
  const careless = await started(
    nodeOf(site, 'careless', 'a', { cluster: { redis: redis.url, name: 'careless' } }),
  );
  await complains(careless, /durability: disk wants Redis with "appendonly yes" and "appendfsync always"/);
  await careless.kill();
});
