/**
 * Our broker against Debian's Mosquitto: the same certificates, access list and load, in turns, so that a noisy machine
 * disturbs both; the median of the rounds counts. Ours is durable as by default, Mosquitto is not at all.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { requireDebianPackages } from '../scripts/debian-packages.ts';
import { startMosquitto, startOurs } from './broker-contender.ts';
import type { Contender, StartContender } from './broker-contender.ts';
import {
  measureHandshakes,
  measureLoad,
  openGreedyPublisher,
  openStalledSubscriber,
  withIdleConnections,
} from './broker-load.ts';
import type { Certificates, Duration, Ends, Load } from './broker-load.ts';
import type { BenchSite } from './broker-site.ts';
import { makeBenchSite, publishersMax, removeBenchSite } from './broker-site.ts';
import { medianOf } from './figures.ts';
import { memoryBytesOf } from './other-process.ts';

interface Effort extends Duration {
  readonly rounds: number;
  readonly idleConnections: number;
  readonly handshakes: number;
  /** With a certificate of their own, for the rows that need it; as many connections and handshakes. */
  readonly devices: number;
}

const fullEffort: Effort = {
  rounds: 5,
  warmSeconds: 2,
  seconds: 4,
  idleConnections: 2000,
  handshakes: 600,
  devices: 1000,
};
const quickEffort: Effort = {
  rounds: 1,
  warmSeconds: 1,
  seconds: 1,
  idleConnections: 300,
  handshakes: 100,
  devices: 200,
};

/** What one round measured of one broker. */
type Figure = number;

interface Goal {
  readonly text: string;
  readonly isReached: (mosquitto: Figure, ours: Figure) => boolean;
}

interface Row {
  readonly name: string;
  readonly unit: string;
  /** Undefined: for information. */
  readonly goal: Goal | undefined;
  /** Takes its own brokers, so that no row finds the sessions of another. */
  readonly measure: (site: BenchSite, start: StartContender, effort: Effort) => Promise<Figure>;
}

const roundTripMs = 20;
const starters: Readonly<Record<Contender['name'], StartContender>> = {
  Mosquitto: startMosquitto,
  ours: startOurs,
};
const pipelined: Load = { qos: 1, payloadBytes: 200, publishers: 1, window: 200, stored: false };

/** Each at QoS 1 with a window of 40 ms: who is kept waiting for longer does not keep the rate. */
const modest: Load = { ...pipelined, publishers: publishersMax, window: 20, perSecond: 500 };

const atLeast = (times: number): Goal => ({
  text: `at least ${times} ×`,
  isReached: (mosquitto, ours) => ours >= times * mosquitto,
});
const atMost = (times: number): Goal => ({
  text: `at most ${times} ×`,
  isReached: (mosquitto, ours) => ours <= times * mosquitto,
});

const rows: readonly Row[] = [
  ...([0, 1, 2] as const).map((qos) =>
    rateRow(`200 B pipelined, QoS ${qos}`, { ...pipelined, qos }, atLeast(5)),
  ),
  rateRow('2 KiB pipelined, QoS 1', { ...pipelined, payloadBytes: 2048 }, atLeast(2)),
  {
    name: 'one in flight, QoS 1, CPU',
    unit: 'µs a message',
    goal: atMost(1.5),
    measure: async (site, start, effort) =>
      (await carry(site, start, { ...pipelined, window: 1 }, effort)).cpuMicrosecondsPerMessage,
  },
  rateRow(
    '20 publishers, QoS 1, durable',
    { ...pipelined, publishers: publishersMax, stored: true },
    atLeast(2),
  ),
  rateRow(
    'the same, one in flight each',
    { ...pipelined, publishers: publishersMax, window: 1, stored: true },
    undefined,
  ),
  {
    name: `cascade, ${roundTripMs} ms round trip, QoS 1`,
    unit: 'messages/s',
    goal: atLeast(1),
    measure: measureCascade,
  },
  idleRow('idle connection', 'same'),
  idleRow('idle connection, each its own certificate', 'own'),
  handshakeRow('full handshake, CPU', 'same'),
  handshakeRow('full handshake, each its own certificate, CPU', 'own'),
  {
    name: 'one stalled subscriber',
    unit: '% of the rate without it',
    goal: { text: 'at least 95 %', isReached: (_mosquitto, ours) => ours >= 95 },
    measure: (site, start, effort) => measureBeside(site, start, effort, pipelined, openStalledSubscriber),
  },
  {
    name: 'one greedy publisher, 20 modest ones',
    unit: '% of their rate alone',
    goal: { text: 'at least 95 %', isReached: (_mosquitto, ours) => ours >= 95 },
    measure: (site, start, effort) => measureBeside(site, start, effort, modest, openGreedyPublisher),
  },
  {
    name: 'the same, from a message to its PUBACK',
    unit: 'ms',
    goal: undefined,
    measure: measureGreedyAnswers,
  },
];

