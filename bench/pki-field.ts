/** The PKI in the field, with real processes: a connect beside large lists, a revocation, a thousand enrolments. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { connect as connectTls } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import { stringify } from 'yaml';
import { enrolByToken } from '../cli/device/enrol.ts';
import { enrolBatch } from '../cli/device/batch.ts';
import { systemClock } from '../domain/clock.ts';
import { createAuthority } from '../pki/authority/authority.ts';
import type { Authority } from '../pki/authority/authority.ts';
import { certificatesFromPem, certificatesToPem } from '../pki/certificate.ts';
import { crlBundleToPem } from '../pki/crl-bundle.ts';
import { freePort } from '../runtime/free-ports.ts';
import { createLog } from '../runtime/log.ts';
import { leashed } from '../scripts/leash.ts';
import { Program } from '../soak/program.ts';
import { medianOf } from './figures.ts';
import { cpuSecondsOf, untilListening } from './other-process.ts';
import { indexOf } from './pki-lists.ts';
import { print } from './pki-print.ts';

export interface FieldEffort {
  readonly connects: number;
  readonly connectRounds: number;
  readonly revocations: number;
  readonly enrolments: number;
}

interface Field {
  readonly folder: string;
  readonly authority: Authority;
}

/** A broker as a process. */
interface Server {
  readonly port: number;
  readonly pid: number;
  stop(): Promise<void>;
}

const entriesMany = 10_000;
const revocationGoalMs = 2_000;
const enrolledAtOnce = 16;
const connectPacket = (clientId: string): Buffer => {
  const id = Buffer.from(clientId);
  const body = Buffer.concat([
    Buffer.of(0, 4),
    Buffer.from('MQTT'),
    Buffer.of(4, 2, 0, 60, id.length >> 8, id.length & 0xff),
    id,
  ]);
  return Buffer.concat([Buffer.of(0x10, body.length), body]);
};

/** @param folder - a directory for all of it */
export async function benchField(folder: string, effort: FieldEffort): Promise<void> {
  const field = { folder, authority: createAuthority({ directory: path.join(folder, 'field') }) };
  for (const name of ['vendor-broker', 'ms-acc-1'])
    await field.authority.issue({ path: name, hosts: ['127.0.0.1'], outputDirectory: keysOf(field, name) });
  for (const name of ['vendor-enrolment-service', 'vendor-crl-service', connecting])
    await field.authority.issue({ path: name, outputDirectory: keysOf(field, name) });
  await connects(field, effort);
  const started = await startPrograms(field);
  try {
    await revocations(field, started.customer, effort);
    await enrolments(field, started.vendor, effort);
  } finally {
    await started.stop();
  }
}

const connecting = 'ms-acc-1/acc-1/dev-1';

/** One after the other, a full handshake and a CONNECT each; the two lists take turns. */
async function connects(field: Field, { connects: count, connectRounds }: FieldEffort): Promise<void> {
  const bundles = [0, entriesMany].map((entries) => {
    const file = path.join(field.folder, `lists-${entries}.pem`);
    writeFileSync(file, crlBundleToPem(indexOf(field.authority, entries).index.lists()));
    return { entries, file };
  });
  for (const [name, start] of [
    ['ours', startOurs],
    ['Mosquitto', startMosquitto],
  ] as const) {
    const servers = await Promise.all(
      bundles.map(async ({ entries, file }) => ({
        entries,
        server: await start(field, file),
        wall: [0],
        cpu: [0],
      })),
    );
    for (const one of servers) [one.wall, one.cpu] = [[], []];
    for (let round = -1; round < connectRounds; round++) {
      for (const { server, wall, cpu } of servers) {
        const [startedMs, before] = [performance.now(), cpuSecondsOf(server.pid)];
        for (let index = 0; index < count; index++) {
          (await connectDevice(field, connecting, server.port)).destroy();
        }
        if (round < 0) continue; // the first warms up
        wall.push((performance.now() - startedMs) / count);
        cpu.push(((cpuSecondsOf(server.pid) - before) * 1000) / count);
      }
    }
    for (const { entries, server, wall, cpu } of servers) {
      const what = `${name}: a connect, lists of ${entries} entries; its CPU`;
      print(what, `${medianOf(wall).toFixed(2)} ms; ${medianOf(cpu).toFixed(2)} ms`);
      await server.stop();
    }
  }
}

