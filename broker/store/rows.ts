/** What the tables hold, as the broker knows it. */
import { bytesOf } from '../../runtime/sqlite-file.ts';
import type { Content, Origin, Qos } from '../routing/message.ts';
import { noBytes } from '../routing/message.ts';
import type { Subscription } from '../routing/session.ts';
import type { QueuedDelivery } from './unwritten.ts';

export type Row = Readonly<Record<string, unknown>>;

export interface StoredSession {
  readonly id: number;
  readonly identity: string;
  readonly clientId: string;
  /** Undefined: was connected when the broker stopped. */
  readonly disconnectedMs: number | undefined;
  readonly expirySeconds: number;
  /** The last sequence that its client may have seen; undefined if nobody knows. */
  readonly lastSent: number | undefined;
}

export interface StoredSubscription {
  readonly session: number;
  readonly filter: string;
  readonly subscription: Subscription;
}

export interface StoredDelivery extends QueuedDelivery {
  readonly released: boolean;
  readonly message: (Content & { readonly id: number; readonly pending: number }) | undefined;
}

export interface ExpiredDelivery {
  readonly sequence: number;
  readonly bytes: number;
  readonly message: number;
  readonly pending: number;
}

/** The queue of a session that has ended, as long as others may get something of it. */
export interface LeavingQueue {
  readonly session: number;
  readonly identity: string;
  /** The last sequence that its client may have seen. */
  readonly seenUpTo: number;
}

export interface StoredRetained extends Content {
  readonly qos: Qos;
  readonly origin: Origin;
}

/** A will, while its client is connected or may still come back. */
export interface StoredWill extends Omit<Content, 'expiresMs'> {
  readonly identity: string;
  readonly clientId: string;
  readonly qos: Qos;
  readonly retain: boolean;
  readonly expirySeconds: number | undefined;
  readonly delaySeconds: number;
  /** Undefined: was connected when the broker stopped. */
  readonly dueMs: number | undefined;
  /** PEM of the certificates that were verified at `connectedMs`. */
  readonly chain: string;
  readonly connectedMs: number;
}

export interface QueueSize {
  readonly session: number;
  readonly messages: number;
  readonly bytes: number;
  readonly lastSequence: number;
}

export function sessionOf(row: Row): StoredSession {
  return {
    id: Number(row['id']),
    identity: String(row['identity']),
    clientId: String(row['client_id']),
    disconnectedMs: optionalNumber(row['disconnected_ms']),
    expirySeconds: Number(row['expiry_seconds']),
    lastSent: optionalNumber(row['last_sent']),
  };
}

export function subscriptionOf(row: Row): StoredSubscription {
  return {
    session: Number(row['session']),
    filter: String(row['filter']),
    subscription: {
      qos: qosOf(row['qos']),
      noLocal: row['no_local'] === 1,
      retainAsPublished: row['retain_as_published'] === 1,
      identifier: optionalNumber(row['identifier']),
    },
  };
}

export function deliveryOf(row: Row): StoredDelivery {
  return {
    sequence: Number(row['sequence']),
    qos: row['qos'] === 2 ? 2 : 1,
    retain: row['retain'] === 1,
    bytes: Number(row['bytes']),
    released: row['released'] === 1,
    identifiers: bytesOrNone(row['identifiers']),
    share: typeof row['share'] === 'string' ? row['share'] : undefined,
    message:
      row['id'] === null
        ? undefined
        : {
            id: Number(row['id']),
            topic: String(row['topic']),
            payload: bytesOf(row['payload']),
            pending: Number(row['pending']),
            properties: bytesOrNone(row['properties']),
            expiresMs: optionalNumber(row['expires_ms']),
          },
  };
}

export function expiredDeliveryOf(row: Row): ExpiredDelivery {
  return {
    sequence: Number(row['sequence']),
    bytes: Number(row['bytes']),
    message: Number(row['id']),
    pending: Number(row['pending']),
  };
}

export function leavingQueueOf(row: Row): LeavingQueue {
  return {
    session: Number(row['session']),
    identity: String(row['identity']),
    seenUpTo: Number(row['seen_up_to']),
  };
}

export function queueSizeOf(row: Row): QueueSize {
  return {
    session: Number(row['session']),
    messages: Number(row['messages']),
    bytes: Number(row['bytes']),
    lastSequence: Number(row['last_sequence']),
  };
}

export function retainedOf(row: Row): StoredRetained {
  return {
    topic: String(row['topic']),
    payload: bytesOf(row['payload']),
    qos: qosOf(row['qos']),
    origin: row['origin'] === 'upstream' ? 'upstream' : 'client',
    properties: bytesOrNone(row['properties']),
    expiresMs: optionalNumber(row['expires_ms']),
  };
}

export function willOf(row: Row): StoredWill {
  return {
    identity: String(row['identity']),
    clientId: String(row['client_id']),
    topic: String(row['topic']),
    payload: bytesOf(row['payload']),
    qos: qosOf(row['qos']),
    retain: row['retain'] === 1,
    properties: bytesOf(row['properties']),
    expirySeconds: optionalNumber(row['expiry_seconds']),
    delaySeconds: Number(row['delay_seconds']),
    dueMs: optionalNumber(row['due_ms']),
    chain: String(row['chain']),
    connectedMs: Number(row['connected_ms']),
  };
}

/** A row without it is shorter. */
export function orNull(bytes: Buffer): Buffer | null {
  return bytes.length === 0 ? null : bytes;
}

function bytesOrNone(value: unknown): Buffer {
  return value === null ? noBytes : bytesOf(value);
}

function qosOf(value: unknown): Qos {
  return value === 2 ? 2 : value === 1 ? 1 : 0;
}

function optionalNumber(value: unknown): number | undefined {
  return value === null ? undefined : Number(value);
}
