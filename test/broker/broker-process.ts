/** The real program in a process of its own, so that a test can take its life. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { stringify } from 'yaml';

const cli = path.resolve(import.meta.dirname, '../../cli/main.ts');

const running = new Set<BrokerProcess>();

export class BrokerProcess {
  readonly port: number;
  readonly #child: ChildProcess;

  constructor(port: number, child: ChildProcess) {
    this.port = port;
    this.#child = child;
    running.add(this);
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** SIGKILL: nothing of the program runs any more. */
  async kill(): Promise<void> {
    running.delete(this);
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }
}

/** For the end of a test file, whatever became of its tests. */
export async function killBrokerProcesses(): Promise<void> {
  await Promise.all([...running].map((broker) => broker.kill()));
}

/** Starts `plombe broker` and waits until it listens; with `listen` on the port of a killed one, clients find it again. */
export async function startBrokerProcess(
  configFile: string,
  settings: Readonly<Record<string, unknown>>,
): Promise<BrokerProcess> {
  writeFileSync(configFile, stringify(settings));
  const child = spawn(process.execPath, [cli, 'broker', '--config', configFile], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit').then(([status]: unknown[]) => {
    throw new Error(`the broker ended with ${String(status)}`);
  });
  // Read to the end, or the pipe fills up and the broker waits for its log.
  const listening = new Promise<number>((resolve) => {
    createInterface(child.stdout).on('line', (line) => {
      const { event, port } = JSON.parse(line) as { event: string; port?: number };
      if (event === 'broker.listening' && port !== undefined) resolve(port);
    });
  });
  const port = await Promise.race([listening, exited]);
  exited.catch(() => undefined);
  return new BrokerProcess(port, child);
}
