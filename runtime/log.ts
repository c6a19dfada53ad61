/** Structured logging: one JSON object a line, a fixed event name in the past tense, varying facts as fields. */
import { pino } from 'pino';

/** Fields first, then the event: `log.info({ account, reason: 'revoked' }, 'session.refused')`. Never keys, plaintext or payload. */
export interface Log {
  /** A `LogLevel`; changing it changes the children too. */
  level: string;
  debug(fields: object, event: string): void;
  info(fields: object, event: string): void;
  warn(fields: object, event: string): void;
  error(fields: object, event: string): void;
  child(fields: object): Log;
}

export const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

export interface LogDestination {
  write(line: string): void;
}

/**
 * @param program - names the writer in every line
 * @param destination - stdout unless given; synchronous, so that the last line before a crash is there
 */
export function createLog(program: string, level: LogLevel = 'info', destination?: LogDestination): Log {
  const children: Log[] = []; // one for each part of a program that has its own fields
  const log = pino(
    {
      level,
      onChild: (child) => children.push(child),
      base: { program },
      messageKey: 'event',
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination ?? pino.destination({ fd: 1, sync: true }),
  );
  // Children say so too, with the same emitter.
  log.on('level-change', (next, _value, _before, _valueBefore, changed) => {
    if (changed === log) for (const child of children) child.level = next;
  });
  return log;
}
