/** The life of a program's process: start, one clear line on failure, drain on a signal, exit. */
import { errorText } from '../domain/error-text.ts';
import { ConfigError, describeSystemError } from './config.ts';
import type { Log } from './log.ts';

export interface RunningProgram {
  /** Drains and closes everything; called once. */
  stop(): Promise<void>;
  /** On SIGHUP, which ends a program without it. */
  reload?(): void;
}

const stopDeadlineMsDefault = 20_000;
/** Without its supervisor a program's peers are most likely gone too: what it waits for does not come. */
const abandonedDeadlineMs = 3_000;

/** What still starts when it is told to stop, and does not come to an end with that, has promised nothing to anybody yet. */
const startingDeadlineMs = 3_000;

/**
 * Runs a program until SIGINT or SIGTERM, then stops it and exits 0; the same signal again ends it at once, with 1. A signal
 * that comes while it starts is obeyed once it has. A failure to start prints one line (or one a fault) on stderr and exits 1.
 *
 * @param name - for messages, for example `broker`
 * @param start - starts the program; whatever it throws is a failure to start
 * @param stopDeadlineMs - how long stopping may take, for a program that drains first; asked when it begins
 */
export async function runUntilSignal(
  name: string,
  log: Log,
  start: () => Promise<RunningProgram>,
  stopDeadlineMs: () => number = () => stopDeadlineMsDefault,
): Promise<never> {
  // Before it starts: whoever reads that it has started may send a signal before anything else runs here.
  const asked = untilAsked();
  let program: RunningProgram | undefined;
  let isStopping = false;
  let isHungUp = false;
  const hangUp = (): void => {
    isHungUp = true;
    if (program === undefined || isStopping) return;
    if (program.reload !== undefined) return program.reload();
    process.off('SIGHUP', hangUp);
    process.kill(process.pid, 'SIGHUP');
  };
  process.on('SIGHUP', hangUp);
  void asked.then((signal) => {
    isStopping = true;
    endOnRepetition(signal, log);
    log.info({ signal }, 'program.stopping');
    setTimeout(() => program ?? process.exit(0), startingDeadlineMs).unref();
  });
  try {
    program = await start();
  } catch (error) {
    process.stderr.write(`plombe ${name}: ${startErrorText(error)}\n`);
    log.error({ error: startErrorText(error) }, 'program.start_failed');
    process.exit(1);
  }
  if (isHungUp) hangUp(); // what it has read may be older
  const signal = await asked;
  const deadlineMs =
    signal === 'disconnect' ? Math.min(abandonedDeadlineMs, stopDeadlineMs()) : stopDeadlineMs();
  const deadline = setTimeout(() => {
    log.error({ stopDeadlineMs: deadlineMs }, 'program.stop_timed_out');
    process.exit(1);
  }, deadlineMs);
  deadline.unref();
  await program.stop();
  log.info({}, 'program.stopped');
  process.exit(0);
}

/** @returns the signal, or `disconnect`: a supervisor that started us over a channel and is gone takes us with it */
function untilAsked(): Promise<string> {
  const hasSupervisor = process.channel !== undefined;
  return new Promise((resolve) => {
    process.once('SIGINT', resolve);
    process.once('SIGTERM', resolve);
    process.once('disconnect', () => resolve('disconnect'));
    process.channel?.unref();
    if (hasSupervisor && !process.connected) resolve('disconnect'); // it was gone before we were there
  });
}

/**
 * Whoever asks twice does not want to wait, and nothing that was promised depends on the rest of the way. The other signal
 * is no repetition: a terminal sends SIGINT to every process of a group, and whoever supervises them SIGTERM after it.
 */
function endOnRepetition(first: string, log: Log): void {
  const seen = new Set([first]);
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.on(signal, () => {
      if (seen.has(signal)) {
        log.warn({ signal }, 'program.stop_forced');
        process.exit(1);
      }
      seen.add(signal);
    });
  }
}

/** @returns one line that states the action and the reason, without a stack */
export function startErrorText(error: unknown): string {
  if (error instanceof ConfigError) return error.message;
  if (error instanceof Error && 'syscall' in error) {
    const where =
      'address' in error && 'port' in error ? ` ${String(error.address)}:${String(error.port)}` : '';
    const file = 'path' in error ? ` ${String(error.path)}` : '';
    return `cannot ${String(error.syscall)}${where}${file}: ${describeSystemError(error)}`;
  }
  return errorText(error);
}
