/** Where other nodes get a copy of the state, one after the other. */
import { errorText } from '../../domain/error-text.ts';
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
  #position = 0;
  #awaitedUntilMs = 0;

  constructor(options: SnapshotDeskOptions, leaseMs: number) {
    this.#options = options;
    this.#leaseMs = leaseMs;
  }

  /** From where somebody follows the log who has the last snapshot, or is about to; undefined for nobody. */
  get awaitedPosition(): number | undefined {
    return this.#isBusy || this.#options.monotonicMs() < this.#awaitedUntilMs ? this.#position : undefined;
  }

  /**
   * Sends it and closes the channel; who comes meanwhile comes again.
   *
   * @param position - that the state has at least
   */
  async serve(channel: Channel, position: number): Promise<void> {
    const { directory, log, monotonicMs } = this.#options;
    if (this.#isBusy) {
      channel.destroy();
      return;
    }
    this.#isBusy = true;
    this.#position = position;
    try {
      const bytes = await sendSnapshot(directory, channel);
      log.info({ bytes }, 'snapshot.sent');
    } catch (error) {
      channel.destroy();
      log.error({ reason: errorText(error) }, 'snapshot.failed');
    } finally {
      this.#isBusy = false;
      this.#awaitedUntilMs = monotonicMs() + leasesPerSnapshot * this.#leaseMs;
    }
  }
}
