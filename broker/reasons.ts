/** Why the broker refuses or denies: every reason that a counter and the log can have (docs/operations.md). */
import type { PkiErrorCode } from '../pki/errors.ts';
import type { WireFaultReason } from '../mqtt/packets/packet-body.ts';
import type { DenialReason } from './access/tacs.ts';
import type { ConnectRefusal } from './connection/connect-check.ts';
import type { BoundsFault } from './packets/topic-form.ts';
import type { HandshakeRefusal } from './quota/handshakes.ts';
import type { ShareRefusal } from './quota/shares.ts';
import type { PublishRefusal } from './routing/hub.ts';

export type RefusalReason =
  | HandshakeRefusal
  | PkiErrorCode
  | WireFaultReason
  | ConnectRefusal
  | BoundsFault
  | PublishRefusal
  | 'connections_max'
  | 'tls'
  | 'unavailable'
  | 'websocket_upgrade'
  | 'websocket_malformed'
  | 'websocket_timeout'
  | 'websocket_origin'
  | 'websocket_subprotocol'
  | 'payload_format_invalid'
  | 'receive_maximum'
  | 'incoming_qos2_max'
  | 'publish_rate';

/** A verdict on a certificate, which `pki/errors.ts` explains; all of them count as one kind here. */
type VerdictReason = PkiErrorCode;

/** What each means, for an operator. */
export const refusalMeanings: Readonly<Record<Exclude<RefusalReason, VerdictReason>, string>> = {
  connections_max: '`limits.connectionsMax` connections are open',
  handshaking_max: '`limits.handshakingMax` connections have not shown who they are yet',
  handshaking_per_address_max: 'half of these are from one address',
  handshakes_max: 'more than `limits.handshakesPerSecondMax` connections began in this second',
  handshakes_per_address_max: 'one address began more than `limits.handshakesPerAddressPerSecondMax`',
  tls: 'no TLS session: no certificate, one that OpenSSL does not accept, another protocol, or too slow',
  unavailable: 'the store failed, and nothing can be promised until it works again',
  websocket_upgrade: 'a request of HTTP on the WebSocket port that asks for none',
  websocket_malformed: 'a malformed request of HTTP, or for a WebSocket',
  websocket_timeout: 'no request for a WebSocket within `limits.connectSeconds`',
  websocket_origin: 'a page of a browser whose origin is not in `webSocketOrigins`',
  websocket_subprotocol: 'a WebSocket without the subprotocol `mqtt`',
  malformed_packet: 'not a packet of MQTT; a client with a fault, or an attack',
  protocol_error: 'a packet that MQTT 5 does not allow there, or twice',
  unexpected_packet: 'a packet that only a server sends, or that is not due, as a second CONNECT',
  packet_too_large: 'larger than `limits.packetBytesMax`, or a CONNECT than `limits.connectBytesMax`',
  unknown_protocol: 'a CONNECT that names another protocol than MQTT',
  unsupported_version: 'a CONNECT of another version than 3.1, 3.1.1 and 5',
  client_id_missing: 'a stored session of MQTT 3.1.1 needs a client id',
  client_id_too_long: 'longer than `limits.clientIdLengthMax`',
  authentication_method: 'MQTT 5 enhanced authentication: who a client is, its certificate says',
  will_denied: 'the identity may not publish to the topic of its will',
  will_topic_invalid: 'the topic of the will is none, or exceeds the bounds',
  will_malformed: 'the will says that it is text, and is not',
  sessions_max: '`limits.sessionsMax` sessions exist',
  sessions_per_identity_max: 'the identity has as many sessions as it may (`limits.perIdentity`)',
  sessions_per_account_max: 'its account has (`limits.perAccount`)',
  sessions_per_master_account_max: 'its master account has (`limits.perMasterAccount`)',
  connections_per_identity_max: 'the identity has as many connections as it may (`limits.perIdentity`)',
  connections_per_account_max: 'its account has (`limits.perAccount`)',
  connections_per_master_account_max: 'its master account has (`limits.perMasterAccount`)',
  subscriptions_max: 'more filters than `limits.subscriptionsPerSessionMax`',
  topic_too_long: 'longer than `limits.topicBytesMax`',
  topic_too_deep: 'more levels than `limits.topicLevelsMax`',
  payload_format_invalid: 'the publisher says that the payload is text, and it is not',
  queue_full: 'the stored queue of a receiver is full and `queueFull` is `refuse`: see who does not read',
  queued_per_identity_max:
    'the stored queues of a receiver hold as many messages as those of one identity may',
  queued_per_account_max: 'those of its account do (`limits.perAccount`)',
  queued_per_master_account_max: 'those of its master account do (`limits.perMasterAccount`)',
  queued_bytes_per_identity_max:
    'the stored queues of a receiver hold as many bytes as those of one identity may',
  queued_bytes_per_account_max: 'those of its account do',
  queued_bytes_per_master_account_max: 'those of its master account do',
  store_full: 'the store is full, or nearly: a message, or a new session, that would have to be stored',
  retained_max: '`limits.retainedMax` retained messages exist',
  retained_bytes_max: 'the retained messages have `limits.retainedBytesMax` bytes',
  retained_per_identity_max: 'the identity has as many retained messages as it may (`limits.perIdentity`)',
  retained_per_account_max: 'its account has (`limits.perAccount`)',
  retained_per_master_account_max: 'its master account has (`limits.perMasterAccount`)',
  retained_bytes_per_identity_max: 'the identity has as many bytes of retained messages as it may',
  retained_bytes_per_account_max: 'its account has',
  retained_bytes_per_master_account_max: 'its master account has',
  receive_maximum: 'more unacknowledged messages at once than MQTT 5 was told (`limits.incomingQos2Max`)',
  incoming_qos2_max: 'more QoS 2 messages without their release than `limits.incomingQos2Max`',
  publish_rate: 'faster than its share for `limits.overRateSeconds`, although it was held back',
};

/** Why a right was denied; a bound on subscriptions counts as one. */
export type DeniedReason =
  DenialReason | BoundsFault | 'subscriptions_max' | ShareRefusal<'subscriptions'> | 'store_full';

export const denialMeanings: Readonly<Record<DeniedReason, string>> = {
  no_right: "outside the identity's subtree and its role",
  malformed: 'not a topic filter',
  reserved: 'nobody publishes to what begins with `$`',
  unknown_identity: 'a common name that is neither a path nor a service',
  topic_too_long: 'longer than `limits.topicBytesMax`',
  topic_too_deep: 'more levels than `limits.topicLevelsMax`',
  store_full:
    'a new filter of a stored session while the store is full: what is retained could not be queued',
  subscriptions_max: 'the session has `limits.subscriptionsPerSessionMax` filters',
  subscriptions_per_identity_max: 'the identity has as many subscriptions as it may (`limits.perIdentity`)',
  subscriptions_per_account_max: 'its account has (`limits.perAccount`)',
  subscriptions_per_master_account_max: 'its master account has (`limits.perMasterAccount`)',
};
