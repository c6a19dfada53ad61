/** The device agent: takes snapshots beside the equipment, seals them, and sends them. */
import path from 'node:path';
import type { Clock } from '../domain/clock.ts';
import { systemClock } from '../domain/clock.ts';
import { parseDevicePath } from '../domain/namespace.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import { BrokerLists } from '../pki/broker-lists.ts';
import { RevocationLists } from '../pki/revocation-lists.ts';
import { stalePolicyOf } from '../pki/stale-crl-type.ts';
import { Policies } from '../policy/policies.ts';
import { ConfigError } from '../runtime/config.ts';
import type { Log } from '../runtime/log.ts';
import { createLog } from '../runtime/log.ts';
import type { Metrics, ObservationServer } from '../runtime/observe.ts';
import { createMetrics, startObservation } from '../runtime/observe.ts';
import type { BackoffLimits } from '../runtime/retry.ts';
import { runUntilSignal } from '../runtime/shutdown.ts';
import { packageVersion } from '../runtime/version.ts';
import { createWait } from '../runtime/wait.ts';
import type { AgentConfig } from './config.ts';
import { loadAgentConfig } from './config.ts';
import type { DeviceContext, DeviceIdentity, DeviceState } from './device.ts';
import { Device, loadDeviceIdentity } from './device.ts';
import { takeIn } from './intake.ts';
import { keyTimes } from './key-slots/bearer.ts';
import type { KeyTimes } from './key-slots/bearer.ts';
import type { AgentMeasures } from './measures.ts';
import { agentMeasures } from './measures.ts';
import type { Outbox } from './outbox.ts';
import { openOutbox } from './outbox.ts';
import type { Source } from './sources.ts';
import { openSources } from './sources.ts';

export interface AgentDependencies {
  readonly log: Log;
  readonly clock?: Clock;
  readonly metrics?: Metrics;
  readonly stdin?: AsyncIterable<Uint8Array> & { destroy?(): unknown };
  readonly reconnect?: BackoffLimits;
  /** From 0 to 1. */
  readonly random?: () => number;
  readonly times?: KeyTimes;
  /** The certificates of all devices are renewed once, whether or not it is time. */
  readonly renewNow?: boolean;
}

/** What is said on the command line. */
export interface AgentRun {
  readonly renew?: boolean;
}

export interface AgentState {
  readonly devices: readonly DeviceState[];
  /** Of lines that belong to no device, by reason. */
  readonly rejected: Readonly<Record<string, number>>;
  /** How many collectors have not come to an end. */
  readonly collecting: number;
}

export interface RunningAgent {
  /** Of the observation endpoint, if there is one. */
  readonly observePort: number | undefined;
  state(): AgentState;
  /** Resolves when every collector that can end has ended and all it yielded was taken in. */
  collected(): Promise<void>;
  /** Stops collecting, waits for deliveries, says goodbye. */
  stop(): Promise<void>;
}

/** Devices on whose connections the revocation lists come: a second one, should the first be away or revoked itself. */
const listReaders = 2;

/** Runs the agent until SIGINT or SIGTERM. */
export async function runAgent(
  configFile: string,
  { renew: renewNow = false }: AgentRun = {},
): Promise<never> {
  let config: AgentConfig;
  try {
    config = loadAgentConfig(configFile);
  } catch (error) {
    return runUntilSignal('agent', createLog('agent'), () => Promise.reject(error));
  }
  const log = createLog('agent', config.log.level);
  const stopMarginMs = 15_000;
  return runUntilSignal(
    'agent',
    log,
    () => startAgent(config, { log, renewNow }),
    () => config.drainSeconds * 1000 + stopMarginMs,
  );
}

/**
 * Starts the agent; it connects, and goes on trying to, by itself.
 *
 * @throws PkiError, OutboxError, ConfigError
 */
