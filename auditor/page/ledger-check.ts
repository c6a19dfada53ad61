/** The verification of the whole ledger, in a thread of its own: one at a time, and the last result is kept. */
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import type { LedgerCheckState, LedgerFinding } from '../../domain/audit-view.ts';
import type { Clock } from '../../domain/clock.ts';
import type { Certificate } from '../../pki/certificate.ts';
import type { Log } from '../../runtime/log.ts';

export interface LedgerCheckSettings {
  readonly ledgerFile: string;
  /** The newest head that the vendor has signed; need not be there. */
  readonly headFile: string;
  /** Of the E2E PKI, DER. */
  readonly roots: readonly Uint8Array[];
}

/** What the thread tells. */
export type LedgerCheckMessage =
  | { readonly kind: 'progress'; readonly share: number }
  | { readonly kind: 'found'; readonly finding: LedgerFinding }
  | { readonly kind: 'failed'; readonly reason: string };

export interface LedgerCheckOptions {
  readonly ledgerFile: string;
  readonly headFile: string;
  readonly roots: readonly Certificate[];
  readonly clock: Clock;
  readonly log: Log;
}

const ownFile = path.join(import.meta.dirname, `ledger-check-worker${path.extname(import.meta.filename)}`);

export class LedgerCheck {
  readonly #options: LedgerCheckOptions;
  #state: LedgerCheckState = { state: 'never' };
  #worker: Worker | undefined;
  /** Counts up with every change of the state. */
  revision = 0;

  constructor(options: LedgerCheckOptions) {
    this.#options = options;
  }

  get state(): LedgerCheckState {
    return this.#state;
  }

  /** @param by - a person's name @returns false if one is running */
  start(by: string): boolean {
    if (this.#worker !== undefined) return false;
    const { ledgerFile, headFile, roots } = this.#options;
    const settings: LedgerCheckSettings = { ledgerFile, headFile, roots: roots.map(({ der }) => der) };
    const worker = new Worker(ownFile, { workerData: settings });
    this.#worker = worker;
    this.#become({ state: 'running', by, share: 0 });
    worker.on('message', (message: LedgerCheckMessage) => this.#take(message, by));
    worker.once('error', (error) => this.#take({ kind: 'failed', reason: String(error) }, by));
    worker.once('exit', () => {
      this.#worker = undefined;
      if (this.#state.state === 'running') this.#take({ kind: 'failed', reason: 'it was stopped' }, by);
    });
    return true;
  }

  async stop(): Promise<void> {
    await this.#worker?.terminate();
  }

  #take(message: LedgerCheckMessage, by: string): void {
    const { clock, log } = this.#options;
    const atMs = clock();
    if (message.kind === 'progress') return this.#become({ state: 'running', by, share: message.share });
    if (message.kind === 'failed') {
      log.error({ by, reason: message.reason }, 'ledger.not_verified');
      return this.#become({ state: 'failed', by, atMs, reason: message.reason });
    }
    const { finding } = message;
    const { fault, leaves } = finding;
    if (fault === undefined) log.info({ by, leaves }, 'ledger.verified');
    else
      log.error({ by, reason: fault.reason, leaf: fault.leaf, detail: fault.detail }, 'ledger.not_verified');
    return this.#become({ state: 'found', by, atMs, finding });
  }

  #become(state: LedgerCheckState): void {
    this.#state = state;
    this.revision += 1;
  }
}
