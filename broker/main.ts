/** The broker program: carries sealed messages and cannot read them. */
import { setTimeout } from 'node:timers/promises';
import { systemClock } from '../domain/clock.ts';
import type { Clock } from '../domain/clock.ts';
import { RevocationIndex } from '../pki/revocation.ts';
import { loadConfig } from '../runtime/config.ts';
import { BoundedLog } from '../runtime/bounded-log.ts';
import { createLog } from '../runtime/log.ts';
import type { Log } from '../runtime/log.ts';
import { startObservation } from '../runtime/observe.ts';
import type { BackoffLimits } from '../runtime/retry.ts';
import { runUntilSignal } from '../runtime/shutdown.ts';
import type { RunningProgram } from '../runtime/shutdown.ts';
import { watchFiles } from '../runtime/watch-files.ts';
import { loadCrlFiles } from './access/crl-watch.ts';
import { PeerVerifier } from './access/identity.ts';
import { brokerConfigType } from './config.ts';
import type { BrokerConfig } from './config.ts';
import { startListener } from './connection/listener.ts';
import type { Listener } from './connection/listener.ts';
import { tlsTransport } from './connection/transport.ts';
import { startWebSocketListener } from './connection/websocket-listener.ts';
import { openCommandDoor } from './commands/command-door.ts';
import type { BrokerError } from './errors.ts';
import { createMeasures } from './measures.ts';
import { frontEntrance } from './nodes/entrance.ts';
import { startFronts } from './nodes/fronts.ts';
import { joinCluster } from './nodes/join-cluster.ts';
import { readinessOf } from './readiness.ts';
import { reload } from './reload.ts';
import { LiveSettings, readSettings, watchedFiles } from './settings.ts';
import { Supervisor } from './supervisor.ts';
import type { BrokerState, SupervisorOptions } from './supervisor.ts';

export interface BrokerSurroundings {
  readonly log: Log;
  readonly clock?: Clock;
  /** Milliseconds that never go back. */
  readonly monotonicMs?: () => number;
  /** Of the cascade's link. */
  readonly reconnect?: BackoffLimits;
  /** The store is damaged: everybody is closed, and nothing goes on before a person has looked at it. */
  readonly onDamaged?: (error: BrokerError) => void;
  /** How often it looks whether keys, certificates or CRLs have changed. */
  readonly watchMs?: number;
}

export interface RunningBroker {
  readonly port: number;
  /** Undefined without `listenWebSocket`. */
  readonly webSocketPort: number | undefined;
  /** Undefined without `observe`. */
  readonly observePort: number | undefined;
  state(): BrokerState;
  /**
   * Takes over another configuration, and what is in the files that it names, without an end of any connection that it
   * still grants; or changes nothing and logs why.
   *
   * @param read - reads the configuration, or throws what is wrong with it
   * @returns whether it is in force now
   */
  reload(read: () => BrokerConfig): boolean;
  /** Not ready from now on: takes nobody new, answers what was read, commits, and closes everything. */
  stop(): Promise<void>;
  /** What `stop` is given before the process ends without it. */
  stopDeadlineMs(): number;
}

const dayMs = 86_400_000;
const sweepMs = 1000;
const watchMsDefault = 5000;
const systemTopicsMs = 10_000;
const tidyMs = 60_000;
/** EX_DATAERR of sysexits(3), for a service manager that is not to start it again. */
const damagedStatus = 65;
/** For what has no bound of its own: a slow disk. */
const stopMarginMs = 15_000;

/** @throws ConfigError, PkiError, BrokerError or the system's error, each in one clear line */
export async function startBroker(
  given: BrokerConfig,
  surroundings: BrokerSurroundings,
): Promise<RunningBroker> {
  const options = coreOptions(given, surroundings);
  const { settings, measures, log } = options;
  const { config } = settings;
  const supervisor = new Supervisor(options);
  const listeners: Listener[] = [];
  let isStopping = false;
  try {
    if (config.cluster !== undefined) listeners.push(await joinCluster(config.cluster, supervisor, options));
    const ports = await listen(supervisor, options, listeners);
    const observation =
      config.observe &&
      (await startObservation(config.observe, {
        metrics: measures.metrics,
        health: () => supervisor.health,
        readiness: () => readinessOf({ ...options, supervisor, isStopping }),
        state: () => supervisor.state,
      }));
    const commandDoor = await openCommandDoor(config.data, { asides: () => supervisor.asides, log });
    const reloadable = { ...options, supervisor, listeners };
    const endWatch = watchFiles(
      () => watchedFiles(config),
      () => reload(() => ({ ...config, limits: { ...config.limits } }), reloadable),
      surroundings.watchMs ?? watchMsDefault,
    );
    const timers = [
      setInterval(() => {
        supervisor.core?.sweep();
        supervisor.refreshMeasures();
        measures.ready.set(readinessOf({ ...options, supervisor, isStopping }).ready ? 1 : 0);
        measures.certificateNotAfter.set(settings.validUntilMs / 1000);
        log.flush();
      }, sweepMs),
      setInterval(() => supervisor.core?.publishSystemTopics(), systemTopicsMs),
      setInterval(() => supervisor.core?.tidy(), tidyMs),
    ];
    const places = { ...ports, observePort: observation?.port };
    log.info({ name: config.name, ...places }, 'broker.listening');
    return {
      ...places,
      state: () => supervisor.state,
      reload: (read) => reload(read, reloadable),
      stopDeadlineMs: () => {
        const { delaySeconds, cascadeSeconds } = config.shutdown;
        return (delaySeconds + cascadeSeconds) * 1000 + stopMarginMs;
      },
      stop: async () => {
        isStopping = true;
        endWatch();
        const { delaySeconds } = config.shutdown;
        if (delaySeconds > 0) await setTimeout(delaySeconds * 1000);
        timers.forEach(clearInterval);
        const closed = Promise.all(listeners.map((listener) => listener.close()));
        await commandDoor?.close();
        await supervisor.stop();
        await closed;
        await observation?.close();
      },
    };
  } catch (error) {
    await supervisor.stop();
    await Promise.all(listeners.map((listener) => listener.close()));
    throw error;
  }
}

