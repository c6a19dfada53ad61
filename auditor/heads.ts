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

/** How many leaves a head covers, and since when. */
export interface SignedFor {
  readonly size: number;
  readonly timeMs: number;
}

export class Heads {
  readonly #options: HeadsOptions;
  readonly #timer: NodeJS.Timeout;
  /** The last one of this run. */
  #signed: SignedFor | undefined;

  constructor(options: HeadsOptions) {
    this.#options = options;
    this.#timer = setInterval(() => {
      this.sign();
      options.afterwards();
    }, options.everyMs);
    this.#timer.unref();
  }

  /** What was signed for last, in this run. */
  get signed(): SignedFor | undefined {
    return this.#signed;
  }

  /** Signs for what was recorded, if that is more than the last time. */
  sign(): void {
    const { record, signer, clock, log } = this.#options;
    const { size } = record.head;
    if (size === this.#signed?.size) return;
    try {
      const timeMs = clock();
      record.appendHead(signer, timeMs);
      this.#signed = { size, timeMs };
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
