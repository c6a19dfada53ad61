/** Where other nodes get a copy of the state, one after the other. */
import type { Log } from '../../runtime/log.ts';
import type { Channel } from './channel.ts';
import { sendSnapshot } from './snapshot.ts';

export interface SnapshotDeskOptions {
  readonly directory: string;
  readonly log: Log;
  readonly monotonicMs: () => number;
}

/** After which a snapshot that was sent is in its place. */
const leasesPerSnapshot = 10;

export class SnapshotDesk {
  readonly #options: SnapshotDeskOptions;
  readonly #leaseMs: number;
  #isBusy = false;
  #awaitedUntilMs = 0;

  constructor(options: SnapshotDeskOptions, leaseMs: number) {
    this.#options = options;
    this.#leaseMs = leaseMs;
  }

  /** Whether somebody has one, or is about to, who follows the log from there. */
  get isAwaited(): boolean {
    return this.#isBusy || this.#options.monotonicMs() < this.#awaitedUntilMs;
  }

  /** Sends it and closes the channel; who comes meanwhile comes again. */
  async serve(channel: Channel): Promise<void> {
    const { directory, log, monotonicMs } = this.#options;
    if (this.#isBusy) {
      channel.destroy();
      return;
    }
    this.#isBusy = true;
    try {
      const bytes = await sendSnapshot(directory, channel);
      log.info({ bytes }, 'snapshot.sent');
    } catch (error) {
      channel.destroy();
      log.error({ reason: error instanceof Error ? error.message : String(error) }, 'snapshot.failed');
    } finally {
      this.#isBusy = false;
      this.#awaitedUntilMs = monotonicMs() + leasesPerSnapshot * this.#leaseMs;
    }
  }
}
