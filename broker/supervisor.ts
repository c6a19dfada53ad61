/** Keeps a core running: after a failure of the store everybody is gone, and it tries again until the disk works. */
import type { Asides } from './cascade/asides.ts';
import { Core } from './core.ts';
import type { CoreOptions, CoreState } from './core.ts';
import type { Transport } from './connection/transport.ts';
import { BrokerError } from './errors.ts';
import type { Peer } from './access/identity.ts';
import { clientPurpose } from './nodes/entrance.ts';
import type { Leadership, Led } from './nodes/led.ts';
import type { Member } from './nodes/member.ts';
import type { MemberState } from './nodes/member-state.ts';
import { markDamaged } from './store/damage.ts';
import { StoreRoom } from './store/room.ts';
import type { RoomState } from './store/room.ts';
import { isWantOfRoom, storeFileIn } from './store/store-file.ts';

export interface BrokerState extends Partial<CoreState> {
  readonly name: string;
  /** Of several nodes, this one. */
  readonly node?: MemberState;
  readonly healthy: boolean;
  readonly reason?: string;
  readonly received: number;
  readonly sent: number;
  /** Undefined while there is none. */
  readonly store?: RoomState;
}

export interface SupervisorOptions extends Omit<CoreOptions, 'onFailure' | 'room'> {
  /** The store is damaged: nothing can go on before a person has looked at it. */
  readonly onDamaged: (error: BrokerError) => void;
}

const reopenMs = 2000;

export class Supervisor implements Led {
  readonly #options: SupervisorOptions;
  readonly #room: StoreRoom;
  #member: Pick<Member, 'state' | 'pass' | 'stop'> | undefined;
  #core: Core | undefined;
  #retiring: Core | undefined;
  #reported = { received: 0, sent: 0 };
  #failure: string | undefined;
  #reopenTimer: NodeJS.Timeout | undefined;

  /**
   * A node of several has no core before it is active.
   *
   * @throws BrokerError if the store cannot be opened at the start
   */
  constructor(options: SupervisorOptions) {
    this.#options = options;
    const { settings, log, monotonicMs } = options;
    this.#room = new StoreRoom({
      limits: settings.config.limits,
      monotonicMs,
      onChange: ({ full, ...facts }) => {
        if (full === undefined) log.info(facts, 'store.relieved');
        else log.error({ reason: full, ...facts }, 'store.full');
      },
    });
    if (options.settings.config.cluster === undefined) this.#core = this.#open();
  }

  get core(): Core | undefined {
    return this.#core;
  }

  /** What the upstream would not take, or why that is not to be had here and now. */
  get asides(): Asides | { readonly reason: string } {
    if (this.#core !== undefined) {
      return this.#core.asides ?? { reason: 'this broker has no upstream at the moment' };
    }
    if (this.#member !== undefined) return { reason: 'another node is active: ask that one' };
    return { reason: this.#failure ?? 'the broker stops' };
  }

  get health(): { healthy: boolean; reason?: string } {
    const reason = this.#failure ?? this.#member?.state.reason;
    return reason === undefined ? { healthy: true } : { healthy: false, reason };
  }

  get state(): BrokerState {
    const { received, sent } = this.#options.measures.traffic;
    return {
      name: this.#options.settings.config.name,
      ...this.health,
      received,
      sent,
      ...this.#core?.state,
      ...(this.#core === undefined ? {} : { store: this.#room.state }),
      ...(this.#member === undefined ? {} : { node: this.#member.state }),
    };
  }

  /** From now on the node decides when there is a core, and passes clients on while there is none. */
  join(member: Pick<Member, 'state' | 'pass' | 'stop'>): void {
    this.#member = member;
  }

  /** @returns false while there is no store to keep promises in, here or on another node */
  admit(transport: Transport, peer: Peer): boolean {
    if (this.#core === undefined) {
      return this.#member?.pass(transport, clientPurpose(transport, peer)) === true;
    }
    this.#core.admit(transport, peer);
    return true;
  }

  lead(leadership: Leadership, onFailure: (error: BrokerError) => void): void {
    this.#core = new Core({
      ...this.#options,
      room: this.#room,
      leadership,
      onFailure: (error) => {
        this.#core = undefined;
        if (error.code === 'broker.cluster_fenced') return;
        if (isWantOfRoom(error)) this.#room.writeFailed();
        this.#report(error);
        onFailure(error);
      },
    });
  }

  hold(isHeld: boolean): void {
    this.#core?.hold(isHeld);
  }

  async retire(): Promise<void> {
    const core = this.#core;
    this.#core = undefined;
    this.#retiring = core;
    await core?.stop();
    this.#retiring = undefined;
  }

  abandon(error: BrokerError): void {
    (this.#core ?? this.#retiring)?.abandon(error);
  }

  /** Copies what is counted elsewhere into the metrics. */
  refreshMeasures(): void {
    const { measures } = this.#options;
    const state = this.#core?.state;
    const { received, sent } = measures.traffic;
    measures.received.inc(received - this.#reported.received);
    measures.sent.inc(sent - this.#reported.sent);
    this.#reported = { received, sent };
    measures.connections.set(state?.connections ?? 0);
    measures.sessions.set(state?.sessions ?? 0);
    measures.retained.set(state?.retained ?? 0);
    measures.fullQueues.set(measures.traffic.fullQueues);
    measures.queuedMessages.set(state?.queued ?? 0);
    measures.queuedBytes.set(state?.queuedBytes ?? 0);
    measures.storeFull.set(this.#room.isFull ? 1 : 0);
    measures.storeBytes.set(this.#room.state.usedBytes);
    measures.diskFreeBytes.set(this.#room.state.freeBytes);
    measures.cascadeQueued.set(state?.cascade?.queued ?? 0);
  }

  async stop(): Promise<void> {
    clearTimeout(this.#reopenTimer);
    if (this.#member === undefined) await this.retire();
    else await this.#member.stop();
  }

  #open(): Core {
    return new Core({
      ...this.#options,
      room: this.#room,
      onFailure: (error) => {
        if (!isWantOfRoom(error)) return this.#failed(error, reopenMs);
        this.#room.writeFailed();
        return this.#failed(error, 0); // reading needs less room than writing, and makes some
      },
    });
  }

  #failed(error: BrokerError, delayMs: number): void {
    this.#core = undefined;
    this.#failure = error.message;
    this.#report(error);
    if (error.code === 'broker.store_damaged') return;
    this.#reopenTimer = setTimeout(() => this.#reopen(), delayMs);
  }

  #report(error: BrokerError): void {
    const { measures, log, settings, clock, onDamaged } = this.#options;
    measures.storeFailures.inc();
    log.error({ reason: error.code, detail: error.message }, 'store.failed');
    if (error.code !== 'broker.store_damaged') return;
    try {
      markDamaged(storeFileIn(settings.config.data), error.message, clock());
    } catch (cause) {
      log.error({ detail: String(cause) }, 'store.mark_failed');
    }
    onDamaged(error);
  }

  #reopen(): void {
    try {
      this.#core = this.#open();
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error;
      this.#failed(error, reopenMs);
      return;
    }
    this.#failure = undefined;
    this.#options.log.info({}, 'store.reopened');
  }
}
