/**
 * Fills a database with a year of telemetry. Up to 34 million values come as they do elsewhere, by the ingest function in
 * batches of 256 with the upkeep behind it. Of more, all but the newest snapshots are laid down directly in the runs that
 * upkeep would have made of them, by the functions that it makes them with, and the newest come by ingest again. What is cut
 * off is gone on with.
 */
import { Catalogue } from '../database/catalogue.ts';
import { chunkRow, insertRun } from '../database/chunks/chunk.ts';
import type { Database } from '../database/connect.ts';
import { loadDevices, saveDevices } from '../database/device-state.ts';
import { readFleet } from '../database/fleet.ts';
import { createIngest } from '../database/ingest.ts';
import type { Arrival } from '../database/ingest.ts';
import { migrate } from '../database/migrate.ts';
import type { StorageForm } from '../database/schema.ts';
import { inTransaction } from '../database/statements.ts';
import type { Statements } from '../database/statements.ts';
import { snapshotsPerRun } from '../database/retention.ts';
import { chooseStorage } from '../database/storage-of.ts';
import { createUpkeep } from '../database/upkeep.ts';
import type { ChannelValue } from '../domain/snapshot.ts';
import { inBatches } from './batches.ts';
import { figureLine, wholeText } from './figures.ts';
import { Progress } from './progress.ts';
import {
  arrivalOf,
  channelsOfMachine,
  digestOf,
  machinePath,
  machines,
  receiveDelayMs,
  samplesOf,
  signer,
  startMs,
} from './telemetry.ts';
import type { Sample } from './telemetry.ts';

export const fleetSize = 2000;
/** More than these would take an hour by ingest. */
const byIngestMax = 34_000_000;
/** At least so many of a machine come by ingest, so that there are newest ones and small runs. */
const newestMin = 512;
const batchesPerUpkeep = 32;

interface Machine {
  readonly index: number;
  readonly samples: Generator<Sample>;
  /** The last sequence that is there already. */
  readonly known: number;
}

/** @returns snapshots of each machine */
export async function buildValues(
  database: Database,
  values: number,
  form: StorageForm = 'chunks',
): Promise<number> {
  await migrate(database);
  await chooseStorage(database, form);
  const each = Math.round(values / channelsOfMachine / machines);
  const known = new Map((await readFleet(database, '')).map((row) => [row.path, row.lastSequence]));
  const all = Array.from({ length: machines }, (_, index): Machine => ({
    index,
    samples: samplesOf(index, each),
    known: known.get(machinePath(index)) ?? 0,
  }));
  if (all.some((machine) => machine.known > each))
    throw new Error('the database in the folder is another one: run again with --rebuild');
  if (known.size === fleetSize && all.every((machine) => machine.known === each)) return each;
  const progress = new Progress(each * machines);
  const runSize = snapshotsPerRun[database.engine];
  const laid =
    values > byIngestMax && form === 'chunks' ? Math.floor((each - newestMin) / runSize) * runSize : 0;
  await layRuns(database, all, laid, progress);
  await ingestRest(database, all, each - laid, progress);
  progress.end();
  await createIngest(database).storeBatch(restOfFleet());
  return each;
}

/** Snapshots of each machine in turn, so that the rows of machines lie among one another as those of a year would. */
async function layRuns(
  database: Database,
  all: readonly Machine[],
  laid: number,
  progress: Progress,
): Promise<void> {
  const runSize = snapshotsPerRun[database.engine];
  const catalogue = new Catalogue();
  for (let from = 0; from < laid; from += runSize) {
    for (const { index, samples, known } of all) {
      const run = takeRun(samples, runSize, known >= from + runSize);
      const { last } = run;
      if (last !== undefined)
        await inTransaction(database, (statements) => layRun(statements, catalogue, index, run, last));
      progress.add(runSize);
    }
  }
}

interface Run {
  readonly timesMs: number[];
  readonly sequences: number[];
  /** By the number of the channel. */
  readonly columns: readonly ChannelValue[][];
  /** Absent if the run is there already. */
  readonly last?: Sample;
}

function takeRun(samples: Generator<Sample>, runSize: number, isKnown: boolean): Run {
  const timesMs: number[] = [];
  const sequences: number[] = [];
  const columns = Array.from({ length: channelsOfMachine }, (): ChannelValue[] => []);
  let last: Sample | undefined;
  for (let count = 0; count < runSize; count++) {
    const { value: sample, done } = samples.next();
    if (done === true) throw new Error('there are fewer samples than were asked for');
    if (isKnown) continue;
    timesMs.push(sample.timeMs);
    sequences.push(sample.sequence);
    for (const [channel, value] of sample.values.entries()) columns[channel]?.push(value);
    last = sample;
  }
  return { timesMs, sequences, columns, ...(last === undefined ? {} : { last }) };
}

