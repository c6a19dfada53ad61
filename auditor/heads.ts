/** Signs tree heads: now and then while something is new, and at the end. */
import type { ContentSigner } from '../cms/signed-content.ts';
import type { Clock } from '../domain/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { EgressRecord } from './record.ts';
import { RecordError } from './record.ts';

export interface HeadsOptions {
  readonly record: EgressRecord;
  readonly signer: ContentSigner;
  /** Between two of them. */
  readonly everyMs: number;
  /** What follows, each time. */
  readonly afterwards: () => void;
  readonly clock: Clock;
  readonly log: Log;
}

export class Heads {
  readonly #options: HeadsOptions;
  readonly #timer: NodeJS.Timeout;
  /** Leaves under the last one of this run. */
  #signedSize = 0;

  constructor(options: HeadsOptions) {
    this.#options = options;
    this.#timer = setInterval(() => {
      this.sign();
      options.afterwards();
    }, options.everyMs);
    this.#timer.unref();
  }

  /** Signs for what was recorded, if that is more than the last time. */
  sign(): void {
    const { record, signer, clock, log } = this.#options;
    const { size } = record.head;
    if (size === this.#signedSize) return;
    try {
      record.appendHead(signer, clock());
      this.#signedSize = size;
    } catch (error) {
      if (!(error instanceof RecordError)) throw error;
      log.error({ reason: error.code, detail: error.message }, 'head.failed'); // the next one covers the same and more
    }
  }

  stop(): void {
    clearInterval(this.#timer);
    this.sign();
  }
}
