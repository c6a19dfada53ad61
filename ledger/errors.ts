/** The one error that `ledger/` throws. */

export type LedgerErrorCode =
  | 'ledger.malformed' // bytes that are no ledger, leaf, tree head or proof
  | 'ledger.damaged' // it is not what was written: something of it was changed or is gone
  | 'ledger.in_use' // another process writes to it
  | 'ledger.storage'; // the disk is full or broken

export class LedgerError extends Error {
  readonly code: LedgerErrorCode;

  constructor(code: LedgerErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'LedgerError';
    this.code = code;
  }
}
