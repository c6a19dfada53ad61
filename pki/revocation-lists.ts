/** The newest revocation lists of the E2E PKI, as a program that verifies keeps them: over restarts, and never older ones. */
import path from 'node:path';
import type { Log } from '../runtime/log.ts';
import type { Counter, Gauge, Metrics } from '../runtime/observe.ts';
import type { Certificate } from './certificate.ts';
import { KeptLists } from './kept-lists.ts';
import type { ListsRefusal } from './kept-lists.ts';
import { requireUnrevoked } from './path.ts';
import type { VerifiedPath } from './path.ts';
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

export class RevocationLists {
  readonly #options: RevocationListsOptions;
  readonly #kept: KeptLists;
  readonly #taken: Counter;
  readonly #refused: Counter<'reason'>;
  readonly #stale: Counter;
  readonly #nextUpdate: Gauge;
  #generation = 0;
  /** What was said of the lists held; once for each, and again when others have come. */
  #said = new Set<string>();

  /** @throws PkiError naming the file, if what was kept is damaged: without it an older list could pass for a newer one */
  constructor(options: RevocationListsOptions) {
    const { directory, roots, metrics } = options;
    this.#options = options;
    this.#kept = new KeptLists(path.join(directory, fileName), roots);
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
    if (this.size > 0) this.#gaugeNextUpdate();
  }

  /** Counts up with every message that had news. */
  get generation(): number {
    return this.#generation;
  }

  /** How many CAs it has a list of. */
  get size(): number {
    return this.#kept.index.size;
  }

  /**
   * Takes over the lists of a message, all of them or none. Whoever carries it can leave lists out or repeat old ones,
   * but not forge one: it can keep news from us, which the stale policy is for, and cannot make us forget any.
   *
   * @returns whether one of them is new
   */
  take(payload: Uint8Array): boolean {
    const updated = this.#kept.take(payload);
    if (typeof updated !== 'number') this.#refuse(updated);
    if (typeof updated !== 'number' || updated === 0) return false;
    this.#taken.inc(updated);
    this.#generation += 1;
    this.#said = new Set();
    this.#gaugeNextUpdate();
    this.#options.log.info({ updated, authorities: this.size }, 'crl.applied');
    const refusal = this.#kept.keep();
    if (refusal !== undefined) this.#refuse(refusal);
    return true;
  }

  /**
   * @param atMs - when what was signed or asked for has reached us
   * @throws PkiError `pki.revoked` from the date of the revocation on, `pki.stale_crl` if the policy is to refuse
   */
  requireUnrevoked(verified: VerifiedPath, atMs: number): void {
    const warnings = requireUnrevoked(verified, this.#kept.index, atMs, this.#options.stalePolicy);
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
    return this.#kept.toPem();
  }

  #refuse(refusal: ListsRefusal): void {
    this.#refused.inc({ reason: refusal.reason });
    this.#options.log.error(refusal, 'crl.refused');
  }

  #gaugeNextUpdate(): void {
    const first = Math.min(...Array.from(this.#kept.index.lists(), ({ crl }) => crl.nextUpdateMs));
    this.#nextUpdate.set(Math.floor(first / 1000));
  }
}
