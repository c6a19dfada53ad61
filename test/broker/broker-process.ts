/** The real program in a process of its own, so that a test can take its life, its disk or its room. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setImmediate } from 'node:timers/promises';
import { stringify } from 'yaml';
import { freePort } from '../../runtime/free-ports.ts';
import { leashed } from '../../scripts/leash.ts';
import type { Site } from './fixture.ts';
import { Journal } from './fixture.ts';

const cli = path.resolve(import.meta.dirname, '../../cli/main.ts');

const running = new Set<BrokerProcess>();

export class BrokerProcess {
  readonly port: number;
  /** 0 without `observe`. */
  readonly observePort: number;
  /** What it logs. */
  readonly journal: Journal;
  readonly #child: ChildProcess;

  constructor(child: ChildProcess, journal: Journal, ports: { port: number; observePort?: number }) {
    this.port = ports.port;
    this.observePort = ports.observePort ?? 0;
    this.journal = journal;
    this.#child = child;
    running.add(this);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Of one that has ended by itself. */
  get exitStatus(): number | null {
    return this.#child.exitCode;
  }

  /** SIGKILL: nothing of the program runs any more. */
  async kill(): Promise<void> {
    const died = this.died();
    this.#child.kill('SIGKILL');
    await died;
  }

  /** SIGSTOP. Resolves when every thread has stopped: until then one that waits for packets may still take some. */
  async suspend(): Promise<void> {
    process.kill(this.pid, 'SIGSTOP');
    const threads = `/proc/${this.pid}/task`;
    const hasStopped = (thread: string): boolean => {
      const status = readFileSync(path.join(threads, thread, 'stat'), 'utf8');
      return status.slice(status.lastIndexOf(')') + 2).startsWith('T');
    };
    while (!readdirSync(threads).every((thread) => hasStopped(thread))) await setImmediate();
  }

  /** SIGCONT. */
  resume(): void {
    process.kill(this.pid, 'SIGCONT');
  }

  /** Resolves when this many of its connections have packets that it has not read. */
  async unread(connections: number): Promise<void> {
    const local = `:${this.port.toString(16).toUpperCase().padStart(4, '0')}`;
    const waiting = (): number =>
      readFileSync('/proc/net/tcp', 'utf8')
        .split('\n')
        .map((line) => line.trim().split(/\s+/))
        // sl, local_address, rem_address, st, tx_queue:rx_queue; 01 is ESTABLISHED
        .filter(([, address, , state, queues]) => {
          const received = Number.parseInt(queues?.split(':')[1] ?? '', 16);
          return address?.endsWith(local) === true && state === '01' && received > 0;
        }).length;
    while (waiting() < connections) await setImmediate();
  }

  /** Resolves when it has ended, whoever ended it. */
  async died(): Promise<void> {
    running.delete(this);
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'exit');
  }
}

/** For the end of a test file, whatever became of its tests. */
export async function killBrokerProcesses(): Promise<void> {
  await Promise.all([...running].map((broker) => broker.kill()));
}

export interface ProcessOptions {
  /** On the port of a killed one, clients find it again. 0 or none: one that is free, also for whoever starts it again. */
  readonly port?: number;
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly environment?: Readonly<Record<string, string>>;
  /** Run by a shell that then becomes the broker, for example `ulimit -S -f 1000`. */
  readonly prologue?: string;
}

/**
 * Starts `plombe broker` and waits until it listens.
 *
 * @param name - of its folder below the site's: started again, it finds what it left there
 * @throws Error with its exit status if it ends before
 */
export async function startBrokerProcess(
  site: Site,
  name: string,
  { port: given = 0, settings = {}, environment = {}, prologue }: ProcessOptions = {},
): Promise<BrokerProcess> {
  const directory = path.join(site.directory, name);
  mkdirSync(directory, { recursive: true });
  const configFile = path.join(directory, 'broker.yaml');
  const port = given === 0 ? await freePort() : given;
  const config = {
    name,
    listen: `127.0.0.1:${port}`,
    identity: await site.identity('vendor-broker', ['127.0.0.1']),
    data: path.join(directory, 'data'),
    ...settings,
  };
  writeFileSync(configFile, stringify(config));
  const command = [process.execPath, cli, 'broker', '--config', configFile];
  const child = spawn(...leashed(command, prologue === undefined ? {} : { prologue }), {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, ...environment },
  });
  const exited = once(child, 'exit').then(([status]: unknown[]) => {
    throw new Error(`the broker ended with ${String(status)}`);
  });
  const journal = new Journal();
  // Read to the end, or the pipe fills up and the broker waits for its log.
  createInterface(child.stdout).on('line', (line) => journal.add(line));
  const listening = await Promise.race([journal.until('broker.listening'), exited]);
  exited.catch(() => undefined);
  return new BrokerProcess(child, journal, listening as unknown as { port: number; observePort?: number });
}
