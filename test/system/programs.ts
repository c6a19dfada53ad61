/** Programs that run for a test, what they log, and what the dashboard's API answers. */
import assert from 'node:assert/strict';
import type { LogRecord } from '../../cli/demo/supervisor.ts';
import type { RunningCommand } from './process.ts';
import { startPlombe, until } from './process.ts';

export interface RunningProgram extends RunningCommand {
  records(): LogRecord[];
  /** SIGTERM; @returns the exit status */
  stop(): Promise<number | null>;
}

/** Starts a program and waits until it has logged `event`; fails with its output if it ends before. */
export async function startProgram(name: string, config: string, event: string): Promise<RunningProgram> {
  const running = startPlombe([name, '--config', config]);
  let ended = false;
  void running.finished.then(() => (ended = true));
  const program: RunningProgram = {
    ...running,
    records: () =>
      running
        .output()
        .split('\n')
        .filter((line) => line.startsWith('{') && line.endsWith('}'))
        .map((line) => JSON.parse(line) as LogRecord),
    stop: async () => {
      running.process.kill('SIGTERM');
      return (await running.finished).status;
    },
  };
  await until(`${name} logs ${event}`, () => {
    assert.ok(!ended, `${name} ended: ${running.output()}`);
    return program.records().some((record) => record.event === event);
  });
  return program;
}

/** Logs in. @returns what a GET of the dashboard's API answers */
export async function dashboardReader(
  url: string,
  user: string,
  password: string,
): Promise<(route: string) => Promise<unknown>> {
  const login = await fetch(`${url}/api/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', origin: url },
    body: JSON.stringify({ user, password }),
  });
  assert.equal(login.status, 204);
  const cookie = login.headers
    .getSetCookie()
    .map((one) => one.split(';', 1)[0] ?? '')
    .join('; ');
  return async (route) => {
    const answer = await fetch(`${url}${route}`, { headers: { cookie } });
    assert.equal(answer.status, 200, route);
    return answer.json();
  };
}
