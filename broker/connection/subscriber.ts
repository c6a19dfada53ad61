/** What one client subscribes to: each filter granted or refused for itself (MQTT 3.1.1 §3.8, MQTT 5 §3.8). */
import type { Log } from '../../runtime/log.ts';
import type { Hub } from '../routing/hub.ts';
import type { BrokerLimits } from '../limits.ts';
import type { Measures } from '../measures.ts';
import type { WireFault } from '../../mqtt/packets/packet-body.ts';
import { protocolError } from '../../mqtt/packets/packet-body.ts';
import type { SubscribePacket, SubscriptionRequest } from '../packets/packets.ts';
import { failureFrom, reasonCode } from '../packets/reason-codes.ts';
import type { ReasonCode } from '../packets/reason-codes.ts';
import type { RoleTable } from '../access/roles.ts';
import { boundsFault } from '../packets/topic-form.ts';
import type { BoundsFault } from '../packets/topic-form.ts';
import type { ShareRefusal } from '../quota/shares.ts';
import type { Session } from '../routing/session.ts';
import type { Sessions } from '../routing/sessions.ts';
import type { Store } from '../store/store.ts';
import type { DenialReason } from '../access/tacs.ts';
import { decideFilter, isShared } from '../access/shared-filter.ts';

export interface SubscriberContext {
  readonly store: Store;
  readonly sessions: Sessions;
  readonly hub: Hub;
  readonly roles: RoleTable;
  readonly limits: BrokerLimits;
  readonly measures: Measures;
  readonly log: Log;
}

type SubscriptionDenial =
  DenialReason | BoundsFault | 'subscriptions_max' | ShareRefusal<'subscriptions'> | 'store_full';

const denialCodes: Readonly<Record<SubscriptionDenial, ReasonCode>> = {
  malformed: reasonCode.topicFilterInvalid,
  topic_too_long: reasonCode.topicFilterInvalid,
  topic_too_deep: reasonCode.topicFilterInvalid,
  unknown_identity: reasonCode.notAuthorized,
  reserved: reasonCode.notAuthorized,
  no_right: reasonCode.notAuthorized,
  store_full: reasonCode.quotaExceeded,
  subscriptions_max: reasonCode.quotaExceeded,
  subscriptions_per_identity_max: reasonCode.quotaExceeded,
  subscriptions_per_account_max: reasonCode.quotaExceeded,
  subscriptions_per_master_account_max: reasonCode.quotaExceeded,
};

export interface Subscribed {
  /** The granted QoS, or why not, for each filter in order. */
  readonly codes: readonly number[];
  /** Sends what is retained; to be called once the answer is written. */
  readonly replay: () => void;
}

/** A filter that is not granted is neither kept nor stored, whatever else was asked for beside it. */
export function subscribe(
  session: Session,
  { subscriptions: asked, properties }: SubscribePacket,
  context: SubscriberContext,
): Subscribed | WireFault {
  const { hub } = context;
  if (asked.some(({ filter, noLocal }) => noLocal && isShared(filter))) {
    return protocolError('no local with a shared subscription'); // [MQTT-3.8.3-4]
  }
  const identifier = properties.subscriptionIdentifier;
  const replays: (() => void)[] = [];
  const codes = asked.map((request) => {
    const { filter, qos, noLocal, retainAsPublished, retainHandling } = request;
    const isNew = !session.subscriptions.has(filter);
    const subscription = { qos, noLocal, retainAsPublished, identifier };
    const code = grant(session, request, isNew, context);
    if (code >= failureFrom) return code;
    context.sessions.subscribe(session, filter, subscription);
    // [MQTT-3.3.1-9] to [MQTT-3.3.1-11]; §4.8.2: none for a shared one, for it would be for all of its members.
    if (isShared(filter)) return code;
    if (retainHandling === 0 || (retainHandling === 1 && isNew)) {
      replays.push(() => hub.replay(session, filter, subscription));
    }
    return code;
  });
  return { codes, replay: () => replays.forEach((replay) => replay()) };
}

/** @returns for each filter whether there was such a subscription [MQTT-3.10.4-4], [MQTT-3.11.3-2] */
export function unsubscribe(
  session: Session,
  filters: readonly string[],
  { sessions }: Pick<SubscriberContext, 'sessions'>,
): ReasonCode[] {
  return filters.map((filter) =>
    sessions.unsubscribe(session, filter) ? reasonCode.success : reasonCode.noSubscriptionExisted,
  );
}

function grant(
  session: Session,
  { filter, qos }: SubscriptionRequest,
  isNew: boolean,
  context: SubscriberContext,
): number {
  const { measures, log } = context;
  const { identity, clientId } = session;
  const reason = denialOf(session, filter, isNew, context);
  if (reason === undefined) return qos;
  measures.denials.inc({ action: 'subscribe', reason });
  const address = session.client?.address;
  log.warn({ identity, clientId, address, filter, reason }, 'subscription.denied');
  return denialCodes[reason];
}

function denialOf(
  { identity, subscriptions, storedId }: Session,
  filter: string,
  isNew: boolean,
  { store, sessions, roles, limits }: SubscriberContext,
): SubscriptionDenial | undefined {
  const fault = boundsFault(filter, limits);
  if (fault !== undefined) return fault;
  const decision = decideFilter(identity, filter, roles);
  if (!decision.allowed) return decision.reason;
  if (!isNew) return undefined;
  if (subscriptions.size >= limits.subscriptionsPerSessionMax) return 'subscriptions_max';
  // What is retained would have to be stored for it.
  if (storedId !== undefined && store.isFull) return 'store_full';
  return sessions.subscriptionRefusal(identity);
}
