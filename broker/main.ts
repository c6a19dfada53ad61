/** The broker program: carries sealed messages and cannot read them. */
import { systemClock } from '../domain/clock.ts';
import type { Clock } from '../domain/clock.ts';
import { loadTlsIdentity } from '../pki/identity.ts';
import type { TlsIdentity } from '../pki/identity.ts';
import { verifyPath } from '../pki/path.ts';
import { certificatesFromPem } from '../pki/certificate.ts';
import { PkiError } from '../pki/errors.ts';
import { RevocationIndex } from '../pki/revocation.ts';
import { loadConfig } from '../runtime/config.ts';
import { createLog } from '../runtime/log.ts';
import type { Log } from '../runtime/log.ts';
import { startObservation } from '../runtime/observe.ts';
import type { BackoffLimits } from '../runtime/retry.ts';
import { runUntilSignal } from '../runtime/shutdown.ts';
import { cascadeFilters } from './cascade/cascade.ts';
import { brokerConfigType } from './config.ts';
import type { BrokerConfig } from './config.ts';
import type { CoreOptions } from './core.ts';
import { loadCrlFiles } from './access/crl-watch.ts';
import { BrokerError } from './errors.ts';
import { PeerVerifier } from './access/identity.ts';
import { startListener } from './connection/listener.ts';
import { tlsTransport } from './connection/transport.ts';
import { startWebSocketListener } from './connection/websocket-listener.ts';
import type { Measures } from './measures.ts';
import { createMeasures } from './measures.ts';
import { rolesWith } from './access/roles.ts';
import type { RoleTable } from './access/roles.ts';
import { Supervisor } from './supervisor.ts';
import { decideFilter } from './access/shared-filter.ts';
import type { BrokerState } from './supervisor.ts';

export interface BrokerSurroundings {
  readonly log: Log;
  readonly clock?: Clock;
  /** Milliseconds that never go back. */
  readonly monotonicMs?: () => number;
  /** Of the cascade's link. */
  readonly reconnect?: BackoffLimits;
}

export interface RunningBroker {
  readonly port: number;
  /** Undefined without `listenWebSocket`. */
  readonly webSocketPort: number | undefined;
  /** Undefined without `observe`. */
  readonly observePort: number | undefined;
  state(): BrokerState;
  /** Answers what was read, commits, and closes everything. */
  stop(): Promise<void>;
}

const sweepMs = 1000;
const systemTopicsMs = 10_000;
const tidyMs = 60_000;

/** @throws ConfigError, PkiError, BrokerError or the system's error, each in one clear line */
export async function startBroker(
  config: BrokerConfig,
  surroundings: BrokerSurroundings,
): Promise<RunningBroker> {
  const { log } = surroundings;
  const options = coreOptions(config, surroundings);
  const { measures, verifier, identity } = options;
  const supervisor = new Supervisor(options);
  try {
    const shared = { limits: config.limits, identity, verifier, measures, log };
    const listener = await startListener({
      ...shared,
      endpoint: config.listen,
      onPeer: (socket, peer) => supervisor.admit(tlsTransport(socket), peer),
    });
    const webSocketListener =
      config.listenWebSocket &&
      (await startWebSocketListener({
        ...shared,
        endpoint: config.listenWebSocket,
        origins: config.webSocketOrigins,
        onPeer: (transport, peer) => supervisor.admit(transport, peer),
      }));
    const observation =
      config.observe && (await startObservation(config.observe, observed(supervisor, measures)));
    const timers = [
      setInterval(() => {
        supervisor.core?.sweep();
        supervisor.refreshMeasures();
      }, sweepMs),
      setInterval(() => supervisor.core?.publishSystemTopics(), systemTopicsMs),
      setInterval(() => supervisor.core?.tidy(), tidyMs),
    ];
    const ports = {
      port: listener.port,
      webSocketPort: webSocketListener?.port,
      observePort: observation?.port,
    };
    log.info({ name: config.name, ...ports }, 'broker.listening');
    return {
      ...ports,
      state: () => supervisor.state,
      stop: async () => {
        timers.forEach(clearInterval);
        const closed = Promise.all([listener.close(), webSocketListener?.close()]);
        await supervisor.stop();
        await closed;
        await observation?.close();
      },
    };
  } catch (error) {
    await supervisor.stop();
    throw error;
  }
}

/** Runs until a signal; exits with 1 and one line if it cannot start. */
export async function runBroker(configFile: string): Promise<never> {
  let log = createLog('broker');
  return runUntilSignal('broker', log, async () => {
    const config = loadConfig(configFile, brokerConfigType);
    log = createLog('broker', config.log.level);
    return startBroker(config, { log });
  });
}

function coreOptions(config: BrokerConfig, surroundings: BrokerSurroundings): Omit<CoreOptions, 'onFailure'> {
  const clock = surroundings.clock ?? systemClock;
  const nowMs = clock();
  const identity = loadIdentity(config, nowMs);
  const roles = rolesWith(config.roles ?? {});
  requireExpectedRights(config, roles);
  const revocation = new RevocationIndex();
  loadCrlFiles(revocation, config.crls ?? [], identity.roots);
  const { action, afterHours } = config.staleCrl;
  const stalePolicy = {
    action,
    ...(afterHours === undefined ? {} : { staleAfterMs: afterHours * 3_600_000 }),
  };
  return {
    config,
    roles,
    identity,
    revocation,
    clock,
    verifier: new PeerVerifier({ roots: identity.roots, revocation, stalePolicy, clock }),
    cascade: cascadeOf(config, identity, roles, nowMs),
    measures: createMeasures(),
    log: surroundings.log,
    monotonicMs: surroundings.monotonicMs ?? (() => performance.now()),
    reconnect: surroundings.reconnect,
  };
}

function requireExpectedRights({ expectedSessions }: BrokerConfig, roles: RoleTable): void {
  for (const { identity, subscriptions } of expectedSessions) {
    const denied = subscriptions.find((filter) => !decideFilter(identity, filter, roles).allowed);
    if (denied === undefined) continue;
    throw new BrokerError(
      'broker.expected_session',
      `expectedSessions: ${identity} may not subscribe ${denied}`,
    );
  }
}

function loadIdentity(
  { identity: directory, passphraseFile }: Pick<BrokerConfig, 'identity' | 'passphraseFile'>,
  nowMs: number,
): TlsIdentity {
  const identity = loadTlsIdentity(directory, { nowMs, passphraseFile });
  try {
    verifyPath({
      chain: certificatesFromPem(identity.chainPem),
      roots: identity.roots,
      atMs: nowMs,
      purpose: 'tls-server',
    });
  } catch (cause) {
    if (!(cause instanceof PkiError)) throw cause;
    throw new BrokerError(
      'broker.wrong_identity',
      `${directory}: no broker's certificate: ${cause.message}`,
      { cause },
    );
  }
  return identity;
}

function cascadeOf(
  { cascade }: BrokerConfig,
  own: TlsIdentity,
  roles: CoreOptions['roles'],
  nowMs: number,
): CoreOptions['cascade'] {
  if (cascade === undefined) return undefined;
  const identity =
    cascade.identity === undefined
      ? own
      : loadTlsIdentity(cascade.identity, { nowMs, passphraseFile: cascade.passphraseFile });
  return { identity, filters: cascadeFilters(identity.commonName, cascade, roles) };
}

function observed(supervisor: Supervisor, measures: Measures): Parameters<typeof startObservation>[1] {
  return {
    metrics: measures.metrics,
    health: () => supervisor.health,
    state: () => supervisor.state,
  };
}
