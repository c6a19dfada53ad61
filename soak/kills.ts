/**
 * A broker is killed with SIGKILL again and again under traffic of QoS 1 and 2, with stored sessions, a shared
 * subscription and retained messages. Nothing acknowledged may be lost, nothing of QoS 2 may come twice, and each topic
 * keeps its order.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Generator } from '../fuzz/generator.ts';
import { ExactClient } from './exact-client.ts';
import { Ledger } from './ledger.ts';
import type { Outcome, SoakOptions } from './outcome.ts';
import { Program } from './program.ts';
import { SoakSite } from './site.ts';

const masterAccount = 'ms-acc-1';
const devices = Array.from({ length: 4 }, (_, index) => `${masterAccount}/acc-${index % 2}/dev-${index}`);
const snapshots = devices.map((device) => `${device}/snapshots`);
const status = devices.map((device) => `${device}/status`);
const service = 'vendor-snapshot-service';

/** Whoever receives; those of one name share a subscription. */
const readers = [
  { name: 'owner', clientId: 'owner', identity: masterAccount, filters: [`${masterAccount}/#`], qos: 2 },
  {
    name: 'modest',
    clientId: 'modest',
    identity: masterAccount,
    filters: [`${masterAccount}/+/+/snapshots`],
    qos: 1,
  },
  ...[1, 2, 3].map((index) => ({
    name: 'workers',
    clientId: `worker-${index}`,
    identity: service,
    filters: ['$share/workers/+/+/+/snapshots'],
    qos: 2 as const,
  })),
] as const;

const publishEveryMs = 20;
/** Messages of each topic in each turn. */
const burst = 3;
const unacknowledgedMax = 400;
const window = 100;
const aliveMs = { min: 50, max: 1500 };
const drainMs = 120_000;

export async function soakKills({ kills, seed, onProgress }: SoakOptions): Promise<Outcome> {
  const site = new SoakSite();
  const generator = new Generator(seed);
  const ledger = new Ledger();
  ledger.expect('owner', [...snapshots, ...status]);
  ledger.expect('modest', snapshots);
  ledger.expect('workers', snapshots);
  const configOn = await site.brokerConfig('broker', {});
  const broker = new Program(['broker', '--config', configOn(0)]);
  const clients: ExactClient[] = [];
  try {
    const port = Number((await broker.start('broker.listening'))['port']);
    configOn(port);
    const receiving = await openReaders(site, port, ledger);
    const publishers = await openPublishers(site, port, ledger);
    clients.push(...receiving, ...publishers);
    const staying = clients.map((client) => client.stay());
    const timer = setInterval(() => publish(publishers, ledger), publishEveryMs);
    for (let count = 1; count <= kills; count++) {
      await sleep(aliveMs.min + generator.below(aliveMs.max - aliveMs.min));
      await broker.end('SIGKILL');
      await broker.start('broker.listening');
      onProgress(`${count} of ${kills} kills, ${describe(ledger)}`);
    }
    clearInterval(timer);
    await drained(publishers, ledger);
    await requireRetained(site, port, ledger);
    for (const client of clients) client.drop();
    await Promise.all(staying);
    for (const { forgotten } of clients) if (forgotten > 0) ledger.violate('a session was forgotten');
    const connections = clients.reduce((sum, client) => sum + client.connections, 0);
    const { violations, published, acknowledged, received, repeated } = ledger;
    return { violations, figures: { kills, connections, published, acknowledged, received, repeated } };
  } finally {
    for (const client of clients) client.drop();
    await broker.end('SIGKILL');
    site.remove();
  }
}

/** Their sessions stand when this resolves, so that all that is published is for them. */
async function openReaders(site: SoakSite, port: number, ledger: Ledger): Promise<ExactClient[]> {
  return Promise.all(
    readers.map(async ({ name, clientId, identity, filters, qos }) => {
      const client = new ExactClient({
        tls: await site.credentials(identity),
        port,
        clientId,
        filters,
        qos,
        onMessage: (message) => ledger.receive(name, clientId, message.qos, message.payload.toString()),
      });
      await client.open();
      await client.settled();
      return client;
    }),
  );
}

async function openPublishers(site: SoakSite, port: number, ledger: Ledger): Promise<ExactClient[]> {
  return Promise.all(
    devices.map(async (device) => {
      const tls = await site.credentials(device);
      const onAcknowledged = (payload: string): void => ledger.acknowledge(payload);
      return new ExactClient({ tls, port, clientId: 'device', window, onAcknowledged });
    }),
  );
}

function publish(publishers: readonly ExactClient[], ledger: Ledger): void {
  for (const [index, publisher] of publishers.entries()) {
    if (publisher.unacknowledged >= unacknowledgedMax) continue;
    const [snapshot = '', state = ''] = [snapshots[index], status[index]];
    for (let count = 0; count < burst; count++) {
      publisher.publish(snapshot, ledger.publish(snapshot), 2);
      publisher.publish(state, ledger.publish(state), 1, true);
    }
  }
}

/** Waits until all is acknowledged and has arrived; what then is missing is lost. */
async function drained(publishers: readonly ExactClient[], ledger: Ledger): Promise<void> {
  const deadlineMs = performance.now() + drainMs;
  const isDrained = (): boolean =>
    publishers.every(({ unacknowledged }) => unacknowledged === 0) && ledger.missing().length === 0;
  while (!isDrained() && performance.now() < deadlineMs) await sleep(100);
  for (const { unacknowledged } of publishers) {
    if (unacknowledged > 0) ledger.violate(`${unacknowledged} messages of a publisher stay unacknowledged`);
  }
  for (const missing of ledger.missing()) ledger.violate(missing);
}

/** Somebody new gets the last message of each topic that is retained. */
async function requireRetained(site: SoakSite, port: number, ledger: Ledger): Promise<void> {
  const retained: string[] = [];
  const client = new ExactClient({
    tls: await site.credentials(service),
    port,
    clientId: 'late',
    filters: ['+/+/+/status'],
    qos: 1,
    onMessage: ({ payload }) => retained.push(payload.toString()),
  });
  await client.open();
  await client.settled();
  client.drop();
  const wanted = status.map((topic) => ledger.lastPublished(topic));
  if (retained.toSorted().join() !== wanted.toSorted().join())
    ledger.violate(`retained is ${retained.join()}`);
}

function describe({ acknowledged, received, repeated, violations }: Ledger): string {
  return `${acknowledged} acknowledged, ${received} received, ${repeated} again, ${violations.length} violations`;
}
