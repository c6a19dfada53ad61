/** The newest revocation lists of one PKI, in memory and in a file: over restarts, and never older ones. */
import { existsSync } from 'node:fs';
import { describeSystemError } from '../runtime/config.ts';
import { writeFileAtomically } from '../runtime/files.ts';
import type { Certificate } from './certificate.ts';
import { crlBundleToPem, restoreFromBundle, updateFromBundle } from './crl-bundle.ts';
import { PkiError } from './errors.ts';
import { inFile, readTextFile } from './pem-file.ts';
import { RevocationIndex } from './revocation.ts';

/** Why lists were not taken, or not kept. */
export interface ListsRefusal {
  readonly reason: string;
  readonly detail: string;
}

const detailLengthMax = 400;

export class KeptLists {
  readonly index = new RevocationIndex();
  readonly #file: string;
  readonly #roots: readonly Certificate[];

  /**
   * @param roots - of that PKI, pinned
   * @throws PkiError naming the file, if what was kept is damaged: without it an older list could pass for a newer one
   */
  constructor(file: string, roots: readonly Certificate[]) {
    this.#file = file;
    this.#roots = roots;
    if (existsSync(file)) inFile(file, () => restoreFromBundle(this.index, readTextFile(file)));
  }

  toPem(): string {
    return crlBundleToPem(this.index.lists());
  }

  /** Takes over the lists of a message, all of them or none. @returns how many were news, or why none was taken */
  take(payload: Uint8Array): number | ListsRefusal {
    if (payload.length === 0) return 0; // the retained message was deleted; what is revoked stays revoked
    try {
      return updateFromBundle(this.index, payload, this.#roots).updated;
    } catch (error) {
      if (!(error instanceof PkiError)) throw error;
      return refusal(error.code, error.message);
    }
  }

  /** @returns why that was not possible: they count all the same, and after a restart come again unless somebody holds them back */
  keep(): ListsRefusal | undefined {
    try {
      writeFileAtomically(this.#file, this.toPem());
      return undefined;
    } catch (error) {
      return refusal('not_kept', `${this.#file}: ${describeSystemError(error)}`);
    }
  }
}

function refusal(reason: string, message: string): ListsRefusal {
  return { reason, detail: message.slice(0, detailLengthMax) };
}
