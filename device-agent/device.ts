/** One device of the agent: who it is now, and its numbers. Who it is changes when its certificates are renewed. */
import type { Clock } from '../domain/clock.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import type { Reading } from '../domain/snapshot.ts';
import type { PolicyStatus } from '../domain/device-status.ts';
import { isWithin } from '../domain/namespace.ts';
import { PkiError } from '../pki/errors.ts';
import type { E2eIdentity } from '../pki/identity.ts';
import type { BrokerLists } from '../pki/broker-lists.ts';
import type { RevocationLists } from '../pki/revocation-lists.ts';
import type { Policies } from '../policy/policies.ts';
import type { Log } from '../runtime/log.ts';
import type { BackoffLimits } from '../runtime/retry.ts';
import type { Sample } from './collector/collector.ts';
import type { AgentConfig, DeviceConfig } from './config.ts';
import type { KeyTimes } from './key-slots/bearer.ts';
import type { HeldIdentity } from './key-slots/held-identity.ts';
import { loadHeldIdentity } from './key-slots/held-identity.ts';
import { Keys } from './key-slots/keys.ts';
import type { KeysState } from './key-slots/keys.ts';
import type { Place } from './key-slots/place.ts';
import { keepingDirectory, settleSlots } from './key-slots/slots.ts';
import type { AgentMeasures } from './measures.ts';
import type { Outbox, OutboxCounts } from './outbox.ts';
import type { DeviceRole } from './service.ts';
import { brokerOf, Service } from './service.ts';
import { sharedPrefix } from './stream.ts';

/** What is in the identity directory of a device. */
export interface DeviceIdentity {
  readonly config: DeviceConfig;
  readonly current: HeldIdentity;
  /** Of the same directory: the one before, or the next one that is still on trial. */
  readonly others: readonly E2eIdentity[];
}

export interface DeviceContext {
  readonly config: AgentConfig;
  readonly renewNow: boolean;
  readonly outbox: Outbox;
  readonly lists: RevocationLists;
  readonly brokerLists: BrokerLists;
  readonly policies: Policies;
  readonly measures: AgentMeasures;
  readonly agentVersion: string;
  readonly clock: Clock;
  /** From 0 to 1. */
  readonly random: () => number;
  readonly times: KeyTimes;
  readonly log: Log;
  readonly reconnect: BackoffLimits | undefined;
  readonly onDelivered: () => void;
}

export interface DeviceState {
  readonly path: string;
  readonly sealed: number;
  readonly delivered: number;
  readonly dropped: number;
  readonly pending: number;
  readonly connected: boolean;
  readonly lastValue?: Reading;
  /** By reason. */
  readonly rejected: Readonly<Record<string, number>>;
  readonly state: 'online' | 'offline' | 'stopped';
  readonly keys: KeysState;
  readonly policy: PolicyStatus;
  /** By group of readers, of those that have a stream of their own. */
  readonly shared: Readonly<Record<string, OutboxCounts>>;
}

/** The clock may be set, so an expiry is looked for more often than it comes. */
const expiryCheckMs = 60_000;

/**
 * @throws PkiError in one line, also if TLS and E2E certificates are of different identities, or of no device;
 *   KeySlotsError `slots.malformed`
 */
export function loadDeviceIdentity(config: DeviceConfig, nowMs: number): DeviceIdentity {
  const { identity: root, passphraseFile } = config;
  const options = { nowMs, passphraseFile };
  const { current, former, spare } = settleSlots(root, options);
  const held = loadHeldIdentity(keepingDirectory(root, current), options);
  const others = [former, spare].flatMap((keeping) => {
    if (keeping === undefined) return [];
    try {
      const { path, e2e } = loadHeldIdentity(keepingDirectory(root, keeping), options);
      return path === held.path ? [e2e] : [];
    } catch (error) {
      if (!(error instanceof PkiError)) throw error;
      return []; // not there, or not whole
    }
  });
  return { config, current: held, others };
}

