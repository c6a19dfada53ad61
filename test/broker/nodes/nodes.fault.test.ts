/**
 * Nodes and Redis lose their lives, or sleep through their lease, under traffic of QoS 1 and 2 from clients on every
 * node. Nothing acknowledged may be lost, nothing of QoS 2 may come twice, and each topic keeps its order.
 */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, test } from 'node:test';
import { ExactClient } from '../../../soak/exact-client.ts';
import { Ledger } from '../../../soak/ledger.ts';
import { killBrokerProcesses } from '../broker-process.ts';
import type { Site } from '../fixture.ts';
import { openSite } from '../fixture.ts';
import type { NodeProcess, Nodes } from './node-processes.ts';
import { nodesOf } from './node-processes.ts';
import { killRedisProcesses } from '../../../soak/redis-process.ts';

let site: Site;
let nodes: Nodes;
before(async () => {
  site = openSite();
  nodes = await nodesOf(site, 'fault', ['a', 'b', 'c'], {
    limits: { perIdentity: { sessionsMax: 100 } },
    cluster: { log: { claimMinutes: 0.02 } },
    log: { level: 'debug' },
  });
  await nodes.start();
});
after(async () => {
  await killBrokerProcesses();
  await killRedisProcesses();
  await site.remove();
});

const devices = ['ms-acc-1/acc-1/dev-1', 'ms-acc-1/acc-2/dev-2'];
const snapshots = devices.map((device) => `${device}/snapshots`);
const status = devices.map((device) => `${device}/status`);

/** Whoever receives; those of one name share a subscription. */
const readers = [
  { name: 'owner', clientId: 'owner', filters: ['ms-acc-1/#'], qos: 2 },
  { name: 'modest', clientId: 'modest', filters: ['ms-acc-1/+/+/snapshots'], qos: 1 },
  { name: 'workers', clientId: 'worker-1', filters: ['$share/workers/ms-acc-1/+/+/snapshots'], qos: 2 },
  { name: 'workers', clientId: 'worker-2', filters: ['$share/workers/ms-acc-1/+/+/snapshots'], qos: 2 },
] as const;

const publishEveryMs = 20;
const unacknowledgedMax = 200;
const drainMs = 150_000;

/** What does not answer for so long is gone, for a client: it has its own keep-alive. */
const answerMs = 5000;

/** Connects to one node after the other, as through one address, until `isOver`. */
async function stay(client: ExactClient, first: number, isOver: () => boolean): Promise<void> {
  for (let turn = first; !isOver(); turn++) {
    const { port } = nodes.all[turn % nodes.all.length] ?? { port: 0 };
    if (await inTime(client.open(port))) {
      const gone = lost(client);
      gone.catch(() => undefined);
      while (!isOver() && (await inTime(Promise.race([client.settled(), gone])))) await sleep(50);
    } else await sleep(20);
    client.drop();
  }
}

async function lost(client: ExactClient): Promise<never> {
  await client.lost();
  throw new Error('lost');
}

/** @returns whether it was, and well */
async function inTime(work: Promise<unknown>): Promise<boolean> {
  const late = new AbortController();
  const isDone = await Promise.race([
    work.then(
      () => true,
      () => false,
    ),
    sleep(answerMs, false, { signal: late.signal }).catch(() => false),
  ]);
  late.abort();
  return isDone;
}

let runs = 0;

/** Traffic while `disturb` runs, and then until all has arrived. */
async function underTraffic(disturb: (ledger: Ledger) => Promise<void>): Promise<void> {
  const ledger = new Ledger();
  const run = ++runs;
  ledger.expect('owner', [...snapshots, ...status]);
  ledger.expect('modest', snapshots);
  ledger.expect('workers', snapshots);
  const credentials = async (
    identity: string,
  ): Promise<ConstructorParameters<typeof ExactClient>[0]['tls']> => {
    const { privateKeyPem, chainPem, rootsPem } = await site.tls(identity);
    return { key: privateKeyPem, cert: chainPem, ca: rootsPem };
  };
  const owner = await credentials('ms-acc-1');
  const receiving = readers.map(
    ({ name, clientId, filters, qos }) =>
      new ExactClient({
        tls: owner,
        port: 0,
        clientId: `${clientId}-${run}`,
        filters: filters.map((filter) => filter.replace('workers', `workers-${run}`)),
        qos,
        onMessage: (message) => {
          // What was retained before is of an earlier run.
          if (!message.retain) ledger.receive(name, clientId, message.qos, message.payload.toString());
        },
      }),
  );
  for (const [index, client] of receiving.entries()) {
    await client.open(nodes.all[index % nodes.all.length]?.port);
    await client.settled();
  }
  const publishers = await Promise.all(
    devices.map(
      async (device) =>
        new ExactClient({
          tls: await credentials(device),
          port: 0,
          clientId: `device-${run}`,
          onAcknowledged: (payload) => ledger.acknowledge(payload),
        }),
    ),
  );
  let isOver = false;
  const clients = [...receiving, ...publishers];
  const staying = clients.map((client, index) => stay(client, index, () => isOver));
  const timer = setInterval(() => {
    for (const [index, publisher] of publishers.entries()) {
      if (publisher.unacknowledged >= unacknowledgedMax) continue;
      const [snapshot = '', state = ''] = [snapshots[index], status[index]];
      publisher.publish(snapshot, ledger.publish(snapshot), 2);
      publisher.publish(state, ledger.publish(state), 1, true);
    }
  }, publishEveryMs);
  try {
    await disturb(ledger);
    const quiet = ledger.acknowledged;
    await until(() => ledger.acknowledged > quiet + 50, 'traffic after the disturbance');
    clearInterval(timer);
    await until(
      () => publishers.every(({ unacknowledged }) => unacknowledged === 0) && ledger.missing().length === 0,
      () => ledger.missing().join(', '),
    );
  } finally {
    clearInterval(timer);
    isOver = true;
    for (const client of clients) client.drop();
    await Promise.all(staying);
  }
  assert.deepEqual(ledger.violations, []);
  assert.deepEqual(
    clients.map(({ forgotten }) => forgotten),
    clients.map(() => 0),
    'no session was forgotten',
  );
}

