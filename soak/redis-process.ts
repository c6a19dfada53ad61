/** A real Redis in a process of its own, whose life a test can take and give again. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { freePort } from '../runtime/free-ports.ts';
import { requireDebianPackages } from '../scripts/debian-packages.ts';
import { leashed } from '../scripts/leash.ts';

const running = new Set<RedisProcess>();

export class RedisProcess {
  readonly #directory: string;
  readonly #options: readonly string[];
  /** With TLS: the folder of its key and chain. */
  readonly #keys: string | undefined;
  readonly port: number;
  #child: ChildProcess | undefined;

  constructor(directory: string, port: number, options: readonly string[], keys?: string) {
    this.#directory = directory;
    this.port = port;
    this.#options = options;
    this.#keys = keys;
    running.add(this);
  }

  get url(): string {
    return `${this.#keys === undefined ? 'redis' : 'rediss'}://127.0.0.1:${this.port}`;
  }

  /** Copies its files as they are now. */
  backUp(): void {
    rmSync(this.#backup, { recursive: true, force: true });
    cpSync(this.#directory, this.#backup, { recursive: true });
  }

  /** For one that does not run: its files are those of the backup. */
  setBack(): void {
    this.wipe();
    cpSync(this.#backup, this.#directory, { recursive: true });
  }

  /** For one that does not run: it has never held anything. */
  wipe(): void {
    rmSync(this.#directory, { recursive: true });
    mkdirSync(this.#directory);
  }

  get #backup(): string {
    return `${this.#directory}-backup`;
  }

  /** Again on the same port and the same files. */
  async start(): Promise<void> {
    const place = ['--bind', '127.0.0.1', '--dir', this.#directory];
    const command = ['redis-server', ...place, ...this.#door(), '--save', '', ...this.#options];
    const child = spawn(...leashed(command), { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child = child;
    const exited = once(child, 'exit').then(([status]: unknown[]) => {
      throw new Error(`redis-server ended with ${String(status)}`);
    });
    const ready = new Promise<void>((resolve) => {
      createInterface(child.stdout).on('line', (line) => {
        if (line.includes('Ready to accept connections')) resolve();
      });
    });
    await Promise.race([ready, exited]);
    exited.catch(() => undefined);
  }

  /** SIGKILL, and again. @param meanwhile - done to its files while it does not run */
  async restart(meanwhile: () => void = () => undefined): Promise<void> {
    await this.stop();
    meanwhile();
    await this.start();
  }

  #door(): string[] {
    const port = String(this.port);
    const keys = this.#keys;
    if (keys === undefined) return ['--port', port];
    const files = {
      '--tls-cert-file': 'tls.chain.pem',
      '--tls-key-file': 'tls.key.pem',
      '--tls-ca-cert-file': 'tls-root.crt.pem',
    };
    return [
      '--port',
      '0',
      '--tls-port',
      port,
      '--tls-auth-clients',
      'no',
      ...Object.entries(files).flatMap(([option, file]) => [option, path.join(keys, file)]),
    ];
  }

  /** @param signal - SIGKILL takes its life; SIGTERM asks for it */
  async stop(signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL'): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }
}

/** For the end of a test file, whatever became of its tests. */
export async function killRedisProcesses(): Promise<void> {
  await Promise.all([...running].map((redis) => redis.stop()));
}

/** @param options - durable unless others are given @param keys - of a TLS server, as `plombe pki issue` writes them */
export async function startRedis(
  directory: string,
  options: readonly string[] = ['--appendonly', 'yes', '--appendfsync', 'always'],
  keys?: string,
): Promise<RedisProcess> {
  requireDebianPackages(['redis-server']);
  mkdirSync(directory, { recursive: true });
  const redis = new RedisProcess(path.resolve(directory), await freePort(), options, keys);
  await redis.start();
  return redis;
}
