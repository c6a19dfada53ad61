/**
 * Thousands of mutual-TLS connections at one broker, with traffic in both directions: each device publishes, one service
 * reads all of it, and a service sends commands to devices. Nothing may be lost and nobody disconnected.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { quantileOf } from '../bench/figures.ts';
import { cpuSecondsOf, memoryBytesOf } from '../bench/other-process.ts';
import { Generator } from '../fuzz/generator.ts';
import { nowMs } from './connections-clock.ts';
import type { Asked, Devices, Report, Told } from './connections-process.ts';
import { ExactClient } from './exact-client.ts';
import type { Outcome, SoakOptions } from './outcome.ts';
import { Program, withAllOpenFiles } from './program.ts';
import { SoakSite } from './site.ts';

const clientsProgram = path.resolve(import.meta.dirname, 'connections-process.ts');
/** So many have a certificate of their own; the other connections use them again, under client identifiers of their own. */
const identitiesMax = 500;
const loadProcesses = 2;
const publishEveryMs = 10_000;
const commandsPerSecond = 5;
const reportMs = 10_000;
const drainMs = 20_000;
/** Of Node itself, and of handshakes that are over. */
const settleMs = 3000;

export async function soakConnections(options: SoakOptions): Promise<Outcome> {
  const site = new SoakSite();
  const helpers: Helper[] = [];
  let broker: Program | undefined;
  try {
    const { connections } = options;
    const perIdentity = { connectionsMax: connections, sessionsMax: connections };
    const limits = { connectionsMax: 2 * connections, perIdentity };
    const configOn = await site.brokerConfig('broker', { limits });
    broker = new Program(['broker', '--config', configOn(0)]);
    const port = Number((await broker.start('broker.listening'))['port']);
    const identities = await certify(site, connections, options.onProgress);
    await sleep(settleMs);
    const bytesBefore = memoryBytesOf(broker.pid);
    const startMs = performance.now();
    const reader = new Helper();
    helpers.push(reader);
    await reader.ready({
      role: 'reader',
      port,
      credentials: await site.credentials('vendor-snapshot-service'),
    });
    const devices = await openDevices(helpers, { port, identities, connections, publishEveryMs });
    const openSeconds = (performance.now() - startMs) / 1000;
    await sleep(settleMs);
    const idleBytes = (memoryBytesOf(broker.pid) - bytesBefore) / connections;
    options.onProgress(
      `${connections} open after ${openSeconds.toFixed(0)} s, ${kibibytes(idleBytes)} KiB each`,
    );
    const sender = new ExactClient({
      port,
      tls: await site.credentials('vendor-command-service'),
      clientId: 'sender',
    });
    await sender.open();
    const load = { reader, devices, sender, broker, identities: identities.map(({ name }) => name) };
    const { violations, figures } = await hold(load, options);
    sender.drop();
    const busyBytes = (memoryBytesOf(broker.pid) - bytesBefore) / connections;
    return {
      violations,
      figures: {
        connections,
        openSeconds: Math.round(openSeconds),
        idleKibibytesEach: kibibytes(idleBytes),
        busyKibibytesEach: kibibytes(busyBytes),
        ...figures,
      },
    };
  } finally {
    for (const helper of helpers) helper.stop();
    await broker?.end('SIGKILL');
    site.remove();
  }
}

async function certify(
  site: SoakSite,
  connections: number,
  onProgress: SoakOptions['onProgress'],
): Promise<Devices['identities']> {
  const names = Array.from(
    { length: Math.min(connections, identitiesMax) },
    (_, index) => `ms-acc-${index % 5}/acc-1/dev-${index}`,
  );
  const identities = [];
  for (const name of names) identities.push({ name, credentials: await site.credentials(name) });
  onProgress(`${identities.length} devices have certificates`);
  return identities;
}

async function openDevices(helpers: Helper[], all: Omit<Devices, 'role'>): Promise<Helper[]> {
  const devices = Array.from({ length: loadProcesses }, () => new Helper());
  helpers.push(...devices);
  const share = Math.ceil(all.connections / loadProcesses);
  await Promise.all(
    devices.map((helper, index) => {
      const connections = Math.min(share, all.connections - index * share);
      return helper.ready({ ...all, role: 'devices', connections });
    }),
  );
  return devices;
}

interface Load {
  readonly reader: Helper;
  readonly devices: readonly Helper[];
  readonly sender: ExactClient;
  readonly broker: Program;
  readonly identities: readonly string[];
}

