/** Programs that run for a test, what they log, and what the dashboard's API answers. */
import assert from 'node:assert/strict';
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { freePorts } from '../../runtime/free-ports.ts';
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

/** Moves what `plombe init` wrote to ports that are free. */
export async function moveToFreePorts(
  deployment: string,
): Promise<{ readonly vendor: number; readonly customer: number; readonly http: number }> {
  const [vendor = 0, customer = 0, http = 0] = await freePorts(3);
  for (const name of globSync('**/*.yaml', { cwd: deployment })) {
    const file = path.join(deployment, name);
    const text = readFileSync(file, 'utf8')
      .replaceAll(':8883', `:${vendor}`)
      .replaceAll(':8884', `:${customer}`)
      .replaceAll(':8080', `:${http}`);
    writeFileSync(file, text);
  }
  return { vendor, customer, http };
}

/** Logs in. @returns what the dashboard's API answers to a GET, or with a body to a POST */
export async function dashboardReader(
  url: string,
  user: string,
  password: string,
): Promise<(route: string, body?: unknown) => Promise<unknown>> {
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
  return async (route, body) => {
    const post = {
      method: 'POST',
      headers: { cookie, origin: url, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    };
    const answer = await fetch(`${url}${route}`, body === undefined ? { headers: { cookie } } : post);
    assert.ok(answer.ok, `${route}: ${answer.status}`);
    return answer.json();
  };
}
