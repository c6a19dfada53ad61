/** PEM files that an operator named: whatever is wrong with one, the message begins with its name. */
import { readFileSync } from 'node:fs';
import { describeSystemError } from '../runtime/config.ts';
import { PkiError } from './errors.ts';

/** @throws PkiError `pki.missing_file` */
export function readTextFile(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new PkiError('pki.missing_file', `${file}: cannot read it: ${describeSystemError(cause)}`, {
      cause,
    });
  }
}

/** Runs `work` on what is in `file`. @throws PkiError of the same code, with the file's name */
export function inFile<T>(file: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof PkiError) || error.message.startsWith(file)) throw error;
    throw new PkiError(error.code, `${file}: ${error.message}`, { cause: error });
  }
}
