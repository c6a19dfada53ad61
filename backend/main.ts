/** The backend program: takes sealed snapshots from the broker, opens and stores them, and serves the dashboard. */
import { createOpener } from '../cms/open.ts';
import type { Opener } from '../cms/open.ts';
import { OriginatorDirectory } from '../cms/originator-directory.ts';
import { readChains } from '../database/certificates.ts';
import { connectDatabase, withoutPassword } from '../database/connect.ts';
import type { Database } from '../database/connect.ts';
import { isUnavailable } from '../database/errors.ts';
import { migrate } from '../database/migrate.ts';
import { systemClock } from '../domain/clock.ts';
import type { Clock } from '../domain/clock.ts';
import type { LinkSubscription } from '../mqtt/client-packets.ts';
import { openLink } from '../mqtt/link.ts';
import type { Link } from '../mqtt/link.ts';
import { loadIdentity } from '../pki/identity.ts';
import type { E2eIdentity, Identity, TlsIdentity } from '../pki/identity.ts';
import type { VerifiedIdentity } from '../pki/path.ts';
import { RevocationLists } from '../pki/revocation-lists.ts';
import { stalePolicyOf } from '../pki/stale-crl-type.ts';
import { loadTrustedIdentity } from '../pki/trusted-file.ts';
import { createLog } from '../runtime/log.ts';
import type { Log } from '../runtime/log.ts';
import { createMetrics, startObservation } from '../runtime/observe.ts';
import type { Metrics, Observation } from '../runtime/observe.ts';
import { backoffMs } from '../runtime/retry.ts';
import type { BackoffLimits } from '../runtime/retry.ts';
import { runUntilSignal } from '../runtime/shutdown.ts';
import { startApi } from './api/server.ts';
import { CommandService } from './commands.ts';
import { loadBackendConfig } from './config.ts';
import type { BackendConfig } from './config.ts';
import { createDecryptor } from './decryptor.ts';
import { Feed } from './feed.ts';
import { Ingest } from './ingest.ts';
import { createMeasures } from './measures.ts';
import type { BackendMeasures } from './measures.ts';
import { restoreOriginators } from './published-chains.ts';
import { commandSubscriptions, snapshotSubscriptions, Subscriber } from './subscriber.ts';

export interface BackendSurroundings {
  readonly log: Log;
  readonly clock?: Clock;
  /** Of the links. */
  readonly reconnect?: BackoffLimits;
}

export interface BackendState {
  readonly connected: boolean;
  readonly database: 'available' | 'unavailable';
  /** Since the program started. */
  readonly stored: number;
  readonly redelivered: number;
  readonly rejected: Readonly<Record<string, number>>;
  /** Received and not committed. */
  readonly queue: number;
}

export interface RunningBackend {
  /** Of the dashboard. */
  readonly port: number;
  /** Undefined without `observe`. */
  readonly observePort: number | undefined;
  state(): BackendState;
  /** Commits what was received, acknowledges it, and closes everything. */
  stop(): Promise<void>;
}

const databaseRetry: BackoffLimits = { firstMs: 500, maxMs: 10_000 };
const startAttemptsMax = 20;
const expireMs = 5000;

interface Parts {
  readonly config: BackendConfig;
  readonly database: Database;
  readonly directory: OriginatorDirectory;
  readonly lists: RevocationLists;
  readonly ingest: Ingest;
  readonly subscriber: Subscriber;
  readonly measures: BackendMeasures;
  readonly feed: Feed;
  readonly clock: Clock;
  readonly log: Log;
  readonly reconnect: BackoffLimits | undefined;
}

