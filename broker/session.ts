/** What the broker keeps of one client (MQTT 3.1.1 §4.1): its subscriptions, its queue, its QoS 2 identifiers. */
import type { DeliveryQueue } from './delivery-queue.ts';
import type { Qos } from './message.ts';

/** A live end of a session. */
export interface Client {
  /** QoS 0: sent if the client takes it now; there is no second attempt. */
  sendNow(topic: string, payload: Buffer, retain: boolean): boolean;
  close(reason: string): void;
}

export interface Session {
  /** Common name of the verified certificate; sessions of two identities never meet, whatever their client ids. */
  readonly identity: string;
  readonly clientId: string;
  /** Row in the store; undefined for a clean session. */
  readonly storedId: number | undefined;
  /** Granted QoS by filter. */
  readonly subscriptions: Map<string, Qos>;
  readonly queue: DeliveryQueue;
  /** QoS 2 messages received and not released yet. */
  readonly incoming: Set<number>;
  /** The cascade's session: gets the retain flag as published, and nothing that came from the upstream. */
  readonly isCascade: boolean;
  client: Client | undefined;
  disconnectedMs: number | undefined;
}

/** `\0` is in no client id [MQTT-1.5.3-2], so no pair of two can look like another pair. */
export function sessionKey(identity: string, clientId: string): string {
  return `${identity}\0${clientId}`;
}

/** The cascade's session belongs to no certificate: `$` is in no common name of the tree. */
export const cascadeIdentity = '$cascade';
