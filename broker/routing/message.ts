/** A message on its way through the broker. The payload is sealed: the broker carries it and never looks inside. */

export type Qos = 0 | 1 | 2;

/** Where a message came from; what came from the upstream never goes up again. */
export type Origin = 'client' | 'upstream' | 'broker';

/** What a receiver gets, whichever way it came. */
export interface Content {
  readonly topic: string;
  readonly payload: Buffer;
  /** The properties of MQTT 5 that are passed on unaltered, as they stand in a packet; empty for most messages. */
  readonly properties: Buffer;
  /** When it is no longer worth sending, in milliseconds of the clock (MQTT 5 §3.3.2.3.3); undefined: never. */
  readonly expiresMs: number | undefined;
}

export interface Publication extends Content {
  readonly qos: Qos;
  readonly retain: boolean;
  readonly origin: Origin;
}

/** One payload that any number of queues share. */
export interface Message extends Content {
  /** Row in the store; 0 if no stored session waits for it. */
  readonly id: number;
  /** How many stored sessions it was queued for. */
  readonly storedTargets: number;
}

/** On which terms one receiver gets a message. */
export interface Terms {
  readonly qos: Qos;
  readonly retain: boolean;
  /** Subscription identifiers as properties of a packet [MQTT-3.3.4-3]; empty for none. */
  readonly identifiers: Buffer;
  /** The shared subscription that it comes from, whose other members get it if this session ends. */
  readonly share: string | undefined;
}

export type DeliveryState =
  | 'queued' // not sent on this connection
  | 'sent' // waits for PUBACK or PUBREC
  | 'released'; // PUBREC came, waits for PUBCOMP; the message itself is no longer needed

/** One message in one session's queue. */
export interface Delivery extends Terms {
  /** Order within the session; the packet identifier follows from it. */
  readonly sequence: number;
  readonly packetId: number;
  readonly qos: 1 | 2;
  readonly bytes: number;
  state: DeliveryState;
  message: Message | undefined;
  /** Whether the client may have seen it before. */
  duplicate: boolean;
}

export const noBytes = Buffer.alloc(0);

/** Beyond its payload, a queued message costs about this much; so a bound on bytes also bounds empty messages. */
const messageOverheadBytes = 96;

export function messageBytes({ topic, payload, properties }: Content): number {
  return messageOverheadBytes + topic.length + payload.length + properties.length;
}

/** @returns when a message that is taken over now and may wait so long has expired */
export function expiryOf(seconds: number | undefined, nowMs: number): number | undefined {
  return seconds === undefined ? undefined : nowMs + seconds * 1000;
}

export function isExpired({ expiresMs }: Content, nowMs: number): boolean {
  return expiresMs !== undefined && expiresMs < nowMs;
}
