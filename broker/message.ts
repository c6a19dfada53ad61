/** A message on its way through the broker. The payload is sealed: the broker carries it and never looks inside. */

export type Qos = 0 | 1 | 2;

/** Where a message came from; what came from the upstream never goes up again. */
export type Origin = 'client' | 'upstream' | 'broker';

export interface Publication {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: Qos;
  readonly retain: boolean;
  readonly origin: Origin;
}

/** One payload that any number of queues share. */
export interface Message {
  /** Row in the store; 0 if no stored session waits for it. */
  readonly id: number;
  /** How many stored sessions it was queued for. */
  readonly storedTargets: number;
  readonly topic: string;
  readonly payload: Buffer;
}

export type DeliveryState =
  | 'queued' // not sent on this connection
  | 'sent' // waits for PUBACK or PUBREC
  | 'released'; // PUBREC came, waits for PUBCOMP; the message itself is no longer needed

/** One message in one session's queue. */
export interface Delivery {
  /** Order within the session; the packet identifier follows from it. */
  readonly sequence: number;
  readonly packetId: number;
  readonly qos: 1 | 2;
  readonly retain: boolean;
  readonly bytes: number;
  state: DeliveryState;
  message: Message | undefined;
  /** Whether the client may have seen it before. */
  duplicate: boolean;
}

/** Beyond its payload, a queued message costs about this much; so a bound on bytes also bounds empty messages. */
const messageOverheadBytes = 96;

export function messageBytes(topic: string, payload: Buffer): number {
  return messageOverheadBytes + topic.length + payload.length;
}
