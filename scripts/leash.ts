/** Processes that end with the one that started them, however that one ends: also by SIGKILL. For benches, soaks and tests. */
import { constants } from 'node:os';

export interface LeashOptions {
  /** Run by the shell that then becomes the command, for example `ulimit -S -f 1000`. */
  readonly prologue?: string;
  readonly signal?: 'KILL' | 'TERM';
}

/**
 * The same command, so that it ends when its standard input does: `spawn(...leashed(COMMAND), { stdio: ['pipe', …] })`.
 * A shell beside it waits for that end and kills it; the command itself keeps the process id, and reads nothing.
 */
export function leashed(
  command: readonly string[],
  { prologue = ':', signal = 'KILL' }: LeashOptions = {},
): [command: string, args: string[]] {
  // 9: one that a channel of Node's does not have.
  const watch = `{ read -r _ <&9; kill -${signal} $$; } >/dev/null 2>&1 &`;
  const script = `exec 9<&0 </dev/null; ${watch} exec 9<&-; ${prologue}; exec "$@"`;
  return ['/bin/sh', ['-c', script, 'sh', ...command]];
}

/** For a process that has been forked: its channel ends with whoever forked it. */
export function endWithParent(): void {
  process.once('disconnect', () => process.exit(1));
}

/** For a program that starts others: a signal, or the end of whoever started it, is an exit like any other. */
export function exitOnSignals(): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => process.exit(128 + constants.signals[signal]));
  }
  // `bin/launcher.cjs` forks where it has to start another Node.
  endWithParent();
  process.channel?.unref();
}
