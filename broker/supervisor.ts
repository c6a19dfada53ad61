/** Keeps a core running: after a failure of the store everybody is gone, and it tries again until the disk works. */
import { Core } from './core.ts';
import type { CoreOptions, CoreState } from './core.ts';
import type { Transport } from './connection/transport.ts';
import { BrokerError } from './errors.ts';
import type { Peer } from './access/identity.ts';

export interface BrokerState extends Partial<CoreState> {
  readonly name: string;
  readonly healthy: boolean;
  readonly reason?: string;
  readonly received: number;
  readonly sent: number;
}

const reopenMs = 2000;

export class Supervisor {
  readonly #options: Omit<CoreOptions, 'onFailure'>;
  #core: Core | undefined;
  #reported = { received: 0, sent: 0 };
  #failure: string | undefined;
  #reopenTimer: NodeJS.Timeout | undefined;

  /** @throws BrokerError if the store cannot be opened at the start */
  constructor(options: Omit<CoreOptions, 'onFailure'>) {
    this.#options = options;
    this.#core = this.#open();
  }

  get core(): Core | undefined {
    return this.#core;
  }

  get health(): { healthy: boolean; reason?: string } {
    return this.#failure === undefined ? { healthy: true } : { healthy: false, reason: this.#failure };
  }

  get state(): BrokerState {
    const { received, sent } = this.#options.measures.traffic;
    return { name: this.#options.settings.config.name, ...this.health, received, sent, ...this.#core?.state };
  }

  /** @returns false while there is no store to keep promises in */
  admit(transport: Transport, peer: Peer): boolean {
    this.#core?.admit(transport, peer);
    return this.#core !== undefined;
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
    measures.queuedMessages.set(state?.queued ?? 0);
    measures.queuedBytes.set(state?.queuedBytes ?? 0);
    measures.cascadeQueued.set(state?.cascade?.queued ?? 0);
  }

  async stop(): Promise<void> {
    clearTimeout(this.#reopenTimer);
    const core = this.#core;
    this.#core = undefined;
    await core?.stop();
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
