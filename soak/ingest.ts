/**
 * Sealed snapshots through a broker into the database, while backends and the database server are killed with SIGKILL at random:
 * a part of the time one backend on SQLite, the rest two that share a MariaDB. Afterwards the database holds exactly what was
 * sealed, each once.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import { encodeDeviceCertificates } from '../domain/device-certificates.ts';
import { createSealer } from '../cms/seal.ts';
import type { Sealer } from '../cms/seal.ts';
import { connectDatabase } from '../database/connect.ts';
import { parseDevicePath } from '../domain/namespace.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import { encodeSenmlCbor } from '../domain/senml.ts';
import { deviceTopic } from '../domain/topic.ts';
import { Generator } from '../fuzz/generator.ts';
import { openLink } from '../mqtt/link.ts';
import type { Link } from '../mqtt/link.ts';
import { createAuthority } from '../pki/authority/authority.ts';
import { loadIdentity } from '../pki/identity.ts';
import type { Identity } from '../pki/identity.ts';
import { createLog } from '../runtime/log.ts';
import { startMariadb } from '../scripts/mariadb.ts';
import type { TestMariadb } from '../scripts/mariadb.ts';
import type { Outcome, SoakOptions } from './outcome.ts';
import { Program } from './program.ts';

const service = 'vendor-snapshot-service';
const brokerName = 'vendor-broker';
const devicesMax = 8;
const channels = 20;
const aliveMs = { min: 1000, max: 8000 };
const downMsMax = 2000;
/** Of each device. */
const publishEveryMs = 25;
const unacknowledgedMax = 200;
const drainMs = 120_000;
const sqliteShare = 1 / 3;

export async function soakIngest({ minutes, seed, onProgress }: SoakOptions): Promise<Outcome> {
  const generator = new Generator(seed);
  const durationMs = minutes * 60_000;
  const first = await withSite('sqlite', (site) =>
    soak(site, durationMs * sqliteShare, generator, onProgress),
  );
  const second = await withSite('mariadb', (site) =>
    soak(site, durationMs * (1 - sqliteShare), generator, onProgress),
  );
  const figures = (name: string, { figures: found }: Outcome): Outcome['figures'] =>
    Object.fromEntries(Object.entries(found).map(([key, value]) => [`${name}.${key}`, value]));
  return {
    violations: [...first.violations, ...second.violations],
    figures: { ...figures('sqlite', first), ...figures('mariadb', second) },
  };
}

interface Site {
  readonly name: string;
  readonly url: string;
  readonly broker: Program;
  readonly port: number;
  readonly backends: readonly Program[];
  readonly devices: readonly SoakDevice[];
  /** Kills the database server and starts it again, if there is one. */
  readonly killDatabase: (() => Promise<void>) | undefined;
}