/**
 * @param args - `--quick`: a minute, to try the bench itself out; `--node`: without mqload, even if it is there;
 *   anything else: rows whose names contain it, by default all
 */
export async function run(args: readonly string[]): Promise<void> {
  const effort = args.includes('--quick') ? quickEffort : fullEffort;
  const wanted = args.filter((argument) => !argument.startsWith('--'));
  const chosen = rows.filter(({ name }) => wanted.length === 0 || wanted.some((text) => name.includes(text)));
  requireDebianPackages(['mosquitto']);
  const made = await makeBenchSite(effort.devices);
  const site = args.includes('--node') ? { ...made, mqload: undefined } : made;
  console.log(
    `Node ${process.versions.node}; load from ${site.mqload === undefined ? 'Node' : 'mqload'}; ${heading}`,
  );
  try {
    for (const row of chosen) console.log(lineOf(row, await interleaved(site, row, effort)));
  } finally {
    removeBenchSite(site);
  }
}

const heading = [
  'mutual TLS 1.3; Mosquitto is not durable\n',
  cells(['', 'Mosquitto', 'ours', 'ratio', 'goal', '']),
].join('\n');

async function interleaved(
  site: BenchSite,
  row: Row,
  effort: Effort,
): Promise<Record<Contender['name'], Figure[]>> {
  const figures: Record<Contender['name'], Figure[]> = { Mosquitto: [], ours: [] };
  for (let round = 0; round < effort.rounds; round++) {
    for (const name of ['Mosquitto', 'ours'] as const) {
      figures[name].push(await row.measure(site, starters[name], effort));
    }
  }
  return figures;
}

function lineOf({ name, unit, goal }: Row, figures: Record<Contender['name'], Figure[]>): string {
  const mosquitto = medianOf(figures.Mosquitto);
  const ours = medianOf(figures.ours);
  const reached = goal === undefined ? '' : goal.isReached(mosquitto, ours) ? 'reached' : 'MISSED';
  return cells([
    `${name}, ${unit}`,
    withSpread(figures.Mosquitto),
    withSpread(figures.ours),
    `${(ours / mosquitto).toFixed(2)} ×`,
    goal?.text ?? '',
    reached,
  ]);
}

/** The median, and how far the rounds lay apart. */
function withSpread(figures: readonly Figure[]): string {
  const round = (figure: Figure): string => figure.toFixed(figure < 100 ? 1 : 0);
  if (figures.length === 1) return round(medianOf(figures));
  return `${round(medianOf(figures))} (${round(Math.min(...figures))} to ${round(Math.max(...figures))})`;
}

function cells(texts: readonly string[]): string {
  const widths = [52, 28, 28, 8, 14, 0];
  return texts
    .map((text, index) => text.padEnd(widths[index] ?? 0))
    .join(' ')
    .trimEnd();
}

function rateRow(name: string, load: Load, goal: Goal | undefined): Row {
  return {
    name,
    unit: 'messages/s',
    goal,
    measure: async (site, start, effort) => (await carry(site, start, load, effort)).messagesPerSecond,
  };
}

function carry(
  site: BenchSite,
  start: StartContender,
  load: Load,
  effort: Effort,
): ReturnType<typeof measureLoad> {
  return withBroker(start(site), (broker) =>
    checkedLoad(site, { first: broker, last: broker }, load, effort),
  );
}

