/** What the hub and the sessions ask of a queue, whoever takes from it. */
import type { QueuedRefusal } from '../quota/queued-shares.ts';
import type { Delivery, Message, Terms } from './message.ts';

/** By its own bound, or by one of all the queues of its identity, account or master account. */
export type FullReason = 'queue_full' | QueuedRefusal;

export interface SessionQueue {
  /** Unacknowledged messages, those in flight included. */
  readonly messages: number;
  readonly bytes: number;
  readonly inFlight: number;
  /** The last sequence that the client may have seen; undefined while nobody knows. */
  readonly lastSent: number | undefined;
  /** What happens then; undefined: as the broker is configured. */
  readonly whenFull: 'refuse' | 'drop-oldest' | undefined;
  /** Whether one more message would exceed a bound. */
  isFullFor(bytes: number): boolean;
  /** A message did not fit: an alarm, until there is room again. @returns by which bound */
  raiseFull(bytes: number): FullReason;
  /** Appends a message, dropping the oldest that wait if it has to. @returns false if the message itself was dropped */
  enqueue(message: Message, qos: 1 | 2, terms: Terms): boolean;
  /** Sends what there is room for. */
  pump(): void;
  /** The client is gone. */
  detach(): void;
  /** Lets go of what has expired among the oldest `limit` messages of a stored queue whose client is away. */
  dropExpired(nowMs: number, limit: number): void;
  /** Of a queue in memory, what came through shared subscriptions and may go to another member, in order. */
  shared(): Delivery[];
  /** Of a stored one, up to where its client may have seen the messages. */
  readonly seenUpTo: number;
}