export async function startAgent(
  config: AgentConfig,
  dependencies: AgentDependencies,
): Promise<RunningAgent> {
  const { log, clock = systemClock, metrics = createMetrics() } = dependencies;
  const identities = config.devices.map((device) => loadDeviceIdentity(device, clock()));
  refuseRepeated(config, identities);
  const paths = identities.map(({ current }) => current.path);
  const lists = new RevocationLists({
    directory: config.data,
    roots: identities.flatMap(({ current }) => current.e2e.roots),
    stalePolicy: stalePolicyOf(config.staleCrl),
    metrics,
    log,
  });
  const brokerLists = new BrokerLists({
    directory: config.data,
    roots: identities.flatMap(({ current }) => current.tls.roots),
    clock,
    log,
  });
  const policies = new Policies({
    directory: config.data,
    roots: identities.flatMap(({ current }) => current.e2e.roots),
    lists,
    clock,
    metrics,
    log,
  });
  const outbox = openOutbox({ file: path.join(config.data, 'outbox.sqlite'), ...config.outbox }, paths);
  for (const { path: device, place } of identities.map(({ current }) => current)) {
    const from = place?.isConfirmed === false ? parseDevicePath(place.from) : undefined;
    if (from !== undefined) {
      outbox.addDevice(from, undefined);
      outbox.addDevice(device, from);
    }
  }
  const agent = new Agent(
    config,
    { ...dependencies, clock },
    { outbox, lists, brokerLists, policies, measures: agentMeasures(metrics) },
  );
  try {
    agent.open(identities);
    const { observe } = config;
    const observation = observe && (await startObservation(observe, { metrics, ...agent.observation() }));
    if (observation !== undefined) log.info({ port: observation.port }, 'agent.observed');
    agent.observed(observation);
  } catch (error) {
    await agent.close();
    throw error;
  }
  log.info({ devices: paths.length, pending: outbox.pending }, 'agent.started');
  agent.collect();
  return agent;
}

class Agent implements RunningAgent {
  readonly #config: AgentConfig;
  readonly #dependencies: AgentDependencies & { readonly clock: Clock };
  readonly #outbox: Outbox;
  readonly #lists: RevocationLists;
  readonly #brokerLists: BrokerLists;
  readonly #policies: Policies;
  readonly #measures: AgentMeasures;
  readonly #devices = new Map<string, Device>();
  readonly #rejected = new Map<string, number>();
  readonly #stopping = new AbortController();
  #sources: Source[] = [];
  #intakes: Promise<void>[] = [];
  #collecting = 0;
  #observation: ObservationServer | undefined;
  #onDrained: (() => void) | undefined;

  constructor(
    config: AgentConfig,
    dependencies: AgentDependencies & { readonly clock: Clock },
    {
      outbox,
      lists,
      brokerLists,
      policies,
      measures,
    }: Pick<DeviceContext, 'outbox' | 'lists' | 'brokerLists' | 'policies' | 'measures'>,
  ) {
    this.#config = config;
    this.#dependencies = dependencies;
    this.#outbox = outbox;
    this.#lists = lists;
    this.#brokerLists = brokerLists;
    this.#policies = policies;
    this.#measures = measures;
  }

  get observePort(): number | undefined {
    return this.#observation?.port;
  }

