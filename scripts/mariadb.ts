/** A MariaDB server of the tests' own: private port, socket and folder, gone afterwards. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../runtime/free-ports.ts';
import { leashed } from './leash.ts';

export interface TestMariadb {
  /** `mysql://root@127.0.0.1:PORT/plombe_test` */
  readonly url: string;
  /** The same over its Unix socket, as on a host that has both programs. */
  readonly socketUrl: string;
  stop(): Promise<void>;
  /** At once, with SIGKILL; what it holds stays where it is. */
  kill(): Promise<void>;
}

const startTimeoutMs = 60_000;

/**
 * @param kept - a folder that stays, with what the server holds: then it is shut down in order; without it, all goes
 * @param settings - of the server, for example `--innodb-buffer-pool-size=1G`
 */
export async function startMariadb(kept?: string, settings: readonly string[] = []): Promise<TestMariadb> {
  const directory = kept ?? mkdtempSync(path.join(tmpdir(), 'plombe-mariadb-'));
  if (kept !== undefined) mkdirSync(kept, { recursive: true });
  const data = path.join(directory, 'data');
  const socket = path.join(directory, 'mariadb.sock');
  const errorLog = path.join(directory, 'error.log');
  // Of its own: a server that starts removes what others have in a shared one, and one that misses it crashes.
  const temporary = path.join(directory, 'tmp');
  mkdirSync(temporary, { recursive: true });
  const asRoot = process.getuid?.() === 0 ? ['--user=root'] : [];
  if (!existsSync(data)) installData(data, asRoot);
  const port = await freePort();
  const server = spawn(
    ...leashed([
      '/usr/sbin/mariadbd',
      '--no-defaults',
      ...asRoot,
      `--datadir=${data}`,
      `--tmpdir=${temporary}`,
      `--socket=${socket}`,
      `--port=${port}`,
      '--bind-address=127.0.0.1',
      `--pid-file=${path.join(directory, 'mariadb.pid')}`,
      `--log-error=${errorLog}`,
      '--max-connections=200',
      ...settings,
    ]),
    { stdio: ['pipe', 'ignore', 'ignore'] },
  );
  const abandon = (): void => {
    server.kill('SIGKILL');
    if (kept === undefined) rmSync(directory, { recursive: true, force: true });
  };
  process.once('exit', abandon);
  const end = async (signal: 'SIGKILL' | 'SIGTERM'): Promise<void> => {
    process.removeListener('exit', abandon);
    const ended = new Promise((resolve) => server.once('exit', resolve));
    if (server.exitCode === null && server.signalCode === null && server.kill(signal)) await ended;
  };
  const stop = async (): Promise<void> => {
    await end(kept === undefined ? 'SIGKILL' : 'SIGTERM');
    if (kept === undefined) rmSync(directory, { recursive: true, force: true });
  };
  try {
    await untilAnswering(socket, errorLog, server);
    createDatabase(socket);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    url: `mysql://root@127.0.0.1:${port}/plombe_test`,
    socketUrl: `mysql://root@localhost/plombe_test?socketPath=${encodeURIComponent(socket)}`,
    stop,
    kill: () => end('SIGKILL'),
  };
}

function installData(data: string, asRoot: readonly string[]): void {
  const { status, stdout, stderr } = spawnSync(
    'mariadb-install-db',
    [
      '--no-defaults',
      ...asRoot,
      `--datadir=${data}`,
      '--auth-root-authentication-method=normal',
      '--skip-test-db',
    ],
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(`mariadb-install-db failed:\n${stdout}${stderr}`);
}

async function untilAnswering(
  socket: string,
  errorLog: string,
  server: { exitCode: number | null },
): Promise<void> {
  const deadline = Date.now() + startTimeoutMs;
  while (Date.now() < deadline && server.exitCode === null) {
    if (
      existsSync(socket) &&
      spawnSync('mariadb-admin', ['-uroot', `--socket=${socket}`, 'ping']).status === 0
    )
      return;
    await sleep(100);
  }
  throw new Error(`MariaDB did not start:\n${existsSync(errorLog) ? readFileSync(errorLog, 'utf8') : ''}`);
}

function createDatabase(socket: string): void {
  const sql = 'CREATE DATABASE IF NOT EXISTS plombe_test CHARACTER SET utf8mb4 COLLATE utf8mb4_bin';
  const { status, stderr } = spawnSync('mariadb', ['-uroot', `--socket=${socket}`, '-e', sql], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`cannot create the test database: ${stderr}`);
}