async function startOurs({ folder, authority }: Field, crlFile: string): Promise<Server> {
  const file = path.join(folder, `broker-${path.basename(crlFile)}.yaml`);
  const identity = keysOf({ folder, authority }, 'vendor-broker');
  writeFileSync(
    file,
    stringify({ name: 'b', listen: '127.0.0.1:0', identity, data: `${file}.data`, crls: [crlFile] }),
  );
  const program = new Program(['broker', '--config', file]);
  const { port } = await program.start('broker.listening');
  return { port: Number(port), pid: program.pid, stop: () => program.end('SIGTERM') };
}

async function startMosquitto(field: Field, crlFile: string): Promise<Server> {
  const { folder, authority } = field;
  const port = await freePort();
  const keys = keysOf(field, 'vendor-broker');
  const authorities = certificatesFromPem(
    readFileSync(path.join(keysOf(field, connecting), 'tls.chain.pem')),
  ).slice(1);
  const cafile = path.join(folder, 'authorities.pem');
  writeFileSync(cafile, certificatesToPem([authority.roots.tls, ...authorities]));
  const file = path.join(folder, `mosquitto-${port}.conf`);
  const lines = [
    'user root',
    `listener ${port} 127.0.0.1`,
    `cafile ${cafile}`,
    `certfile ${keys}/tls.chain.pem`,
    `keyfile ${keys}/tls.key.pem`,
    `crlfile ${crlFile}`,
    'require_certificate true',
    'use_identity_as_username true',
    'set_tcp_nodelay true',
    'log_type error',
  ];
  writeFileSync(file, `${lines.join('\n')}\n`);
  const child = spawn(...leashed(['/usr/sbin/mosquitto', '-c', file]), {
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  await untilListening(port, child);
  return {
    port,
    pid: child.pid ?? 0,
    stop: async () => {
      child.kill();
      await once(child, 'exit');
    },
  };
}

/** From the start of the command to the end of the session, behind a customer's broker. */
async function revocations(field: Field, port: number, { revocations: count }: FieldEffort): Promise<void> {
  const taken: number[] = [];
  for (let index = 0; index < count; index++) {
    const device = `ms-acc-1/acc-2/dev-${index}`;
    await field.authority.issue({ path: device, kinds: ['tls'], outputDirectory: keysOf(field, device) });
    const socket = await connectDevice(field, device, port);
    const ended = once(socket, 'close');
    const startMs = performance.now();
    const revoke = ['pki', 'revoke', '--dir', field.authority.directory, device, '--reason', 'keyCompromise'];
    const child = spawn(process.execPath, [cli, ...revoke], { stdio: 'ignore' });
    socket.resume();
    await ended;
    taken.push(performance.now() - startMs);
    if (child.exitCode === null) await once(child, 'exit');
  }
  const seconds = medianOf(taken) / 1000;
  const goal = { text: 'under 2 s', isReached: Math.max(...taken) < revocationGoalMs };
  print(
    'plombe pki revoke to the end of a session behind a customer’s broker',
    `${seconds.toFixed(2)} s`,
    goal,
  );
  print(`  the slowest of ${count}`, `${(Math.max(...taken) / 1000).toFixed(2)} s`);
}

/** Each makes its keys, asks over a connection of its own, and installs three certificates, as `plombe device enrol` does. */
async function enrolments(field: Field, port: number, { enrolments: count }: FieldEffort): Promise<void> {
  const { folder, authority } = field;
  const tokens = path.join(folder, 'tokens');
  const first = 'ms-acc-1/acc-3/dev-0001';
  const startMs = performance.now();
  await enrolBatch({
    authority,
    csvFile: path.join(folder, 'devices.csv'),
    directory: tokens,
    count,
    first,
    broker: { host: '127.0.0.1', port, name: 'vendor-broker' },
    tokenLifetimeMs: 86_400_000,
    isComplete: false,
    keyPassphrase: undefined,
    print: () => undefined,
    progress: { write: () => undefined },
  });
  print(`tokens for ${count} devices (plombe device enrol --count)`, since(startMs));
  const devices = Array.from(
    { length: count },
    (_, index) => `ms-acc-1/acc-3/dev-${String(index + 1).padStart(4, '0')}`,
  );
  const enrolStartMs = performance.now();
  const log = createLog('bench', 'silent');
  const work = Array.from({ length: enrolledAtOnce }, async () => {
    for (let device = devices.pop(); device !== undefined; device = devices.pop()) {
      await enrolByToken({
        token: readFileSync(path.join(tokens, `${device}.token`), 'utf8'),
        directory: path.join(folder, 'enrolled', device),
        passphrase: undefined,
        timeoutMs: 60_000,
        print: () => undefined,
        log,
        clock: systemClock,
      });
    }
  });
  await Promise.all(work);
  print(`enrolment of ${count} devices, ${enrolledAtOnce} at once, 3 certificates each`, since(enrolStartMs));
}

async function startPrograms(
  field: Field,
): Promise<{ vendor: number; customer: number; stop(): Promise<void> }> {
  const { folder, authority } = field;
  const programs: Program[] = [];
  const start = async (kind: string, name: string, settings: object, event: string): Promise<number> => {
    mkdirSync(path.join(folder, 'programs'), { recursive: true });
    const file = path.join(folder, 'programs', `${name}.yaml`);
    writeFileSync(file, stringify({ data: `${file}.data`, ...settings }));
    const program = new Program([kind, '--config', file]);
    programs.push(program);
    return Number((await program.start(event))['port']);
  };
  const listen = '127.0.0.1:0';
  const vendor = await start(
    'broker',
    'vendor',
    { name: 'vendor', listen, identity: keysOf(field, 'vendor-broker') },
    'broker.listening',
  );
  const upstream = { broker: `127.0.0.1:${vendor}`, brokerName: 'vendor-broker' };
  await start(
    'registrar',
    'registrar',
    {
      ...upstream,
      authority: authority.directory,
      identity: keysOf(field, 'vendor-enrolment-service'),
      crlIdentity: keysOf(field, 'vendor-crl-service'),
    },
    'crl.published',
  );
  const cascade = { upstream: upstream.broker, brokerName: upstream.brokerName };
  const customer = await start(
    'broker',
    'customer',
    { name: 'customer', listen, identity: keysOf(field, 'ms-acc-1'), cascade },
    'broker.listening',
  );
  return {
    vendor,
    customer,
    stop: async () => {
      for (const program of programs.toReversed()) await program.end('SIGTERM');
    },
  };
}

const cli = path.resolve(import.meta.dirname, '../cli/main.ts');

/** @returns when the broker has accepted it */
async function connectDevice(field: Field, device: string, port: number): Promise<TLSSocket> {
  const keys = keysOf(field, device);
  const read = (name: string): Buffer => readFileSync(path.join(keys, name));
  const socket = connectTls({
    host: '127.0.0.1',
    port,
    key: read('tls.key.pem'),
    cert: read('tls.chain.pem'),
    ca: read('tls-root.crt.pem'),
    checkServerIdentity: () => undefined,
  });
  await once(socket, 'secureConnect');
  socket.write(connectPacket(`bench-${process.pid}`));
  const [connack] = (await once(socket, 'data')) as [Buffer];
  if (connack[0] !== 0x20 || connack[3] !== 0)
    throw new Error(`${device} was not accepted: ${connack.toString('hex')}`);
  return socket;
}

function keysOf({ folder }: Field, name: string): string {
  return path.join(folder, 'keys', name);
}

function since(startMs: number): string {
  return `${((performance.now() - startMs) / 1000).toFixed(1)} s`;
}
