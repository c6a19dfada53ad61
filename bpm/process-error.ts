/** What can be wrong with the files that the vendor edits, and with an instance that runs by them. */

export type ProcessErrorCode =
  | 'process.malformed' // not BPMN 2.0 XML, or too large
  | 'process.unsupported' // BPMN, but an element or an attribute that the engine does not run
  | 'process.invalid' // elements that it runs, wired so that they cannot
  | 'process.expression' // a condition that cannot be read, or names a variable that is not there
  | 'process.stuck' // an instance that cannot go on: no condition holds, or it turns in a circle
  | 'process.rules'; // a file of rules that cannot be read

export class ProcessError extends Error {
  override readonly name = 'ProcessError';
  readonly code: ProcessErrorCode;
  /** The id of the BPMN element at fault, where there is one. */
  readonly elementId: string | undefined;
  constructor(code: ProcessErrorCode, message: string, options?: ErrorOptions & { elementId?: string }) {
    super(message, options);
    this.code = code;
    this.elementId = options?.elementId;
  }
}
