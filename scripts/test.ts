/**
 * `npm test [-- FILE …]`: installs and starts what the tests need, runs them, and ends with the runner's counts.
 * Without a file it runs all of test/.
 */
import { spawn } from 'node:child_process';
import { globSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { errorText } from '../domain/error-text.ts';
import { requireDebianPackages } from './debian-packages.ts';
import { exitOnSignals, leashed } from './leash.ts';
import { startMariadb } from './mariadb.ts';

/** Of a whole file: far beyond the longest, on a machine that has much else to do. */
const timeoutMs = 400_000;
const root = path.resolve(import.meta.dirname, '..');
const given = process.argv.slice(2);
const options = given.filter((argument) => argument.startsWith('--'));
const paths = given.filter((argument) => !argument.startsWith('--'));
const files = (paths.length > 0 ? paths : ['test'])
  .flatMap((name) => (name.endsWith('.ts') ? [name] : globSync(`${name}/**/*.test.ts`, { cwd: root })))
  .toSorted();

async function main(): Promise<number> {
  if (files.length === 0) throw new Error(`no test files in ${paths.join(' ')}`);
  requireDebianPackages();
  const mariadb = await startMariadb();
  // Hundreds of processes of ours are started: each module is compiled once for all of them.
  const compiled = mkdtempSync(path.join(tmpdir(), 'plombe-compiled-'));
  try {
    return await runNodeTests(mariadb.url, compiled);
  } finally {
    await mariadb.stop();
    rmSync(compiled, { recursive: true, force: true });
  }
}

function runNodeTests(mysqlUrl: string, compiled: string): Promise<number> {
  const settings = ['--test', '--test-concurrency=2', `--test-timeout=${timeoutMs}`, ...options];
  const runner = spawn(
    // SIGTERM: it ends those that run.
    ...leashed([process.execPath, ...settings, ...files], { signal: 'TERM' }),
    {
      cwd: root,
      stdio: ['pipe', 'inherit', 'inherit'],
      env: {
        ...process.env,
        NODE_COMPILE_CACHE: compiled,
        PLOMBE_TEST_MYSQL_URL: mysqlUrl,
        PLOMBE_TEST_CHROMIUM: '/usr/bin/chromium',
      },
    },
  );
  return new Promise((resolve) => runner.once('exit', (code) => resolve(code ?? 1)));
}

exitOnSignals();
try {
  process.exitCode = await main();
} catch (error) {
  console.error(`npm test: ${errorText(error)}`);
  process.exitCode = 1;
}
