/** The fronts of this machine: processes that share the broker's port, each linked to the one with the state. */
import cluster from 'node:cluster';
import type { Worker } from 'node:cluster';
import { Socket } from 'node:net';
import path from 'node:path';
import type { Log } from '../../runtime/log.ts';
import { backoffMs } from '../../runtime/retry.ts';
import type { BrokerConfig } from '../config.ts';
import { BrokerError } from '../errors.ts';
import type { Measures } from '../measures.ts';
import type { Channel } from './channel.ts';
import type { ChannelPurpose } from './frames.ts';
import { linkDescriptor } from './front-messages.ts';
import type { FrontOrder, FrontReport } from './front-messages.ts';
import { Link } from './link.ts';

export interface FrontsOptions {
  readonly config: BrokerConfig;
  /** How many. */
  readonly processes: number;
  readonly measures: Pick<Measures, 'refusals'>;
  readonly log: Log;
  /** A front has a client, whose chain it has verified as far as that goes without the lists of revocation. */
  readonly onChannel: (channel: Channel, purpose: ChannelPurpose) => void;
}

export interface Fronts {
  readonly port: number;
  readonly webSocketPort: number | undefined;
  /** Takes no more connections; those that stand are the caller's. */
  close(): Promise<void>;
  /** Ends the processes. */
  stop(): Promise<void>;
}

const restart = { firstMs: 200, maxMs: 10_000 };
const program = path.join(import.meta.dirname, `front-process${path.extname(import.meta.filename)}`);

interface Ports {
  readonly port: number;
  readonly webSocketPort: number | undefined;
}

/** @throws BrokerError `broker.front_failed` with a front's reason, if one cannot listen at the start */
export async function startFronts(options: FrontsOptions): Promise<Fronts> {
  cluster.setupPrimary({
    exec: program,
    args: [],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc', 'pipe'],
  });
  const fronts = Array.from({ length: options.processes }, () => new Front(options));
  try {
    // One after the other: with port 0 the first one's is everybody's.
    const [first, ...others] = fronts;
    const ports = await first?.start();
    await Promise.all(others.map((front) => front.start()));
    if (ports === undefined) throw new BrokerError('broker.front_failed', 'no front was asked for');
    return {
      ...ports,
      close: () => {
        for (const front of fronts) front.close();
        return Promise.resolve();
      },
      stop: async () => {
        await Promise.all(fronts.map((front) => front.stop()));
      },
    };
  } catch (error) {
    await Promise.all(fronts.map((front) => front.stop()));
    throw error;
  }
}

/** One process, and the next one in its place if it ends. */
class Front {
  readonly #options: FrontsOptions;
  #worker: Worker | undefined;
  #isStopping = false;
  #attempt = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: FrontsOptions) {
    this.#options = options;
  }

  start(): Promise<Ports> {
    const { config, processes, log, onChannel } = this.#options;
    const worker = cluster.fork();
    this.#worker = worker;
    // The descriptor was asked for as a pipe, which is a socket both ways.
    const socket = worker.process.stdio[linkDescriptor];
    if (!(socket instanceof Socket)) throw new Error('a front has no link');
    new Link(socket, { log, onChannel, onClosed: () => undefined });
    return new Promise((resolve, reject) => {
      worker.on('message', (report: FrontReport) => {
        if (report.kind === 'listening') {
          this.#attempt = 0;
          log.info({ pid: worker.process.pid, port: report.port }, 'front.listening');
          resolve(report);
        } else if (report.kind === 'failed') {
          reject(new BrokerError('broker.front_failed', report.reason));
          worker.process.kill('SIGKILL');
        } else {
          this.#options.measures.refusals.inc({ reason: report.reason }, report.count);
        }
      });
      worker.once('exit', (status, signal) => {
        reject(new BrokerError('broker.front_failed', `a front ended with ${signal || String(status)}`));
        this.#ended(worker, signal || String(status));
      });
      this.#order({
        kind: 'open',
        config,
        connectionsMax: Math.ceil(config.limits.connectionsMax / processes),
      });
    });
  }

  close(): void {
    this.#isStopping = true;
    clearTimeout(this.#timer);
    this.#order({ kind: 'close' });
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    clearTimeout(this.#timer);
    const worker = this.#worker;
    if (worker === undefined || worker.isDead()) return;
    await new Promise<void>((resolve) => {
      worker.once('exit', () => resolve());
      worker.process.disconnect();
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
        this.start().catch((error: unknown) =>
          log.error({ reason: error instanceof Error ? error.message : String(error) }, 'front.failed'),
        );
      },
      backoffMs(this.#attempt++, restart),
    );
  }
}
