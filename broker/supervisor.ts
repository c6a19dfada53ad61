/** Keeps a core running: after a failure of the store everybody is gone, and it tries again until the disk works. */
import { Core } from './core.ts';
import type { CoreOptions, CoreState } from './core.ts';
import type { Transport } from './connection/transport.ts';
import { BrokerError } from './errors.ts';
import type { Peer } from './access/identity.ts';
import { clientPurpose } from './nodes/entrance.ts';
import type { Leadership, Led, Member, MemberState } from './nodes/member.ts';

export interface BrokerState extends Partial<CoreState> {
  readonly name: string;
  /** Of several nodes, this one. */
  readonly node?: MemberState;
  readonly healthy: boolean;
  readonly reason?: string;
  readonly received: number;
  readonly sent: number;
}

const reopenMs = 2000;

export class Supervisor implements Led {
  readonly #options: Omit<CoreOptions, 'onFailure'>;
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
  constructor(options: Omit<CoreOptions, 'onFailure'>) {
    this.#options = options;
    if (options.settings.config.cluster === undefined) this.#core = this.#open();
  }

  get core(): Core | undefined {
    return this.#core;
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
      leadership,
      onFailure: (error) => {
        this.#core = undefined;
        if (error.code === 'broker.cluster_fenced') return;
        this.#options.measures.storeFailures.inc();
        this.#options.log.error({ reason: error.code, detail: error.message }, 'store.failed');
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
    measures.cascadeQueued.set(state?.cascade?.queued ?? 0);
  }

  async stop(): Promise<void> {
    clearTimeout(this.#reopenTimer);
    if (this.#member === undefined) await this.retire();
    else await this.#member.stop();
  }

  #open(): Core {
    return new Core({ ...this.#options, onFailure: (error) => this.#failed(error) });
  }

  #failed(error: BrokerError): void {
    this.#core = undefined;
    this.#failure = error.message;
    this.#options.measures.storeFailures.inc();
    this.#options.log.error({ reason: error.code, detail: error.message }, 'store.failed');
    this.#reopenTimer = setTimeout(() => this.#reopen(), reopenMs);
  }

  #reopen(): void {
    try {
      this.#core = this.#open();
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error;
      this.#failed(error);
      return;
    }
    this.#failure = undefined;
    this.#options.log.info({}, 'store.reopened');
  }
}
