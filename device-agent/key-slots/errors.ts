/** The one error that `key-slots/` throws: a stable code for programs, a sentence for people. */

export type KeySlotsErrorCode =
  | 'slots.malformed' // a file in the identity directory is not as it was written
  | 'slots.expired' // nothing is sealed or sent with certificates that have expired
  | 'slots.unproven' // new certificates did not pass their trial
  | 'slots.stopped'; // the agent ends; it goes on with the next start

export class KeySlotsError extends Error {
  override readonly name = 'KeySlotsError';
  readonly code: KeySlotsErrorCode;

  constructor(code: KeySlotsErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
