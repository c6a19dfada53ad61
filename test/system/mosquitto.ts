/** Debian's Mosquitto with the rights that `plombe tacs export` gives it, in the place of a vendor's broker. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { leashed } from '../../scripts/leash.ts';
import { isListening } from '../../scripts/listening.ts';
import { plombe, until } from './process.ts';

export interface Mosquitto {
  readonly keys: string;
  /** Waits until it listens again. */
  start(): Promise<void>;
  /** SIGTERM: it writes its state down, which it does not do for each message. */
  stop(): Promise<void>;
}

/** @param keys - of the broker, as `plombe pki issue` writes them */
export async function prepareMosquitto(folder: string, keys: string, port: number): Promise<Mosquitto> {
  mkdirSync(folder, { recursive: true });
  const { status, stdout, stderr } = await plombe('tacs', 'export', '--for', 'mosquitto');
  assert.equal(status, 0, stderr);
  const [acl, config] = [path.join(folder, 'acl'), path.join(folder, 'mosquitto.conf')];
  writeFileSync(acl, stdout, { mode: 0o600 });
  const lines = [
    'user root',
    'per_listener_settings false',
    'allow_anonymous false',
    'persistence true',
    `persistence_location ${folder}/`,
    'max_queued_messages 0',
    'log_dest stderr',
    'log_type error',
    `acl_file ${acl}`,
    `listener ${port} 127.0.0.1`,
    `cafile ${path.join(keys, 'tls-root.crt.pem')}`,
    `certfile ${path.join(keys, 'tls.chain.pem')}`,
    `keyfile ${path.join(keys, 'tls.key.pem')}`,
    'require_certificate true',
    'use_identity_as_username true',
  ];
  writeFileSync(config, `${lines.join('\n')}\n`);
  let child: ChildProcess | undefined;
  return {
    keys,
    start: async () => {
      const command = leashed(['/usr/sbin/mosquitto', '-c', config]);
      child = spawn(...command, { stdio: ['pipe', 'ignore', 'ignore'] });
      await until('Mosquitto listens', () => isListening(port));
    },
    stop: async () => {
      if (child === undefined || child.exitCode !== null) return;
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
    },
  };
}
