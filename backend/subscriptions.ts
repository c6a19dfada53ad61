/** What a backend subscribes to, alone or as one of several that share the work, and in which sessions. */
import type { NamespacePath } from '../domain/namespace.ts';
import { levelOf } from '../domain/namespace.ts';
import { parseReleasedTopic, releasedTopic } from '../domain/release-topics.ts';
import type { LinkSubscription } from '../mqtt/client-packets.ts';
import { tlsCrlTopic } from '../pki/broker-lists.ts';
import { e2eCrlTopic } from '../pki/revocation-lists.ts';
import type { ReadsConfig, ShareConfig } from './config.ts';

/** A session on the broker. */
export interface BackendSession {
  readonly clientId: string;
  readonly subscriptions: readonly LinkSubscription[];
  /** Undefined: the session waits forever. */
  readonly expirySeconds: number | undefined;
}

/** Needed by each, whoever else there is: what is retained, and comes whenever it is subscribed [MQTT-3.8.4-3]. */
export function retainedSubscriptions(reads?: ReadsConfig): readonly LinkSubscription[] {
  // Whoever an owner shares with is granted no more than that takes.
  const filters =
    reads === undefined
      ? ['+/+/+/status', '+/broker/status', '+/+/+/certificates'] // the first of an account's broker too
      : reads.of.map((owner) => `${devicesOf(owner)}/certificates`);
  return [e2eCrlTopic, tlsCrlTopic, ...filters].map((filter) => ({ filter, qos: 1 }));
}

const snapshots = '+/+/+/snapshots';
/** Certificates and lists come by the other link, and count for both. */
const results = '+/+/+/commands/result';

export function snapshotSession(
  service: string,
  share: ShareConfig | undefined,
  reads?: ReadsConfig,
): BackendSession {
  const streams = streamsOf(reads).map((filter) => shared(filter, share));
  return sessionOf(service, share, [...retainedSubscriptions(reads), ...streams]);
}

/** Where the snapshots come by: of the main stream, or of a group's. */
function streamsOf(reads: ReadsConfig | undefined): string[] {
  if (reads === undefined) return [snapshots];
  const { group, of, released } = reads;
  return of.map((owner) => {
    const filter = `${devicesOf(owner)}/shared/${group}/snapshots`;
    return released ? releasedTopic(owner, filter) : filter;
  });
}

/** @returns the topic of the device, by which it was sealed, of one by which it was released */
export function sealedTopic(topic: string, { of, released }: ReadsConfig): string {
  if (!released) return topic;
  return of.map((owner) => parseReleasedTopic(owner, topic)).find((found) => found !== undefined) ?? topic;
}

function devicesOf(owner: NamespacePath): string {
  return `${owner}/${levelOf(owner) === 'account' ? '+' : '+/+'}`;
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
  reads?: ReadsConfig,
): BackendSession {
  const filters = kind === 'snapshots' ? streamsOf(reads) : [results];
  return {
    clientId: `backends-${share.group}-of-${service}`,
    subscriptions: filters.map((filter) => shared(filter, share)),
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