/** @throws ConfigError, PkiError, DatabaseError or the system's error, each in one clear line */
export async function startBackend(
  config: BackendConfig,
  surroundings: BackendSurroundings,
): Promise<RunningBackend> {
  const { log, clock = systemClock } = surroundings;
  const own = loadIdentity(config.identity, { passphraseFile: config.passphraseFile, nowMs: clock() });
  const commanding =
    config.commandIdentity === undefined
      ? undefined
      : loadIdentity(config.commandIdentity, {
          passphraseFile: config.commandPassphraseFile,
          nowMs: clock(),
        });
  const readers = config.commandReaders.map((file) =>
    loadTrustedIdentity(file, { roots: own.e2e.roots, atMs: clock(), purpose: 'key-agreement' }),
  );
  const metrics = createMetrics();
  const measures = createMeasures(metrics);
  const lists = new RevocationLists({
    directory: config.data,
    roots: own.e2e.roots,
    stalePolicy: stalePolicyOf(config.staleCrl),
    metrics,
    log,
  });
  const database = await openDatabase(config.database, clock, log);
  const parts = await assemble(
    config,
    own,
    commanding,
    { database, lists, measures, clock, log },
    surroundings.reconnect,
  );
  const link = connect(parts, own.tls, snapshotSubscriptions);
  const commandLink = commanding && connect(parts, commanding.tls, commandSubscriptions);
  const commands = commanding && commandLink && startCommands(parts, commanding.e2e, commandLink, readers);
  const closers: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    commands?.stop();
    await parts.ingest.stop(); // while the links are up, so that what is committed is acknowledged too
    await Promise.all([link.close(), commandLink?.close(), ...closers.map((close) => close())]);
    await database.close();
  };
  try {
    const api = await startApi(config.http.listen, config.http.publicUrl, {
      database,
      clock,
      log,
      feed: parts.feed,
      commands: commands?.service,
    });
    closers.push(() => api.close());
    const observation =
      config.observe && (await startObservation(config.observe, observed(parts, link, metrics)));
    if (observation) closers.push(() => observation.close());
    log.info(
      { port: api.port, host: config.http.listen.host, observePort: observation?.port },
      'backend.listening',
    );
    await commands?.service.resume();
    await parts.subscriber.retryAll();
    return { port: api.port, observePort: observation?.port, state: () => stateOf(parts, link), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function observed(parts: Parts, link: Link, metrics: Metrics): Observation {
  return { metrics, state: () => stateOf(parts, link), health: () => healthOf(parts, link) };
}

async function assemble(
  config: BackendConfig,
  own: Identity,
  commanding: Identity | undefined,
  given: Pick<Parts, 'database' | 'lists' | 'measures' | 'clock' | 'log'>,
  reconnect: BackoffLimits | undefined,
): Promise<Parts> {
  const { database, lists, measures, clock, log } = given;
  const directory = new OriginatorDirectory(own.e2e.roots);
  restoreOriginators(directory, await readChains(database), clock(), log);
  const feed = new Feed();
  const openerOf = ({ e2e }: Identity): Opener =>
    createOpener({
      recipient: e2e.keyAgreement,
      originators: directory,
      policy: { allowUnsigned: config.allowUnsigned, kdfFlavours: config.kdfFlavours },
    });
  const subscriber: Subscriber = new Subscriber({
    database,
    directory,
    lists,
    ingest: () => ingest,
    measures,
    feed,
    clock,
    log,
  });
  const ingest = new Ingest({
    database,
    // What answers a command is sealed for whoever issued it, and for those who read everything.
    decrypt: createDecryptor([openerOf(own), ...(commanding ? [openerOf(commanding)] : [])], lists),
    measures,
    feed,
    clock,
    log,
    trustGeneration: () => directory.generation + lists.generation,
    onMissedTrust: (path) => {
      subscriber
        .retry(path)
        .catch((error: unknown) => log.error({ path, error: String(error) }, 'retry.failed'));
    },
  });
  return { config, database, directory, lists, ingest, subscriber, measures, feed, clock, log, reconnect };
}

function connect(parts: Parts, identity: TlsIdentity, subscriptions: readonly LinkSubscription[]): Link {
  const { config, subscriber, measures, log, reconnect } = parts;
  const service = identity.commonName;
  return openLink({
    broker: config.broker,
    brokerName: config.brokerName,
    identity,
    // Ours tells sessions of one name apart by their identities; other brokers do not [MQTT-3.1.4-2].
    clientId: `backend-of-${service}`,
    cleanSession: false,
    subscriptions,
    onMessage: (message, acknowledge) => subscriber.receive(message, acknowledge),
    onConnect: () => measures.connected.set({ service }, 1),
    onDisconnect: () => measures.connected.set({ service }, 0),
    log: log.child({ service }),
    ...(reconnect === undefined ? {} : { reconnect }),
  });
}

function startCommands(
  parts: Parts,
  identity: E2eIdentity,
  link: Link,
  readers: readonly VerifiedIdentity[],
): { service: CommandService; stop: () => void } {
  const { config, directory, lists, database, measures, feed, clock, log } = parts;
  const service = new CommandService({
    identity,
    directory,
    lists,
    database,
    link,
    readers,
    expirySeconds: config.commandExpirySeconds,
    measures,
    feed,
    clock,
    log,
  });
  const timer = setInterval(() => {
    service.expire().catch((error: unknown) => log.error({ error: String(error) }, 'commands.not_expired'));
  }, expireMs);
  return { service, stop: () => clearInterval(timer) };
}

function stateOf({ ingest, measures }: Parts, link: Link): BackendState {
  return {
    connected: link.connected,
    database: ingest.databaseFault === undefined ? 'available' : 'unavailable',
    ...measures.tally,
    queue: ingest.queued,
  };
}

function healthOf({ ingest }: Parts, link: Link): { healthy: boolean; reason?: string } {
  if (ingest.databaseFault !== undefined) return { healthy: false, reason: ingest.databaseFault };
  return link.connected ? { healthy: true } : { healthy: false, reason: 'not connected to the broker' };
}

/** A database server may start after us, so its absence is waited for; anything else is a failure to start. */
async function openDatabase(url: string, clock: Clock, log: Log): Promise<Database> {
  const database = await connectDatabase(url);
  for (let attempt = 0; ; attempt++) {
    try {
      const applied = await migrate(database, clock());
      if (applied.length > 0) log.info({ applied }, 'database.migrated');
      return database;
    } catch (error) {
      if (!isUnavailable(error) || attempt === startAttemptsMax) {
        await database.close();
        throw error;
      }
      log.warn({ database: withoutPassword(url), error: String(error) }, 'database.awaited');
      await new Promise((resolve) => {
        setTimeout(resolve, backoffMs(attempt, databaseRetry));
      });
    }
  }
}

/** `plombe backend --config FILE` */
export async function runBackend(configFile: string): Promise<never> {
  let log = createLog('backend');
  return runUntilSignal('backend', log, async () => {
    const config = loadBackendConfig(configFile);
    log = createLog('backend', config.log.level);
    return startBackend(config, { log });
  });
}
