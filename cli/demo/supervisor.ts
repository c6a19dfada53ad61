/** Starts programs as processes, reads their logs, starts them again when they die, and stops them. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createWriteStream, mkdirSync } from 'node:fs';
import type { WriteStream } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { backoffMs } from '../../runtime/retry.ts';

/** One line of a program's log. */
export interface LogRecord {
  readonly event: string;
  readonly level: string;
  readonly [field: string]: unknown;
}

export interface ProgramSpec {
  /** Unique; names the log file. */
  readonly name: string;
  /** For the `plombe` command. */
  readonly args: readonly string[];
}

interface Running {
  readonly spec: ProgramSpec;
  readonly log: WriteStream;
  process: ChildProcess;
  /** Events seen since the last start. */
  events: Map<string, LogRecord>;
  restarts: number;
  stopping: boolean;
  standardError: string;
}

interface Waiter {
  readonly program: string;
  readonly event: string;
  readonly resolve: (record: LogRecord) => void;
  readonly reject: (error: Error) => void;
}

const restartBackoff = { firstMs: 300, maxMs: 5_000 };
const standardErrorMax = 4_000;
/** Longer than any program's own deadline: an agent drains its outbox first. */
const stopTimeoutMs = 120_000;

export class Supervisor {
  readonly #command: string;
  readonly #logDirectory: string;
  readonly #onRecord: (program: string, record: LogRecord) => void;
  readonly #programs = new Map<string, Running>();
  #waiters: Waiter[] = [];

  /**
   * @param command - the script of the `plombe` command
   * @param onRecord - called for every log line of every program
   */
  constructor(command: string, logDirectory: string, onRecord: (program: string, record: LogRecord) => void) {
    this.#command = command;
    this.#logDirectory = logDirectory;
    this.#onRecord = onRecord;
    mkdirSync(logDirectory, { recursive: true });
  }

  get restarts(): number {
    return [...this.#programs.values()].reduce((sum, program) => sum + program.restarts, 0);
  }

  /** @returns the process id of each program that runs; one that waits for its restart has none */
  processIds(): Map<string, number> {
    const running = [...this.#programs].flatMap(([name, { process: child }]) => {
      const isRunning = child.exitCode === null && child.signalCode === null;
      return isRunning && child.pid !== undefined ? [[name, child.pid] as const] : [];
    });
    return new Map(running);
  }

  start(spec: ProgramSpec): void {
    const log = createWriteStream(path.join(this.#logDirectory, `${spec.name.replaceAll('/', '-')}.log`), {
      flags: 'a',
    });
    const running: Running = {
      spec,
      log,
      process: this.#spawn(spec),
      events: new Map(),
      restarts: 0,
      stopping: false,
      standardError: '',
    };
    this.#programs.set(spec.name, running);
    this.#watch(running);
  }

  /** @throws Error with what the program wrote on stderr, if it ends before the event */
  waitFor(program: string, event: string): Promise<LogRecord> {
    const seen = this.#programs.get(program)?.events.get(event);
    if (seen) return Promise.resolve(seen);
    return new Promise((resolve, reject) => this.#waiters.push({ program, event, resolve, reject }));
  }

  /** Asks programs to stop, and waits until they have. */
  async stop(names: readonly string[]): Promise<void> {
    await Promise.all(
      names.map(async (name) => {
        const program = this.#programs.get(name);
        if (!program || program.stopping) return;
        program.stopping = true;
        await endOf(program.process);
        program.log.end();
      }),
    );
  }

  async stopAll(): Promise<void> {
    await this.stop([...this.#programs.keys()]);
  }

  #spawn({ args }: ProgramSpec): ChildProcess {
    // A group of its own: Ctrl-C reaches us alone, and we stop the programs in order.
    // The channel tells the program when we are gone, however we ended.
    return spawn(process.execPath, [...process.execArgv, this.#command, ...args], {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      detached: true,
    });
  }

  #watch(running: Running): void {
    const { process: child, spec, log } = running;
    if (child.stdout) {
      createInterface({ input: child.stdout }).on('line', (line) => {
        if (!log.writableEnded) log.write(`${line}\n`);
        const record = parseRecord(line);
        if (record) this.#received(running, record);
      });
    }
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      if (!log.writableEnded) log.write(text);
      running.standardError = (running.standardError + text).slice(-standardErrorMax);
    });
    child.once('exit', (code, signal) => {
      if (running.stopping) return;
      const failed = new Error(
        running.standardError.trim() || `${spec.name} ended (${signal ?? code ?? 'unknown'})`,
      );
      this.#waiters = this.#waiters.filter((waiter) => {
        if (waiter.program !== spec.name || code !== 1) return true;
        waiter.reject(failed);
        return false;
      });
      this.#onRecord(spec.name, { event: 'program.died', level: 'error', signal, code });
      setTimeout(() => this.#restart(running), backoffMs(running.restarts, restartBackoff));
    });
  }

  #restart(running: Running): void {
    if (running.stopping) return;
    running.restarts++;
    running.events = new Map();
    running.process = this.#spawn(running.spec);
    this.#watch(running);
    this.#onRecord(running.spec.name, {
      event: 'program.restarted',
      level: 'warn',
      restarts: running.restarts,
    });
  }

  #received(running: Running, record: LogRecord): void {
    running.events.set(record.event, record);
    this.#waiters = this.#waiters.filter((waiter) => {
      if (waiter.program !== running.spec.name || waiter.event !== record.event) return true;
      waiter.resolve(record);
      return false;
    });
    this.#onRecord(running.spec.name, record);
  }
}

function endOf(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs);
    child.once('close', () => {
      clearTimeout(timer);
      resolve();
    });
    child.kill('SIGTERM');
  });
}

function parseRecord(line: string): LogRecord | undefined {
  try {
    const record: unknown = JSON.parse(line);
    if (typeof record !== 'object' || record === null) return undefined;
    const fields: Record<string, unknown> = { ...record };
    const { event, level } = fields;
    return typeof event === 'string' && typeof level === 'string' ? { ...fields, event, level } : undefined;
  } catch {
    return undefined; // a line that is no log record is in the file all the same
  }
}
