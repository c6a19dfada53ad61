/** Says upstream how this broker is: when something has changed, and not more often than every few seconds. */
import type { OnlineStatus } from '../../domain/broker-status.ts';
import { encodeBrokerStatus } from '../../domain/broker-status.ts';

export interface StatusReportOptions {
  /** Resolves when the upstream has it. */
  readonly publish: (payload: string) => Promise<void>;
  readonly everyMs: number;
  /** Milliseconds that never go back. */
  readonly monotonicMs: () => number;
}

export class StatusReport {
  readonly #options: StatusReportOptions;
  #lastPayload = '';
  #lastMs = -Infinity;
  #isUnderWay = false;

  constructor(options: StatusReportOptions) {
    this.#options = options;
  }

  /** A new connection knows nothing yet. */
  reset(): void {
    this.#lastPayload = '';
    this.#lastMs = -Infinity;
  }

  report(status: OnlineStatus): void {
    const { publish, everyMs, monotonicMs } = this.#options;
    const nowMs = monotonicMs();
    if (this.#isUnderWay || nowMs - this.#lastMs < everyMs) return;
    const payload = encodeBrokerStatus(status);
    if (payload === this.#lastPayload) return;
    this.#lastPayload = payload;
    this.#lastMs = nowMs;
    this.#isUnderWay = true;
    const settled = (): void => void (this.#isUnderWay = false);
    publish(payload).then(settled, settled); // closed: the will says the rest
  }
}
