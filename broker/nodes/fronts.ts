/** The fronts of this machine: processes that share the broker's port, each linked to the one with the state. */
import cluster from 'node:cluster';
import type { Worker } from 'node:cluster';
import { once } from 'node:events';
import { Socket, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { errorText } from '../../domain/error-text.ts';
import type { Endpoint } from '../../runtime/config.ts';
import type { Log } from '../../runtime/log.ts';
import { backoffMs } from '../../runtime/retry.ts';
import type { BrokerConfig } from '../config.ts';
import { BrokerError } from '../errors.ts';
import type { Listener } from '../connection/listener.ts';
import type { Measures } from '../measures.ts';
import type { Channel } from './channel.ts';
import type { ChannelPurpose } from './frames.ts';
import { linkDescriptor } from './front-messages.ts';
import type { FrontOrder, FrontReport } from './front-messages.ts';
import { Link } from './link.ts';

export interface FrontsOptions {
  /** Live: what it says is told to a front when that starts, or on a reload. */
  readonly config: BrokerConfig;
  /** How many. */
  readonly processes: number;
  readonly measures: Pick<Measures, 'refusals'>;
  readonly log: Log;
  /** A front has a client, whose chain it has verified as far as that goes without the lists of revocation. */
  readonly onChannel: (channel: Channel, purpose: ChannelPurpose) => void;
}

export interface Fronts extends Listener {
  readonly webSocketPort: number | undefined;
}

/** Linux spreads connections over all who listen on a port; elsewhere they share one listening socket. */
const sharesPorts = process.platform === 'linux';
const restart = { firstMs: 200, maxMs: 10_000 };
const program = path.join(import.meta.dirname, `front-process${path.extname(import.meta.filename)}`);

interface Ports {
  readonly port: number;
  readonly webSocketPort: number | undefined;
}

/** @throws BrokerError `broker.front_failed` with a front's reason, if one cannot listen at the start */
export async function startFronts(options: FrontsOptions): Promise<Fronts> {
  // Where the system cannot spread them, whoever is idle takes the next one.
  cluster.schedulingPolicy = cluster.SCHED_NONE;
  cluster.setupPrimary({
    exec: program,
    args: [],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc', 'pipe'],
  });
  const { listen, listenWebSocket } = options.config;
  const ports = {
    port: await claim(listen),
    webSocketPort: listenWebSocket && (await claim(listenWebSocket)),
  };
  const fronts = Array.from({ length: options.processes }, () => new Front(options, ports));
  try {
    await Promise.all(fronts.map((front) => front.start()));
    return {
      ...ports,
      // Each of them reads the files anew, which are good: the caller has just read them.
      reload: () => {
        for (const front of fronts) front.reload();
      },
      close: async () => {
        await Promise.all(fronts.map((front) => front.close()));
      },
    };
  } catch (error) {
    await Promise.all(fronts.map((front) => front.close()));
    throw error;
  }
}

/**
 * Whoever shares a port is not told that another broker has it: so nobody may, at the start.
 *
 * @returns the port, also where the system chooses it
 * @throws the system's error if the address cannot be had
 */
function claim({ host, port }: Endpoint): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen({ host, port, exclusive: true }, () => {
      const claimed = (server.address() as AddressInfo).port;
      server.close(() => resolve(claimed));
    });
  });
}

/** One process, and the next one in its place if it ends. */
class Front {
  readonly #options: FrontsOptions;
  readonly #ports: Ports;
  #worker: Worker | undefined;
  #isStopping = false;
  #attempt = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param ports - everybody's, also of those that take the place of one that ended */
  constructor(options: FrontsOptions, ports: Ports) {
    this.#options = options;
    this.#ports = ports;
  }

  start(): Promise<void> {
    const { log, onChannel } = this.#options;
    const worker = cluster.fork();
    this.#worker = worker;
    // The descriptor was asked for as a pipe, which is a socket both ways.
    const socket = worker.process.stdio[linkDescriptor];
    if (!(socket instanceof Socket)) throw new Error('a front has no link');
    const link = new Link(socket, { log, onChannel, onClosed: () => undefined });
    return new Promise((resolve, reject) => {
      worker.on('message', (report: FrontReport) => {
        if (report.kind === 'listening') {
          this.#attempt = 0;
          log.info({ pid: worker.process.pid, port: report.port }, 'front.listening');
          resolve();
        } else if (report.kind === 'failed') {
          reject(new BrokerError('broker.front_failed', report.reason));
          worker.process.kill('SIGKILL');
        } else {
          this.#options.measures.refusals.inc({ reason: report.reason }, report.count);
        }
      });
      worker.once('exit', (status, signal) => {
        link.close('front_ended');
        reject(new BrokerError('broker.front_failed', `a front ended with ${signal || String(status)}`));
        this.#ended(worker, signal || String(status));
      });
      this.#configure('open');
    });
  }

  reload(): void {
    this.#configure('reload');
  }

  /** It takes no more connections; resolves when it has ended, after the last of those that it has. */
  async close(): Promise<void> {
    this.#isStopping = true;
    clearTimeout(this.#timer);
    const worker = this.#worker;
    if (worker === undefined || worker.isDead()) return;
    const exited = once(worker, 'exit');
    this.#order({ kind: 'close' });
    await exited;
  }

  #configure(kind: 'open' | 'reload'): void {
    const { config, processes } = this.#options;
    const connectionsMax = Math.ceil(config.limits.connectionsMax / processes);
    const { port, webSocketPort = 0 } = this.#ports;
    this.#order({
      kind,
      config: {
        ...config,
        listen: { ...config.listen, port },
        ...(config.listenWebSocket && {
          listenWebSocket: { ...config.listenWebSocket, port: webSocketPort },
        }),
      },
      connectionsMax,
      sharesPorts,
    });
  }

  #order(order: FrontOrder): void {
    const worker = this.#worker;
    if (worker?.isConnected() === true) worker.send(order);
  }

  #ended(worker: Worker, reason: string): void {
    if (this.#isStopping) return;
    const { log } = this.#options;
    log.error({ pid: worker.process.pid, reason }, 'front.ended');
    this.#timer = setTimeout(
      () => {
        this.start().catch((error: unknown) => log.error({ reason: errorText(error) }, 'front.failed'));
      },
      backoffMs(this.#attempt++, restart),
    );
  }
}
