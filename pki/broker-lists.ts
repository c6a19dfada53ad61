/** Which brokers are revoked: the newest lists of the TLS PKI, as a program that connects to one keeps them over restarts. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import type { Clock } from '../domain/clock.ts';
import { describeSystemError } from '../runtime/config.ts';
import { writeFileAtomically } from '../runtime/files.ts';
import type { Log } from '../runtime/log.ts';
import type { Certificate } from './certificate.ts';
import { crlBundleToPem, restoreFromBundle, updateFromBundle } from './crl-bundle.ts';
import { PkiError } from './errors.ts';
import { requireUnrevoked } from './path.ts';
import type { VerifiedPath } from './path.ts';
import { inFile, readTextFile } from './pem-file.ts';
import { RevocationIndex } from './revocation.ts';

/** Where the vendor publishes the lists of the TLS PKI, retained. */
export const tlsCrlTopic = 'vendor/crl/tls';

export interface BrokerListsOptions {
  /** The program's data; the lists are a file in it. */
  readonly directory: string;
  /** Of the TLS PKI, pinned. */
  readonly roots: readonly Certificate[];
  readonly clock: Clock;
  readonly log: Log;
}

const fileName = 'tls-crl.pem';
const detailLengthMax = 400;

export class BrokerLists {
  readonly #options: BrokerListsOptions;
  readonly #file: string;
  readonly #index = new RevocationIndex();

  /** @throws PkiError naming the file, if what was kept is damaged: without it an older list could pass for a newer one */
  constructor(options: BrokerListsOptions) {
    this.#options = options;
    this.#file = path.join(options.directory, fileName);
    if (existsSync(this.#file))
      inFile(this.#file, () => restoreFromBundle(this.#index, readTextFile(this.#file)));
  }

  /**
   * Takes over the lists of a message, all of them or none. They come by the very broker that they may speak of: one that is
   * revoked can keep that back, but nobody who has heard it comes back to it.
   */
  take(payload: Uint8Array): void {
    if (payload.length === 0) return; // the retained message was deleted; what is revoked stays revoked
    const { roots, log } = this.#options;
    try {
      const { updated } = updateFromBundle(this.#index, payload, roots);
      if (updated === 0) return;
      log.info({ pki: 'tls', updated, authorities: this.#index.size }, 'crl.applied');
    } catch (error) {
      if (!(error instanceof PkiError)) throw error;
      this.#refuse(error.code, error.message);
      return;
    }
    try {
      writeFileAtomically(this.#file, crlBundleToPem(this.#index.lists()));
    } catch (error) {
      // They count all the same; after a restart they come again, unless somebody holds them back.
      this.#refuse('not_kept', `${this.#file}: ${describeSystemError(error)}`);
    }
  }

  /** Lists that are missing or too old say nothing: the newer ones come by a broker. @throws PkiError `pki.revoked` */
  requireUnrevoked(broker: VerifiedPath): void {
    requireUnrevoked(broker, this.#index, this.#options.clock(), { action: 'warn' });
  }

  #refuse(reason: string, message: string): void {
    this.#options.log.error({ pki: 'tls', reason, detail: message.slice(0, detailLengthMax) }, 'crl.refused');
  }
}
