/**
 * Three nodes that share Redis, under traffic of QoS 1 and 2 from clients that know all of them. Nodes and Redis are
 * killed, stopped, set back to an older copy and wiped at random. Nothing acknowledged may be lost, nothing of QoS 2 may
 * come twice, and each topic keeps its order.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import path from 'node:path';
import { errorText } from '../domain/error-text.ts';
import { Generator } from '../fuzz/generator.ts';
import { freePort } from '../runtime/free-ports.ts';
import { ExactClient } from './exact-client.ts';
import { Ledger } from './ledger.ts';
import type { Outcome, SoakOptions } from './outcome.ts';
import { Program } from './program.ts';
import type { RedisProcess } from './redis-process.ts';
import { startRedis } from './redis-process.ts';
import { SoakSite } from './site.ts';

const masterAccount = 'ms-acc-1';
const devices = [`${masterAccount}/acc-1/dev-1`, `${masterAccount}/acc-2/dev-2`];
const snapshots = devices.map((device) => `${device}/snapshots`);

/** Whoever receives; those of one name share a subscription. */
const readers = [
  { name: 'owner', clientId: 'owner', filters: [`${masterAccount}/#`], qos: 2 },
  { name: 'modest', clientId: 'modest', filters: [`${masterAccount}/+/+/snapshots`], qos: 1 },
  ...[1, 2].map((index) => ({
    name: 'workers',
    clientId: `worker-${index}`,
    filters: [`$share/workers/${masterAccount}/+/+/snapshots`],
    qos: 2 as const,
  })),
] as const;

const nodeNames = ['a', 'b', 'c'];
const leaseSeconds = 1;
const publishEveryMs = 10;
const unacknowledgedMax = 200;
/** A client that hears nothing for so long goes to another node. */
const answerMs = 2000;
const drainMs = 120_000;
/** Messages that must be acknowledged between two deeds. */
const liveMessages = 40;

export async function soakNodes({ minutes, seed, onProgress }: SoakOptions): Promise<Outcome> {
  const site = new SoakSite();
  const generator = new Generator(seed);
  const ledger = new Ledger();
  ledger.expect('owner', snapshots);
  ledger.expect('modest', snapshots);
  ledger.expect('workers', snapshots);
  const cluster = await openCluster(site);
  const clients = new Set<ExactClient>();
  let isOver = false;
  let deeds = 0;
  try {
    const publishers = await openClients(site, cluster, ledger, clients);
    const staying = Array.from(clients, (client, index) => stay(client, cluster, index, () => isOver));
    const timer = setInterval(() => publish(publishers, ledger), publishEveryMs);
    const endMs = performance.now() + minutes * 60_000;
    while (performance.now() < endMs) {
      const done = await disturb(cluster, generator);
      deeds++;
      await until(`the cluster after: ${done}`, () => isSettled(cluster));
      const before = ledger.acknowledged;
      await until(`traffic after: ${done}`, () => ledger.acknowledged >= before + liveMessages);
      onProgress(`${deeds}: ${done}; ${ledger.acknowledged} acknowledged`);
    }
    clearInterval(timer);
    await until('the last messages', () => isDrained(publishers, ledger)).catch(() => undefined);
    for (const missing of ledger.missing()) ledger.violate(missing);
    isOver = true;
    for (const client of clients) client.drop();
    await Promise.all(staying);
    for (const { forgotten } of clients) if (forgotten > 0) ledger.violate('a session was forgotten');
  } catch (error) {
    ledger.violate(errorText(error));
  } finally {
    isOver = true;
    for (const client of clients) client.drop();
    await Promise.all(cluster.nodes.map(({ program }) => program.end('SIGKILL')));
    await cluster.redis.stop();
    site.remove();
  }
  const { violations, published, acknowledged, received, repeated } = ledger;
  return { violations, figures: { deeds, published, acknowledged, received, repeated } };
}

interface Node {
  readonly program: Program;
  readonly port: number;
  observePort: number;
}

interface Cluster {
  readonly redis: RedisProcess;
  readonly nodes: readonly Node[];
}

async function openCluster(site: SoakSite): Promise<Cluster> {
  const redis = await startRedis(path.join(site.directory, 'redis'));
  const nodes: Node[] = [];
  for (const node of nodeNames) {
    const [port, linkPort] = [await freePort(), await freePort()];
    const configOn = await site.brokerConfig(`node-${node}`, {
      observe: '127.0.0.1:0',
      cluster: {
        redis: redis.url,
        node,
        listen: `127.0.0.1:${linkPort}`,
        advertise: `127.0.0.1:${linkPort}`,
        leaseSeconds,
        log: { claimMinutes: 0.05 },
      },
    });
    const opened = { program: new Program(['broker', '--config', configOn(port)]), port, observePort: 0 };
    nodes.push(opened);
    await startNode(opened);
  }
  const cluster = { redis, nodes };
  await until('a cluster', () => isSettled(cluster));
  redis.backUp();
  return cluster;
}

