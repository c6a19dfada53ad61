/**
 * The backend's threads in a process of their own for `npm run bench -- ingest`: takes envelopes from stdin, all of them first
 * (`--preload`) or as they come, and reports on stdout.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { Feed } from '../backend/feed.ts';
import { createMeasures } from '../backend/measures.ts';
import { createPipeline } from '../backend/pipeline.ts';
import { connectDatabase } from '../database/connect.ts';
import { migrate } from '../database/migrate.ts';
import { RevocationLists } from '../pki/revocation-lists.ts';
import { createLog } from '../runtime/log.ts';
import { createMetrics } from '../runtime/observe.ts';
import { FleetDevice, identityOf, listsOf, reader } from './fleet-site.ts';
import { machinePath, machines } from './telemetry.ts';

export interface MemorySample {
  readonly stored: number;
  readonly residentBytes: number;
  /** Of the main thread. */
  readonly heapBytes: number;
}

/** A line on stdout now and then; the last one is of `IngestFigures`. */
export interface IngestProgress {
  readonly done: number;
}

export interface IngestFigures {
  readonly stored: number;
  readonly rejected: Readonly<Record<string, number>>;
  /**
   * Of these the rest is said: those before warmed up, and those behind are a queue, as long as the one that there was when
   * it began.
   */
  readonly measured: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
  /** How long the main thread was not there for anybody else, in milliseconds. */
  readonly delayP99Ms: number;
  readonly delayMaxMs: number;
  readonly memory: readonly MemorySample[];
}

interface Frame {
  readonly topic: string;
  readonly payload: Buffer;
}

const { values } = parseArgs({
  options: {
    site: { type: 'string', default: '' },
    url: { type: 'string', default: '' },
    threads: { type: 'string', default: '2' },
    queue: { type: 'string', default: '2048' },
    samples: { type: 'string', default: '1' },
    preload: { type: 'boolean', default: false },
    expected: { type: 'string', default: '0' },
    warm: { type: 'string', default: '0' },
  },
});
const progressEvery = 1000;
const data = mkdtempSync(path.join(tmpdir(), 'plombe-ingest-'));
const own = identityOf(values.site, reader);
const database = await connectDatabase(values.url);
await migrate(database);
const metrics = createMetrics();
const measures = createMeasures(metrics);
const log = createLog('bench', 'error', { write: (text) => process.stderr.write(text) });
const stalePolicy = { action: 'warn' } as const;
const lists = new RevocationLists({ directory: data, roots: own.roots, stalePolicy, metrics, log });
lists.take(listsOf(values.site));
let room = Promise.withResolvers<void>();
room.resolve();
const pipeline = createPipeline({
  database,
  store: { url: values.url, directory: data, evidenceMs: undefined },
  recipients: [own.keyAgreement],
  roots: own.roots,
  policy: {},
  stalePolicy,
  lists,
  threads: Number(values.threads),
  queueMax: Number(values.queue),
  onRestored: () => process.exit(1),
  onReplaced: () => process.exit(1),
  onFull: (isFull) => {
    if (isFull) room = Promise.withResolvers();
    else room.resolve();
  },
  measures,
  feed: new Feed(),
  clock: Date.now,
  log,
});
const topics = await introduceAll();
const frames = values.preload ? await collect(readFrames()) : readFrames();
say(await measure(frames));
await pipeline.drain();
await pipeline.close();
await database.close();
rmSync(data, { recursive: true, force: true });

async function introduceAll(): Promise<readonly string[]> {
  const fleet = Array.from(
    { length: machines },
    (_, index) => new FleetDevice(values.site, machinePath(index)),
  );
  await Promise.all(
    fleet.map((device) => offer(`${device.path}/certificates`, Buffer.from(device.certificates))),
  );
  return fleet.map(({ topic }) => topic);
}

/** Resolves when it is acknowledged. */
function offer(topic: string, payload: Buffer): Promise<void> {
  return new Promise((acknowledge) => {
    pipeline.subscriber.receive(
      {
        topic,
        payload,
        qos: 1,
        retain: false,
        duplicate: false,
        properties: Buffer.alloc(0),
        expirySeconds: undefined,
      },
      acknowledge,
    );
  });
}

async function* readFrames(): AsyncGenerator<Frame> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of process.stdin) {
    rest = Buffer.concat([rest, chunk as Buffer]);
    let at = 0;
    while (rest.length - at >= 6 && rest.length - at - 6 >= rest.readUInt32BE(at)) {
      const end = at + 6 + rest.readUInt32BE(at);
      yield { topic: topics[rest.readUInt16BE(at + 4)] ?? '', payload: rest.subarray(at + 6, end) };
      at = end;
    }
    rest = Buffer.from(rest.subarray(at));
  }
}

async function collect(source: AsyncIterable<Frame>): Promise<Frame[]> {
  const all: Frame[] = [];
  for await (const { topic, payload } of source) all.push({ topic, payload: Buffer.from(payload) });
  return all;
}

async function measure(source: AsyncIterable<Frame> | Iterable<Frame>): Promise<IngestFigures> {
  const [expected, warm] = [Number(values.expected), Number(values.warm)];
  const last = warm === 0 ? expected : expected - Number(values.queue);
  if (last <= warm) throw new Error(`${expected} are too few to warm up with ${warm}`);
  const every = Math.max(1, Math.floor(expected / Number(values.samples)));
  const memory: MemorySample[] = [];
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  let cpu = process.cpuUsage();
  let startMs = performance.now();
  let seconds = 0;
  let offered = 0;
  let done = 0;
  const finished = Promise.withResolvers<void>();
  const committed = (): void => {
    done += 1;
    if (done === warm) {
      delay.reset();
      cpu = process.cpuUsage();
      startMs = performance.now();
    }
    if (done === last) {
      cpu = process.cpuUsage(cpu);
      seconds = (performance.now() - startMs) / 1000;
      delay.disable();
    }
    if (done % every === 0) {
      const { rss, heapUsed } = process.memoryUsage();
      memory.push({ stored: done, residentBytes: rss, heapBytes: heapUsed });
    }
    if (done % progressEvery === 0) say({ done });
    if (done === expected) finished.resolve();
  };
  for await (const { topic, payload } of source) {
    offered += 1;
    void offer(topic, payload).then(committed);
    if (pipeline.ingest.isFull) await room.promise;
  }
  if (offered !== expected) throw new Error(`${offered} envelopes came`);
  await finished.promise;
  const { stored, rejected } = measures.tally;
  return {
    stored,
    rejected,
    measured: last - warm,
    seconds,
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
    delayP99Ms: delay.percentile(99) / 1e6,
    delayMaxMs: delay.max / 1e6,
    memory,
  };
}

function say(line: IngestProgress | IngestFigures): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
