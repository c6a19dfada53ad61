/** The newest revocation lists of the E2E PKI, as a program that verifies keeps them: over restarts, and never older ones. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { describeSystemError } from '../runtime/config.ts';
import { writeFileAtomically } from '../runtime/files.ts';
import type { Log } from '../runtime/log.ts';
import type { Counter, Gauge, Metrics } from '../runtime/observe.ts';
import type { Certificate } from './certificate.ts';
import { crlBundleToPem, restoreFromBundle, updateFromBundle } from './crl-bundle.ts';
import { PkiError } from './errors.ts';
import { requireUnrevoked } from './path.ts';
import type { VerifiedPath } from './path.ts';
import { inFile, readTextFile } from './pem-file.ts';
import { RevocationIndex } from './revocation.ts';
import type { StalePolicy } from './revocation.ts';

/** Where the vendor publishes the lists of the E2E PKI, retained. */
export const e2eCrlTopic = 'vendor/crl/e2e';

export interface RevocationListsOptions {
  /** The program's data; the lists are a file in it. */
  readonly directory: string;
  /** Of the E2E PKI, pinned. */
  readonly roots: readonly Certificate[];
  readonly stalePolicy: StalePolicy;
  readonly metrics: Metrics;
  readonly log: Log;
}

const fileName = 'e2e-crl.pem';
const detailLengthMax = 400;

export class RevocationLists {
  readonly #options: RevocationListsOptions;
  readonly #file: string;
  readonly #index = new RevocationIndex();
  readonly #taken: Counter;
  readonly #refused: Counter<'reason'>;
  readonly #stale: Counter;
  readonly #nextUpdate: Gauge;
  #generation = 0;
  /** What was said of the lists held; once for each, and again when others have come. */
  #said = new Set<string>();

  /** @throws PkiError naming the file, if what was kept is damaged: without it an older list could pass for a newer one */
  constructor(options: RevocationListsOptions) {
    const { directory, metrics } = options;
    this.#options = options;
    this.#file = path.join(directory, fileName);
    this.#taken = metrics.counter('plombe_revocation_lists_taken_total', 'revocation lists that were newer');
    this.#refused = metrics.counter(
      'plombe_revocation_lists_refused_total',
      'messages with revocation lists that were not taken',
      ['reason'],
    );
    this.#stale = metrics.counter(
      'plombe_revocation_stale_passes_total',
      'verifications that passed with a missing or outdated list, because the policy is to warn',
    );
    this.#nextUpdate = metrics.gauge(
      'plombe_revocation_next_update_seconds',
      'when the first of the lists that are here is due to be replaced, in Unix time',
    );
    if (existsSync(this.#file)) {
      inFile(this.#file, () => restoreFromBundle(this.#index, readTextFile(this.#file)));
      this.#gaugeNextUpdate();
    }
  }

  /** Counts up with every message that had news. */
  get generation(): number {
    return this.#generation;
  }

  /** How many CAs it has a list of. */
  get size(): number {
    return this.#index.size;
  }

  /**
   * Takes over the lists of a message, all of them or none. Whoever carries it can leave lists out or repeat old ones,
   * but not forge one: it can keep news from us, which the stale policy is for, and cannot make us forget any.
   *
   * @returns whether one of them is new
   */
  take(payload: Uint8Array): boolean {
    const { roots, log } = this.#options;
    if (payload.length === 0) return false; // the retained message was deleted; what is revoked stays revoked
    let updated: number;
    try {
      ({ updated } = updateFromBundle(this.#index, payload, roots));
    } catch (error) {
      if (!(error instanceof PkiError)) throw error;
      this.#refuse(error.code, error.message);
      return false;
    }
    if (updated === 0) return false;
    this.#taken.inc(updated);
    this.#generation += 1;
    this.#said = new Set();
    this.#gaugeNextUpdate();
    log.info({ updated, authorities: this.#index.size }, 'crl.applied');
    try {
      writeFileAtomically(this.#file, this.toPem());
    } catch (error) {
      // They count all the same; after a restart they come again, unless somebody holds them back.
      this.#refuse('not_kept', `${this.#file}: ${describeSystemError(error)}`);
    }
    return true;
  }

  /**
   * @param atMs - when what was signed or asked for has reached us
   * @throws PkiError `pki.revoked` from the date of the revocation on, `pki.stale_crl` if the policy is to refuse
   */
  requireUnrevoked(verified: VerifiedPath, atMs: number): void {
    const warnings = requireUnrevoked(verified, this.#index, atMs, this.#options.stalePolicy);
    if (warnings.length > 0) this.notePasses(1, warnings);
  }

  /** What threads of ours, which look the lists up for themselves, let pass because the policy is to warn. */
  notePasses(passes: number, warnings: readonly string[]): void {
    this.#stale.inc(passes);
    for (const detail of warnings) {
      if (this.#said.has(detail)) continue;
      this.#said.add(detail);
      this.#options.log.warn({ detail }, 'crl.stale');
    }
  }

  /** All lists, as `restoreFromBundle` takes them. */
  toPem(): string {
    return crlBundleToPem(this.#index.lists());
  }

  #refuse(reason: string, message: string): void {
    this.#refused.inc({ reason });
    this.#options.log.error({ reason, detail: message.slice(0, detailLengthMax) }, 'crl.refused');
  }

  #gaugeNextUpdate(): void {
    const first = Math.min(...Array.from(this.#index.lists(), ({ crl }) => crl.nextUpdateMs));
    this.#nextUpdate.set(Math.floor(first / 1000));
  }
}