  open(identities: readonly DeviceIdentity[]): void {
    const { clock, log, reconnect, stdin = process.stdin } = this.#dependencies;
    const { random = Math.random, times = keyTimes, renewNow = false } = this.#dependencies;
    const wait = createWait(this.#stopping.signal);
    const paths = identities.map(({ current }) => current.path);
    this.#sources = openSources(this.#config, paths, { outbox: this.#outbox, stdin, clock, wait });
    const context = {
      config: this.#config,
      renewNow,
      outbox: this.#outbox,
      lists: this.#lists,
      brokerLists: this.#brokerLists,
      policies: this.#policies,
      measures: this.#measures,
      agentVersion: packageVersion(),
      clock,
      random,
      times,
      log,
      reconnect,
      onDelivered: () => this.#delivered(),
    };
    for (const [index, identity] of identities.entries()) {
      const role = index < listReaders ? 'list-reader' : 'ordinary';
      this.#devices.set(identity.current.path, new Device(identity, context, role));
    }
    this.#outbox.onCommitted((device) => {
      this.#measures.pending.set(this.#outbox.pending);
      this.#deviceAt(device)?.send();
    });
    this.#outbox.onRemoved((device) => this.#deviceAt(device)?.removed());
    this.#policies.onChanged((path) => {
      for (const device of this.#devices.values()) device.policyChanged(path);
    });
    for (const device of this.#devices.values()) device.open();
  }

  observed(observation: ObservationServer | undefined): void {
    this.#observation = observation;
  }

  observation() {
    return {
      health: () => {
        const connected = [...this.#devices.values()].filter((device) => device.connected).length;
        const healthy = connected === this.#devices.size;
        return healthy
          ? { healthy }
          : { healthy, reason: `${connected} of ${this.#devices.size} devices are connected` };
      },
      state: () => this.state(),
    };
  }

  state(): AgentState {
    return {
      devices: Array.from(this.#devices.values(), (device) => device.state()),
      rejected: Object.fromEntries(this.#rejected),
      collecting: this.#collecting,
    };
  }

  collect(): void {
    this.#intakes = this.#sources.map((source) => this.#takeIn(source));
  }

  async collected(): Promise<void> {
    await Promise.all(this.#intakes);
  }

  async stop(): Promise<void> {
    const { log, stdin = process.stdin } = this.#dependencies;
    this.#stopping.abort();
    if (this.#sources.some((source) => source.kind === 'stdin')) stdin.destroy?.();
    await this.collected();
    await this.#drain();
    await this.close();
    const devices = Object.fromEntries(
      this.state().devices.map(({ path: device, sealed, delivered, pending }) => [
        device,
        { sealed, delivered, pending },
      ]),
    );
    log.info({ devices, rejected: Object.fromEntries(this.#rejected) }, 'agent.stopped');
  }

  async close(): Promise<void> {
    await Promise.all(Array.from(this.#devices.values(), (device) => device.close()));
    this.#outbox.close();
    await this.#observation?.close();
  }

  async #takeIn(source: Source): Promise<void> {
    const { log } = this.#dependencies;
    const { signal } = this.#stopping;
    this.#collecting += 1;
    const result = await takeIn(source.collector, {
      kind: source.kind,
      pace: source.pace,
      outbox: this.#outbox,
      put: (sample) => this.#device(source.device ?? sample.device).put(sample, source.fileContent),
      onRejected: (device, reason) => this.#reject(source.device ?? device, reason),
      wait: createWait(signal),
      signal,
      log,
    });
    this.#collecting -= 1;
    if (signal.aborted) return;
    const devices = source.device === undefined ? [...this.#devices.keys()] : [source.device];
    const sealed = Object.fromEntries(devices.map((device) => [device, this.#device(device).state().sealed]));
    log.info({ collector: source.kind, devices: sealed, ...result }, 'collector.finished');
  }

  /** @param path - who it is now, or was before, which it may not have been at the start */
  #deviceAt(path: NamespacePath): Device | undefined {
    const device = this.#devices.get(path);
    return device?.isAt(path) === true
      ? device
      : [...this.#devices.values()].find((other) => other.isAt(path));
  }

  #device(name: string | undefined): Device {
    const device = this.#devices.get(name ?? '');
    if (device === undefined) throw new RangeError(`${name ?? 'a sample'} is not of a device of this agent`);
    return device;
  }

  #reject(device: string | undefined, reason: string): void {
    this.#measures.rejected.inc({ reason });
    const known = this.#devices.get(device ?? '');
    if (known === undefined) this.#rejected.set(reason, (this.#rejected.get(reason) ?? 0) + 1);
    else known.reject(reason);
  }

  #delivered(): void {
    this.#measures.pending.set(this.#outbox.pending);
    this.#onDrained?.();
  }

  /** Until everything is delivered, or the time is over: what is left waits in the outbox for the next start. */
  async #drain(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onDrained = () => {
      if (this.#outbox.undelivered === 0) resolve();
    };
    this.#onDrained();
    const timer = setTimeout(resolve, this.#config.drainSeconds * 1000);
    await promise;
    clearTimeout(timer);
  }
}

function refuseRepeated(config: AgentConfig, identities: readonly DeviceIdentity[]): void {
  const seen = new Set<NamespacePath>();
  for (const {
    current: { path: device },
    config: at,
  } of identities) {
    if (seen.has(device)) {
      const index = config.devices.indexOf(at);
      throw new ConfigError('devices', [
        { path: `devices[${index}].identity`, message: `${device} is there twice` },
      ]);
    }
    seen.add(device);
  }
}
