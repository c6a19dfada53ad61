/** What a node decides on: when the state is opened here, and when nobody gets an answer from it any more. */
import type { BrokerError } from '../errors.ts';
import type { Journal } from '../store/journal.ts';
import type { Confirm } from '../store/turn.ts';

export interface Leadership {
  readonly journal: Journal;
  readonly confirm: Confirm;
}

/** The state and its clients, as far as a node decides on their life. */
export interface Led {
  /** Opens the state. @throws BrokerError if it cannot be opened */
  lead(leadership: Leadership, onFailure: (error: BrokerError) => void): void;
  /** Reads nothing from anybody until `false`. */
  hold(isHeld: boolean): void;
  /** Closes everybody after the last answer. */
  retire(): Promise<void>;
  /** Closes everybody at once: no answer would be true. */
  abandon(reason: BrokerError): void;
}
