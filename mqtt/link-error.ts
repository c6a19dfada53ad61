/** What can go wrong with a link for good; everything else is retried. */

export type LinkErrorCode =
  | 'mqtt.closed' // the caller closed the link, so the promise can no longer be kept
  | 'mqtt.backlog' // more publishes wait than `waitingMax`
  | 'mqtt.untrusted_broker' // the broker's certificate is not that of the broker named
  | 'mqtt.refused' // CONNACK with a return code other than 0
  | 'mqtt.protocol'; // the broker sent what MQTT does not allow

export class LinkError extends Error {
  override readonly name = 'LinkError';
  readonly code: LinkErrorCode;
  constructor(code: LinkErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
