/** Exports, each in a thread of its own, which makes a piece when the client has taken the one before. */
import path from 'node:path';
import { Readable } from 'node:stream';
import { Worker } from 'node:worker_threads';
import type { Originator } from '../cms/originator.ts';
import type { Clock } from '../domain/clock.ts';
import { errorText } from '../domain/error-text.ts';
import type { Certificate } from '../pki/certificate.ts';
import type { KeyPair } from '../pki/identity.ts';
import type { Log } from '../runtime/log.ts';
import type { ExportJob, ExportSettings, FromExporter, ToExporter } from './export-messages.ts';

export interface ExportsOptions {
  /** The auditor's data. */
  readonly directory: string;
  /** False: no envelope is kept. */
  readonly hasArchive: boolean;
  readonly recipient: Pick<KeyPair, 'key' | 'certificate'>;
  readonly roots: readonly Certificate[];
  readonly issuers: readonly Originator[];
  readonly clock: Clock;
  readonly log: Log;
  /** How long a client may take nothing. */
  readonly stalledMs?: number;
}

/** Each of them is a thread that opens envelopes as fast as they are fetched. */
export const exportsMax = 4;
const stalledMsDefault = 5 * 60_000;
/** Far more than a row group of Parquet and what it is made of; the auditor itself goes on when a thread needs more. */
const heapMegabytesMax = 512;
const ownFile = path.join(import.meta.dirname, `export-worker${path.extname(import.meta.filename)}`);

export class Exports {
  readonly #options: ExportsOptions;
  readonly #running = new Set<Worker>();

  constructor(options: ExportsOptions) {
    this.#options = options;
  }

  /** Threads, also those that are about to end. */
  get size(): number {
    return this.#running.size;
  }

  /** @returns the file, destroyed with an error if it cannot be finished; undefined: there are too many already */
  start(job: ExportJob): Readable | undefined {
    if (this.#running.size >= exportsMax) return undefined;
    const { log, stalledMs = stalledMsDefault } = this.#options;
    const worker = new Worker(ownFile, {
      workerData: this.#settingsOf(job),
      resourceLimits: { maxOldGenerationSizeMb: heapMegabytesMax },
    });
    this.#running.add(worker);
    worker.once('exit', () => this.#running.delete(worker));
    worker.once('error', (error) =>
      log.error({ device: job.device, ...job.file, detail: errorText(error) }, 'export.failed'),
    );
    return piecesOf(worker, stalledMs);
  }

  async stop(): Promise<void> {
    await Promise.all(Array.from(this.#running, (worker) => worker.terminate()));
  }

  #settingsOf(job: ExportJob): ExportSettings {
    const { directory, hasArchive, recipient, roots, issuers, clock } = this.#options;
    return {
      job,
      nowMs: clock(),
      directory,
      hasArchive,
      recipient: { key: recipient.key, certificate: recipient.certificate.der },
      roots: roots.map(({ der }) => der),
      issuers: issuers.map(({ commonName, signature, keyAgreement }) => ({
        commonName,
        signature: signature?.der,
        keyAgreement: keyAgreement.der,
      })),
    };
  }
}

/** @param stalledMs - how long nobody may take the next piece */
function piecesOf(worker: Worker, stalledMs: number): Readable {
  const more: ToExporter = 'more';
  let isWhole = false;
  let patience: NodeJS.Timeout | undefined;
  const file = new Readable({
    read: () => {
      clearTimeout(patience);
      worker.postMessage(more, []);
    },
    destroy: (error, done) => {
      clearTimeout(patience);
      worker.terminate().then(() => done(error), done);
    },
  });
  worker.on('message', (message: FromExporter) => {
    if (file.destroyed) return; // its last word was on its way
    patience = setTimeout(() => file.destroy(new Error('nobody takes what is exported')), stalledMs);
    isWhole ||= message.kind === 'end';
    file.push(message.kind === 'end' ? null : message.octets);
  });
  worker.once('error', (error) => file.destroy(error));
  worker.once('exit', () => {
    if (!isWhole) file.destroy(new Error('the export was stopped'));
  });
  return file;
}
