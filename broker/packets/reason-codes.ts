/** The reason codes of MQTT 5 (§2.4), and which of them tells the peer why the broker ends a connection. */

export const reasonCode = {
  success: 0x00,
  disconnectWithWill: 0x04,
  noMatchingSubscribers: 0x10,
  noSubscriptionExisted: 0x11,
  malformedPacket: 0x81,
  protocolError: 0x82,
  unsupportedVersion: 0x84,
  clientIdentifierNotValid: 0x85,
  notAuthorized: 0x87,
  serverShuttingDown: 0x8b,
  badAuthenticationMethod: 0x8c,
  keepAliveTimeout: 0x8d,
  sessionTakenOver: 0x8e,
  topicFilterInvalid: 0x8f,
  topicNameInvalid: 0x90,
  packetIdentifierNotFound: 0x92,
  receiveMaximumExceeded: 0x93,
  topicAliasInvalid: 0x94,
  packetTooLarge: 0x95,
  messageRateTooHigh: 0x96,
  quotaExceeded: 0x97,
  administrativeAction: 0x98,
  payloadFormatInvalid: 0x99,
  useAnotherServer: 0x9c,
} as const;
export type ReasonCode = (typeof reasonCode)[keyof typeof reasonCode];

/** From here on a reason code says that something failed. */
export const failureFrom = 0x80;

const byReason: Readonly<Record<string, ReasonCode>> = {
  malformed_packet: reasonCode.malformedPacket,
  protocol_error: reasonCode.protocolError,
  unexpected_packet: reasonCode.protocolError,
  unsupported_version: reasonCode.unsupportedVersion,
  packet_too_large: reasonCode.packetTooLarge,
  publish_denied: reasonCode.notAuthorized,
  receive_maximum: reasonCode.receiveMaximumExceeded,
  topic_alias_invalid: reasonCode.topicAliasInvalid,
  topic_name_invalid: reasonCode.topicNameInvalid,
  payload_format_invalid: reasonCode.payloadFormatInvalid,
  subscriptions_max: reasonCode.quotaExceeded,
  queue_full: reasonCode.quotaExceeded,
  store_full: reasonCode.quotaExceeded,
  publish_rate: reasonCode.messageRateTooHigh,
  keep_alive_timeout: reasonCode.keepAliveTimeout,
  taken_over: reasonCode.sessionTakenOver,
  broker_stopping: reasonCode.serverShuttingDown,
  certificate_expired: reasonCode.administrativeAction,
};

/** @returns undefined where nobody is left to be told, or where it was the client that said goodbye */
export function reasonCodeOf(reason: string): ReasonCode | undefined {
  // A verdict of the certificate's verifier, as `pki.revoked`.
  if (reason.startsWith('pki.')) return reasonCode.administrativeAction;
  return byReason[reason];
}
