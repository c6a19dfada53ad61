/** Makes the queues of sessions, and tells the log and the metrics what becomes of their messages. */
import type { Clock } from '../../domain/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { UpQueueConfig } from '../cascade/cascade-config.ts';
import { upBounds } from '../cascade/up-bounds.ts';
import { UpQueue } from '../cascade/up-queue.ts';
import { UpStore } from '../cascade/up-store.ts';
import type { BrokerLimits } from '../limits.ts';
import type { Measures } from '../measures.ts';
import { QueuedShares } from '../quota/queued-shares.ts';
import type { FullShare, QueuedShare } from '../quota/queued-shares.ts';
import type { Store } from '../store/store.ts';
import { DeliveryQueue } from './delivery-queue.ts';
import type { ExistingQueue } from './delivery-queue.ts';
import type { Filling } from './full-alarm.ts';
import type { SessionQueue } from './session-queue.ts';
import type { Session } from './session.ts';

export interface QueuesOptions {
  readonly store: Store;
  readonly limits: BrokerLimits;
  /** What happens when the stored queues of one identity, or of its account, hold too much together. */
  readonly queueFull: 'refuse' | 'drop-oldest';
  readonly cascadeQueue: UpQueueConfig | undefined;
  readonly measures: Measures;
  readonly log: Log;
  readonly clock: Clock;
}

/** Whose queue it is. */
type Owner = Pick<Session, 'identity' | 'clientId' | 'storedId'>;

interface Remains extends Filling {
  readonly share: QueuedShare;
}

export class Queues {
  readonly #options: QueuesOptions;
  readonly #shares: QueuedShares;
  /** By ended session, what its queue counts for while it is deleted. */
  readonly #remains = new Map<number, Remains>();
  /** Queues, and names of those whose queues are full together. */
  readonly #full = new Set<SessionQueue | string>();
  #cascadeDropped = 0;

  constructor(options: QueuesOptions) {
    this.#options = options;
    const { limits } = options;
    this.#shares = new QueuedShares({ limits, onFull: (...full) => this.#reportFullShare(...full) });
    options.measures.traffic.fullQueues = 0;
  }

  /** @param existing - what the store has of it */
  ofClient(
    { identity, clientId, storedId }: Owner,
    mayReceive: (topic: string) => boolean,
    existing?: ExistingQueue,
  ): DeliveryQueue {
    const options = this.#options;
    const { store, limits, measures, log, clock } = options;
    // A client that does not read costs the others no more than this for each message.
    const queueFull = measures.dropped.of({ reason: 'queue_full' });
    const queue: DeliveryQueue = new DeliveryQueue(
      {
        stored: storedId === undefined ? undefined : { store, session: storedId },
        share: storedId === undefined ? undefined : this.#shares.of(identity),
        whenShareFull: () => options.queueFull,
        limits,
        clock,
        mayReceive,
        onDropped: (reason, dropped) => {
          if (reason === 'queue_full') queueFull.count++;
          else measures.dropped.inc({ reason });
          // A queue that overflows for hours must not fill the log as well.
          if (isWorthALine(dropped)) log.warn({ identity, clientId, reason, dropped }, 'message.dropped');
        },
        onFull: (isFull) => this.#reportFull({ identity, clientId, queue }, isFull),
      },
      existing,
    );
    return queue;
  }

  ofCascade({ identity, clientId }: Owner): UpQueue {
    const options = this.#options;
    const { store, limits, measures, log, clock } = options;
    const queue: UpQueue = new UpQueue({
      store: new UpStore(store),
      bounds: () => upBounds(options.cascadeQueue, limits),
      clock,
      onDropped: (reason, { message }) => {
        measures.dropped.inc({ reason });
        measures.cascade.dropped.inc({ reason });
        const dropped = ++this.#cascadeDropped;
        const fields = { topic: message.topic, reason, dropped };
        if (reason === 'hops_exceeded') log.error(fields, 'cascade.ring_ended');
        else if (isWorthALine(dropped)) log.error(fields, 'cascade.message_dropped');
      },
      onRefused: ({ message, bytes }, reason) => {
        measures.cascade.refused.inc({ reason });
        log.error({ topic: message.topic, bytes, reason }, 'cascade.message_set_aside');
      },
      onForgotten: ({ topic, bytes, reason }) => {
        measures.cascade.dropped.inc({ reason: 'set_aside_full' });
        log.error({ topic, bytes, reason }, 'cascade.set_aside_forgotten');
      },
      onFull: (isFull) => this.#reportFull({ identity, clientId, queue }, isFull),
    });
    return queue;
  }

  /** Its session is over: an alarm ends with it. */
  ended({ identity, clientId, queue }: Session): void {
    if (queue instanceof DeliveryQueue) queue.end();
    if (!this.#full.has(queue)) return;
    this.#options.log.info({ identity, clientId, reason: 'session_ended' }, 'queue.relieved');
    this.#markFull(queue, false);
  }

  /**
   * Its session is deleted, and its queue piece by piece: until then it counts, or who fills sessions and ends them would
   * be bounded by nothing.
   */
  deleted({ identity, storedId, queue: { messages, bytes } }: Session): void {
    if (storedId === undefined || !this.#options.store.isToBeForgotten(storedId)) return;
    const share = this.#shares.of(identity);
    share.add(messages, bytes);
    this.#remains.set(storedId, { share, messages, bytes });
  }

  /** Called every second. */
  sweep(): void {
    for (const [storedId, remains] of this.#remains) {
      if (this.#options.store.isToBeForgotten(storedId)) continue;
      this.#remains.delete(storedId);
      remains.share.end(remains);
    }
  }

  #reportFull(
    { identity, clientId, queue }: Pick<Session, 'identity' | 'clientId' | 'queue'>,
    isFull: boolean,
  ): void {
    const { log } = this.#options;
    const facts = { identity, clientId, queued: queue.messages, queuedBytes: queue.bytes };
    if (isFull) log.warn(facts, 'queue.full');
    else log.info(facts, 'queue.relieved');
    this.#markFull(queue, isFull);
  }

  #reportFullShare({ share, name, reason, messages, bytes }: FullShare, isFull: boolean): void {
    const { log } = this.#options;
    const facts = { [share]: name, reason, queued: messages, queuedBytes: bytes };
    if (isFull) log.warn(facts, 'queue.full');
    else log.info(facts, 'queue.relieved');
    this.#markFull(`${share} ${name}`, isFull);
  }

  #markFull(which: SessionQueue | string, isFull: boolean): void {
    if (isFull) this.#full.add(which);
    else this.#full.delete(which);
    this.#options.measures.traffic.fullQueues = this.#full.size;
  }
}

/** The first, the tenth, the hundredth, and so on. */
function isWorthALine(count: number): boolean {
  return count === 1 || (count % 10 === 0 && Number.isInteger(Math.log10(count)));
}
