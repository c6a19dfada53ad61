/** What is retained under the filters that a client has subscribed to, sent as it takes it: it may be more than a queue holds. */
import type { Clock } from '../../domain/clock.ts';
import type { Content, Qos } from './message.ts';
import { isExpired, messageBytes } from './message.ts';
import type { RetainedMessages } from './retained.ts';
import type { Grant } from './routes.ts';
import { grantOf } from './routes.ts';
import type { Session, Subscription } from './session.ts';

export interface ReplayOptions {
  readonly retained: Pick<RetainedMessages, 'get' | 'matching'>;
  readonly mayReceive: (session: Session, topic: string) => boolean;
  /** Puts one into the session's queue. */
  readonly enqueue: (session: Session, content: Content, qos: 1 | 2, grant: Grant) => void;
  readonly clock: Clock;
  /** Runs it in a later turn. */
  readonly later: (work: () => void) => void;
}

interface Wanted {
  readonly subscription: Subscription;
  /** Of a stored session: what is before this topic is queued already; undefined: all that can be. */
  readonly unqueuedFrom: string | undefined;
}

interface Current {
  readonly filter: string;
  grant: Grant;
  readonly unqueuedFrom: string | undefined;
  /** In order. What is retained of each is looked up when its turn comes, for it may have changed by then. */
  readonly topics: readonly string[];
  at: number;
}

/** In the queue beyond what is on its way; the rest of the queue is for what is published meanwhile. */
const aheadMessages = 256;
/** What one call looks at before it lets others have their turn. */
const turnTopics = 4096;

export class Replay {
  readonly #session: Session;
  readonly #options: ReplayOptions;
  /** By filter; only the topics of one of them are in memory. */
  readonly #waiting = new Map<string, Wanted>();
  #current: Current | undefined;
  #isResting = false;

  constructor(session: Session, options: ReplayOptions) {
    this.#session = session;
    this.#options = options;
  }

  /** One that is under way comes to its end before it begins anew, however often it was asked for. */
  add(filter: string, wanted: Wanted): void {
    if (this.#current?.filter === filter) this.#current.grant = grantOf([wanted.subscription]);
    this.#waiting.set(filter, wanted);
    this.step();
  }

  /** Sends what there is room for. */
  step(): void {
    if (this.#isResting) return;
    for (let looked = 0; looked < turnTopics; looked++) {
      const current = this.#topical();
      if (current === undefined || !this.#send(current)) return;
      current.at++;
    }
    this.#isResting = true;
    this.#options.later(() => {
      this.#isResting = false;
      this.step();
    });
  }

  /** @returns the filter under way, or the next one */
  #topical(): Current | undefined {
    const { subscriptions, client } = this.#session;
    for (;;) {
      const current = this.#current;
      const isWanted = current !== undefined && client !== undefined && subscriptions.has(current.filter);
      if (isWanted && current.at < current.topics.length) return current;
      this.#current = undefined;
      const [next] = this.#waiting;
      if (next === undefined || client === undefined) return undefined;
      const [filter, { subscription, unqueuedFrom }] = next;
      this.#waiting.delete(filter);
      const topics = this.#options.retained.matching(filter).map(({ topic }) => topic);
      this.#current = { filter, grant: grantOf([subscription]), unqueuedFrom, topics, at: 0 };
    }
  }

  /** @returns false if there is no room: whatever makes some calls `step` */
  #send({ topics, at, grant, unqueuedFrom }: Current): boolean {
    const { retained, mayReceive, enqueue, clock } = this.#options;
    const session = this.#session;
    const content = retained.get(topics[at] ?? '');
    if (content === undefined || isExpired(content, clock())) return true;
    if (!mayReceive(session, content.topic)) return true;
    const qos: Qos = grant.qos < content.qos ? grant.qos : content.qos;
    if (qos === 0) {
      const terms = { qos, retain: true, identifiers: grant.identifiers, share: undefined };
      return session.client?.sendNow(content, terms) === true;
    }
    const isQueued = unqueuedFrom === undefined || content.topic < unqueuedFrom;
    if (session.storedId !== undefined && isQueued) return true; // at once, or a crash could lose it
    const { queue } = session;
    const isAhead =
      queue.messages - queue.inFlight >= aheadMessages || queue.isFullFor(messageBytes(content));
    if (isAhead && queue.messages > 0) return false;
    enqueue(session, content, qos, grant);
    return true;
  }
}
