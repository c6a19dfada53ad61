/** The two brokers of the bench as processes: Debian's Mosquitto, and ours as `plombe broker` starts it. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { stringify } from 'yaml';
import { freePort } from '../runtime/free-ports.ts';
import { withAllOpenFiles } from '../soak/program.ts';
import type { BenchSite } from './broker-site.ts';
import { brokerName, masterAccount, topicFilter } from './broker-site.ts';
import { untilListening } from './other-process.ts';

export interface Contender {
  readonly name: 'Mosquitto' | 'ours';
  readonly port: number;
  readonly pid: number;
  stop(): Promise<void>;
}

export interface ContenderOptions {
  /** Of the upstream broker, or of what delays on the way to it: then this one is a customer's, and sends all up. */
  readonly upstreamPort?: number;
  /** Node's flags, for profiles. */
  readonly nodeArguments?: readonly string[];
}

export type StartContender = (site: BenchSite, options?: ContenderOptions) => Promise<Contender>;

const plombe = path.resolve(import.meta.dirname, '../bin/plombe.cjs');
/** Wide on both sides, so that no bound but the machine's shows. */
const inFlightMax = 1000;

/** In memory alone: nothing that it acknowledges is on a disk. */
export const startMosquitto: StartContender = async (site, { upstreamPort } = {}) => {
  const port = await freePort();
  const keys = upstreamPort === undefined ? site.brokerKeys : site.upKeys;
  const tls = (prefix: string, folder: string): string[] => [
    `${prefix}cafile ${path.join(folder, 'tls-root.crt.pem')}`,
    `${prefix}certfile ${path.join(folder, 'tls.chain.pem')}`,
    `${prefix}keyfile ${path.join(folder, 'tls.key.pem')}`,
  ];
  const lines = [
    'user root',
    'per_listener_settings false',
    'allow_anonymous false',
    'persistence false',
    'log_type error',
    'log_dest stderr',
    'set_tcp_nodelay true',
    `max_inflight_messages ${inFlightMax}`,
    'max_queued_messages 0',
    `acl_file ${site.aclFile}`,
    `listener ${port} 127.0.0.1`,
    ...tls('', keys),
    'require_certificate true',
    'use_identity_as_username true',
  ];
  if (upstreamPort !== undefined) {
    lines.push(
      'connection up',
      `address 127.0.0.1:${upstreamPort}`,
      `topic ${topicFilter} out 1`,
      'cleansession false',
      'notifications false',
      'try_private false',
      'bridge_protocol_version mqttv311',
      `local_username ${masterAccount}`,
      ...tls('bridge_', site.upKeys),
    );
  }
  const file = path.join(mkdtempSync(path.join(site.directory, 'mosquitto-')), 'mosquitto.conf');
  writeFileSync(file, `${lines.join('\n')}\n`);
  const child = start('/usr/sbin/mosquitto', ['-c', file]);
  await untilListening(port, child);
  return contender('Mosquitto', port, child);
};

/** As it is by default: synced to the disk before each acknowledgement. */
export const startOurs: StartContender = async (site, { upstreamPort, nodeArguments = [] } = {}) => {
  const port = await freePort();
  const directory = mkdtempSync(path.join(site.directory, 'ours-'));
  mkdirSync(path.join(directory, 'data'));
  const file = path.join(directory, 'broker.yaml');
  const settings = {
    name: 'bench',
    listen: `127.0.0.1:${port}`,
    identity: upstreamPort === undefined ? site.brokerKeys : site.upKeys,
    data: path.join(directory, 'data'),
    durability: 'disk',
    limits: { perIdentity: { sessionsMax: 100_000, connectionsMax: 100_000 }, inFlightMax },
    log: { level: 'error' },
    ...(upstreamPort !== undefined && {
      cascade: {
        upstream: `127.0.0.1:${upstreamPort}`,
        brokerName,
        up: [topicFilter],
        down: [],
        inFlightMax,
      },
    }),
  };
  writeFileSync(file, stringify(settings));
  const flags = ['--disable-warning=ExperimentalWarning', ...nodeArguments];
  const child = start(process.execPath, [...flags, plombe, 'broker', '--config', file]);
  await untilListening(port, child);
  return contender('ours', port, child);
};

function contender(name: Contender['name'], port: number, child: ChildProcess): Contender {
  const { pid } = child;
  if (pid === undefined) throw new Error(`${name} has no process`);
  return {
    name,
    port,
    pid,
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
    },
  };
}

/** Idle connections are many, and each is an open file. */
function start(program: string, args: readonly string[]): ChildProcess {
  return spawn(...withAllOpenFiles([program, ...args]), { stdio: ['pipe', 'ignore', 'ignore'] });
}