async function until(isReached: () => boolean, what: string | (() => string)): Promise<void> {
  const deadlineMs = performance.now() + drainMs;
  while (!isReached()) {
    if (performance.now() > deadlineMs)
      assert.fail(`never came: ${typeof what === 'string' ? what : what()}`);
    await sleep(20);
  }
}

function others(than: NodeProcess): NodeProcess[] {
  return nodes.all.filter((node) => node !== than);
}

async function acknowledgedMore(ledger: Ledger, count: number): Promise<void> {
  const before = ledger.acknowledged;
  await until(() => ledger.acknowledged >= before + count, 'acknowledgements');
}

test('kill -9 of the active node, again and again: the next one goes on where it ended', async () => {
  await underTraffic(async (ledger) => {
    for (let kills = 0; kills < 2; kills++) {
      await acknowledgedMore(ledger, 40);
      const active = await nodes.settled();
      await active.kill();
      await nodes.settled(others(active));
      await active.start();
      await nodes.settled();
    }
  });
});

test('kill -9 of a front: its clients go on at another one', async () => {
  await underTraffic(async (ledger) => {
    for (let kills = 0; kills < 2; kills++) {
      await acknowledgedMore(ledger, 40);
      const [front] = others(await nodes.settled());
      await front?.kill();
      await acknowledgedMore(ledger, 40);
      await front?.start();
    }
    await nodes.settled();
  });
});

test('SIGSTOP of the active node beyond its lease: another takes over, and what it says afterwards counts for nothing', async () => {
  await underTraffic(async (ledger) => {
    await acknowledgedMore(ledger, 40);
    const active = await nodes.settled();
    await active.broker.suspend();
    await nodes.settled(others(active));
    await acknowledgedMore(ledger, 40);
    active.broker.resume();
    await active.broker.journal.until('node.fenced');
    await nodes.settled();
  });
});

test('kill -9 of Redis, and a restart of it: nothing is answered meanwhile, and nothing lost', async () => {
  await underTraffic(async (ledger) => {
    for (const signal of ['SIGKILL', 'SIGTERM', 'SIGKILL'] as const) {
      await acknowledgedMore(ledger, 40);
      await nodes.redis.stop(signal);
      await sleep(200);
      await nodes.redis.start();
    }
    await acknowledgedMore(ledger, 40);
  });
  await nodes.settled();
});

test('kill -9 of Redis and of the active node at once', async () => {
  await underTraffic(async (ledger) => {
    await acknowledgedMore(ledger, 40);
    const active = await nodes.settled();
    await Promise.all([nodes.redis.stop(), active.kill()]);
    await nodes.redis.start();
    await nodes.settled(others(active));
    await active.start();
    await nodes.settled();
  });
});

const attemptsMax = 10;

/**
 * Again and again until whoever is active before a blow to Redis is so after it: on a busy machine its lease may have run
 * out meanwhile, and then another node goes on, as it should.
 *
 * @returns who was active all the time
 */
async function activeThrough(
  blow: () => Promise<void>,
  prepare: () => Promise<void> = () => Promise.resolve(),
): Promise<NodeProcess> {
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    await prepare();
    const active = await nodes.settled();
    const { epoch } = (await active.state()).node;
    await blow();
    await nodes.settled();
    if ((await active.state()).node.epoch === epoch) return active;
  }
  return assert.fail(`another one was active after each of ${attemptsMax} blows`);
}

