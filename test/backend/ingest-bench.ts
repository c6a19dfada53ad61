/** The backend without broker and pages: its threads, its database, and a test in the broker's place. */
import path from 'node:path';
import type { TestContext } from 'node:test';
import { Feed } from '../../backend/feed.ts';
import type { Ingest } from '../../backend/ingest.ts';
import { createMeasures } from '../../backend/measures.ts';
import type { BackendMeasures } from '../../backend/measures.ts';
import { createPipeline } from '../../backend/pipeline.ts';
import type { PipelineOptions } from '../../backend/pipeline.ts';
import type { Subscriber } from '../../backend/subscriber.ts';
import { connectDatabase } from '../../database/connect.ts';
import type { Database } from '../../database/connect.ts';
import { migrate } from '../../database/migrate.ts';
import { RevocationLists } from '../../pki/revocation-lists.ts';
import type { StalePolicy } from '../../pki/revocation.ts';
import { createMetrics } from '../../runtime/observe.ts';
import { RecordedLog } from '../runtime/recorded-log.ts';
import { snapshotService, Vendor } from './vendor.ts';
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
  /** One entry for each time that the database turned out to be older than it was. */
  readonly restored: number[];
}

export interface BenchOptions extends Partial<
  Pick<PipelineOptions, 'queueMax' | 'threads' | 'openerFile' | 'answerTimeoutMs' | 'aroundStore' | 'clock'>
> {
  readonly stalePolicy?: StalePolicy;
  readonly evidenceMs?: number;
  readonly url?: string;
}

export async function bench(context: TestContext, options: BenchOptions = {}): Promise<Bench> {
  const { stalePolicy = { action: 'warn' }, threads = 1, evidenceMs, url: givenUrl, ...given } = options;
  const vendor = new Vendor(context);
  await vendor.issue(snapshotService);
  const own = vendor.identity(snapshotService);
  const url = givenUrl ?? `sqlite:${path.join(vendor.folder, 'plombe.db')}`;
  const database = await connectDatabase(url);
  vendor.atEnd(() => database.close());
  await migrate(database);
  const metrics = createMetrics();
  const measures = createMeasures(metrics);
  const recorded = new RecordedLog();
  const { log } = recorded;
  const directory = path.join(vendor.folder, 'backend');
  const lists = new RevocationLists({ directory, roots: own.roots, stalePolicy, metrics, log });
  const full: boolean[] = [];
  const restored: number[] = [];
  const pipeline = createPipeline({
    database,
    store: { url, directory, evidenceMs },
    recipients: [own.keyAgreement],
    roots: own.roots,
    policy: {},
    stalePolicy,
    lists,
    threads,
    onRestored: () => restored.push(measures.tally.stored),
    onReplaced: () => log.error({}, 'database.replaced'),
    onFull: (isFull) => full.push(isFull),
    measures,
    feed: new Feed(),
    clock: Date.now,
    log,
    queueMax: 1000,
    ...given,
  });
  vendor.atEnd(async () => {
    await pipeline.drain();
    await pipeline.close();
  });
  const { ingest, subscriber } = pipeline;
  return { vendor, url, database, lists, ingest, subscriber, measures, recorded, full, restored };
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
