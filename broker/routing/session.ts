/** What the broker keeps of one client (MQTT 3.1.1 §4.1): its subscriptions, its queue, its QoS 2 identifiers. */
import type { BrokerLimits } from '../limits.ts';
import type { DeliveryQueue } from './delivery-queue.ts';
import type { Content, Qos, Terms } from './message.ts';
import type { Replay } from './replay.ts';
import type { SessionQueue } from './session-queue.ts';
import type { Will } from './wills.ts';

/** A live end of a session. */
export interface Client {
  /** Where its packets come from, for the log. */
  readonly address?: string | undefined;
  /** QoS 0: sent if the client takes it now; there is no second attempt. */
  sendNow(content: Content, terms: Terms): boolean;
  close(reason: string): void;
}

/** What was granted for one filter (MQTT 5 §3.8.3.1); MQTT 3.1.1 knows the QoS alone. */
export interface Subscription {
  readonly qos: Qos;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly identifier: number | undefined;
}

export interface Session {
  /** Common name of the verified certificate; sessions of two identities never meet, whatever their client ids. */
  readonly identity: string;
  readonly clientId: string;
  /** Row in the store; undefined for one that ends with its connection. */
  readonly storedId: number | undefined;
  /** By filter. */
  readonly subscriptions: Map<string, Subscription>;
  readonly queue: SessionQueue;
  /** QoS 2 messages received and not released yet. */
  readonly incoming: Set<number>;
  /** The cascade's session: gets the retain flag as published, and nothing that came from the upstream. */
  readonly isCascade: boolean;
  client: Client | undefined;
  /** What is retained and its client has yet to get. */
  replay: Replay | undefined;
  disconnectedMs: number | undefined;
  /** How long it outlives its connection (MQTT 5 §3.1.2.11.2), before the configured maximum. */
  expirySeconds: number;
  /** What is to be published if its client is lost, or was lost and may still come back. */
  will: Will | undefined;
}

/** One that a connection may serve; the cascade's is not. */
export type ClientSession = Session & { readonly queue: DeliveryQueue };

/** `\0` is in no client id [MQTT-1.5.3-2], so no pair of two can look like another pair. */
export function sessionKey(identity: string, clientId: string): string {
  return `${identity}\0${clientId}`;
}

/** The cascade's session belongs to no certificate: `$` is in no common name of the tree. */
export const cascadeIdentity = '$cascade';

/** As many seconds mean a session that does not expire by itself (MQTT 5 §3.1.2.11.2); so are the stored ones of 3.1.1. */
export const neverExpires = 0xffff_ffff;

/** The longest that a session may outlive its connection. */
export function sessionExpirySecondsMax({
  sessionExpiryDays,
}: Pick<BrokerLimits, 'sessionExpiryDays'>): number {
  return Math.min(sessionExpiryDays * 86_400, neverExpires - 1);
}

/** A session that nobody is connected to and that has nothing yet. */
export function newSession(
  identity: string,
  clientId: string,
  storedId: number | undefined,
): Omit<Session, 'queue' | 'isCascade'> {
  return {
    identity,
    clientId,
    storedId,
    subscriptions: new Map(),
    incoming: new Set(),
    client: undefined,
    replay: undefined,
    disconnectedMs: undefined,
    expirySeconds: 0,
    will: undefined,
  };
}
