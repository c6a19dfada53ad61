/** The `plombe` command as a user's shell runs it: a process with its output and its end. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** What `plombe` runs in a checkout. */
export const script = path.resolve(import.meta.dirname, '../../cli/main.ts');

export interface Finished {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunningCommand {
  readonly process: ChildProcess;
  readonly finished: Promise<Finished>;
  /** What came on stdout and stderr so far. */
  output(): string;
}

export function startPlombe(args: readonly string[], input?: Uint8Array): RunningCommand {
  // The channel tells a program when we are gone, however we ended.
  const child = spawn(process.execPath, [script, ...args], { stdio: ['pipe', 'pipe', 'pipe', 'ipc'] });
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdin?.end(input);
  const finished = new Promise<Finished>((resolve) => {
    child.once('close', (status) => resolve({ status, stdout, stderr }));
  });
  return { process: child, finished, output: () => stdout + stderr };
}

export function plombe(...args: readonly string[]): Promise<Finished> {
  return startPlombe(args).finished;
}

/** @returns the process ids of the children of `parent` by what they run, such as `broker --config …/vendor/broker.yaml` */
export function childrenOf(parent: number): Map<string, number> {
  const children = new Map<string, number>();
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid)) continue;
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const parentOf = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      if (parentOf !== parent) continue;
      const [, , ...args] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      children.set(args.join(' ').trim(), pid);
    } catch (error) {
      // A process that ended while we looked is none of its children any more.
      if (!(error instanceof Error && 'code' in error && ['ENOENT', 'ESRCH'].includes(String(error.code))))
        throw error;
    }
  }
  return children;
}

/** Waits until `condition` holds; fails with `what` if it does not within `timeoutMs`. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 150_000,
): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadlineMs) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
