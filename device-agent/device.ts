/** One device of the agent: who it is now, and its numbers. Who it is changes when its certificates are renewed. */
import type { Clock } from '../domain/clock.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import type { Reading } from '../domain/snapshot.ts';
import { PkiError } from '../pki/errors.ts';
import type { E2eIdentity } from '../pki/identity.ts';
import type { RevocationLists } from '../pki/revocation-lists.ts';
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
import type { Outbox } from './outbox.ts';
import type { DeviceRole } from './service.ts';
import { brokerOf, Service } from './service.ts';

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
  /** The last number that was sealed before the identity that it has now. */
  #sealedBefore: number;
  #proven = Promise.withResolvers<void>();
  #relieved = Promise.withResolvers<void>();
  #isRelieved = false;
  #formerDelivered = Promise.withResolvers<void>();
  #expiryTimer: NodeJS.Timeout | undefined;
  #lastValue: Reading | undefined;
  #stopped = false;

  /** @throws PkiError if a recipient or a command issuer cannot be trusted */
  constructor({ config: own, current, others }: DeviceIdentity, context: DeviceContext, role: DeviceRole) {
    const { config, renewNow, outbox, measures, clock, random, times, log, reconnect, agentVersion } =
      context;
    this.name = current.path;
    this.#context = context;
    this.#role = role;
    this.#sealedBefore = outbox.counts(current.path).sealed;
    this.#service = this.#newService(current, others);
    this.#keys = new Keys({
      root: own.identity,
      passphraseFile: own.passphraseFile,
      renewal: { ...config.renewal, isDueNow: renewNow },
      bearer: {
        identity: () => this.#service.identity,
        brokerOf: (identity) => brokerOf(identity, config),
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
    await outbox.put(this.path, (place) => this.#service.seal(snapshot, place), position);
    measures.sealed.inc();
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
    };
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
      onDelivered: (sequence) => {
        measures.delivered.inc();
        if (role !== 'retiring' && sequence > this.#sealedBefore) this.#proven.resolve();
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
    this.#sealedBefore = outbox.counts(next.path).sealed;
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
    this.#sealedBefore = outbox.counts(next.path).sealed;
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
      const { pending } = outbox.counts(this.path);
      const [oldest] = outbox.pendingAfter(this.path, 0, 1);
      this.#isRelieved = oldest === undefined ? pending === 0 : oldest.sequence > this.#sealedBefore;
      if (this.#isRelieved) this.#relieved.resolve();
    }
    const former = this.#retiring?.path;
    if (former !== undefined && outbox.counts(former).pending === 0) this.#formerDelivered.resolve();
  }

  #onlineState(): DeviceState['state'] {
    if (this.#stopped) return 'stopped';
    return this.connected ? 'online' : 'offline';
  }
}
