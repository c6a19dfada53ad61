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

/**
 * Runs a program until SIGINT or SIGTERM, then stops it and exits 0; the same signal again ends it at once, with 1.
 * A failure to start prints one line (or one a fault) on stderr and exits 1.
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
  const hasSupervisor = process.channel !== undefined;
  let program: RunningProgram;
  try {
    program = await start();
  } catch (error) {
    process.stderr.write(`plombe ${name}: ${startErrorText(error)}\n`);
    log.error({ error: startErrorText(error) }, 'program.start_failed');
    process.exit(1);
  }
  let isStopping = false;
  if (program.reload !== undefined) {
    process.on('SIGHUP', () => {
      if (!isStopping) program.reload?.();
    });
  }
  const signal = await new Promise<string>((resolve) => {
    process.once('SIGINT', resolve);
    process.once('SIGTERM', resolve);
    // A supervisor that started us over a channel and is gone, however it ended, takes us with it.
    process.once('disconnect', () => resolve('disconnect'));
    process.channel?.unref();
    if (hasSupervisor && !process.connected) resolve('disconnect'); // it was gone before we had started
  });
  isStopping = true;
  log.info({ signal }, 'program.stopping');
  endOnRepetition(signal, log);
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
