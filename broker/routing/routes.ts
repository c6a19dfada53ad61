/** Who gets the messages of one topic, and on which terms; worked out once until a subscription changes. */
import { filterCovers } from '../../domain/topic.ts';
import type { Qos, Terms } from './message.ts';
import { noBytes } from './message.ts';
import { subscriptionIdentifierProperties } from '../../mqtt/packets/property-writer.ts';
import type { Session, Subscription } from './session.ts';

/** What the subscriptions of one session that match a topic grant together. */
export interface Grant {
  readonly qos: Qos;
  readonly retainAsPublished: boolean;
  /** As properties of a packet. */
  readonly identifiers: Buffer;
  /** The filter, if it is a shared one. */
  readonly share: string | undefined;
  /** By QoS, what a message without the retain flag is sent with: made once, for most messages have no other terms. */
  readonly plain: readonly [Terms, Terms, Terms];
}

export interface Route {
  readonly session: Session;
  readonly grant: Grant;
  /** Of what the session published itself; undefined if it wants none of that [MQTT-3.8.3-3]. */
  readonly ownGrant: Grant | undefined;
  /** Where a full queue refuses publishers, this one does; otherwise the session misses the message. */
  readonly isWaitedFor: boolean;
}

/** @returns the route to a session that has at least one subscription which matches */
export function routeTo(session: Session, topic: string, isWaitedFor: boolean): Route {
  const matching = [...session.subscriptions]
    .filter(([filter]) => filterCovers(filter, topic))
    .map(([, subscription]) => subscription);
  const own = matching.filter(({ noLocal }) => !noLocal);
  const grant = grantOf(matching);
  const ownGrant = own.length === matching.length ? grant : own.length === 0 ? undefined : grantOf(own);
  return { session, grant, ownGrant, isWaitedFor };
}

/**
 * [MQTT-3.3.5-1], [MQTT-3.3.4-2]: of overlapping subscriptions the highest QoS counts, and one copy is sent, which
 * carries the identifiers of all of them [MQTT-3.3.4-3].
 */
export function grantOf(subscriptions: readonly Subscription[], share?: string): Grant {
  const numbers = subscriptions.flatMap(({ identifier }) => (identifier === undefined ? [] : [identifier]));
  const identifiers = numbers.length === 0 ? noBytes : subscriptionIdentifierProperties(numbers);
  const plain = (qos: Qos): Terms => ({ qos, retain: false, identifiers, share });
  return {
    qos: Math.max(0, ...subscriptions.map(({ qos }) => qos)) as Qos,
    retainAsPublished: subscriptions.some(({ retainAsPublished }) => retainAsPublished),
    identifiers,
    share,
    plain: [plain(0), plain(1), plain(2)],
  };
}
