/** Several real brokers that share a real Redis, for tests that take their lives. */
import path from 'node:path';
import { freePort } from '../../../runtime/free-ports.ts';
import type { BrokerProcess, ProcessOptions } from '../broker-process.ts';
import { startBrokerProcess } from '../broker-process.ts';
import type { Journal, Site } from '../fixture.ts';
import type { RedisProcess } from '../../../soak/redis-process.ts';
import { startRedis } from '../../../soak/redis-process.ts';

/** Short, so that a test does not wait; long enough for a busy machine. */
const leaseSeconds = 1;

/** One of the nodes: started again, it finds its directory and its addresses. */
export class NodeProcess {
  readonly name: string;
  readonly #site: Site;
  readonly #settings: Readonly<Record<string, unknown>>;
  readonly port: number;
  /** Of the other nodes. */
  readonly linkPort: number;
  #broker: BrokerProcess | undefined;
  /** Of each of its lives. */
  readonly #journals: Journal[] = [];

  constructor(
    site: Site,
    name: string,
    ports: { readonly port: number; readonly linkPort: number },
    settings: Readonly<Record<string, unknown>>,
  ) {
    this.name = name;
    this.#site = site;
    this.port = ports.port;
    this.linkPort = ports.linkPort;
    this.#settings = settings;
  }

  get broker(): BrokerProcess {
    if (this.#broker === undefined) throw new Error(`${this.name} does not run`);
    return this.#broker;
  }

  async start(more: ProcessOptions = {}): Promise<void> {
    this.#broker = await startBrokerProcess(this.#site, this.name, {
      port: this.port,
      ...more,
      settings: { ...this.#settings, ...more.settings },
    });
    this.#journals.push(this.#broker.journal);
  }

  /** Each that it was active in. */
  get epochs(): number[] {
    return this.#journals
      .flatMap(({ lines }) => lines.filter(({ event }) => event === 'node.active'))
      .map(({ epoch }) => Number(epoch));
  }

  async kill(): Promise<void> {
    await this.#broker?.kill();
  }

  /** With other settings of the cluster for this time. */
  async startWith(cluster: Readonly<Record<string, unknown>>): Promise<void> {
    await this.start({ settings: { cluster: { ...(this.#settings['cluster'] as object), ...cluster } } });
  }

  /** What it says of itself. */
  async state(): Promise<NodeReport> {
    const answer = await fetch(`http://127.0.0.1:${this.broker.observePort}/state`);
    return (await answer.json()) as NodeReport;
  }
}

export interface NodeReport {
  readonly connections?: number;
  readonly healthy: boolean;
  readonly reason?: string;
  readonly node: {
    readonly role: string;
    readonly position: number;
    readonly epoch: number;
    readonly lag: number;
    readonly activeNode?: string;
  };
}

export interface Nodes {
  readonly redis: RedisProcess;
  readonly all: readonly NodeProcess[];
  /** Started one after the other, so that the first is active. */
  start(): Promise<void>;
  /** Waits until one of the nodes is active and all others that run pass clients to it. @returns the active one */
  settled(among?: readonly NodeProcess[]): Promise<NodeProcess>;
}

/**
 * @param folder - below the site's, of its data
 * @param settings - with `cluster.redis`
 */
export async function nodeOf(
  site: Site,
  folder: string,
  node: string,
  settings: Readonly<Record<string, unknown>>,
): Promise<NodeProcess> {
  const linkPort = await freePort();
  const own = {
    observe: '127.0.0.1:0',
    ...settings,
    cluster: {
      node,
      listen: `127.0.0.1:${linkPort}`,
      advertise: `127.0.0.1:${linkPort}`,
      leaseSeconds,
      ...(settings['cluster'] as object | undefined),
    },
  };
  return new NodeProcess(site, folder, { port: await freePort(), linkPort }, own);
}

export async function nodesOf(
  site: Site,
  cluster: string,
  names: readonly string[],
  settings: Readonly<Record<string, unknown>> = {},
): Promise<Nodes> {
  const redis = await startRedis(path.join(site.directory, `${cluster}-redis`));
  const all: NodeProcess[] = [];
  for (const name of names) {
    const own = {
      ...settings,
      cluster: { redis: redis.url, name: cluster, ...(settings['cluster'] as object | undefined) },
    };
    all.push(await nodeOf(site, `${cluster}-${name}`, name, own));
  }
  const settled = async (among: readonly NodeProcess[] = all): Promise<NodeProcess> => {
    for (;;) {
      const states = await Promise.all(among.map((node) => node.state()));
      const active = among.filter((_, index) => states[index]?.node.role === 'active');
      if (active.length === 1 && active[0] !== undefined && states.every(({ healthy }) => healthy)) {
        return active[0];
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  return {
    redis,
    all,
    settled,
    start: async () => {
      const [first, ...others] = all;
      if (first === undefined) return;
      await first.start();
      await settled([first]);
      await Promise.all(others.map((node) => node.start()));
      await settled();
    },
  };
}