async function hold(
  { reader, devices, sender, broker, identities }: Load,
  { minutes, seed, connections, onProgress }: SoakOptions,
): Promise<Outcome> {
  const generator = new Generator(seed);
  let commands = 0;
  let commandsDue = 0;
  const command = setInterval(() => {
    const at = generator.below(identities.length);
    sender.publish(`${identities[at]}/commands`, String(nowMs()), 1);
    commands++;
    commandsDue += connectionsOf(at, identities.length, connections);
  }, 1000 / commandsPerSecond);
  for (const helper of devices) helper.tell({ role: 'start' });
  const cpuBefore = cpuSecondsOf(broker.pid);
  const startMs = performance.now();
  const endMs = startMs + minutes * 60_000;
  while (performance.now() < endMs) {
    await sleep(Math.min(reportMs, endMs - performance.now()));
    const { open, published } = sumOf(devices);
    onProgress(`${open} open, ${published} published, ${reader.report.received} received`);
  }
  clearInterval(command);
  for (const helper of devices) helper.tell({ role: 'stop' });
  const cpuShare = (cpuSecondsOf(broker.pid) - cpuBefore) / ((performance.now() - startMs) / 1000);
  await sleep(drainMs);
  const { open, disconnected, published, acknowledged, received } = sumOf(devices);
  const violations = [
    ...(open < connections || disconnected > 0 ? [`${disconnected} were disconnected`] : []),
    ...(acknowledged < published ? [`${published - acknowledged} were not acknowledged`] : []),
    ...(reader.report.received < published ? [`${published - reader.report.received} were lost`] : []),
    ...(received < commandsDue ? [`${commandsDue - received} commands were lost`] : []),
  ];
  const upMs = reader.latenciesMs;
  const downMs = devices.flatMap(({ latenciesMs }) => latenciesMs);
  return {
    violations,
    figures: {
      published,
      received: reader.report.received,
      commands,
      commandsReceived: received,
      disconnected,
      upMedianMs: quantile(upMs, 0.5),
      up99Ms: quantile(upMs, 0.99),
      upMaxMs: quantile(upMs, 1),
      downMedianMs: quantile(downMs, 0.5),
      down99Ms: quantile(downMs, 0.99),
      downMaxMs: quantile(downMs, 1),
      brokerCores: Math.round(cpuShare * 1000) / 1000,
    },
  };
}

/** How many connections of all processes use the certificate at an index. */
function connectionsOf(at: number, identities: number, connections: number): number {
  const share = Math.ceil(connections / loadProcesses);
  let count = 0;
  for (let first = 0; first < connections; first += share) {
    const here = Math.min(share, connections - first);
    count += Math.floor(here / identities) + (at < here % identities ? 1 : 0);
  }
  return count;
}

function sumOf(
  helpers: readonly Helper[],
): Pick<Report, 'open' | 'disconnected' | 'published' | 'acknowledged' | 'received'> {
  const sum = { open: 0, disconnected: 0, published: 0, acknowledged: 0, received: 0 };
  for (const { report } of helpers) {
    sum.open += report.open;
    sum.disconnected += report.disconnected;
    sum.published += report.published;
    sum.acknowledged += report.acknowledged;
    sum.received += report.received;
  }
  return sum;
}

function quantile(values: readonly number[], share: number): number {
  return tenths(quantileOf(values, share));
}

function kibibytes(bytes: number): number {
  return tenths(bytes / 1024);
}

function tenths(value: number): number {
  return Math.round(value * 10) / 10;
}

/** A process that holds connections. */
class Helper {
  report: Report = {
    event: 'report',
    open: 0,
    disconnected: 0,
    published: 0,
    acknowledged: 0,
    received: 0,
    latenciesMs: [],
  };
  readonly latenciesMs: number[] = [];
  readonly #child: ChildProcess;
  #onReady: () => void = () => undefined;

  constructor() {
    this.#child = spawn(...withAllOpenFiles([process.execPath, clientsProgram]), {
      stdio: ['pipe', 'inherit', 'inherit', 'ipc'],
    });
    this.#child.on('message', (told: Told) => {
      if (told.event === 'ready') return this.#onReady();
      this.report = told;
      for (const latencyMs of told.latenciesMs) this.latenciesMs.push(latencyMs);
      return undefined;
    });
  }

  tell(asked: Asked): void {
    this.#child.send(asked);
  }

  /** Resolves once its connections stand. */
  async ready(asked: Asked): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#onReady = resolve;
      this.#child.once('exit', (status) => reject(new Error(`the clients ended with ${String(status)}`)));
      this.tell(asked);
    });
  }

  stop(): void {
    this.#child.removeAllListeners('exit');
    this.#child.kill('SIGKILL');
  }
}
