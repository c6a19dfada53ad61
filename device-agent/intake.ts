/** From a collector into the outbox: in order, many in one commit, never more than the outbox takes. */
import { CmsError } from '../cms/errors.ts';
import { SenmlError } from '../domain/senml.ts';
import type { Log } from '../runtime/log.ts';
import type { Wait } from '../runtime/wait.ts';
import type { Collector, Rejection, Sample } from './collector/collector.ts';
import { CollectorError } from './collector/collector.ts';
import { KeySlotsError } from './key-slots/errors.ts';
import type { Outbox } from './outbox.ts';
import { OutboxError } from './outbox-store.ts';
import { ReadersError } from './readers.ts';

export interface IntakeOptions {
  /** For the log: `simulator`, `csv`, `stdin` or `replay`. */
  readonly kind: string;
  /** `waits` for room, as a file can; `live` does not: what a machine says now is gone in a moment. */
  readonly pace: 'waits' | 'live';
  readonly outbox: Outbox;
  /** Seals and stores; the sample's device has been resolved by then. */
  readonly put: (sample: Sample) => Promise<unknown>;
  /** Counts what was left out. */
  readonly onRejected: (device: string | undefined, reason: string) => void;
  readonly wait: Wait;
  /** Aborted when the agent stops. */
  readonly signal: AbortSignal;
  readonly log: Log;
}

/** Puts that wait for their commit; one commit takes them all. */
const putsMax = 256;
/** How long a file waits after the disk refused a commit, or while nobody may read what is sealed. */
const storageRetryMs = 1000;
/** Of one reason; the rest are counted alone. */
const rejectionsLoggedMax = 20;

export interface IntakeResult {
  readonly samples: number;
  /** By reason. */
  readonly rejected: Readonly<Record<string, number>>;
}

/**
 * Takes everything that a collector yields, until it ends.
 *
 * @returns when all of it is durable or counted as rejected
 */
export async function takeIn(collector: Collector, options: IntakeOptions): Promise<IntakeResult> {
  const intake = new Intake(options);
  try {
    for await (const item of collector) {
      if (item.kind === 'rejected') intake.reject(item);
      else await intake.take(item);
      if (options.signal.aborted) break;
    }
  } catch (error) {
    // A stream that was closed under its reader, because the agent stops.
    if (options.signal.aborted && error instanceof Error && !(error instanceof CollectorError)) {
      options.log.debug({ collector: options.kind, detail: error.message }, 'collector.interrupted');
      return intake.result();
    }
    if (!(error instanceof CollectorError)) throw error;
    options.log.error(
      { collector: options.kind, reason: error.code, detail: error.message },
      'collector.failed',
    );
    options.onRejected(undefined, error.code);
  }
  await intake.settle();
  return intake.result();
}

class Intake {
  readonly #options: IntakeOptions;
  readonly #rejected = new Map<string, number>();
  #samples = 0;
  #puts: Promise<void>[] = [];
  #failuresSeen: number;
  #again: Sample[] = [];
  /** Why the last of them has to wait. */
  #delayReason = '';

  constructor(options: IntakeOptions) {
    this.#options = options;
    this.#failuresSeen = options.outbox.failures;
  }

  async take(sample: Sample): Promise<void> {
    const { pace, outbox, signal } = this.#options;
    // What was refused goes first: the rows of a file stay in order.
    const hasFailed = outbox.failures !== this.#failuresSeen || this.#again.length > 0;
    if (this.#puts.length >= putsMax || hasFailed) await this.settle();
    if (pace === 'waits') await this.#room();
    if (signal.aborted) return;
    this.#puts.push(this.#put(sample));
  }

  async #room(): Promise<void> {
    const { outbox, signal } = this.#options;
    // Somebody else may have taken the room that we waited for.
    while (outbox.full && !signal.aborted) await outbox.room(signal);
  }

  reject({ line, reason, detail }: Rejection): void {
    this.#count(undefined, reason, { line, detail });
  }

  /** Waits for the commits under way, and puts again what was refused and may pass. */
  async settle(): Promise<void> {
    for (;;) {
      await Promise.all(this.#puts);
      this.#puts = [];
      this.#failuresSeen = this.#options.outbox.failures;
      const again = this.#again;
      if (again.length === 0) return;
      this.#again = [];
      this.#options.log.error(
        { collector: this.#options.kind, reason: this.#delayReason, samples: again.length },
        'samples.delayed',
      );
      if (!(await this.#options.wait(storageRetryMs))) return;
      for (const sample of again) this.#puts.push(this.#put(sample));
    }
  }

  result(): IntakeResult {
    return { samples: this.#samples, rejected: Object.fromEntries(this.#rejected) };
  }

  async #put(sample: Sample): Promise<void> {
    try {
      await this.#options.put(sample);
      this.#samples += 1;
    } catch (error) {
      if (error instanceof OutboxError && error.code === 'outbox.closed') return;
      const mayPass =
        error instanceof OutboxError || error instanceof ReadersError || error instanceof KeySlotsError;
      if (!(mayPass || error instanceof CmsError || error instanceof SenmlError)) throw error;
      if (mayPass && this.#options.pace === 'waits') {
        this.#delayReason = error.code;
        this.#again.push(sample);
      } else this.#count(sample.device, error.code, { detail: error.message });
    }
  }

  #count(device: string | undefined, reason: string, facts: object): void {
    const { kind, log, onRejected } = this.#options;
    const count = (this.#rejected.get(reason) ?? 0) + 1;
    this.#rejected.set(reason, count);
    onRejected(device, reason);
    if (count <= rejectionsLoggedMax)
      log.warn({ collector: kind, device, reason, ...facts }, 'sample.rejected');
  }
}
