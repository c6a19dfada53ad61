/** The backend without broker and pages: its threads, its database, and a test in the broker's place. */
import path from 'node:path';
import type { TestContext } from 'node:test';
import { Feed } from '../../backend/feed.ts';
import { Ingest } from '../../backend/ingest.ts';
import { createMeasures } from '../../backend/measures.ts';
import type { BackendMeasures } from '../../backend/measures.ts';
import { OpenerPool } from '../../backend/opener-pool.ts';
import type { StoreAnswer, StoreRequest } from '../../backend/store-messages.ts';
import { StoreThread } from '../../backend/store-thread.ts';
import { Subscriber } from '../../backend/subscriber.ts';
import { readChains } from '../../database/certificates.ts';
import { connectDatabase } from '../../database/connect.ts';
import type { Database } from '../../database/connect.ts';
import { migrate } from '../../database/migrate.ts';
import { RevocationLists } from '../../pki/revocation-lists.ts';
import type { StalePolicy } from '../../pki/revocation.ts';
import { createMetrics } from '../../runtime/observe.ts';
import { RecordedLog, snapshotService, Vendor } from './vendor.ts';
import type { Device, Sealed } from './vendor.ts';

export interface Bench {
  readonly vendor: Vendor;
  readonly url: string;
  readonly database: Database;
  readonly lists: RevocationLists;
  readonly ingest: Ingest;
  readonly subscriber: Subscriber;
  readonly measures: BackendMeasures;
  readonly recorded: RecordedLog;
  /** Whether nothing more was to be read, in turn. */
  readonly full: boolean[];
}

export interface BenchOptions {
  readonly queueMax?: number;
  readonly stalePolicy?: StalePolicy;
  readonly threads?: number;
  readonly evidenceMs?: number;
  /** Of the threads that open. */
  readonly openerFile?: string;
  readonly answerTimeoutMs?: number;
  readonly url?: string;
  /** Comes between the ingest and the thread that stores. */
  readonly store?: (
    call: (request: StoreRequest) => Promise<StoreAnswer>,
    request: StoreRequest,
  ) => Promise<StoreAnswer>;
}

export async function bench(context: TestContext, options: BenchOptions = {}): Promise<Bench> {
  const { stalePolicy = { action: 'warn' }, threads = 1, evidenceMs } = options;
  const vendor = new Vendor(context);
  await vendor.issue(snapshotService);
  const own = vendor.identity(snapshotService);
  const url = options.url ?? `sqlite:${path.join(vendor.folder, 'plombe.db')}`;
  const database = await connectDatabase(url);
  context.after(() => database.close());
  await migrate(database);
  const metrics = createMetrics();
  const measures = createMeasures(metrics);
  const recorded = new RecordedLog();
  const { log } = recorded;
  const directory = path.join(vendor.folder, 'backend');
  const lists = new RevocationLists({ directory, roots: own.roots, stalePolicy, metrics, log });
  const clock = Date.now;
  let learnt = 0;
  const trustGeneration = (): number => learnt + lists.generation;
  const thread = new StoreThread({
    settings: { url, directory, evidenceMs },
    onDeath: (fault) => log.error({ fault }, 'store.died'),
  });
  const call = (request: StoreRequest): Promise<StoreAnswer> => thread.call(request);
  const pool: OpenerPool = new OpenerPool({
    threads,
    settings: {
      recipients: [{ key: own.keyAgreement.key, certificate: own.keyAgreement.certificate.der }],
      roots: own.roots.map(({ der }) => der),
      policy: {},
      stalePolicy,
      keepsEvidence: evidenceMs !== undefined,
    },
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
    publish: (device, payload) => pool.publish(device, payload, clock()),
    onLists: () => pool.replaceLists(lists.toPem()),
    onTrusted: () => (learnt += 1),
    lists,
    feed: new Feed(),
    ingest: () => ingest,
    measures,
    clock,
    log,
  });
  const full: boolean[] = [];
  const ingest = new Ingest({
    open: (message) => pool.open(message),
    store: (request) => (options.store === undefined ? call(request) : options.store(call, request)),
    measures,
    feed: new Feed(),
    clock,
    log,
    trustGeneration,
    onMissedTrust: (device) => void subscriber.retry(device),
    onFull: (isFull) => full.push(isFull),
    ...(options.queueMax === undefined ? {} : { queueMax: options.queueMax }),
  });
  context.after(async () => {
    await ingest.stop();
    await Promise.all([pool.stop(), thread.close()]);
  });
  return { vendor, url, database, lists, ingest, subscriber, measures, recorded, full };
}

/** Resolves when it is acknowledged. */
export function receive({ subscriber }: Bench, topic: string, payload: Uint8Array): Promise<void> {
  return new Promise((acknowledge) => {
    const message = {
      topic,
      payload: Buffer.from(payload),
      qos: 1,
      retain: false,
      duplicate: false,
      properties: Buffer.alloc(0),
      expirySeconds: undefined,
    } as const;
    subscriber.receive(message, acknowledge);
  });
}

export const publish = (on: Bench, { topic, envelope }: Sealed): Promise<void> =>
  receive(on, topic, envelope);

export const introduce = (on: Bench, device: Device): Promise<void> =>
  receive(on, `${device.path}/certificates`, device.certificates);
