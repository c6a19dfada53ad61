/** One of our programs as a process that is killed and started again. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { leashed } from '../scripts/leash.ts';

const cli = path.resolve(import.meta.dirname, '../cli/main.ts');

/** @returns a command that may open as many files as this process may at most, and ends with it */
export function withAllOpenFiles(command: readonly string[]): [command: string, args: string[]] {
  return leashed(command, { prologue: 'ulimit -S -n "$(ulimit -H -n)"' });
}

/** One line of its log. */
export interface LogLine {
  readonly event: string;
  readonly [field: string]: unknown;
}

export class Program {
  readonly #args: readonly string[];
  readonly #onLine: (line: LogLine) => void;
  #child: ChildProcess | undefined;

  /** @param args - for the `plombe` command */
  constructor(args: readonly string[], onLine: (line: LogLine) => void = () => undefined) {
    this.#args = args;
    this.#onLine = onLine;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /**
   * Starts it with as many open files as this process may have, and waits until it has logged `event`.
   *
   * @throws Error if it ends before
   */
  async start(event: string): Promise<LogLine> {
    const child = spawn(...withAllOpenFiles([process.execPath, cli, ...this.#args]), {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#child = child;
    const exited = once(child, 'exit').then(([status]: unknown[]) => {
      throw new Error(`plombe ${this.#args.join(' ')} ended with ${String(status)}`);
    });
    const logged = new Promise<LogLine>((resolve) => {
      createInterface(child.stdout).on('line', (text) => {
        const line = JSON.parse(text) as LogLine;
        this.#onLine(line);
        if (line.event === event) resolve(line);
      });
    });
    exited.catch(() => undefined);
    return Promise.race([logged, exited]);
  }

  /** @param signal - SIGKILL: nothing of the program runs any more */
  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }
}
