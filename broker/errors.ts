/** What a caller of the broker's parts must branch on. */

export type BrokerErrorCode =
  | 'broker.store_failed' // the durable state could not be read or written
  | 'broker.store_full' // there was no room to write it
  | 'broker.store_damaged' // what the file holds is not what was written
  | 'broker.store_locked' // another process has the data directory open
  | 'broker.store_too_new' // written by a later version
  | 'broker.cascade_denied' // the configuration asks the cascade to carry what its certificate may not
  | 'broker.cascade_mapping' // the configuration leaves open under which topic something arrives
  | 'broker.expected_session' // the configuration expects a session to read what its identity may not
  | 'broker.front_failed' // a process that was to serve connections ended or cannot listen
  | 'broker.cluster_refused' // Redis, or what it or the data directory holds, is not what a cluster needs
  | 'broker.cluster_fenced' // another node is active by now
  | 'broker.not_reached' // a command did not get through to the broker that it was for
  | 'broker.needs_restart' // a reload wants to change what only a start can
  | 'broker.wrong_identity'; // the broker's own certificate is of no use for a listener

export class BrokerError extends Error {
  override readonly name = 'BrokerError';
  readonly code: BrokerErrorCode;
  constructor(code: BrokerErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
