/** The backend program: takes sealed snapshots from the broker, opens and stores them, and serves the dashboard. */
import { connectDatabase, withoutPassword } from '../database/connect.ts';
import type { Database } from '../database/connect.ts';
import { isUnavailable } from '../database/errors.ts';
import { migrate } from '../database/migrate.ts';
import { chooseStorage } from '../database/storage-of.ts';
import { systemClock } from '../domain/clock.ts';
import type { Clock } from '../domain/clock.ts';
import type { ReceivedMessage } from '../mqtt/inbox.ts';
import { openLink } from '../mqtt/link.ts';
import type { Link } from '../mqtt/link.ts';
import type { Certificate } from '../pki/certificate.ts';
import { loadIdentity } from '../pki/identity.ts';
import type { E2eIdentity, Identity, TlsIdentity } from '../pki/identity.ts';
import type { VerifiedIdentity } from '../pki/path.ts';
import { BrokerLists, tlsCrlTopic } from '../pki/broker-lists.ts';
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
import type { BackendConfig, ShareConfig } from './config.ts';
import { Feed } from './feed.ts';
import { Ledgers, ledgerSubscriptions } from './ledgers.ts';
import { createMeasures } from './measures.ts';
import type { BackendMeasures } from './measures.ts';
import { readOriginator } from './originators.ts';
import { createPipeline } from './pipeline.ts';
import type { Pipeline } from './pipeline.ts';
import { RestWatch } from './rest-watch.ts';
import { SequenceWatch } from './sequence-watch.ts';
import {
  commandSession,
  restSession,
  retainedSubscriptions,
  sealedTopic,
  snapshotSession,
} from './subscriptions.ts';
import type { BackendSession } from './subscriptions.ts';
import { startUpkeep } from './upkeep-thread.ts';