test('Redis is set back to a copy that is older than what it had confirmed: it gets the rest again', async () => {
  await underTraffic(async (ledger) => {
    await acknowledgedMore(ledger, 40);
    const active = await activeThrough(async () => {
      nodes.redis.backUp();
      await acknowledgedMore(ledger, 100);
      await nodes.redis.restart(() => nodes.redis.setBack());
      await acknowledgedMore(ledger, 40);
    });
    assert(active.broker.journal.find('node.log_lost'));
    await active.kill();
    await acknowledgedMore(ledger, 40);
    await active.start();
  });
  await nodes.settled();
});

test('Redis is set back to before the last change of the active node: that one stays', async () => {
  await underTraffic(async (ledger) => {
    await acknowledgedMore(ledger, 40);
    const change = async (): Promise<void> => {
      nodes.redis.backUp();
      const former = await nodes.settled();
      await former.kill();
      await nodes.settled(others(former));
      await former.start();
    };
    const active = await activeThrough(async () => {
      await acknowledgedMore(ledger, 40);
      await nodes.redis.restart(() => nodes.redis.setBack());
      await acknowledgedMore(ledger, 40);
    }, change);
    const { epoch } = (await active.state()).node;
    await active.kill();
    const next = await nodes.settled(others(active));
    assert((await next.state()).node.epoch > epoch);
    await acknowledgedMore(ledger, 40);
    await active.start();
  });
  await nodes.settled();
});

test('a wiped Redis gets its log back from a node that is active; without one, from the node that is told to', async () => {
  await underTraffic(async (ledger) => {
    await acknowledgedMore(ledger, 40);
    const active = await activeThrough(async () => {
      await nodes.redis.restart(() => nodes.redis.wipe());
      await acknowledgedMore(ledger, 40);
    });
    await Promise.all(nodes.all.map((node) => node.kill()));
    await nodes.redis.restart(() => nodes.redis.wipe());
    await Promise.all(nodes.all.map((node) => node.start()));
    for (const node of nodes.all) {
      const { reason } = await node.broker.journal.until('node.failed');
      assert.match(String(reason), /Redis has no log of this cluster any more; .* `cluster\.restore: true`/);
    }
    await active.kill();
    await active.startWith({ restore: true });
    // Who leads is open again: another one that has as much may be the first to ask.
    await active.broker.journal.until('cluster.restored');
    await nodes.settled();
    await acknowledgedMore(ledger, 40);
  });
  await nodes.settled();
});

test('a node that was away while the log went on without it gets a snapshot, and then can lead', async () => {
  await underTraffic(async (ledger) => {
    const active = await nodes.settled();
    const [away, third] = others(active);
    assert(away && third);
    const { position } = (await away.state()).node;
    await away.kill();
    // By whichever of them is active then.
    const isTrimmed = ({ broker }: NodeProcess): boolean =>
      broker.journal.lines.some(({ event, first }) => event === 'log.trimmed' && Number(first) > position);
    await until(() => [active, third].some(isTrimmed), 'a log without what it needs');
    await away.start();
    await away.broker.journal.until('snapshot.received');
    await nodes.settled();
    await Promise.all([active.kill(), third.kill()]);
    await nodes.settled([away]);
    await acknowledgedMore(ledger, 40);
    await Promise.all([active.start(), third.start()]);
    await nodes.settled();
  });
});

test('kill -9 of all nodes at once: whoever is back first goes on', async () => {
  await underTraffic(async (ledger) => {
    await acknowledgedMore(ledger, 40);
    await Promise.all(nodes.all.map((node) => node.kill()));
    await Promise.all(nodes.all.map((node) => node.start()));
    await nodes.settled();
  });
});

for (const [victim, by] of [
  ['a front', 'the active node'],
  ['the active node', 'its successor'],
] as const) {
  test(`wills: those of the clients of ${victim} that was killed are published by ${by}`, async () => {
    const active = await nodes.settled();
    const [front] = others(active);
    assert(front);
    const killed = victim === 'a front' ? front : active;
    const device = devices[0] ?? '';
    const text = `lost with ${victim}`;
    const heard = new Set<string>();
    const { privateKeyPem, chainPem, rootsPem } = await site.tls('ms-acc-1');
    const subscriber = new ExactClient({
      tls: { key: privateKeyPem, cert: chainPem, ca: rootsPem },
      port: 0,
      clientId: `mourner ${victim}`,
      filters: [`${device}/status`],
      onMessage: ({ payload }) => heard.add(payload.toString()),
    });
    await subscriber.open(active.port);
    await subscriber.settled();
    const will = { topic: `${device}/status`, payload: Buffer.from(text), qos: 2, retain: false } as const;
    await site.connect(killed, device, { clientId: victim, will });
    let isOver = false;
    const staying = stay(subscriber, nodes.all.indexOf(killed) + 1, () => isOver);
    await killed.kill();
    await until(() => heard.has(text), 'the will');
    isOver = true;
    subscriber.drop();
    await staying;
    await killed.start();
    await nodes.settled();
  });
}

test('no epoch came twice in all of this', () => {
  const epochs = nodes.all.flatMap((node) => node.epochs);
  assert.equal(new Set(epochs).size, epochs.length);
});