async function startNode(node: Node): Promise<void> {
  node.observePort = Number((await node.program.start('broker.listening'))['observePort']);
}

async function isActive(node: Node): Promise<boolean | undefined> {
  try {
    const answer = await fetch(`http://127.0.0.1:${node.observePort}/state`);
    const { healthy, node: state } = (await answer.json()) as { healthy: boolean; node: { role: string } };
    return healthy ? state.role === 'active' : undefined;
  } catch {
    return undefined;
  }
}

/** One is active, and the others pass their clients on. */
async function isSettled({ nodes }: Cluster): Promise<boolean> {
  const states = await Promise.all(nodes.map(isActive));
  return states.every((state) => state !== undefined) && states.filter(Boolean).length === 1;
}

/** @returns what was done */
async function disturb({ redis, nodes }: Cluster, generator: Generator): Promise<string> {
  const states = await Promise.all(nodes.map(isActive));
  const active = nodes[states.indexOf(true)];
  if (active === undefined) throw new Error('no node is active');
  const front = generator.pick(nodes.filter((node) => node !== active));
  const restart = async (node: Node, signal: 'SIGKILL' | 'SIGTERM', awayMs: number): Promise<void> => {
    await node.program.end(signal);
    await sleep(awayMs);
    await startNode(node);
  };
  const awayMs = generator.below(2500);
  const deeds: readonly (readonly [name: string, deed: () => Promise<void>])[] = [
    ['kill -9 of the active node', () => restart(active, 'SIGKILL', awayMs)],
    ['SIGTERM to the active node', () => restart(active, 'SIGTERM', awayMs)],
    ['kill -9 of a front', () => restart(front, 'SIGKILL', awayMs)],
    ['kill -9 of Redis', () => redis.restart()],
    [
      'kill -9 of Redis and of the active node',
      async () => {
        await Promise.all([redis.stop(), active.program.end('SIGKILL')]);
        await redis.start();
        await startNode(active);
      },
    ],
    ['a backup of Redis', () => Promise.resolve(redis.backUp())],
    ['Redis set back to its backup', () => redis.restart(() => redis.setBack())],
    ['Redis wiped', () => redis.restart(() => redis.wipe())],
  ];
  const [name, deed] = generator.pick(deeds);
  await deed();
  return name;
}

/** @returns those who publish; the sessions of the others stand */
async function openClients(
  site: SoakSite,
  { nodes }: Cluster,
  ledger: Ledger,
  clients: Set<ExactClient>,
): Promise<ExactClient[]> {
  const owner = await site.credentials(masterAccount);
  for (const { name, clientId, filters, qos } of readers) {
    const onMessage = (message: { qos: number; payload: Buffer | string }): void =>
      ledger.receive(name, clientId, message.qos, message.payload.toString());
    const client = new ExactClient({ tls: owner, port: 0, clientId, filters, qos, onMessage });
    clients.add(client);
    await client.open(nodes[clients.size % nodes.length]?.port);
    await client.settled();
  }
  const publishers: ExactClient[] = [];
  for (const device of devices) {
    const tls = await site.credentials(device);
    const onAcknowledged = (payload: string): void => ledger.acknowledge(payload);
    publishers.push(new ExactClient({ tls, port: 0, clientId: 'device', onAcknowledged }));
  }
  for (const publisher of publishers) clients.add(publisher);
  return publishers;
}

function publish(publishers: readonly ExactClient[], ledger: Ledger): void {
  for (const [index, publisher] of publishers.entries()) {
    if (publisher.unacknowledged >= unacknowledgedMax) continue;
    const topic = snapshots[index] ?? '';
    publisher.publish(topic, ledger.publish(topic), index % 2 === 0 ? 2 : 1);
  }
}

function isDrained(publishers: readonly ExactClient[], ledger: Ledger): boolean {
  return publishers.every(({ unacknowledged }) => unacknowledged === 0) && ledger.missing().length === 0;
}

/** Connects to one node after the other, as through one address. */
async function stay(
  client: ExactClient,
  { nodes }: Cluster,
  first: number,
  isOver: () => boolean,
): Promise<void> {
  for (let turn = first; !isOver(); turn++) {
    if (await inTime(client.open(nodes[turn % nodes.length]?.port))) {
      const lost = client.lost().then(() => Promise.reject(new Error('lost')));
      lost.catch(() => undefined);
      while (!isOver() && (await inTime(Promise.race([client.settled(), lost])))) await sleep(50);
    } else await sleep(20);
    client.drop();
  }
}

/** @returns whether it was, and well */
async function inTime(work: Promise<unknown>): Promise<boolean> {
  const late = new AbortController();
  const isWell = work.then(
    () => true,
    () => false,
  );
  const isLate = sleep(answerMs, false, { signal: late.signal }).catch(() => false);
  const isDone = await Promise.race([isWell, isLate]);
  late.abort();
  return isDone;
}

async function until(what: string, isReached: () => boolean | Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + drainMs;
  while (!(await isReached())) {
    if (performance.now() > deadlineMs) throw new Error(`never came: ${what}`);
    await sleep(50);
  }
}
