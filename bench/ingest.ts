/**
 * What ingest carries, on SQLite and on a MariaDB of the bench's own: storage alone beside the literature's layout (a row per
 * value, two foreign-key indexes), sealed envelopes of 340 values to committed rows with verification and opening, and the
 * memory over a million snapshots.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { connectDatabase } from '../database/connect.ts';
import { createIngest } from '../database/ingest.ts';
import type { Arrival } from '../database/ingest.ts';
import { migrate } from '../database/migrate.ts';
import { startMariadb } from '../scripts/mariadb.ts';
import { inBatches } from './batches.ts';
import { engineNames, enginesOf, mariadbSettings } from './engines.ts';
import type { Engine } from './engines.ts';
import { figureLine, goalText, machineText, medianOf, wholeText } from './figures.ts';
import { issueFleet } from './fleet-site.ts';
import type { IngestFigures, IngestProgress } from './ingest-process.ts';
import { openLayoutA } from './layout-a.ts';
import { Progress } from './progress.ts';
import { channelsOfMachine, machinePath, machines, telemetry } from './telemetry.ts';

interface Effort {
  readonly engines: readonly Engine[];
  /** Of 340 values. */
  readonly snapshots: number;
  /** Of storage alone. */
  readonly storedAlone: number;
  readonly forMemory: number;
  /** Values of one of these. */
  readonly valuesForMemory: number;
}

const rateGoals: Readonly<Record<Engine, number>> = { sqlite: 3000, mysql: 1500 };
const ratioGoals: Readonly<Record<Engine, number>> = { sqlite: 5, mysql: 6 };
/** Of the envelopes: until then the compiler works, and the database says what the channels are. */
const warmShare = 1 / 5;
/** Fewer are hardly more than a queue. */
const snapshotsMin = 5000;
const memorySamples = 20;
/** Fewer say nothing of a million. */
const judgedMin = 200_000;
/** Of the medians of the last and the second quarter: in the first, caches fill up to their bounds. */
const memoryGrowthMax = 1.1;
const barWidth = 40;
const usage = `usage: npm run bench -- ingest [options]

  --snapshots N            envelopes of 340 values (30000)
  --memory N               envelopes over which memory is watched (1000000); 0 leaves it out
  --values N               of each of these (34)
  --engine sqlite|mariadb  only one of the two
  --quick                  6,000 envelopes, and 20,000 for the memory: a minute, to try the bench out`;

/** @param args - see `usage` */
export async function run(args: readonly string[]): Promise<void> {
  const effort = effortOf(args);
  if (effort === undefined) {
    console.error(usage);
    process.exitCode = 2;
    return;
  }
  console.log(machineText());
  const folder = mkdtempSync(path.join(tmpdir(), 'plombe-bench-ingest-'));
  try {
    const site = path.join(folder, 'site');
    await issueFleet(
      site,
      Array.from({ length: machines }, (_, index) => machinePath(index)),
    );
    for (const engine of effort.engines) {
      console.log(`\n${engineNames[engine]}`);
      await onFreshDatabase(engine, folder, (url) => storageAlone(engine, url, effort));
      await onFreshDatabase(engine, folder, (url) => sealedToCommitted(engine, url, site, effort));
    }
    if (effort.forMemory > 0) await onFreshDatabase('sqlite', folder, (url) => memoryOver(url, site, effort));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function effortOf(args: readonly string[]): Effort | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      snapshots: { type: 'string', default: '30000' },
      memory: { type: 'string', default: '1000000' },
      values: { type: 'string', default: '34' },
      engine: { type: 'string' },
      quick: { type: 'boolean', default: false },
    },
  });
  const snapshots = values.quick ? 6000 : Number(values.snapshots);
  const forMemory = values.quick ? 20_000 : Number(values.memory);
  const engines = enginesOf(values.engine);
  const valuesForMemory = Number(values.values);
  const isRight = snapshots >= snapshotsMin && forMemory >= 0 && valuesForMemory > 0;
  if (!isRight || valuesForMemory > channelsOfMachine || engines.length === 0) return undefined;
  const whole = (count: number): number => Math.ceil(count / machines) * machines;
  const storedAlone = whole(Math.min(snapshots, 10_000));
  return {
    engines,
    snapshots: whole(snapshots),
    storedAlone,
    forMemory: whole(forMemory),
    valuesForMemory,
  };
}

async function onFreshDatabase(
  engine: Engine,
  folder: string,
  work: (url: string) => Promise<void>,
): Promise<void> {
  if (engine === 'sqlite') {
    const place = mkdtempSync(path.join(folder, 'sqlite-'));
    await work(`sqlite:${path.join(place, 'plombe.db')}`);
    return rmSync(place, { recursive: true, force: true });
  }
  const server = await startMariadb(undefined, mariadbSettings);
  try {
    return await work(server.socketUrl);
  } finally {
    await server.stop();
  }
}

