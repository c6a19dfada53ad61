import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { RecordedLog } from './recorded-log.ts';

const runtime = path.resolve(import.meta.dirname, '../../runtime');

/** Starts once it has read `go`. */
const script = `
  import { createLog } from '${runtime}/log.ts';
  import { runUntilSignal } from '${runtime}/shutdown.ts';
  const log = createLog('test', 'debug');
  const reload = () => log.info({}, 'reloaded');
  await runUntilSignal('test', log, async () => {
    log.info({}, 'starting');
    await new Promise((resolve) => process.stdin.once('data', resolve));
    log.info({}, 'started');
    setInterval(() => undefined, 1_000_000); // it has something to do
    return { stop: async () => log.info({}, 'stopped'), ...(process.argv[1] === 'reloads' ? { reload } : {}) };
  });`;

interface Started {
  readonly child: ChildProcess;
  readonly recorded: RecordedLog;
  readonly events: () => string[];
  readonly go: () => void;
  readonly ended: Promise<unknown[]>;
}

async function starting(context: TestContext, ...args: readonly string[]): Promise<Started> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  context.after(() => void child.kill('SIGKILL'));
  const ended = once(child, 'close');
  const recorded = new RecordedLog();
  createInterface(child.stdout).on('line', (line) => recorded.add(line));
  await recorded.event('starting');
  const events = (): string[] => recorded.records.map(({ event }) => event);
  return { child, recorded, events, go: () => void child.stdin.end('go'), ended };
}

test('runUntilSignal: a signal while the program starts is obeyed once it has', async (context) => {
  const { child, events, go, ended } = await starting(context);
  child.kill('SIGTERM');
  go();
  assert.deepEqual(await ended, [0, null]);
  assert.deepEqual(
    events().filter((event) => event !== 'program.stopping'),
    ['starting', 'started', 'stopped', 'program.stopped'],
  );
  assert(events().includes('program.stopping'));
});

test('runUntilSignal: the same signal again ends one that still starts, and one that never has ends soon', async (context) => {
  const twice = await starting(context);
  twice.child.kill('SIGTERM');
  await twice.recorded.event('program.stopping');
  twice.child.kill('SIGTERM');
  assert.deepEqual(await twice.ended, [1, null]);
  const never = await starting(context);
  never.child.kill('SIGINT');
  assert.deepEqual(await never.ended, [0, null]);
  assert.deepEqual(never.events(), ['starting', 'program.stopping']);
});

test('runUntilSignal: SIGHUP while the program starts is a reload once it has, or ends it if there is none', async (context) => {
  const reloads = await starting(context, 'reloads');
  reloads.child.kill('SIGHUP');
  reloads.go();
  await reloads.recorded.event('reloaded');
  reloads.child.kill('SIGTERM');
  assert.deepEqual(await reloads.ended, [0, null]);
  const other = await starting(context);
  other.child.kill('SIGHUP');
  other.go();
  assert.deepEqual(await other.ended, [null, 'SIGHUP']);
});
