/** Publishes the authority's revocation lists, whoever changes them, and renews them before they are overdue. */
import { createHash } from 'node:crypto';
import { readFileSync, watch } from 'node:fs';
import type { FSWatcher } from 'node:fs';
import path from 'node:path';
import { envelopeBytesMax } from '../domain/limits.ts';
import type { Authority } from '../pki/authority/authority.ts';
import { pkiNames } from '../pki/authority/profiles.ts';
import type { PkiName } from '../pki/authority/profiles.ts';
import { packBundle, updateFromBundle } from '../pki/crl-bundle.ts';
import { PkiError } from '../pki/errors.ts';
import { RevocationIndex } from '../pki/revocation.ts';
import { describeSystemError } from '../runtime/config.ts';
import type { Log } from '../runtime/log.ts';
import { watchFiles } from '../runtime/watch-files.ts';
import type { RegistrarMeasures } from './measures.ts';

export interface CrlPublisherOptions {
  readonly authority: Authority;
  /** Retained; resolves when the broker has it. */
  readonly publish: (topic: string, payload: Uint8Array) => Promise<void>;
  readonly lifetimeMs: number;
  readonly measures: RegistrarMeasures;
  readonly log: Log;
  /** How often to look where the system does not tell of changes, such as on a network file system. Default 2 s. */
  readonly lookMs?: number;
}

interface Bundle {
  readonly topic: string;
  /** What it holds, so that an older list is never published after a newer one. */
  readonly index: RevocationIndex;
  /** Of what was read last. */
  sha256: string | undefined;
  fault: string | undefined;
}

const lookMsDefault = 2_000;
const renewLookMs = 60_000;

export class CrlPublisher {
  readonly #options: CrlPublisherOptions;
  readonly #bundles: Readonly<Record<PkiName, Bundle>>;
  readonly #watchers: FSWatcher[] = [];
  readonly #ends: (() => void)[] = [];
  /** CAs whose lists are due and whose keys are elsewhere; said once. */
  #offline = '';

  constructor(options: CrlPublisherOptions) {
    this.#options = options;
    const bundle = (pki: PkiName): Bundle => {
      return {
        topic: `vendor/crl/${pki}`,
        index: new RevocationIndex(),
        sha256: undefined,
        fault: undefined,
      };
    };
    this.#bundles = { tls: bundle('tls'), e2e: bundle('e2e') };
  }

  /** What is revoked, as of now. */
  revocation(pki: PkiName): RevocationIndex {
    return this.#bundles[pki].index;
  }

  /** Why lists are not published, or undefined. */
  get fault(): string | undefined {
    return this.#bundles.tls.fault ?? this.#bundles.e2e.fault;
  }

  /** Renews what is due, publishes, and goes on doing so. */
  start(): void {
    const { lookMs = lookMsDefault } = this.#options;
    for (const pki of pkiNames) {
      // A list is replaced by a rename, which the directory tells of.
      const file = this.#file(pki);
      const watcher = watch(path.dirname(file), (_event, name) => {
        if (name === null || name === path.basename(file)) this.#look(pki);
      });
      watcher.on('error', (error) =>
        this.#options.log.warn({ pki, detail: error.message }, 'crl.watch_failed'),
      );
      this.#watchers.push(watcher);
    }
    this.#ends.push(
      watchFiles(
        () => pkiNames.map((pki) => this.#file(pki)),
        () => this.look(),
        lookMs,
      ),
    );
    const timer = setInterval(() => void this.renew(), renewLookMs);
    timer.unref();
    this.#ends.push(() => clearInterval(timer));
    void this.renew();
    this.look();
  }

  /** Issues new lists in place of those whose time is half over. */
  async renew(): Promise<void> {
    const { authority, lifetimeMs, measures, log } = this.#options;
    try {
      const { issued, offline } = await authority.issueCrl({ lifetimeMs, dueWithinMs: lifetimeMs / 2 });
      if (issued > 0) log.info({ lists: issued }, 'crl.renewed');
      const missing = offline.join(', ');
      if (missing !== '' && missing !== this.#offline) log.error({ authorities: offline }, 'crl.key_offline');
      this.#offline = missing;
      this.look();
    } catch (error) {
      if (!(error instanceof PkiError)) throw error;
      if (error.code === 'pki.storage') measures.storageFaults.inc();
      log.error({ reason: error.code, detail: error.message }, 'crl.not_renewed');
    }
  }

  /** Reads the lists again, and publishes what is new. */
  look(): void {
    for (const pki of pkiNames) this.#look(pki);
  }

  /** Publishes what there is, to a broker that may have nothing. */
  publishAll(): void {
    for (const pki of pkiNames) {
      this.#bundles[pki].sha256 = undefined;
      this.#look(pki);
    }
  }

  stop(): void {
    this.#watchers.forEach((watcher) => watcher.close());
    this.#ends.forEach((end) => end());
  }

  #file(pki: PkiName): string {
    return path.join(this.#options.authority.directory, pki, 'crl.pem');
  }

  #look(pki: PkiName): void {
    const { authority, measures } = this.#options;
    const bundle = this.#bundles[pki];
    try {
      const pem = readFileSync(this.#file(pki));
      const sha256 = createHash('sha256').update(pem).digest('base64');
      if (sha256 === bundle.sha256) return void (bundle.fault = undefined);
      updateFromBundle(bundle.index, pem, [authority.roots[pki]]);
      const payload = packBundle(pem);
      requireFits(payload);
      bundle.sha256 = sha256;
      bundle.fault = undefined;
      const nextUpdates = Array.from(bundle.index.lists(), ({ crl }) => crl.nextUpdateMs);
      measures.crlNextUpdate.set({ pki }, Math.min(...nextUpdates) / 1000);
      this.#publish(pki, payload);
    } catch (error) {
      this.#failed(pki, error);
    }
  }

  #publish(pki: PkiName, payload: Buffer): void {
    const { publish, measures, log } = this.#options;
    const { topic, index } = this.#bundles[pki];
    publish(topic, payload).then(
      () => {
        measures.published.inc({ pki });
        log.info({ pki, lists: index.size, bytes: payload.length }, 'crl.published');
      },
      (error: unknown) => log.debug({ pki, detail: String(error) }, 'crl.not_published'), // closed meanwhile
    );
  }

  /** Whatever is wrong with the files, what was published stays published; and it is said once for each fault. */
  #failed(pki: PkiName, error: unknown): void {
    const { measures, log } = this.#options;
    const bundle = this.#bundles[pki];
    const detail = error instanceof PkiError ? error.message : describeSystemError(error);
    if (bundle.fault === detail) return;
    bundle.fault = detail;
    measures.crlFaults.inc({ pki });
    log.error({ pki, detail }, 'crl.not_published');
  }
}

function requireFits(payload: Buffer): void {
  if (payload.length <= envelopeBytesMax) return;
  throw new PkiError(
    'pki.malformed_crl',
    `a bundle of ${payload.length} bytes is more than a message carries: ${envelopeBytesMax}`,
  );
}