async function checkedLoad(
  site: BenchSite,
  ends: Ends,
  load: Load,
  duration: Duration,
): ReturnType<typeof measureLoad> {
  const carried = await measureLoad(site, ends, load, duration);
  if (carried.lost !== 0 || carried.disordered !== 0) {
    const { lost, disordered } = carried;
    console.log(
      `${ends.first.name}: ${lost} lost, ${disordered} repeated or out of order at QoS ${load.qos}`,
    );
  }
  return carried;
}

/** Publishers at the customer's broker, the subscriber at the vendor's, and a slow wire between the two brokers. */
function measureCascade(site: BenchSite, start: StartContender, effort: Effort): Promise<Figure> {
  return withBroker(start(site), async (upstream) => {
    const wire = fork(path.resolve(import.meta.dirname, 'broker-delay-process.ts'), [
      String(upstream.port),
      String(roundTripMs),
    ]);
    try {
      const [upstreamPort] = (await once(wire, 'message')) as [number];
      return await withBroker(start(site, { upstreamPort }), async (customer) => {
        const load = { ...pipelined, window: 2000 };
        return (await checkedLoad(site, { first: customer, last: upstream }, load, effort)).messagesPerSecond;
      });
    } finally {
      wire.kill('SIGKILL');
    }
  });
}

/** Connections opened and closed before count too, so that pools and compiled code are there already. */
function idleRow(name: string, certificates: Certificates): Row {
  return {
    name,
    unit: 'KiB',
    goal: { text: 'at most 75 KiB', isReached: (_mosquitto, ours) => ours <= 75 },
    measure: (site, start, { idleConnections, devices }) =>
      withBroker(start(site), async (broker) => {
        const connections = certificates === 'own' ? devices : idleConnections;
        const warmUp = { connections: Math.floor(connections / 10), certificates };
        await withIdleConnections(site, broker, warmUp, async () => undefined);
        const before = memoryBytesOf(broker.pid);
        let during = 0;
        await withIdleConnections(site, broker, { connections, certificates }, async () => {
          during = memoryBytesOf(broker.pid);
        });
        return (during - before) / connections / 1024;
      }),
  };
}

/** Warmed up by another certificate, so that each of its own is new to the broker. */
function handshakeRow(name: string, certificates: Certificates): Row {
  return {
    name,
    unit: 'ms',
    goal: atMost(1.1),
    measure: (site, start, effort) =>
      withBroker(start(site), async (broker) => {
        await measureHandshakes(site, broker, { handshakes: effort.handshakes / 2, certificates: 'same' });
        const handshakes = certificates === 'own' ? effort.devices : effort.handshakes;
        return measureHandshakes(site, broker, { handshakes, certificates });
      }),
  };
}

/** Turns with the client that costs the others something, each compared with those without it before and after. */
const besideTurns = 3;

/** In one process, by turns: a machine that others use changes its speed by more than such a client may cost. */
function measureBeside(
  site: BenchSite,
  start: StartContender,
  effort: Effort,
  load: Load,
  openClient: typeof openStalledSubscriber,
): Promise<Figure> {
  return withBroker(start(site), async (broker) => {
    const turn = { warmSeconds: effort.warmSeconds / 2, seconds: effort.seconds / 2 };
    const carriedNow = async (): Promise<number> =>
      (await checkedLoad(site, { first: broker, last: broker }, load, turn)).messagesPerSecond;
    await carriedNow(); // compiles
    const shares: Figure[] = [];
    for (let before = await carriedNow(); shares.length < besideTurns;) {
      const end = await openClient(site, broker);
      const beside = await carriedNow().finally(end);
      const after = await carriedNow();
      shares.push((200 * beside) / (before + after));
      before = after;
    }
    return medianOf(shares);
  });
}

function measureGreedyAnswers(site: BenchSite, start: StartContender, effort: Effort): Promise<Figure> {
  return withBroker(start(site), async (broker) => {
    const end = await openGreedyPublisher(site, broker);
    try {
      return (await checkedLoad(site, { first: broker, last: broker }, modest, effort)).answerMs;
    } finally {
      end();
    }
  });
}

async function withBroker<T>(
  starting: Promise<Contender>,
  work: (broker: Contender) => Promise<T>,
): Promise<T> {
  const broker = await starting;
  try {
    return await work(broker);
  } finally {
    await broker.stop();
  }
}