export interface BackendSurroundings {
  readonly log: Log;
  readonly clock?: Clock;
  /** Of the links. */
  readonly reconnect?: BackoffLimits;
  /** How often it is looked whether the database is there. */
  readonly lookMs?: number;
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
const purgeMs = 60_000;
const lookMsDefault = 2000;
const ledgersMs = 1000;

interface Parts {
  readonly config: BackendConfig;
  readonly database: Database;
  readonly roots: readonly Certificate[];
  readonly lists: RevocationLists;
  readonly brokerLists: BrokerLists;
  readonly pipeline: Pipeline;
  /** Held while as much as may be is not yet committed. */
  readonly links: Link[];
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
  const database = await openDatabase(config, clock, log);
  const parts = assemble(
    config,
    own,
    commanding,
    { database, lists, measures, clock, log },
    surroundings.reconnect,
  );
  const { share } = config;
  const link = connect(parts, own.tls, snapshotSession(own.commonName, share, config.reads));
  const commandLink =
    commanding && connect(parts, commanding.tls, commandSession(commanding.commonName, share));
  const rests = share === undefined ? [] : watchRests(parts, share, own.tls, commanding?.tls);
  const commands = commanding && commandLink && startCommands(parts, commanding.e2e, commandLink, readers);
  // Auditors show their ledgers to the vendor, and to nobody whom they share with.
  const ledgers = config.reads === undefined ? startLedgers(parts, own) : undefined;
  const watch = new SequenceWatch({ database, feed: parts.feed, measures, log });
  const closers: (() => Promise<void>)[] = [];
  const purging = setInterval(() => {
    parts.pipeline.ingest
      .purge()
      .catch((error: unknown) => log.error({ error: String(error) }, 'evidence.not_purged'));
  }, purgeMs);
  const looking = setInterval(() => {
    parts.pipeline.ingest
      .look()
      .catch((error: unknown) => log.error({ error: String(error) }, 'database.not_looked_at'));
  }, surroundings.lookMs ?? lookMsDefault);
  const stopUpkeep = startUpkeep({ url: config.database, policies: config.retention }, log);
  const stop = async (): Promise<void> => {
    clearInterval(purging);
    clearInterval(looking);
    await stopUpkeep();
    commands?.stop();
    await ledgers?.stop();
    await parts.pipeline.drain(); // while the links are up, so that what is committed is acknowledged too
    await Promise.all([link.close(), commandLink?.close(), ...rests.map((rest) => rest.close())]);
    await Promise.all(closers.map((close) => close()));
    await parts.pipeline.close();
    await watch.stop();
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
    await parts.pipeline.subscriber.retryAll();
    return { port: api.port, observePort: observation?.port, state: () => stateOf(parts, link), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function observed(parts: Parts, link: Link, metrics: Metrics): Observation {
  return { metrics, state: () => stateOf(parts, link), health: () => healthOf(parts, link) };
}

function assemble(
  config: BackendConfig,
  own: Identity,
  commanding: Identity | undefined,
  given: Pick<Parts, 'database' | 'lists' | 'measures' | 'clock' | 'log'>,
  reconnect: BackoffLimits | undefined,
): Parts {
  const { roots } = own.e2e;
  const { clock, log } = given;
  const brokerLists = new BrokerLists({ directory: config.data, roots: own.tls.roots, clock, log });
  const feed = new Feed();
  const links: Link[] = [];
  const { threads, queue, evidence } = config.ingest;
  const pipeline = createPipeline({
    ...given,
    feed,
    roots,
    store: { url: config.database, directory: config.data, evidenceMs: evidence },
    // What answers a command is sealed for whoever issued it, and for those who read everything.
    recipients: [own, ...(commanding ? [commanding] : [])].map(({ e2e }) => e2e.keyAgreement),
    releasers: config.releasers.map((file) =>
      loadTrustedIdentity(file, { roots, atMs: given.clock(), purpose: 'signature' }),
    ),
    group: config.reads?.group,
    policy: { allowUnsigned: config.allowUnsigned, kdfFlavours: config.kdfFlavours },
    stalePolicy: stalePolicyOf(config.staleCrl),
    threads,
    queueMax: queue,
    onRestored: () => links[0]?.ask(retainedSubscriptions(config.reads), () => undefined),
    onReplaced: () => {
      given.log.error({ database: withoutPassword(config.database) }, 'database.replaced');
      process.exit(1); // our own connection has the former file; nothing is acknowledged that is not in it
    },
    onFull: (isFull) => links.forEach((link) => link.hold(isFull)),
  });
  return { ...given, config, roots, brokerLists, pipeline, links, feed, reconnect };
}

function connect(parts: Parts, identity: TlsIdentity, session: BackendSession): Link {
  const { config, brokerLists, measures, log, reconnect } = parts;
  const { subscriber } = parts.pipeline;
  const service = identity.commonName;
  const link = openLink({
    broker: config.broker,
    brokerName: config.brokerName,
    identity,
    requireUnrevoked: (peer) => brokerLists.requireUnrevoked(peer),
    clientId: session.clientId,
    cleanSession: false,
    ...(session.expirySeconds === undefined ? {} : { sessionExpirySeconds: session.expirySeconds }),
    subscriptions: session.subscriptions,
    onMessage: (message, acknowledge) => {
      if (message.topic !== tlsCrlTopic) return subscriber.receive(sealed(message, config), acknowledge);
      brokerLists.take(message.payload);
      return acknowledge();
    },
    onConnect: () => measures.connected.set({ service }, 1),
    onDisconnect: () => measures.connected.set({ service }, 0),
    log: log.child({ service }),
    receiveMaximum: config.ingest.queue,
    ...(reconnect === undefined ? {} : { reconnect }),
  });
  parts.links.push(link);
  return link;
}

/** By the topic by which it was sealed. */
function sealed(message: ReceivedMessage, { reads }: BackendConfig): ReceivedMessage {
  return reads === undefined ? message : { ...message, topic: sealedTopic(message.topic, reads) };
}

function watchRests(
  parts: Parts,
  share: ShareConfig,
  own: TlsIdentity,
  commanding: TlsIdentity | undefined,
): RestWatch[] {
  const { config, brokerLists, log, reconnect } = parts;
  const watch = (kind: 'snapshots' | 'results', identity: TlsIdentity): RestWatch =>
    new RestWatch({
      session: restSession(kind, identity.commonName, share, config.reads),
      link: {
        broker: config.broker,
        brokerName: config.brokerName,
        identity,
        requireUnrevoked: (peer) => brokerLists.requireUnrevoked(peer),
        log: log.child({ service: identity.commonName, session: 'rest' }),
        receiveMaximum: config.ingest.queue,
        ...(reconnect === undefined ? {} : { reconnect }),
      },
      receive: (message, acknowledge) =>
        parts.pipeline.subscriber.receive(sealed(message, config), acknowledge),
      everyMs: share.takeoverSeconds * 1000,
    });
  return [watch('snapshots', own), ...(commanding === undefined ? [] : [watch('results', commanding)])];
}

function startCommands(
  parts: Parts,
  identity: E2eIdentity,
  link: Link,
  readers: readonly VerifiedIdentity[],
): { service: CommandService; stop: () => void } {
  const { config, roots, lists, database, measures, feed, clock, log } = parts;
  const service = new CommandService({
    identity,
    newestOf: (path) => readOriginator(database, roots, path, clock()),
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

/** A connection of its own, so that what waits for an envelope does not hold up envelopes. */
function startLedgers(
  { config, database, roots, lists, brokerLists, clock, log, reconnect }: Parts,
  own: Identity,
): { stop: () => Promise<void> } {
  const ledgers = new Ledgers({
    database,
    signer: own.e2e.signature,
    roots,
    lists,
    publish: (topic, payload) => link.publish(topic, payload, { qos: 1 }),
    clock,
    log,
  });
  const link: Link = openLink({
    broker: config.broker,
    brokerName: config.brokerName,
    identity: own.tls,
    requireUnrevoked: (peer) => brokerLists.requireUnrevoked(peer),
    clientId: ['ledgers-of', own.commonName, ...(config.share ? [config.share.instance] : [])].join('-'),
    cleanSession: true, // what we miss is shown again
    subscriptions: ledgerSubscriptions,
    onMessage: (message, acknowledge) => ledgers.receive(message, acknowledge),
    log: log.child({ service: own.commonName }),
    ...(reconnect === undefined ? {} : { reconnect }),
  });
  const timer = setInterval(() => ledgers.retry(), ledgersMs);
  return {
    stop: async () => {
      clearInterval(timer);
      await ledgers.stop();
      await link.close();
    },
  };
}

function stateOf({ pipeline: { ingest }, measures }: Parts, link: Link): BackendState {
  return {
    connected: link.connected,
    database: ingest.databaseFault === undefined ? 'available' : 'unavailable',
    ...measures.tally,
    queue: ingest.queued,
  };
}

function healthOf({ pipeline: { ingest } }: Parts, link: Link): { healthy: boolean; reason?: string } {
  if (ingest.databaseFault !== undefined) return { healthy: false, reason: ingest.databaseFault };
  return link.connected ? { healthy: true } : { healthy: false, reason: 'not connected to the broker' };
}

/** A database server may start after us, so its absence is waited for; anything else is a failure to start. */
async function openDatabase(
  { database: url, storage }: BackendConfig,
  clock: Clock,
  log: Log,
): Promise<Database> {
  const database = await connectDatabase(url);
  for (let attempt = 0; ; attempt++) {
    try {
      const applied = await migrate(database, clock());
      if (applied.length > 0) log.info({ applied }, 'database.migrated');
      if (storage !== undefined) await chooseStorage(database, storage);
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
