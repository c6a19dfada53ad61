/** The way of an envelope, put together: who receives, the threads that open, the one that stores. */
import type { OpenPolicy } from '../cms/open.ts';
import { readChains } from '../database/certificates.ts';
import type { Database } from '../database/connect.ts';
import type { Clock } from '../domain/clock.ts';
import type { Certificate } from '../pki/certificate.ts';
import type { KeyPair } from '../pki/identity.ts';
import type { StalePolicy } from '../pki/revocation.ts';
import type { RevocationLists } from '../pki/revocation-lists.ts';
import type { Log } from '../runtime/log.ts';
import type { Releaser } from './decryptor.ts';
import type { Feed } from './feed.ts';
import { Ingest } from './ingest.ts';
import type { BackendMeasures } from './measures.ts';
import type { OpenerSettings } from './opener-messages.ts';
import { OpenerPool } from './opener-pool.ts';
import type { StoreAnswer, StoreRequest, StoreSettings } from './store-messages.ts';
import { StoreThread } from './store-thread.ts';
import { Subscriber } from './subscriber.ts';

export interface PipelineOptions {
  /** The main thread's own connection. */
  readonly database: Database;
  readonly store: StoreSettings;
  /** Keys that envelopes are sealed for, tried in order. */
  readonly recipients: readonly Pick<KeyPair, 'key' | 'certificate'>[];
  /** SIG certificates of auditors: what comes from below one of them must carry its signature too. None unless given. */
  readonly releasers?: readonly Releaser[];
  /** Of readers, whose stream is read; the main one unless given. */
  readonly group?: string | undefined;
  /** Of the E2E PKI, pinned. */
  readonly roots: readonly Certificate[];
  readonly policy: OpenPolicy;
  readonly stalePolicy: StalePolicy;
  readonly lists: RevocationLists;
  /** That open. */
  readonly threads: number;
  readonly queueMax: number;
  /** Called when nothing more is to be read from the broker, and when there is room again. */
  readonly onFull: (isFull: boolean) => void;
  /** Called when the database turned out to be older than it was: what devices say of themselves is to be asked for again. */
  readonly onRestored: () => void;
  /** Called when the database is another file than was opened: only a new start helps. */
  readonly onReplaced: () => void;
  readonly measures: BackendMeasures;
  readonly feed: Feed;
  readonly clock: Clock;
  readonly log: Log;
  /** What tests put in the place of ours. */
  readonly openerFile?: string;
  readonly answerTimeoutMs?: number;
  readonly aroundStore?: (
    call: (request: StoreRequest) => Promise<StoreAnswer>,
    request: StoreRequest,
  ) => Promise<StoreAnswer>;
}

export interface Pipeline {
  readonly ingest: Ingest;
  readonly subscriber: Subscriber;
  /** Commits what was received; to be called while what is acknowledged can still leave. */
  drain(): Promise<void>;
  /** After that. */
  close(): Promise<void>;
}

export function createPipeline(options: PipelineOptions): Pipeline {
  const { database, lists, measures, feed, clock, log, aroundStore } = options;
  let certificatesLearnt = 0;
  const trustGeneration = (): number => certificatesLearnt + lists.generation;
  const thread = new StoreThread({
    settings: options.store,
    onDeath: (fault) => log.error({ fault }, 'store.died'),
  });
  const call = (request: StoreRequest): Promise<StoreAnswer> => thread.call(request);
  const pool: OpenerPool = new OpenerPool({
    threads: options.threads,
    settings: openerSettings(options),
    readChains: () => readChains(database),
    listsPem: () => lists.toPem(),
    trustGeneration,
    onOpened: (parts, packed) => ingest.opened(parts, packed),
    onStale: (passes, warnings) => lists.notePasses(passes, warnings),
    onDeath: () => measures.openerDeaths.inc(),
    clock,
    log,
    ...(options.openerFile === undefined ? {} : { file: options.openerFile }),
    ...(options.answerTimeoutMs === undefined ? {} : { answerTimeoutMs: options.answerTimeoutMs }),
  });
  const subscriber: Subscriber = new Subscriber({
    database,
    publish: (path, payload) => pool.publish(path, payload, clock()),
    onTrusted: () => (certificatesLearnt += 1),
    onLists: () => pool.replaceLists(lists.toPem()),
    lists,
    ingest: () => ingest,
    measures,
    feed,
    clock,
    log,
  });
  const ingest: Ingest = new Ingest({
    open: (message) => pool.open(message),
    store: aroundStore === undefined ? call : (request) => aroundStore(call, request),
    learn: (layouts) => pool.learn(layouts),
    measures,
    feed,
    clock,
    log,
    trustGeneration,
    onMissedTrust: (path) => {
      subscriber
        .retry(path)
        .catch((error: unknown) => log.error({ path, error: String(error) }, 'retry.failed'));
    },
    onFull: options.onFull,
    onRestored: options.onRestored,
    onReplaced: options.onReplaced,
    queueMax: options.queueMax,
  });
  return {
    ingest,
    subscriber,
    drain: () => ingest.stop(),
    close: async () => {
      subscriber.stop();
      await Promise.all([pool.stop(), thread.close()]);
    },
  };
}

function openerSettings({
  recipients,
  releasers = [],
  roots,
  policy,
  stalePolicy,
  store,
  group,
}: PipelineOptions): OpenerSettings {
  return {
    recipients: recipients.map(({ key, certificate }) => ({ key, certificate: certificate.der })),
    roots: roots.map(({ der }) => der),
    releasers: releasers.map(({ certificate, chain: [, ...authorities], root }) => ({
      certificate: certificate.der,
      authorities: authorities.map(({ der }) => der),
      root: root.der,
    })),
    policy,
    stalePolicy,
    group,
    keepsEvidence: store.evidenceMs !== undefined,
  };
}
