/** Runs a Python test with a deadline, and whatever it started ends with it. */
import { spawn } from 'node:child_process';

export interface PythonRun {
  readonly directory: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly deadlineMs: number;
}

export interface PythonResult {
  readonly passed: boolean;
  readonly output: string;
}

const outputCharactersMax = 1_000_000;

export function runPython({ directory, args, env = {}, deadlineMs }: PythonRun): Promise<PythonResult> {
  const child = spawn('python3', args, {
    cwd: directory,
    env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1', PYTHONUNBUFFERED: '1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true, // a process group of its own, so that brokers which it left behind can be ended
  });
  const chunks: string[] = [];
  let characters = 0;
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      characters += chunk.length;
      if (characters <= outputCharactersMax) chunks.push(chunk);
    });
  }
  const end = (): void => {
    if (child.pid === undefined) return;
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // all of them have ended already
    }
  };
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      chunks.push(`\nended after ${deadlineMs / 1000} s\n`);
      end();
    }, deadlineMs);
    child.once('error', reject);
    child.once('exit', (status) => {
      clearTimeout(timer);
      end();
      child.stdout.destroy();
      child.stderr.destroy();
      setImmediate(() => resolve({ passed: status === 0, output: chunks.join('') }));
    });
  });
}
