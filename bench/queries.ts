/**
 * What it costs to keep a year of telemetry and to ask for it: 20 machines, 340 channels of every kind (`telemetry.ts`), 3.4,
 * 34 and 340 million values on SQLite and on a MariaDB of the bench's own, beside the literature's layout on the same engine.
 * A built database stays in its folder, so that a second run only asks, and one that was cut off goes on.
 */
import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import type { Database } from '../database/connect.ts';
import type { StorageForm } from '../database/schema.ts';
import { storageForms } from '../database/storage-of.ts';
import { engineNames, enginesOf } from './engines.ts';
import type { Engine } from './engines.ts';
import { figureLine, goalText, machineText } from './figures.ts';
import { askAll, millionsText, timesText } from './queries-ask.ts';
import type { Answered } from './queries-ask.ts';
import { buildValues } from './queries-build.ts';
import { onPeer } from './queries-peer.ts';
import { mariadbPlaceText, openPlace, readOnce } from './queries-place.ts';
import { channelsOfMachine, machines } from './telemetry.ts';

interface Effort {
  readonly engines: readonly Engine[];
  /** Rising. */
  readonly values: readonly number[];
  /** Of the peer; 0 leaves it out. */
  readonly peerValues: number;
  readonly asks: number;
  readonly folder: string;
  readonly form: StorageForm;
}

const bytesGoalValues = 34_000_000;
const bytesGoals: Readonly<Record<Engine, number>> = { sqlite: 2, mysql: 5 };
/** From one number of values to ten times as many, from 34 million on. */
const growthMax = 3;
const valuesLeast = 340_000;
const usage = `usage: npm run bench -- queries [options]

  --values 3.4M,34M,340M  how many values, one or several (3.4M,34M,340M; the last takes minutes to build)
  --engine sqlite|mariadb only one of the two
  --storage rows          values as plain rows, up to 34M of them, instead of chunks
  --peer 3.4M|0           how many values the literature's layout gets (3.4M: with 34M it takes minutes)
  --dir FOLDER            where the databases are kept (a folder of its own in the system's temporary one)
  --asks N                how often each question is asked (200)
  --rebuild               build again what is there
  --quick                 340,000 values and 20 asks, to try the bench out`;

/** @param args - see `usage` */
export async function run(args: readonly string[]): Promise<void> {
  const effort = effortOf(args);
  if (effort === undefined) {
    console.error(usage);
    process.exitCode = 2;
    return;
  }
  console.log(machineText());
  if (effort.engines.includes('mysql')) console.log(mariadbPlaceText);
  for (const engine of effort.engines) await onEngine(engine, effort);
}

function effortOf(args: readonly string[]): Effort | undefined {
  const { values: given } = parseArgs({
    args: [...args],
    options: {
      values: { type: 'string', default: '3.4M,34M,340M' },
      engine: { type: 'string' },
      storage: { type: 'string', default: 'chunks' },
      peer: { type: 'string', default: '3.4M' },
      dir: { type: 'string', default: path.join(tmpdir(), 'plombe-bench-queries') },
      asks: { type: 'string', default: '200' },
      rebuild: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
    },
  });
  const values = given.quick ? [valuesLeast] : given.values.split(',').map(countOf);
  const peerValues = given.quick ? valuesLeast : countOf(given.peer);
  const asks = given.quick ? 20 : Number(given.asks);
  const engines = enginesOf(given.engine);
  const form = storageForms.find((one) => one === given.storage);
  const isRight = values.every((count) => count >= valuesLeast) && peerValues >= 0 && asks >= 1;
  if (!isRight || engines.length === 0 || form === undefined) return undefined;
  if (given.rebuild) rmSync(given.dir, { recursive: true, force: true });
  return { engines, values: values.toSorted((a, b) => a - b), peerValues, asks, folder: given.dir, form };
}

function countOf(text: string): number {
  const match = /^([0-9.]+)(M?)$/.exec(text);
  return match === null ? NaN : Math.round(Number(match[1]) * (match[2] === 'M' ? 1e6 : 1));
}

async function onEngine(engine: Engine, effort: Effort): Promise<void> {
  let before: Measured | undefined;
  for (const values of effort.values) {
    const measured = await onOurs(engine, values, effort);
    if (before !== undefined) printGrowth(engine, before, measured);
    before = measured;
  }
  if (effort.peerValues === 0) return;
  const peer = await openPlace(engine, effort.folder, `peer-${effort.peerValues}`);
  try {
    await onPeer(peer, effort.peerValues, effort.asks, before?.values ?? effort.peerValues);
  } finally {
    await peer.close();
  }
}

interface Measured {
  readonly values: number;
  readonly answered: readonly Answered[];
}

async function onOurs(engine: Engine, values: number, { folder, asks, form }: Effort): Promise<Measured> {
  const ours = await openPlace(engine, folder, `${form === 'chunks' ? 'values' : form}-${values}`);
  try {
    console.log(`\n${engineNames[engine]}, ${millionsText(values)} values in ${form}`);
    const snapshots = await buildValues(ours.database, values, form);
    await settle(ours.database);
    const bytes = ours.bytes() / (snapshots * machines * channelsOfMachine);
    // Of fewer values the newest, which rest whole, are a larger part.
    const bytesGoal =
      values >= bytesGoalValues && form === 'chunks'
        ? goalText(bytes <= bytesGoals[engine], `${bytesGoals[engine]}`)
        : '';
    console.log(figureLine('bytes per value on disk', bytes.toFixed(2), bytesGoal));
    const answered = await askAll(ours.database, snapshots, asks);
    for (const { name, goalMs, times } of answered)
      console.log(figureLine(name, timesText(times), goalText(times.p95 <= goalMs, `${goalMs} ms`)));
    return { values, answered };
  } finally {
    await ours.close();
  }
}

/** Everything into the files, and the optimizer's figures up to date, as they are after a night. */
async function settle(database: Database): Promise<void> {
  if (database.engine === 'sqlite') {
    await database.exclusively((raw) => raw.exec('pragma wal_checkpoint(truncate); pragma optimize'));
  } else {
    await database.pool.promise().query('set global innodb_fast_shutdown = 0');
    for (const table of [
      'device',
      'channel',
      'head',
      'chunk',
      'chunk_time',
      'open_zone',
      'gap',
      'value_row',
      'row_snapshot',
    ])
      await database.pool.promise().query(`analyze table ${table}`);
    await readOnce(database, 'chunk', 'data');
    await readOnce(database, 'chunk_time', 'times');
    await readOnce(database, 'value_row', 'number_value');
  }
}

/** By the medians: of a question that takes half a millisecond the 95th percentile is the machine's. */
function printGrowth(engine: Engine, before: Measured, after: Measured): void {
  console.log(
    `\n${engineNames[engine]}, from ${millionsText(before.values)} to ${millionsText(after.values)} values`,
  );
  for (const [index, { name, times }] of after.answered.entries()) {
    const { p50, p95 } = before.answered[index]?.times ?? times;
    const growth = times.p50 / p50;
    const isJudged = before.values >= bytesGoalValues;
    const figure = `p50 × ${growth.toFixed(1)}  p95 × ${(times.p95 / p95).toFixed(1)}`;
    console.log(figureLine(name, figure, isJudged ? goalText(growth <= growthMax, `${growthMax} ×`) : ''));
  }
}