async function withSite(
  kind: 'sqlite' | 'mariadb',
  work: (site: Site) => Promise<Outcome>,
): Promise<Outcome> {
  const folder = mkdtempSync(path.join(tmpdir(), 'plombe-soak-'));
  const authority = createAuthority({ directory: path.join(folder, 'pki') });
  const issue = async (name: string, hosts: readonly string[] = []): Promise<string> => {
    const outputDirectory = path.join(folder, 'keys', name.replaceAll('/', '+'));
    await authority.issue({ path: name, hosts, outputDirectory });
    return outputDirectory;
  };
  const configFile = (name: string, config: object): string => {
    const file = path.join(folder, `${name}.yaml`);
    writeFileSync(file, stringify(config));
    return file;
  };
  const programs: Program[] = [];
  const running: { server?: TestMariadb } = {};
  const devices: SoakDevice[] = [];
  try {
    const identity = await issue(brokerName, ['127.0.0.1']);
    const data = path.join(folder, 'broker');
    const brokerFile = configFile('broker', { name: 'vendor', listen: '127.0.0.1:0', identity, data });
    const broker = new Program(['broker', '--config', brokerFile]);
    programs.push(broker);
    const port = Number((await broker.start('broker.listening'))['port']);
    const serverFolder = path.join(folder, 'mariadb');
    if (kind === 'mariadb') running.server = await startMariadb(serverFolder);
    // By its socket, because a server that is started again has another port.
    const url =
      kind === 'sqlite'
        ? `sqlite:${path.join(folder, 'plombe.db')}`
        : `mysql://root@localhost/plombe_test?socketPath=${path.join(serverFolder, 'mariadb.sock')}`;
    const keys = await issue(service);
    const backends = (kind === 'sqlite' ? [undefined] : ['a', 'b']).map((instance) => {
      const file = configFile(`backend-${instance ?? 'alone'}`, {
        broker: `127.0.0.1:${port}`,
        brokerName,
        identity: keys,
        database: url,
        data: path.join(folder, `backend-${instance ?? 'alone'}`),
        http: { listen: '127.0.0.1:0' },
        ...(instance === undefined ? {} : { share: { instance, takeoverSeconds: 2 } }),
      });
      return new Program(['backend', '--config', file]);
    });
    programs.push(...backends);
    for (let index = 0; index < devicesMax; index++) {
      const name = `ms-acc-1/acc-${index % 2}/dev-${index}`;
      devices.push(new SoakDevice(name, loadIdentity(await issue(name)), loadIdentity(keys), port));
    }
    const killDatabase = async (): Promise<void> => {
      await running.server?.kill();
      running.server = await startMariadb(serverFolder);
    };
    return await work({
      name: kind,
      url,
      broker,
      port,
      backends,
      devices,
      killDatabase: kind === 'sqlite' ? undefined : killDatabase,
    });
  } finally {
    for (const device of devices) await device.close();
    for (const program of programs.toReversed()) await program.end('SIGKILL');
    await running.server?.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function soak(
  site: Site,
  durationMs: number,
  generator: Generator,
  onProgress: (line: string) => void,
): Promise<Outcome> {
  const { backends, devices, killDatabase } = site;
  for (const backend of backends) await backend.start('backend.listening');
  for (const device of devices) await device.introduce();
  await introduced(site);
  const timers = devices.map((device) => setInterval(() => device.publish(), publishEveryMs));
  const endMs = performance.now() + durationMs;
  let kills = 0;
  while (performance.now() < endMs) {
    await sleep(aliveMs.min + generator.below(aliveMs.max - aliveMs.min));
    const victim = generator.below(backends.length + (killDatabase === undefined ? 0 : 1));
    const backend = backends[victim];
    if (backend === undefined) {
      await killDatabase?.();
    } else {
      await backend.end('SIGKILL');
      await sleep(generator.below(downMsMax));
      await backend.start('backend.listening');
    }
    kills += 1;
    const sealed = devices.reduce((sum, { digests }) => sum + digests.length, 0);
    const what = backend === undefined ? 'the database' : `backend ${victim + 1}`;
    onProgress(`${site.name}: ${kills} kills, the last of ${what}; ${sealed} sealed`);
  }
  for (const timer of timers) clearInterval(timer);
  await Promise.all(devices.map((device) => device.settled()));
  const violations = await compare(site);
  const sealed = devices.reduce((sum, { digests }) => sum + digests.length, 0);
  return { violations, figures: { kills, sealed } };
}

/** Waits until the backend knows every device: nobody keeps what comes before it has subscribed for the first time. */
async function introduced({ url, devices }: Site): Promise<void> {
  const database = await connectDatabase(url);
  try {
    const known = database.kysely.selectFrom('certificate').select('device_id').distinct();
    while ((await known.execute()).length < devices.length) await sleep(100);
  } finally {
    await database.close();
  }
}

/** Waits until as much is stored as was sealed, and compares every digest. */
async function compare({ url, devices, name }: Site): Promise<string[]> {
  const database = await connectDatabase(url);
  try {
    const wanted = devices.flatMap((device) =>
      device.digests.map((digest, index) => `${device.path} ${index + 1} ${digest}`),
    );
    const deadlineMs = performance.now() + drainMs;
    let found: string[] = [];
    do {
      await sleep(500);
      const rows = await database.kysely
        .selectFrom('snapshot')
        .innerJoin('device', 'device.id', 'snapshot.device_id')
        .select(['device.path', 'snapshot.sequence', 'snapshot.digest'])
        .execute();
      found = rows.map((row) => `${row.path} ${row.sequence} ${Buffer.from(row.digest).toString('hex')}`);
    } while (found.length < wanted.length && performance.now() < deadlineMs);
    // Every snapshot's values rest in a run of chunks or whole in the head.
    const { inRuns } = await database.kysely
      .selectFrom('chunk_time')
      .select(({ fn }) => fn.sum<number | null>('n').as('inRuns'))
      .executeTakeFirstOrThrow();
    const { inHead } = await database.kysely
      .selectFrom('head')
      .select(({ fn }) => fn.countAll<number>().as('inHead'))
      .executeTakeFirstOrThrow();
    const withValues = (inRuns ?? 0) + inHead;
    const gaps = await database.kysely
      .selectFrom('gap')
      .select('id')
      .where('closed_ms', 'is', null)
      .execute();
    const stored = new Set(found);
    const sealed = new Set(wanted);
    const missing = wanted.filter((one) => !stored.has(one));
    const foreign = found.filter((one) => !sealed.has(one)).length;
    return [
      ...(missing.length > 0
        ? [`${name}: ${missing.length} of ${wanted.length} are missing, ${missing.slice(0, 10).join(', ')}`]
        : []),
      ...(foreign > 0 ? [`${name}: ${foreign} are there that nobody sealed`] : []),
      ...(found.length > stored.size ? [`${name}: ${found.length - stored.size} are there twice`] : []),
      ...(withValues === wanted.length ? [] : [`${name}: ${withValues} have values, not ${wanted.length}`]),
      ...(gaps.length > 0 ? [`${name}: ${gaps.length} gaps are open`] : []),
    ];
  } finally {
    await database.close();
  }
}

/** Seals and publishes; what it sealed is known by its digest. */
class SoakDevice {
  readonly path: NamespacePath;
  /** Hexadecimal; the first has sequence 1. */
  readonly digests: string[] = [];
  readonly #identity: Identity;
  readonly #reader: Identity;
  readonly #sealer: Sealer;
  readonly #link: Link;
  #previousDigest: Uint8Array | undefined;

  constructor(name: string, identity: Identity, reader: Identity, port: number) {
    const parsed = parseDevicePath(name);
    if (parsed === undefined) throw new Error(`${name} is no device`);
    this.path = parsed;
    this.#identity = identity;
    this.#reader = reader;
    this.#sealer = createSealer(identity.e2e);
    this.#link = openLink({
      broker: { host: '127.0.0.1', port },
      brokerName,
      identity: identity.tls,
      clientId: 'device',
      cleanSession: false,
      log: createLog('device', 'silent'),
    });
  }

  introduce(): Promise<void> {
    const { signature, keyAgreement } = this.#identity.e2e;
    const certificates = encodeDeviceCertificates({
      signature: signature.chain.map(({ der }) => der),
      keyAgreement: keyAgreement.chain.map(({ der }) => der),
    });
    return this.#link.publish(deviceTopic(this.path, 'certificates'), certificates, { qos: 1, retain: true });
  }

  publish(): void {
    if (this.#link.unacknowledged >= unacknowledgedMax) return;
    const sequence = this.digests.length + 1;
    const timeMs = Date.now();
    const readings = Array.from({ length: channels }, (_, index) => ({
      channel: `soak.channel-${index}`,
      value: sequence + index / 8,
    }));
    const topic = deviceTopic(this.path, 'snapshots');
    const content = encodeSenmlCbor(this.path, { timeMs, deviceType: 'SOAK', readings });
    const recipients = [this.#reader.e2e.keyAgreement.certificate];
    const { envelope, digest } = this.#sealer.seal(content, recipients, {
      topic,
      sequence,
      previousDigest: this.#previousDigest,
      contentType: 'senml+cbor',
      signingTimeMs: timeMs,
    });
    this.#previousDigest = digest;
    this.digests.push(Buffer.from(digest).toString('hex'));
    void this.#link.publish(topic, envelope, { qos: 1 });
  }

  /** Until the broker has everything. */
  async settled(): Promise<void> {
    while (this.#link.unacknowledged > 0) await sleep(50);
  }

  close(): Promise<void> {
    return this.#link.close();
  }
}
