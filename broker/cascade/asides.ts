/** What a person may do about the messages that the upstream would not take: look, send them up again, or let them go. */
import type { Log } from '../../runtime/log.ts';
import type { Measures } from '../measures.ts';
import type { Hub } from '../routing/hub.ts';
import type { Message } from '../routing/message.ts';
import type { Turn } from '../store/turn.ts';
import type { RetryOutcome, UpQueue } from './up-queue.ts';
import type { KeptMessage, RefusedMessage } from './up-store.ts';

export interface AsidesOptions {
  readonly queue: Pick<UpQueue, 'setAside' | 'retry'>;
  readonly hub: Pick<Hub, 'retainedPayload'>;
  readonly turn: Pick<Turn, 'guard' | 'afterCommit'>;
  readonly measures: Measures;
  readonly log: Log;
}

/** What became of one message. */
export interface Decided {
  readonly id: number;
  readonly outcome: RetryOutcome | 'dropped';
}

export class Asides {
  readonly #options: AsidesOptions;

  constructor(options: AsidesOptions) {
    this.#options = options;
  }

  /** @returns all of them, newest first */
  list(): Promise<RefusedMessage[]> {
    return this.#decide(() => this.#options.queue.setAside.all());
  }

  find(id: number): Promise<KeptMessage | undefined> {
    return this.#decide(() => this.#options.queue.setAside.find(id));
  }

  /** Lets them go up again. Resolves once that is durable. */
  retry(ids: readonly number[]): Promise<Decided[]> {
    const { queue, log } = this.#options;
    return this.#decide(() => {
      const outcomes = queue.retry(ids, (message) => this.#isRetained(message));
      const retried = outcomes.filter((outcome) => outcome === 'queued').length;
      if (retried > 0) log.info({ retried }, 'cascade.set_aside_retried');
      return ids.map((id, index) => ({ id, outcome: outcomes[index] ?? 'unknown' }));
    });
  }

  /** Gives them up. Resolves once that is durable. */
  drop(ids: readonly number[]): Promise<Decided[]> {
    return this.#decide(() => ids.map((id) => ({ id, outcome: this.#drop(id) })));
  }

  #drop(id: number): Decided['outcome'] {
    const { queue, measures, log } = this.#options;
    const kept = queue.setAside.find(id);
    if (kept === undefined) return 'unknown';
    queue.setAside.drop(kept);
    const { topic, bytes, reason } = kept;
    measures.cascade.dropped.inc({ reason: 'set_aside_dropped' });
    log.warn({ topic, bytes, reason }, 'cascade.set_aside_dropped');
    return 'dropped';
  }

  /** A deletion is: as long as there is nothing. */
  #isRetained({ topic, payload }: Message): boolean {
    const retained = this.#options.hub.retainedPayload(topic);
    return payload.length === 0 ? retained === undefined : retained?.equals(payload) === true;
  }

  /** A turn that fails answers nobody: the broker itself does not know what is on the disk then. */
  #decide<T>(work: () => T): Promise<T> {
    const { turn } = this.#options;
    return new Promise((resolve) => {
      turn.guard(() => {
        const result = work();
        turn.afterCommit(() => resolve(result));
      });
    });
  }
}
