/**
 * Shared subscriptions: each message goes to one of the sessions that share a filter (MQTT 5 §4.8.2). Under a name that begins
 * with `by-topic` all messages of a topic go to one of them for as long as it is there, so they keep their order.
 */
import { createHash } from 'node:crypto';
import type { BrokerLimits } from '../limits.ts';
import type { Qos } from './message.ts';
import type { Grant } from './routes.ts';
import { grantOf } from './routes.ts';
import type { FullReason } from './session-queue.ts';
import type { Session } from './session.ts';
import { sessionExpirySecondsMax } from './session.ts';
import { innerFilter } from '../access/shared-filter.ts';
import { SubscriptionTree } from './subscription-tree.ts';

export interface ShareTarget {
  readonly session: Session;
  readonly grant: Grant;
}

interface ShareGroupsOptions {
  readonly limits: Pick<BrokerLimits, 'sessionExpiryDays'>;
}

/**
 * The sessions of one identity that share one filter under one name. Two identities never share, whatever the name:
 * who has the right to read would otherwise take the messages away from another who has it too.
 */
export class ShareGroup {
  readonly identity: string;
  /** With `$share` and the name. */
  readonly filter: string;
  readonly #options: ShareGroupsOptions;
  readonly #isByTopic: boolean;
  readonly #members: Session[] = [];
  /** The first to come is the first to be served. */
  #turn = -1;

  constructor(identity: string, filter: string, options: ShareGroupsOptions) {
    this.#options = options;
    this.identity = identity;
    this.filter = filter;
    this.#isByTopic = filter.startsWith(byTopicPrefix);
  }

  get isEmpty(): boolean {
    return this.#members.length === 0;
  }

  add(session: Session): void {
    if (!this.#members.includes(session)) this.#members.push(session);
  }

  remove(session: Session): void {
    const place = this.#members.indexOf(session);
    if (place >= 0) this.#members.splice(place, 1);
  }

  /**
   * Whose turn it is: of those that can keep a message best, the one with the fewest unacknowledged, in turn. One with
   * a queue on disk keeps it over a crash of the broker, and one that is away may come back. By topic, it is the one whose
   * turn it always is; when a member comes or goes, only topics of that member move. One whose session lasts as long as
   * any may is there for what the others leave: it comes and goes, and no topic moves.
   *
   * @returns undefined if nobody can take it now
   */
  pick(qos: Qos, bytes: number, topic: string): ShareTarget | undefined {
    let best: Session | undefined;
    let bestRank = 0;
    this.#turn++;
    for (let index = 0; index < this.#members.length; index++) {
      const session = this.#members[(this.#turn + index) % this.#members.length];
      if (session === undefined) continue;
      const rank = this.#rank(session, qos, bytes);
      const isBetter = rank > bestRank || (rank === bestRank && this.#isPreferred(session, best, topic));
      if (rank === 0 || !isBetter) continue;
      best = session;
      bestRank = rank;
    }
    return best === undefined ? undefined : { session: best, grant: this.#grantOf(best) };
  }

  /** Whether somebody is there who would get it, had his queue room. */
  isWaitedFor(qos: Qos): boolean {
    return this.#members.some((session) => session.client !== undefined || this.#keeps(session, qos));
  }

  /** Nobody could take it: those that are full give the alarm. @returns by which bound one of them is */
  raiseFull(bytes: number): FullReason {
    let reason: FullReason = 'queue_full';
    for (const { queue } of this.#members) if (queue.isFullFor(bytes)) reason = queue.raiseFull(bytes);
    return reason;
  }

  /** 0: not at all. */
  #rank(session: Session, qos: Qos, bytes: number): 0 | 1 | 2 | 3 {
    const keeps = this.#keeps(session, qos);
    if (session.client === undefined && !keeps) return 0;
    if (qos > 0 && session.queue.isFullFor(bytes)) return 0;
    if (session.client === undefined) return 1;
    return keeps && !(this.#isByTopic && this.#isLasting(session)) ? 3 : 2;
  }

  #isPreferred(session: Session, than: Session | undefined, topic: string): boolean {
    if (!this.#isByTopic) return isLessLoaded(session, than);
    return than === undefined || weightOf(session, topic) > weightOf(than, topic);
  }

  #isLasting({ expirySeconds }: Session): boolean {
    return expirySeconds >= sessionExpirySecondsMax(this.#options.limits);
  }

  #keeps(session: Session, qos: Qos): boolean {
    if (qos === 0 || session.storedId === undefined) return false;
    return (session.subscriptions.get(this.filter)?.qos ?? 0) > 0;
  }

  #grantOf(session: Session): Grant {
    const subscription = session.subscriptions.get(this.filter);
    return grantOf(subscription === undefined ? [] : [subscription], this.filter);
  }
}

const byTopicPrefix = '$share/by-topic';

/** Rendezvous hashing (Thaler and Ravishankar, 1998): the same for the same member and topic, whoever else there is. */
function weightOf({ clientId }: Session, topic: string): number {
  return createHash('sha256').update(`${clientId}\0${topic}`).digest().readUIntBE(0, 6);
}

function isLessLoaded(session: Session, than: Session | undefined): boolean {
  return than === undefined || session.queue.messages < than.queue.messages;
}

export class ShareGroups {
  readonly #options: ShareGroupsOptions;
  readonly #byKey = new Map<string, ShareGroup>();
  readonly #tree = new SubscriptionTree<ShareGroup>();

  constructor(options: ShareGroupsOptions) {
    this.#options = options;
  }

  find(identity: string, filter: string): ShareGroup | undefined {
    return this.#byKey.get(keyOf(identity, filter));
  }

  join(session: Session, filter: string): void {
    let group = this.find(session.identity, filter);
    if (group === undefined) {
      group = new ShareGroup(session.identity, filter, this.#options);
      this.#byKey.set(keyOf(session.identity, filter), group);
      this.#tree.add(innerFilter(filter) ?? '', group);
    }
    group.add(session);
  }

  leave(session: Session, filter: string): void {
    const group = this.find(session.identity, filter);
    group?.remove(session);
    if (group?.isEmpty !== true) return;
    this.#byKey.delete(keyOf(session.identity, filter));
    this.#tree.remove(innerFilter(filter) ?? '', group);
  }

  matching(topic: string): ShareGroup[] {
    return this.#tree.match(topic);
  }
}

/** `\0` is in no common name and in no filter. */
function keyOf(identity: string, filter: string): string {
  return `${identity}\0${filter}`;
}
