/** Load on a broker, and what it carried: by `mqload` where it is, else by Node processes of ours. */
import { fork, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { leashed } from '../scripts/leash.ts';
import type { Contender } from './broker-contender.ts';
import type { Asked, Told } from './broker-load-process.ts';
import type { BenchSite } from './broker-site.ts';
import { deviceTopic, topicFilter, topicPattern } from './broker-site.ts';
import { cpuSecondsOf } from './other-process.ts';

export interface Load {
  readonly qos: 0 | 1 | 2;
  readonly payloadBytes: number;
  readonly publishers: number;
  /** Unacknowledged messages of one publisher; twice as many of all may be between publishers and subscriber. */
  readonly window: number;
  /** Whether the subscriber's session outlives its connection. */
  readonly stored: boolean;
  /** Messages of each publisher in a second; as fast as they go unless given. */
  readonly perSecond?: number;
}

export interface Duration {
  readonly warmSeconds: number;
  readonly seconds: number;
}

export interface Carried {
  readonly messagesPerSecond: number;
  /** Of all the broker's threads. */
  readonly cpuMicrosecondsPerMessage: number;
  /** From a message to its acknowledgement, median; NaN unless the load has a rate. */
  readonly answerMs: number;
  /** Published and not received, and received twice or out of order. */
  readonly lost: number;
  readonly disordered: number;
}

/** Where messages enter and leave: one broker, or two in a row. */
export interface Ends {
  readonly first: Contender;
  readonly last: Contender;
}

const oneSubscriber = 1;
/** At QoS 0 what is not there by then does not come. Else it does: a disk that others keep busy may take its time. */
const drainMs = { atMostOnce: 3000, surely: 30_000 };
const generator = path.resolve(import.meta.dirname, 'broker-load-process.ts');

export function measureLoad(site: BenchSite, ends: Ends, load: Load, duration: Duration): Promise<Carried> {
  return site.mqload === undefined || load.perSecond !== undefined
    ? byNode(site, ends, load, duration)
    : byMqload(site.mqload, site, ends, load, duration);
}

/** Which certificates many connections show: all the same one, or each its own. */
export type Certificates = 'same' | 'own';

/** Opens idle connections and holds them while `work` runs. */
export async function withIdleConnections(
  site: BenchSite,
  broker: Contender,
  { connections, certificates }: { readonly connections: number; readonly certificates: Certificates },
  work: () => Promise<void>,
): Promise<void> {
  if (site.mqload === undefined || certificates === 'own') {
    const helper = new Helper();
    try {
      const { clientKeys: keys } = site;
      await helper.ask(
        { role: 'idle', keys, port: broker.port, connections, names: namesOf(site, certificates) },
        'ready',
      );
      await work();
    } finally {
      helper.stop();
    }
    return;
  }
  const child = spawn(
    site.mqload,
    ['idle', '-n', String(connections), '-p', String(broker.port), '-tls', site.clientKeys],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  const exited = once(child, 'exit');
  try {
    const [line] = (await Promise.race([once(createInterface(child.stdout), 'line'), exited])) as [unknown];
    if (typeof line !== 'string') throw new Error('the idle connections could not be opened');
    await work();
  } finally {
    child.stdin.end();
    await exited;
  }
}

/** @returns CPU milliseconds of the broker for one full handshake, CONNECT included */
export async function measureHandshakes(
  site: BenchSite,
  broker: Contender,
  { handshakes, certificates }: { readonly handshakes: number; readonly certificates: Certificates },
): Promise<number> {
  const { clientKeys: keys, mqload } = site;
  const before = cpuSecondsOf(broker.pid);
  if (mqload === undefined || certificates === 'own') {
    const helper = new Helper();
    try {
      const names = namesOf(site, certificates);
      await helper.ask({ role: 'handshakes', keys, port: broker.port, handshakes, names }, 'done');
    } finally {
      helper.stop();
    }
  } else {
    const options = { '-n': handshakes, '-j': 2, '-p': broker.port, '-tls': keys };
    await outputOf(mqload, ['hs', ...argumentsOf(options)]);
  }
  return ((cpuSecondsOf(broker.pid) - before) * 1000) / handshakes;
}

function namesOf({ deviceNames }: BenchSite, certificates: Certificates): readonly string[] {
  return certificates === 'own' ? deviceNames : ['sub'];
}

/** Subscribes to everything and reads nothing more. @returns what ends it */
export async function openStalledSubscriber(site: BenchSite, broker: Contender): Promise<() => void> {
  const helper = new Helper();
  await helper.ask(
    { role: 'stalled', keys: site.clientKeys, port: broker.port, filter: topicFilter },
    'ready',
  );
  return () => helper.stop();
}

/** Publishes at QoS 0 what nobody subscribed to, as fast as the broker takes it. @returns what ends it */
export async function openGreedyPublisher(site: BenchSite, broker: Contender): Promise<() => void> {
  const helper = new Helper();
  const [name = ''] = site.deviceNames;
  await helper.ask(
    { role: 'greedy', keys: site.clientKeys, port: broker.port, name, topic: deviceTopic(name) },
    'ready',
  );
  return () => helper.stop();
}

async function byMqload(
  program: string,
  site: BenchSite,
  { first, last }: Ends,
  { qos, payloadBytes, publishers, window, stored }: Load,
  { warmSeconds, seconds }: Duration,
): Promise<Carried> {
  const options = {
    '-p': first.port,
    '-sp': last.port,
    '-pid': first.pid,
    '-P': publishers,
    '-S': oneSubscriber,
    '-q': qos,
    '-s': payloadBytes,
    '-w': window,
    '-warm': warmSeconds,
    '-d': seconds,
    '-tls': site.clientKeys,
    '-topic': topicPattern,
    '-filter': topicFilter,
  };
  const output = await outputOf(program, ['run', ...argumentsOf(options), ...(stored ? ['-c'] : [])]);
  const { rate, brokerUsPerMsg, lost, gaps, dups } = JSON.parse(output) as Record<string, number>;
  return {
    messagesPerSecond: rate ?? Number.NaN,
    cpuMicrosecondsPerMessage: brokerUsPerMsg ?? Number.NaN,
    answerMs: Number.NaN,
    lost: lost ?? Number.NaN,
    disordered: (gaps ?? 0) + (dups ?? 0),
  };
}

function argumentsOf(options: Readonly<Record<string, string | number>>): string[] {
  return Object.entries(options).flatMap(([name, value]) => [name, String(value)]);
}

async function outputOf(program: string, args: readonly string[]): Promise<string> {
  const child = spawn(...leashed([program, ...args]), { stdio: ['pipe', 'pipe', 'pipe'] });
  let output = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  const [status] = (await once(child, 'close')) as [unknown];
  if (status !== 0)
    throw new Error(`${path.basename(program)} ${args.join(' ')} ended with ${String(status)}: ${errors}`);
  return output;
}

async function byNode(
  site: BenchSite,
  { first, last }: Ends,
  load: Load,
  { warmSeconds, seconds }: Duration,
): Promise<Carried> {
  const subscriber = new Helper();
  const publisher = new Helper();
  try {
    const keys = site.clientKeys;
    await subscriber.ask({ role: 'subscriber', keys, port: last.port, filter: topicFilter, load }, 'ready');
    await publisher.ask({ role: 'publisher', keys, port: first.port, topicPattern, load }, 'ready');
    subscriber.onReceived = (received) => publisher.tell({ role: 'received', received });
    publisher.tell({ role: 'start' });
    await sleep(warmSeconds * 1000);
    const startMs = performance.now();
    const before = { received: subscriber.received, cpuSeconds: cpuSecondsOf(first.pid) };
    await sleep(seconds * 1000);
    const received = subscriber.received - before.received;
    const cpuSeconds = cpuSecondsOf(first.pid) - before.cpuSeconds;
    const elapsedSeconds = (performance.now() - startMs) / 1000;
    const { sent, answerMs } = await publisher.ask({ role: 'stop' }, 'stopped');
    await subscriber.untilReceived(sent, load.qos === 0 ? drainMs.atMostOnce : drainMs.surely);
    return {
      messagesPerSecond: received / elapsedSeconds,
      cpuMicrosecondsPerMessage: (cpuSeconds * 1e6) / received,
      answerMs,
      lost: sent - subscriber.received,
      disordered: subscriber.disordered,
    };
  } finally {
    subscriber.stop();
    publisher.stop();
  }
}

/** A process that does one thing for the bench. */
class Helper {
  received = 0;
  disordered = 0;
  onReceived: (received: number) => void = () => undefined;
  readonly #child: ChildProcess;
  readonly #told = new Set<(told: Told) => void>();

  constructor() {
    this.#child = fork(generator, { execArgv: ['--disable-warning=ExperimentalWarning'] });
    this.#child.on('message', (told: Told) => {
      if (told.event === 'received') {
        this.received = told.received;
        this.disordered = told.disordered;
        this.onReceived(told.received);
      }
      for (const listener of this.#told) listener(told);
    });
  }

  tell(asked: Asked): void {
    if (this.#child.connected) this.#child.send(asked);
  }

  async ask<E extends Told['event']>(asked: Asked, event: E): Promise<Extract<Told, { event: E }>> {
    const answer = this.#next((told) => told.event === event);
    this.tell(asked);
    return (await answer) as Extract<Told, { event: E }>;
  }

  async untilReceived(wanted: number, patienceMs: number): Promise<void> {
    if (this.received >= wanted) return;
    const enough = this.#next((told) => told.event === 'received' && told.received >= wanted);
    enough.catch(() => undefined);
    await Promise.race([enough, sleep(patienceMs)]);
  }

  stop(): void {
    this.#child.removeAllListeners('exit');
    this.#child.kill('SIGKILL');
  }

  #next(isIt: (told: Told) => boolean): Promise<Told> {
    return new Promise((resolve, reject) => {
      const listener = (told: Told): void => {
        if (!isIt(told)) return;
        this.#told.delete(listener);
        resolve(told);
      };
      this.#told.add(listener);
      this.#child.once('exit', (status) =>
        reject(new Error(`the load generator ended with ${String(status)}`)),
      );
    });
  }
}
