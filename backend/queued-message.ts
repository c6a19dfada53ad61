/** A message with an envelope, from the broker until it is acknowledged. */
import type { SealedMessage } from './decryptor.ts';

export interface QueuedMessage extends SealedMessage {
  /** Called when what it led to is committed, whether it was taken or refused. */
  readonly acknowledge: () => void;
  /** Why it is a dead letter already: if it is refused for the same reason again there is nothing to write. */
  readonly putAsideFor?: string;
}
