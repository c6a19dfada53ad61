/** The one error that `enrolment/` throws: a stable code for programs, a sentence for people. */

export type EnrolmentErrorCode =
  | 'enrolment.malformed_token' // not an invitation, or one that does not fit together
  | 'enrolment.untrusted' // a message that is not by whom it must be
  | 'enrolment.refused' // whoever certifies said no
  | 'enrolment.unanswered' // no answer came in time
  | 'enrolment.wrong_reply' // an answer whose certificates are not for our keys, or not for our name
  | 'enrolment.wrong_directory'; // keys of another identity are there

export class EnrolmentError extends Error {
  readonly code: EnrolmentErrorCode;

  constructor(code: EnrolmentErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'EnrolmentError';
    this.code = code;
  }
}
