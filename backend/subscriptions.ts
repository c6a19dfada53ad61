/** What a backend subscribes to, alone or as one of several that share the work, and in which sessions. */
import type { LinkSubscription } from '../mqtt/client-packets.ts';
import { e2eCrlTopic } from '../pki/revocation-lists.ts';
import type { ShareConfig } from './config.ts';

/** A session on the broker. */
export interface BackendSession {
  readonly clientId: string;
  readonly subscriptions: readonly LinkSubscription[];
  /** Undefined: the session waits forever. */
  readonly expirySeconds: number | undefined;
}

/** Needed by each, whoever else there is: what is retained, and comes whenever it is subscribed [MQTT-3.8.4-3]. */
export const retainedSubscriptions: readonly LinkSubscription[] = [
  { filter: e2eCrlTopic, qos: 1 },
  { filter: '+/+/+/status', qos: 1 }, // also of an account's broker
  { filter: '+/broker/status', qos: 1 },
  { filter: '+/+/+/certificates', qos: 1 },
];
const snapshots = '+/+/+/snapshots';
/** Certificates and lists come by the other link, and count for both. */
const results = '+/+/+/commands/result';

export function snapshotSession(service: string, share: ShareConfig | undefined): BackendSession {
  return sessionOf(service, share, [...retainedSubscriptions, shared(snapshots, share)]);
}

export function commandSession(service: string, share: ShareConfig | undefined): BackendSession {
  return sessionOf(service, share, [shared(results, share)]);
}

/**
 * The session of nobody, which never expires: while all who share are away it gets what the group is sent, and what their own
 * sessions leave when they expire. Whoever is there looks into it now and then.
 */
export function restSession(
  kind: 'snapshots' | 'results',
  service: string,
  share: ShareConfig,
): BackendSession {
  const filter = kind === 'snapshots' ? snapshots : results;
  return {
    clientId: `backends-${share.group}-of-${service}`,
    subscriptions: [shared(filter, share)],
    expirySeconds: undefined,
  };
}

function sessionOf(
  service: string,
  share: ShareConfig | undefined,
  subscriptions: readonly LinkSubscription[],
): BackendSession {
  // Ours tells sessions of one name apart by their identities; other brokers do not [MQTT-3.1.4-2].
  const clientId = `backend-of-${service}`;
  if (share === undefined) return { clientId, subscriptions, expirySeconds: undefined };
  return { clientId: `${clientId}-${share.instance}`, subscriptions, expirySeconds: share.takeoverSeconds };
}

/** Under a name with which our broker gives a topic to one of them for as long as it is there (`broker/routing/share-groups.ts`). */
function shared(filter: string, share: ShareConfig | undefined): LinkSubscription {
  return { filter: share === undefined ? filter : `$share/by-topic-${share.group}/${filter}`, qos: 1 };
}
