/** The one error that `policy/` throws: why a policy, or somebody whom it names, is not taken. */

export type PolicyRefusalCode =
  | 'policy.unsigned_by_owner' // whoever signed it is not its issuer, or is no account
  | 'policy.foreign' // it is for somebody else
  | 'policy.rollback' // a lower number than the one that is held
  | 'policy.forked' // the number that is held, with another content
  | 'policy.not_yet_valid'
  | 'policy.expired'
  | 'policy.not_kept' // it could not be written to the disk
  | 'policy.damaged' // what was kept on the disk cannot be read
  | 'policy.unknown_recipient'; // nobody of that name is configured, or the certificate is another's

export class PolicyRefusal extends Error {
  readonly code: PolicyRefusalCode;

  constructor(code: PolicyRefusalCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'PolicyRefusal';
    this.code = code;
  }
}
