/**
 * The `plombe` command, run any number of times in one process, because to start one for each of 700 envelopes takes
 * minutes. Told by IPC what to run; each time, the command line's own module runs from its first line.
 */
import { Readable } from 'node:stream';

export interface CommandRun {
  readonly args: readonly string[];
  readonly input: Buffer;
}

export interface CommandResult {
  readonly status: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

const main = new URL('../../../cli/main.ts', import.meta.url);
let runs = 0;

async function run({ args, input }: CommandRun): Promise<CommandResult> {
  const stdout: Uint8Array[] = [];
  const stderr: Uint8Array[] = [];
  Object.defineProperty(process, 'stdin', { value: Readable.from([input]), configurable: true });
  process.stdout.write = intoList(stdout);
  process.stderr.write = intoList(stderr);
  process.argv = [process.execPath, 'plombe', ...args];
  // Another query is another module to Node, so this one runs again; what it imports stays loaded.
  main.search = `?run=${runs++}`;
  await import(main.href);
  return { status: takeStatus(), stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() };
}

function takeStatus(): number {
  const { exitCode } = process;
  process.exitCode = undefined;
  return Number(exitCode ?? 0);
}

function intoList(list: Uint8Array[]): typeof process.stdout.write {
  return (chunk) => {
    list.push(Buffer.from(chunk));
    return true;
  };
}

process.on('message', (asked: CommandRun) => {
  void run(asked).then((result) => process.send?.(result));
});
