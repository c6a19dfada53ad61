/** What the stored queues of an identity hold together, of its account and of its master account: running sums, for every message asks. */
import type { BrokerLimits } from '../limits.ts';
import { FullAlarm } from '../routing/full-alarm.ts';
import type { Filling } from '../routing/full-alarm.ts';
import { holderOf, limitsOf, shareRefusal, shares } from './shares.ts';
import type { Share, ShareLimits, ShareRefusal } from './shares.ts';

export type QueuedRefusal = ShareRefusal<'queued'> | ShareRefusal<'queued_bytes'>;

/** Whose queues are full, and by which bound. */
export interface FullShare extends Filling {
  readonly share: Share;
  readonly name: string;
  readonly reason: QueuedRefusal;
}

type QueuedLimits = ShareLimits &
  Pick<
    BrokerLimits,
    'queuedMessagesMax' | 'queuedBytesMax' | 'memoryQueuedMessagesMax' | 'memoryQueuedBytesMax'
  >;

export interface QueuedSharesOptions {
  readonly limits: QueuedLimits;
  /** Something did not fit; and once more when there is room again. */
  readonly onFull: (full: FullShare, isFull: boolean) => void;
}

interface Sum {
  readonly share: Share;
  readonly name: string;
  messages: number;
  bytes: number;
  queues: number;
  /** While it is raised. */
  alarm: FullAlarm | undefined;
}

export class QueuedShares {
  readonly #options: QueuedSharesOptions;
  readonly #sums = new Map<string, Sum>();

  constructor(options: QueuedSharesOptions) {
    this.#options = options;
  }

  /** How many sums there are. */
  get size(): number {
    return this.#sums.size;
  }

  /** One more queue of an identity begins, looked up once. */
  of(identity: string): QueuedShare {
    const holder = holderOf(identity);
    const sums: Sum[] = [];
    for (const share of shares) {
      const name = holder[share];
      if (name === undefined) continue;
      const key = `${share} ${name}`;
      let sum = this.#sums.get(key);
      if (sum === undefined) {
        sum = { share, name, messages: 0, bytes: 0, queues: 0, alarm: undefined };
        this.#sums.set(key, sum);
      }
      sum.queues++;
      sums.push(sum);
    }
    return new QueuedShare(sums, this.#options, () => this.#end(sums));
  }

  #end(sums: readonly Sum[]): void {
    for (const sum of sums) if (--sum.queues === 0) this.#sums.delete(`${sum.share} ${sum.name}`);
  }
}

/** What one queue counts for. */
export class QueuedShare {
  readonly #sums: readonly Sum[];
  readonly #options: QueuedSharesOptions;
  readonly #onEnd: () => void;

  constructor(sums: readonly Sum[], options: QueuedSharesOptions, onEnd: () => void) {
    this.#sums = sums;
    this.#options = options;
    this.#onEnd = onEnd;
  }

  add(messages: number, bytes: number): void {
    for (const sum of this.#sums) {
      sum.messages += messages;
      sum.bytes += bytes;
      if (sum.alarm !== undefined && messages < 0) this.#lower(sum, sum.alarm);
    }
  }

  /** Whether the queue may have one more message. @param own - what it has */
  hasRoomFor(bytes: number, own: Filling): boolean {
    return this.#exceeded(bytes, own) === undefined;
  }

  /** A message did not fit: an alarm, until there is room again. @returns whose bound it would exceed */
  raise(bytes: number, own: Filling): QueuedRefusal | undefined {
    const sum = this.#exceeded(bytes, own);
    if (sum === undefined) return undefined;
    const { share, name } = sum;
    const isMany = sum.messages >= messagesMax(this.#options.limits, share);
    const reason = shareRefusal(isMany ? 'queued' : 'queued_bytes', share);
    sum.alarm ??= new FullAlarm((isFull) => {
      this.#options.onFull({ share, name, reason, messages: sum.messages, bytes: sum.bytes }, isFull);
    });
    sum.alarm.raise();
    return reason;
  }

  /** The queue is no more. @param own - what it had */
  end({ messages, bytes }: Filling): void {
    this.add(-messages, -bytes);
    this.#onEnd();
  }

  #exceeded(bytes: number, own: Filling): Sum | undefined {
    const { limits } = this.#options;
    for (const sum of this.#sums) {
      const { share } = sum;
      if (sum.messages < messagesMax(limits, share) && sum.bytes + bytes <= bytesMax(limits, share)) continue;
      if (share === 'identity' && isSmall(own, bytes, limits)) continue;
      return sum;
    }
    return undefined;
  }

  #lower(sum: Sum, alarm: FullAlarm): void {
    const { limits } = this.#options;
    const { share } = sum;
    const most = () => ({ messages: messagesMax(limits, share), bytes: bytesMax(limits, share) });
    if (alarm.lower(sum, most)) sum.alarm = undefined;
  }
}

/** All queues of an identity may have what one may; those of an account what they like, unless it is set. */
function messagesMax(limits: QueuedLimits, share: Share): number {
  const own = limitsOf(limits, share).queuedMessagesMax;
  return own ?? (share === 'identity' ? limits.queuedMessagesMax : Infinity);
}

function bytesMax(limits: QueuedLimits, share: Share): number {
  const own = limitsOf(limits, share).queuedBytesMax;
  return own ?? (share === 'identity' ? limits.queuedBytesMax : Infinity);
}

/**
 * Whether a queue holds no more than a clean session's may: then whatever its siblings have left unread does not stop it,
 * or one client that is away would stop the others of its name. There are only so many sessions of one identity; of one
 * account there are too many for that.
 */
function isSmall(
  { messages, bytes }: Filling,
  more: number,
  { memoryQueuedMessagesMax, memoryQueuedBytesMax }: QueuedLimits,
): boolean {
  return messages < memoryQueuedMessagesMax && bytes + more <= memoryQueuedBytesMax;
}