export class Device {
  /** By which the agent's collectors know it, also when it is somebody else by now. */
  readonly name: NamespacePath;
  readonly #context: DeviceContext;
  readonly #role: DeviceRole;
  readonly #keys: Keys;
  readonly #rejected = new Map<string, number>();
  #service: Service;
  /** What it was before it changed hands, while that has something to deliver. */
  #retiring: Service | undefined;
  /** Of each stream the last number that was sealed before the identity that it has now. */
  #sealedBefore: ReadonlyMap<string, number>;
  #proven = Promise.withResolvers<void>();
  #relieved = Promise.withResolvers<void>();
  #isRelieved = false;
  #formerDelivered = Promise.withResolvers<void>();
  #expiryTimer: NodeJS.Timeout | undefined;
  #lastValue: Reading | undefined;
  #stopped = false;

  /** @throws PkiError if a recipient or a command issuer cannot be trusted */
  constructor({ config: own, current, others }: DeviceIdentity, context: DeviceContext, role: DeviceRole) {
    const { config, renewNow, outbox, brokerLists, measures, agentVersion } = context;
    const { clock, random, times, log, reconnect } = context;
    this.name = current.path;
    this.#context = context;
    this.#role = role;
    this.#sealedBefore = lastNumbers(outbox, current.path);
    this.#service = this.#newService(current, others);
    this.#keys = new Keys({
      root: own.identity,
      passphraseFile: own.passphraseFile,
      renewal: { ...config.renewal, isDueNow: renewNow },
      bearer: {
        identity: () => this.#service.identity,
        brokerOf: (identity) => {
          return {
            ...brokerOf(identity, config),
            requireUnrevoked: (broker) => brokerLists.requireUnrevoked(broker),
          };
        },
        adopt: (next) => this.#adopt(next),
        proven: () => this.#proven.promise,
        relieved: () => this.#relieved.promise,
        forgetFormer: () => this.#service.forgetOthers(),
        move: (next) => this.#move(next),
        deliverFormer: (former) => this.#deliverFormer(former),
        leaveFormer: (place) => this.#leaveFormer(place),
      },
      agentVersion,
      measures,
      clock,
      random,
      times,
      log: log.child({ device: current.path }),
      reconnect,
    });
  }

  /** Who it is now. */
  get path(): NamespacePath {
    return this.#service.path;
  }

  /** Whether it works there, or has things to deliver there. */
  isAt(path: NamespacePath): boolean {
    return path === this.path || path === this.#retiring?.path;
  }

  get connected(): boolean {
    return this.#service.connected;
  }

  /** Connects, unless its certificates have expired, and keeps them valid. */
  open(): void {
    this.#serve();
    this.#settle();
    this.#keys.start();
  }

  /** Seals a sample and stores it. @throws OutboxError, CmsError, ReadersError, KeySlotsError */
  async put({ snapshot, line }: Sample, source: string | undefined): Promise<void> {
    const { outbox, measures } = this.#context;
    const position = source === undefined || line === undefined ? undefined : { source, line };
    const numbers = await outbox.putParts(this.path, this.#service.partsOf(snapshot), position);
    measures.sealed.inc(numbers.length);
    this.#lastValue =
      snapshot.readings.find((reading) => typeof reading.value === 'number') ?? snapshot.readings[0];
  }

  reject(reason: string): void {
    this.#rejected.set(reason, (this.#rejected.get(reason) ?? 0) + 1);
  }

  /** There is something new in the outbox. */
  send(): void {
    this.#service.send();
  }

  /** Something that was delivered is no longer in the outbox. */
  removed(): void {
    this.#settle();
  }

  state(): DeviceState {
    return {
      path: this.path,
      ...this.#context.outbox.counts(this.path),
      connected: this.connected,
      ...(this.#lastValue === undefined ? {} : { lastValue: this.#lastValue }),
      rejected: Object.fromEntries(this.#rejected),
      state: this.#onlineState(),
      keys: this.#keys.state(),
      policy: this.#service.policyStatus(),
      shared: this.#shared(),
    };
  }

  /** @param path - whose policy is another, or was refused */
  policyChanged(path: NamespacePath): void {
    if (isWithin(this.path, path)) this.#service.policyChanged();
  }

  async close(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#expiryTimer);
    await this.#keys.stop();
    await Promise.all([this.#service.close(), this.#retiring?.close()]);
  }

  #newService(
    identity: HeldIdentity,
    others: readonly E2eIdentity[],
    role: DeviceRole = this.#role,
  ): Service {
    const { measures, onDelivered } = this.#context;
    return new Service({
      identity,
      others,
      role,
      context: this.#context,
      onEnrolmentMessage: (payload) => this.#keys.take(payload),
      onDelivered: (stream, sequence) => {
        measures.delivered.inc();
        if (role !== 'retiring' && sequence > (this.#sealedBefore.get(stream) ?? 0)) this.#proven.resolve();
        onDelivered();
      },
    });
  }

  /** A session that its certificates are too old for is good for nothing: the broker would take no envelope. */
  #serve(): void {
    const { clock } = this.#context;
    if (this.#stopped) return;
    const leftMs = this.#service.identity.validUntilMs - clock();
    clearTimeout(this.#expiryTimer);
    if (leftMs <= 0) return void this.#expire();
    this.#service.open();
    this.#expiryTimer = setTimeout(() => this.#serve(), Math.min(leftMs + 1, expiryCheckMs)).unref();
  }

  async #expire(): Promise<void> {
    const { path, validUntilMs } = this.#service.identity;
    this.#context.log.error(
      { device: path, validUntil: new Date(validUntilMs).toISOString() },
      'identity.expired',
    );
    await this.#service.release();
  }

  async #adopt(next: HeldIdentity): Promise<void> {
    const { outbox } = this.#context;
    const former = this.#service;
    const service = this.#newService(next, [former.identity.e2e]);
    await former.release();
    this.#sealedBefore = lastNumbers(outbox, next.path);
    this.#proven = Promise.withResolvers();
    this.#relieved = Promise.withResolvers();
    this.#isRelieved = false;
    this.#service = service;
    this.#serve();
    this.#settle();
  }

  async #move(next: HeldIdentity): Promise<void> {
    const { outbox } = this.#context;
    const former = this.#service;
    const service = this.#newService(next, []);
    outbox.addDevice(next.path, former.path);
    await former.release();
    this.#sealedBefore = lastNumbers(outbox, next.path);
    this.#service = service;
    this.#serve();
  }

  /** Under its former name alone what was sealed then is taken by anybody. */
  #deliverFormer(former: HeldIdentity): Promise<void> {
    this.#context.outbox.addDevice(former.path, undefined);
    this.#retiring ??= this.#newService(former, [], 'retiring');
    this.#retiring.open();
    this.#settle();
    return this.#formerDelivered.promise;
  }

  async #leaveFormer(place: Place): Promise<number> {
    const { outbox } = this.#context;
    await this.#retiring?.close();
    this.#retiring = undefined;
    this.#service.settle(place);
    return outbox.setAside(place.from);
  }

  #settle(): void {
    const { outbox } = this.#context;
    if (!this.#isRelieved) {
      this.#isRelieved = outbox.streamsOf(this.path).every((stream) => {
        const { pending } = outbox.counts(stream);
        const [oldest] = outbox.pendingAfter(stream, 0, 1);
        if (oldest === undefined) return pending === 0;
        return oldest.sequence > (this.#sealedBefore.get(stream) ?? 0);
      });
      if (this.#isRelieved) this.#relieved.resolve();
    }
    const former = this.#retiring?.path;
    if (former === undefined) return;
    const isDelivered = outbox.streamsOf(former).every((stream) => outbox.counts(stream).pending === 0);
    if (isDelivered) this.#formerDelivered.resolve();
  }

  #shared(): Readonly<Record<string, OutboxCounts>> {
    const { outbox } = this.#context;
    const [, ...shared] = outbox.streamsOf(this.path);
    const prefix = sharedPrefix(this.path);
    return Object.fromEntries(shared.map((stream) => [stream.slice(prefix.length), outbox.counts(stream)]));
  }

  #onlineState(): DeviceState['state'] {
    if (this.#stopped) return 'stopped';
    return this.connected ? 'online' : 'offline';
  }
}

function lastNumbers(outbox: Outbox, device: NamespacePath): ReadonlyMap<string, number> {
  return new Map(outbox.streamsOf(device).map((stream) => [stream, outbox.counts(stream).sealed]));
}