async function storageAlone(engine: Engine, url: string, { storedAlone }: Effort): Promise<void> {
  const database = await connectDatabase(url);
  try {
    await migrate(database);
    const ingest = createIngest(database);
    const ours = await rateOf(storedAlone, (batch) => ingest.storeBatch(batch));
    const layout = await openLayoutA(database);
    const theirs = await rateOf(storedAlone, (batch) => layout.store(batch));
    const values = (rate: number): string => `${wholeText(rate * channelsOfMachine)} values/s`;
    console.log(figureLine('storage alone', values(ours)));
    const ratio = ours / theirs;
    console.log(figureLine('  layout A, the same', values(theirs)));
    console.log(
      figureLine(
        '  ratio',
        `${ratio.toFixed(1)} ×`,
        goalText(ratio >= ratioGoals[engine], `${ratioGoals[engine]} ×`),
      ),
    );
  } finally {
    await database.close();
  }
}

/** @returns snapshots a second */
async function rateOf(
  snapshots: number,
  store: (batch: readonly Arrival[]) => Promise<unknown>,
): Promise<number> {
  let spentMs = 0;
  for (const batch of inBatches(telemetry(snapshots / machines))) {
    const startMs = performance.now();
    await store(batch);
    spentMs += performance.now() - startMs;
  }
  return (snapshots * 1000) / spentMs;
}

async function sealedToCommitted(engine: Engine, url: string, site: string, effort: Effort): Promise<void> {
  const { snapshots } = effort;
  const figures = await ingestFrom({
    site,
    url,
    snapshots,
    channels: channelsOfMachine,
    samples: 1,
    warm: Math.floor(snapshots * warmShare),
    preload: true,
  });
  const rate = figures.measured / figures.seconds;
  const cpuMs = (1000 * figures.cpuSeconds) / figures.measured;
  console.log(
    figureLine(
      'sealed envelopes to committed rows',
      `${wholeText(rate)} snapshots/s`,
      goalText(rate >= rateGoals[engine], wholeText(rateGoals[engine])),
    ),
  );
  console.log(
    figureLine(
      '  CPU time of the backend',
      `${cpuMs.toFixed(2)} ms each`,
      `two cores of its own could do ${wholeText(2000 / cpuMs)}${engine === 'mysql' ? ', the server aside' : ''}`,
    ),
  );
  const delay = `p99 ${figures.delayP99Ms.toFixed(0)} ms, at most ${figures.delayMaxMs.toFixed(0)} ms`;
  console.log(figureLine('  main thread away', delay, 'beside what else runs on the machine'));
}

async function memoryOver(url: string, site: string, { forMemory, valuesForMemory }: Effort): Promise<void> {
  const { memory } = await ingestFrom({
    site,
    url,
    snapshots: forMemory,
    channels: valuesForMemory,
    samples: memorySamples,
    warm: 0,
    preload: false,
  });
  console.log(`\nmemory over ${wholeText(forMemory)} snapshots of ${valuesForMemory} values, SQLite`);
  console.log('     stored   resident  heap of the main thread');
  const most = Math.max(...memory.map(({ residentBytes }) => residentBytes));
  for (const { stored, residentBytes, heapBytes } of memory) {
    const [resident, heap] = [residentBytes, heapBytes].map((bytes) => megabytes(bytes).padStart(9));
    const bar = '█'.repeat(Math.round((barWidth * residentBytes) / most));
    console.log(`  ${wholeText(stored).padStart(9)}  ${resident}  ${heap}  ${bar}`);
  }
  const quarter = (index: number): number => {
    const part = memory.slice((memory.length * index) / 4, (memory.length * (index + 1)) / 4);
    return medianOf(part.map(({ residentBytes }) => residentBytes));
  };
  const growth = quarter(3) / quarter(1);
  console.log(
    figureLine(
      '  last quarter beside the second',
      `${growth.toFixed(2)} ×`,
      forMemory < judgedMin
        ? 'too few to judge'
        : goalText(growth <= memoryGrowthMax, `${memoryGrowthMax} ×`),
    ),
  );
}

interface Asked {
  readonly site: string;
  readonly url: string;
  readonly snapshots: number;
  readonly channels: number;
  readonly samples: number;
  /** So many come before what is measured. */
  readonly warm: number;
  readonly preload: boolean;
}

/** One process seals, the other opens and stores; with `preload` the second begins when the first is done. */
async function ingestFrom({ site, url, snapshots, channels, ...asked }: Asked): Promise<IngestFigures> {
  const script = (name: string): string => path.join(import.meta.dirname, name);
  const sealing = spawn(
    process.execPath,
    [script('ingest-seal-process.ts'), site, String(snapshots), String(channels)],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const storing = spawn(
    process.execPath,
    [
      script('ingest-process.ts'),
      `--site=${site}`,
      `--url=${url}`,
      `--expected=${snapshots}`,
      `--samples=${asked.samples}`,
      `--warm=${asked.warm}`,
      ...(asked.preload ? ['--preload'] : []),
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  sealing.stdout.pipe(storing.stdin);
  const progress = new Progress(snapshots, channels);
  let figures: IngestFigures | undefined;
  let done = 0;
  createInterface(storing.stdout).on('line', (text) => {
    const line = JSON.parse(text) as IngestFigures | IngestProgress;
    if ('done' in line) {
      progress.add(line.done - done);
      done = line.done;
    } else {
      figures = line;
    }
  });
  const [status] = (await once(storing, 'close')) as [number | null];
  progress.end();
  if (status !== 0) throw new Error(`the process that stores ended with ${status}`);
  if (figures?.stored !== snapshots) throw new Error(`stored ${figures?.stored} of ${snapshots}`);
  return figures;
}

function megabytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(0)} MiB`;
}