/** Runs until a signal; exits with 1 and one line if it cannot start, or with 65 if its store is damaged. */
export async function runBroker(configFile: string): Promise<never> {
  const log = createLog('broker');
  const read = (): BrokerConfig => loadConfig(configFile, brokerConfigType);
  let broker: RunningBroker | undefined;
  const onDamaged = ({ message }: BrokerError): never => {
    process.stderr.write(`plombe broker: ${message}\n`);
    process.exit(damagedStatus);
  };
  const start = async (): Promise<RunningProgram> => {
    const config = read();
    log.level = config.log.level;
    const started = await startBroker(config, { log, onDamaged });
    broker = started;
    return { stop: () => started.stop(), reload: () => void started.reload(read) };
  };
  return runUntilSignal('broker', log, start, () => broker?.stopDeadlineMs() ?? stopMarginMs);
}

/** @param listeners - those that listen already are added, whatever becomes of the others */
async function listen(
  supervisor: Supervisor,
  options: SupervisorOptions,
  listeners: Listener[],
): Promise<Pick<RunningBroker, 'port' | 'webSocketPort'>> {
  const { settings, verifier, measures, log } = options;
  const { config, identity } = settings;
  if (config.processes > 0) return listenInFronts(supervisor, options, listeners);
  const shared = { limits: config.limits, identity, verifier, measures, log };
  const listener = await startListener({
    ...shared,
    endpoint: config.listen,
    onPeer: (socket, peer) => supervisor.admit(tlsTransport(socket), peer),
  });
  listeners.push(listener);
  if (config.listenWebSocket === undefined) return { port: listener.port, webSocketPort: undefined };
  const webSocketListener = await startWebSocketListener({
    ...shared,
    endpoint: config.listenWebSocket,
    origins: () => config.webSocketOrigins,
    onPeer: (transport, peer) => supervisor.admit(transport, peer),
  });
  listeners.push(webSocketListener);
  return { port: listener.port, webSocketPort: webSocketListener.port };
}

/** The same, in processes of their own. */
async function listenInFronts(
  supervisor: Supervisor,
  options: SupervisorOptions,
  listeners: Listener[],
): Promise<Pick<RunningBroker, 'port' | 'webSocketPort'>> {
  const { settings, measures, log } = options;
  const { config } = settings;
  const fronts = await startFronts({
    config,
    processes: config.processes,
    measures,
    log,
    onChannel: frontEntrance({ ...options, admit: (transport, peer) => supervisor.admit(transport, peer) }),
  });
  listeners.push(fronts);
  return { port: fronts.port, webSocketPort: fronts.webSocketPort };
}

export function coreOptions(
  config: BrokerConfig,
  surroundings: BrokerSurroundings,
): SupervisorOptions & { readonly log: BoundedLog } {
  const { clock = systemClock, monotonicMs = () => performance.now() } = surroundings;
  const settings = new LiveSettings(readSettings(config, clock()));
  const revocation = new RevocationIndex();
  loadCrlFiles(revocation, config.crls ?? [], settings.identity.roots);
  const verifier = new PeerVerifier({
    get roots() {
      return settings.identity.roots;
    },
    get stalePolicy() {
      return settings.stalePolicy;
    },
    get expiredGraceMs() {
      return settings.config.expiredGraceDays * dayMs;
    },
    revocation,
    clock,
  });
  return {
    settings,
    verifier,
    revocation,
    clock,
    measures: createMeasures(),
    log: new BoundedLog(surroundings.log, {
      linesPerSecondMax: () => settings.config.log.linesPerSecondMax,
      monotonicMs,
    }),
    monotonicMs,
    reconnect: surroundings.reconnect,
    onDamaged: surroundings.onDamaged ?? (() => undefined),
  };
}
