import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

const directory = mkdtempSync(path.join(tmpdir(), 'plombe-launcher-'));
test.after(() => rmSync(directory, { recursive: true, force: true }));

const launcher = path.resolve(import.meta.dirname, '../../bin/launcher.cjs');
const script = path.join(directory, 'script.mjs');
writeFileSync(
  script,
  `const { pid, execArgv, argv, connected } = process;
  console.log(JSON.stringify({ pid, execArgv, args: argv.slice(2), connected }));
  process.disconnect?.();
  process.exitCode = 7;`,
);
const start = path.join(directory, 'start.cjs');
writeFileSync(
  start,
  `require(${JSON.stringify(launcher)}).launch(${JSON.stringify(script)}, process.argv.slice(2));`,
);

interface Started {
  readonly pid: number;
  readonly execArgv: readonly string[];
  readonly args: readonly string[];
  readonly connected: boolean;
}

async function launched(
  args: readonly string[],
  {
    flags = [],
    stdio = 'pipe',
    env = {},
  }: Pick<SpawnOptions, 'stdio' | 'env'> & { flags?: readonly string[] } = {},
): Promise<{ own: number | undefined; started: Started; status: unknown; errors: string }> {
  const child = spawn(process.execPath, [...flags, start, ...args], {
    stdio,
    env: { ...process.env, NODE_OPTIONS: '', ...env },
  });
  let output = '';
  let errors = '';
  child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  const [status] = (await once(child, 'close')) as [unknown];
  return { own: child.pid, started: JSON.parse(output) as Started, status, errors };
}

const size = '--max-semi-space-size';
const sizesOf = ({ execArgv }: Started): string[] => execArgv.filter((flag) => flag.startsWith(size));

test('launch: a broker begins anew with a small young generation, as the same process and without a word', async () => {
  const { own, started, status, errors } = await launched(['broker', '--config', 'a b'], {
    flags: ['--stack-trace-limit=20'],
  });
  assert.deepEqual(sizesOf(started), [`${size}=8`]);
  assert.ok(started.execArgv.includes('--stack-trace-limit=20'));
  assert.deepEqual(started.args, ['broker', '--config', 'a b']);
  assert.equal(started.pid, own);
  assert.equal(status, 7);
  assert.equal(errors, '');
});

test('launch: a size that somebody else chose stays, and other commands have none', async () => {
  const chosen = await launched(['broker'], { flags: [`${size}=3`] });
  assert.deepEqual(sizesOf(chosen.started), [`${size}=3`]);
  const underscored = await launched(['broker'], { flags: ['--max_semi_space_size=3'] });
  assert.deepEqual(underscored.started.execArgv, ['--max_semi_space_size=3']);
  const byEnvironment = await launched(['broker'], { env: { NODE_OPTIONS: `${size}=3` } });
  assert.deepEqual(sizesOf(byEnvironment.started), []);
  const other = await launched(['seal']);
  assert.deepEqual([sizesOf(other.started), other.started.pid], [[], other.own]);
});

test('launch: a channel to whoever started it is kept', async () => {
  const { started } = await launched(['broker'], { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
  assert.equal(started.connected, true);
});
