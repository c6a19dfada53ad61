/** The registrar: the vendor's authority at work. Certifies devices that ask over MQTT, and publishes what is revoked. */
import type { Clock } from '../domain/clock.ts';
import { systemClock } from '../domain/clock.ts';
import { enrolmentServiceName } from '../domain/enrolment.ts';
import type { SignatureTrust } from '../enrolment/signed-message.ts';
import { openLink } from '../mqtt/link.ts';
import type { Link } from '../mqtt/link.ts';
import { openAuthority } from '../pki/authority/authority.ts';
import { PkiError } from '../pki/errors.ts';
import { loadIdentity, loadTlsIdentity, readPassphrase } from '../pki/identity.ts';
import type { TlsIdentity } from '../pki/identity.ts';
import { createLog } from '../runtime/log.ts';
import type { Log } from '../runtime/log.ts';
import { createMetrics, startObservation } from '../runtime/observe.ts';
import type { BackoffLimits } from '../runtime/retry.ts';
import { runUntilSignal } from '../runtime/shutdown.ts';
import { loadRegistrarConfig } from './config.ts';
import type { RegistrarConfig } from './config.ts';
import { CrlPublisher } from './crl-publisher.ts';
import { Desk } from './desk.ts';
import { Journal } from './journal.ts';
import type { EntryState } from './journal.ts';
import { createMeasures } from './measures.ts';
import { Transfers } from './transfers.ts';

export interface RegistrarSurroundings {
  readonly log: Log;
  readonly clock?: Clock;
  readonly reconnect?: BackoffLimits;
}

export interface RegistrarState {
  readonly connected: boolean;
  /** Requests in the journal, by what became of them. */
  readonly requests: Partial<Readonly<Record<EntryState, number>>>;
  /** Why revocation lists are not published. */
  readonly crlFault: string | undefined;
  /** Why nothing is taken up: the disk is full. */
  readonly journalFault: string | undefined;
}

export interface RunningRegistrar {
  readonly observePort: number | undefined;
  state(): RegistrarState;
  stop(): Promise<void>;
}

const crlServiceName = 'vendor-crl-service';
const dayMs = 86_400_000;
const filters = [
  '+/+/+/enrolment',
  '+/+/+/enrolment/approval',
  'vendor/enrolment/+',
  'vendor/enrolment/+/approval',
];

interface Links {
  readonly enrolment: Link;
  readonly crl: Link;
}

/** @throws PkiError, SqliteFileError, ConfigError or the system's error, each in one clear line */
export async function startRegistrar(
  config: RegistrarConfig,
  { log, clock = systemClock, reconnect }: RegistrarSurroundings,
): Promise<RunningRegistrar> {
  const passphrase = readPassphrase(config.authorityPassphraseFile);
  const authority = openAuthority({
    directory: config.authority,
    clock,
    ...(passphrase === undefined ? {} : { passphrase }),
  });
  const options = { passphraseFile: config.passphraseFile, nowMs: clock() };
  const identity = loadIdentity(config.identity, options);
  const crlIdentity = loadTlsIdentity(config.crlIdentity, options);
  requireName(config.identity, identity.commonName, enrolmentServiceName);
  requireName(config.crlIdentity, crlIdentity.commonName, crlServiceName);
  const metrics = createMetrics();
  const measures = createMeasures(metrics);
  const journal = new Journal(config.data);
  const publisher: CrlPublisher = new CrlPublisher({
    authority,
    publish: (topic, payload) => links.crl.publish(topic, payload, { qos: 1, retain: true }),
    lifetimeMs: config.crlDays * dayMs,
    measures,
    log,
  });
  const desk: Desk = new Desk({
    authority,
    journal,
    transfers: new Transfers({ authority, journal, log }),
    signer: identity.e2e.signature,
    trust: (): SignatureTrust => {
      publisher.look();
      return {
        roots: [authority.roots.e2e],
        revocation: publisher.revocation('e2e'),
        stalePolicy: { action: 'warn' }, // they are our own
        atMs: clock(),
        expiredGraceMs: config.expiredGraceDays * dayMs,
      };
    },
    publish: (topic, payload, retain) => links.enrolment.publish(topic, payload, { qos: 1, retain }),
    certificateLifetimeMs: config.certificateDays * dayMs,
    clock,
    measures,
    log,
  });
  const links = connect(config, identity.tls, crlIdentity, { desk, publisher, log, reconnect });
  publisher.start();
  desk.resume();
  const state = (): RegistrarState => {
    const { connected } = links.enrolment;
    return {
      connected,
      requests: journal.counts(),
      crlFault: publisher.fault,
      journalFault: desk.fault,
    };
  };
  const stop = async (): Promise<void> => {
    publisher.stop();
    await desk.stop();
    await Promise.all([links.enrolment.close(), links.crl.close()]);
    journal.close();
  };
  try {
    const observation =
      config.observe &&
      (await startObservation(config.observe, {
        metrics,
        state,
        health: () => healthOf(links, publisher, desk),
      }));
    log.info(
      { authority: config.authority, observePort: observation?.port, ...journal.counts() },
      'registrar.started',
    );
    return {
      observePort: observation?.port,
      state,
      stop: async () => {
        await stop();
        await observation?.close();
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** `plombe registrar --config FILE` */
export async function runRegistrar(configFile: string): Promise<never> {
  const log = createLog('registrar');
  return runUntilSignal('registrar', log, async () => {
    const config = loadRegistrarConfig(configFile);
    log.level = config.log.level;
    return startRegistrar(config, { log });
  });
}

function connect(
  { broker, brokerName }: RegistrarConfig,
  identity: TlsIdentity,
  crlIdentity: TlsIdentity,
  parts: { desk: Desk; publisher: CrlPublisher; log: Log; reconnect: BackoffLimits | undefined },
): Links {
  const { desk, publisher, log, reconnect } = parts;
  const common = { broker, brokerName, ...(reconnect === undefined ? {} : { reconnect }) };
  return {
    enrolment: openLink({
      ...common,
      identity,
      clientId: clientIdOf(enrolmentServiceName),
      cleanSession: false, // what is asked while we are away waits for us
      subscriptions: filters.map((filter) => ({ filter, qos: 1 })),
      onMessage: ({ topic, payload }, acknowledge) => desk.take(topic, payload, acknowledge),
      onDisconnect: () => desk.forgetUntaken(),
      onSubscribed: (granted) => log.info({ granted }, 'registrar.subscribed'),
      log: log.child({ service: enrolmentServiceName }),
    }),
    crl: openLink({
      ...common,
      identity: crlIdentity,
      clientId: clientIdOf(crlServiceName),
      cleanSession: true,
      onConnect: () => publisher.publishAll(),
      log: log.child({ service: crlServiceName }),
    }),
  };
}

/** A broker that is not ours tells sessions apart by this alone. */
function clientIdOf(service: string): string {
  return `registrar-of-${service}`;
}

function healthOf(
  { enrolment, crl }: Links,
  publisher: CrlPublisher,
  desk: Desk,
): { healthy: boolean; reason?: string } {
  if (!enrolment.connected || !crl.connected)
    return { healthy: false, reason: 'not connected to the broker' };
  const fault = desk.fault ?? publisher.fault;
  return fault === undefined ? { healthy: true } : { healthy: false, reason: fault };
}

function requireName(directory: string, found: string, wanted: string): void {
  if (found === wanted) return;
  throw new PkiError(
    'pki.path_discipline',
    `${directory}: keys of ${found}, and wanted are those of ${wanted}`,
  );
}
