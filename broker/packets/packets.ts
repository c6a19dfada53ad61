/** The packets that a client sends, as the broker sees them: checked, and the same for every version of MQTT. */
import type { Qos } from '../routing/message.ts';
import type { Properties } from '../../mqtt/packets/properties.ts';

/** 3: MQTT 3.1; 4: MQTT 3.1.1; 5: MQTT 5. */
export type ProtocolVersion = 3 | 4 | 5;

export interface WillPacket {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: Qos;
  readonly retain: boolean;
  readonly properties: Properties;
}

export interface ConnectPacket {
  readonly type: 'connect';
  readonly version: ProtocolVersion;
  /** Clean session, or clean start. */
  readonly clean: boolean;
  /** 0: none. */
  readonly keepAliveSeconds: number;
  readonly clientId: string;
  readonly will: WillPacket | undefined;
  readonly properties: Properties;
}

export interface PublishPacket {
  readonly type: 'publish';
  /** Empty if a topic alias stands for it. */
  readonly topic: string;
  /** A slice of the chunk that was read. */
  readonly payload: Buffer;
  readonly qos: Qos;
  readonly retain: boolean;
  readonly duplicate: boolean;
  /** 0 for QoS 0. */
  readonly packetId: number;
  readonly properties: Properties;
}

export type AcknowledgementType = 'puback' | 'pubrec' | 'pubrel' | 'pubcomp';

export interface AcknowledgementPacket {
  readonly type: AcknowledgementType;
  readonly packetId: number;
  /** 0 in MQTT 3.1.1. */
  readonly reasonCode: number;
}

export interface SubscriptionRequest {
  readonly filter: string;
  readonly qos: Qos;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: RetainHandling;
}

/** 0: what is retained is sent; 1: only to a new subscription; 2: never (MQTT 5 §3.8.3.1). */
export type RetainHandling = 0 | 1 | 2;

export interface SubscribePacket {
  readonly type: 'subscribe';
  readonly packetId: number;
  readonly subscriptions: readonly SubscriptionRequest[];
  readonly properties: Properties;
}

export interface UnsubscribePacket {
  readonly type: 'unsubscribe';
  readonly packetId: number;
  readonly filters: readonly string[];
}

export interface DisconnectPacket {
  readonly type: 'disconnect';
  readonly reasonCode: number;
  readonly properties: Properties;
}

export type IncomingPacket =
  | ConnectPacket
  | PublishPacket
  | AcknowledgementPacket
  | SubscribePacket
  | UnsubscribePacket
  | { readonly type: 'pingreq' }
  | DisconnectPacket
  | { readonly type: 'auth' };
