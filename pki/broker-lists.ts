/** Which brokers are revoked: the newest lists of the TLS PKI, as a program that connects to one keeps them over restarts. */
import path from 'node:path';
import type { Clock } from '../domain/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { Certificate } from './certificate.ts';
import { KeptLists } from './kept-lists.ts';
import type { ListsRefusal } from './kept-lists.ts';
import { requireUnrevoked } from './path.ts';
import type { VerifiedPath } from './path.ts';

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

export class BrokerLists {
  readonly #options: BrokerListsOptions;
  readonly #kept: KeptLists;

  /** @throws PkiError naming the file, if what was kept is damaged: without it an older list could pass for a newer one */
  constructor(options: BrokerListsOptions) {
    this.#options = options;
    this.#kept = new KeptLists(path.join(options.directory, fileName), options.roots);
  }

  /**
   * Takes over the lists of a message, all of them or none. They come by the very broker that they may speak of: one that is
   * revoked can keep that back, but nobody who has heard it comes back to it.
   */
  take(payload: Uint8Array): void {
    const updated = this.#kept.take(payload);
    if (typeof updated !== 'number') return this.#refuse(updated);
    if (updated === 0) return undefined;
    this.#options.log.info({ pki: 'tls', updated, authorities: this.#kept.index.size }, 'crl.applied');
    const refusal = this.#kept.keep();
    return refusal && this.#refuse(refusal);
  }

  /** Lists that are missing or too old say nothing: the newer ones come by a broker. @throws PkiError `pki.revoked` */
  requireUnrevoked(broker: VerifiedPath): void {
    requireUnrevoked(broker, this.#kept.index, this.#options.clock(), { action: 'warn' });
  }

  #refuse(refusal: ListsRefusal): void {
    this.#options.log.error({ pki: 'tls', ...refusal }, 'crl.refused');
  }
}