async function layRun(
  statements: Statements,
  catalogue: Catalogue,
  machine: number,
  { timesMs, sequences, columns }: Run,
  last: Sample,
): Promise<void> {
  const path = machinePath(machine);
  const receivedMs = last.timeMs + receiveDelayMs;
  const device = (await loadDevices(statements, [path], receivedMs)).get(path);
  const { snapshot } = arrivalOf(machine, last);
  const resolved = snapshot && (await catalogue.resolve(statements, snapshot, receivedMs));
  if (device === undefined || resolved === undefined || 'refused' in resolved)
    throw new Error(`${path} cannot be stored`);
  device.sealings += 1;
  const run = { deviceId: device.id, sealing: device.sealings, timesMs, sequences };
  const rows = resolved.channelIds.map((channelId, channel) =>
    chunkRow(run, channelId, columns[channel] ?? []),
  );
  await insertRun(statements, run, rows);
  await statements.insertMany(
    'snapshot',
    ['device_id', 'sequence', 'time_ms', 'received_ms', 'digest', 'signer'],
    sequences.map((sequence, index) => {
      const timeMs = timesMs[index] ?? 0;
      return [device.id, sequence, timeMs, timeMs + receiveDelayMs, digestOf(path, sequence), signer];
    }),
  );
  device.device_type_id = resolved.typeId;
  device.stored += sequences.length;
  device.last_sequence = last.sequence;
  device.last_digest = digestOf(path, last.sequence);
  device.latest_sequence = last.sequence;
  device.last_snapshot_ms = last.timeMs;
  device.received_ms = receivedMs;
  device.chunk_span_ms = Math.max(device.chunk_span_ms, last.timeMs - (timesMs[0] ?? 0));
  await saveDevices(statements, [device]);
}

async function ingestRest(
  database: Database,
  all: readonly Machine[],
  rest: number,
  progress: Progress,
): Promise<void> {
  const ingest = createIngest(database);
  const upkeep = createUpkeep(database);
  const steps: number[] = [];
  let batches = 0;
  let spentMs = 0;
  let stored = 0;
  for (const batch of inBatches(interleaved(all, rest, progress))) {
    const startedMs = performance.now();
    await ingest.storeBatch(batch);
    spentMs += performance.now() - startedMs;
    stored += batch.length;
    progress.add(batch.length);
    batches += 1;
    // Goes on beside ingest elsewhere; here they take turns, so that its time is seen.
    if (batches % batchesPerUpkeep === 0) await keepUp();
  }
  await keepUp();
  if (stored === 0) return;
  const rate = wholeText((stored * channelsOfMachine * 1000) / spentMs);
  const seconds = steps.reduce((sum, step) => sum + step, 0) / 1000;
  const longest = steps.reduce((most, step) => Math.max(most, step), 0);
  console.log(figureLine('stored by the ingest function', `${rate} values/s`));
  console.log(
    figureLine('  beside that, upkeep', `${seconds.toFixed(1)} s`, `longest step ${longest.toFixed(0)} ms`),
  );

  async function keepUp(): Promise<void> {
    for (let isMore = true; isMore;) {
      const startedMs = performance.now();
      isMore = await upkeep.step(Date.now());
      steps.push(performance.now() - startedMs);
    }
  }
}

function* interleaved(all: readonly Machine[], rest: number, progress: Progress): Generator<Arrival> {
  for (let count = 0; count < rest; count++) {
    for (const { index, samples, known } of all) {
      const { value: sample, done } = samples.next();
      if (done === true) return;
      if (sample.sequence > known) yield arrivalOf(index, sample);
      else progress.add(1);
    }
  }
}

/** Devices of another type, so that the fleet is large. */
function restOfFleet(): Arrival[] {
  return Array.from({ length: fleetSize - machines }, (_, index) => ({
    device: `ms-acc-2/acc-${(index % 20) + 1}/dev-${index + 1}`,
    sequence: (index % 3) + 1,
    digest: Buffer.alloc(32, index % 256),
    signer: Buffer.alloc(32, 2),
    receivedMs: startMs + index,
    snapshot: {
      timeMs: startMs + index,
      deviceType: 'SMALL',
      readings: [{ channel: 'level', unit: '%', value: index % 100 }],
    },
  }));
}
