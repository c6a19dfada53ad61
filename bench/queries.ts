/**
 * What it costs to keep a year of telemetry and to ask for it: 20 machines, 340 channels of every kind (`telemetry.ts`),
 * 34 million values on SQLite and on a MariaDB of the bench's own, beside the literature's layout on the same engine.
 * A built database stays in its folder, so that a second run only asks.
 */
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { connectDatabase } from '../database/connect.ts';
import type { Database } from '../database/connect.ts';
import { readExceeding, readExceedingNow } from '../database/exceeds.ts';
import type { Threshold } from '../database/exceeds.ts';
import { readFleet } from '../database/fleet.ts';
import { createIngest } from '../database/ingest.ts';
import type { Arrival } from '../database/ingest.ts';
import { readLatest } from '../database/latest.ts';
import { migrate } from '../database/migrate.ts';
import { readManySeries, readSeries } from '../database/series.ts';
import { inTransaction } from '../database/statements.ts';
import { createUpkeep } from '../database/upkeep.ts';
import type { Upkeep } from '../database/upkeep.ts';
import { startMariadb } from '../scripts/mariadb.ts';
import { openLayoutA } from './layout-a.ts';
import type { LayoutA } from './layout-a.ts';
import {
  channelsOfMachine,
  endMs,
  machinePath,
  machines,
  machineType,
  measuredChannels,
  seeded,
  startMs,
  telemetry,
  usualMax,
} from './telemetry.ts';

type Engine = 'sqlite' | 'mysql';

interface Effort {
  readonly engines: readonly Engine[];
  readonly values: number;
  /** Of the peer; 0 leaves it out. */
  readonly peerValues: number;
  readonly asks: number;
  readonly folder: string;
}

const points = 500;
const fleetSize = 2000;
const batchSize = 256;
const batchesPerUpkeep = 32;
const pauseMs = 10;
const names: Readonly<Record<Engine, string>> = { sqlite: 'SQLite', mysql: 'MariaDB' };
const bytesGoalValues = 34_000_000;
const bytesGoals: Readonly<Record<Engine, number>> = { sqlite: 2, mysql: 5 };
const usage = `usage: npm run bench -- queries [options]

  --values 3.4M|34M|340M  how many values (34M)
  --engine sqlite|mariadb only one of the two
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
  const loads = loadavg().map((load) => load.toFixed(1));
  console.log(
    `Node ${process.versions.node}, ${cpus().length} cores, load average before: ${loads.join(' ')}`,
  );
  for (const engine of effort.engines) await onEngine(engine, effort);
}

function effortOf(args: readonly string[]): Effort | undefined {
  const { values: given } = parseArgs({
    args: [...args],
    options: {
      values: { type: 'string', default: '34M' },
      engine: { type: 'string' },
      peer: { type: 'string', default: '3.4M' },
      dir: { type: 'string', default: path.join(tmpdir(), 'plombe-bench-queries') },
      asks: { type: 'string', default: '200' },
      rebuild: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
    },
  });
  const values = given.quick ? 340_000 : countOf(given.values);
  const peerValues = given.quick ? 340_000 : countOf(given.peer);
  const asks = given.quick ? 20 : Number(given.asks);
  const engines = (['sqlite', 'mysql'] as const).filter(
    (engine) => given.engine === undefined || given.engine === names[engine].toLowerCase(),
  );
  if (!(values >= 340_000 && peerValues >= 0 && asks >= 1) || engines.length === 0) return undefined;
  if (given.rebuild) rmSync(given.dir, { recursive: true, force: true });
  return { engines, values, peerValues, asks, folder: given.dir };
}

function countOf(text: string): number {
  const match = /^([0-9.]+)(M?)$/.exec(text);
  return match === null ? NaN : Math.round(Number(match[1]) * (match[2] === 'M' ? 1e6 : 1));
}

async function onEngine(engine: Engine, effort: Effort): Promise<void> {
  const ours = await openPlace(engine, effort.folder, `values-${effort.values}`);
  try {
    console.log(`\n${names[engine]}, ${millions(effort.values)} values, layout D`);
    const snapshots = await buildOurs(ours, effort.values);
    const bytes = ours.bytes() / (snapshots * machines * channelsOfMachine);
    // Of fewer values the newest, which rest whole, are a larger part.
    const bytesGoal = effort.values >= bytesGoalValues ? goal(bytes, bytesGoals[engine], '') : '';
    console.log(line('bytes per value on disk', bytes.toFixed(2), bytesGoal));
    await askOurs(ours.database, snapshots, effort.asks);
  } finally {
    await ours.close();
  }
  if (effort.peerValues === 0) return;
  const peer = await openPlace(engine, effort.folder, `peer-${effort.peerValues}`);
  try {
    await onPeer(peer, engine, effort);
  } finally {
    await peer.close();
  }
}

interface Place {
  readonly database: Database;
  /** The files of the database, after everything has been written to them. */
  bytes(): number;
  close(): Promise<void>;
}

async function openPlace(engine: Engine, parent: string, name: string): Promise<Place> {
  const folder = path.join(parent, `${engine}-${name}`);
  mkdirSync(folder, { recursive: true });
  if (engine === 'sqlite') {
    const database = await connectDatabase(`sqlite:${path.join(folder, 'plombe.db')}`);
    return { database, bytes: () => sizeOf(folder, /\.db$/), close: () => database.close() };
  }
  const server = await startMariadb(folder);
  const database = await connectDatabase(server.url);
  return {
    database,
    bytes: () => sizeOf(path.join(folder, 'data', 'plombe_test'), /\.ibd$/),
    close: async () => {
      await database.close();
      await server.stop();
    },
  };
}

function sizeOf(folder: string, pattern: RegExp): number {
  return readdirSync(folder)
    .filter((name) => pattern.test(name))
    .reduce((sum, name) => sum + statSync(path.join(folder, name)).size, 0);
}

/** @returns snapshots of each machine */
async function buildOurs({ database }: Place, values: number): Promise<number> {
  await migrate(database);
  const each = Math.round(values / channelsOfMachine / machines);
  const ingest = createIngest(database);
  const [known] = (await readFleet(database, machinePath(0))).map(({ stored }) => stored);
  if (known !== undefined && known !== each) {
    throw new Error(
      `the database in the folder is half built (${known} of ${each}): run again with --rebuild`,
    );
  }
  if (known === undefined) {
    const upkeep = createUpkeep(database);
    const steps: number[] = [];
    let batches = 0;
    await build(telemetry(each), each * machines, async (arrivals) => {
      await ingest.storeBatch(arrivals);
      batches += 1;
      if (batches % batchesPerUpkeep === 0) await keepUp(upkeep, steps);
    });
    await ingest.storeBatch(restOfFleet());
    await keepUp(upkeep, steps);
    const seconds = steps.reduce((sum, step) => sum + step, 0) / 1000;
    const longest = `longest step ${ms(Math.max(...steps))}`;
    console.log(line('  of that, upkeep in the background', `${seconds.toFixed(1)} s`, longest));
  }
  await settle(database);
  return each;
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

async function build(
  arrivals: Iterable<Arrival>,
  total: number,
  store: (batch: readonly Arrival[]) => Promise<unknown>,
): Promise<void> {
  const startedMs = performance.now();
  let done = 0;
  const show = (end: string): void => {
    const rate = Math.round((done * channelsOfMachine * 1000) / (performance.now() - startedMs));
    const filled = Math.round((30 * done) / total);
    process.stderr.write(
      `\r  [${'#'.repeat(filled)}${'.'.repeat(30 - filled)}] ${Math.floor((100 * done) / total)} %  ${rate.toLocaleString('en')} values/s${end}`,
    );
  };
  let shownMs = 0;
  for (const batch of inBatches(arrivals)) {
    await store(batch);
    done += batch.length;
    if (performance.now() - shownMs < 500) continue;
    shownMs = performance.now();
    show('  ');
  }
  show('\n');
  const seconds = (performance.now() - startedMs) / 1000;
  console.log(
    line('built by the ingest function', `${whole((done * channelsOfMachine) / seconds)} values/s`, ''),
  );
}

/** Goes on beside ingest elsewhere; here they take turns, so that its time is seen. */
async function keepUp(upkeep: Upkeep, steps: number[]): Promise<void> {
  for (let isMore = true; isMore;) {
    const startedMs = performance.now();
    isMore = await upkeep.step(Date.now());
    steps.push(performance.now() - startedMs);
  }
}

function* inBatches(arrivals: Iterable<Arrival>): Generator<Arrival[]> {
  let batch: Arrival[] = [];
  for (const arrival of arrivals) {
    batch.push(arrival);
    if (batch.length < batchSize) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

/** Everything into the files, and the optimizer's figures up to date, as they are after a night. */
async function settle(database: Database): Promise<void> {
  if (database.engine === 'sqlite') {
    await database.exclusively((raw) => raw.exec('pragma wal_checkpoint(truncate); pragma optimize'));
  } else {
    await database.pool.promise().query('set global innodb_fast_shutdown = 0');
    for (const table of ['device', 'channel', 'head', 'chunk', 'chunk_time', 'open_zone', 'gap'])
      await database.pool.promise().query(`analyze table ${table}`);
  }
}

async function askOurs(database: Database, snapshots: number, asks: number): Promise<void> {
  const random = seeded(7);
  const year = { fromMs: startMs, toMs: endMs(snapshots), points };
  const machine = (): string => machinePath(Math.floor(random() * machines));
  const channel = (): string => pick(measuredChannels, random);
  const beyond = (): Threshold => ({
    deviceType: machineType,
    channel: channel(),
    direction: 'above',
    value: usualMax,
  });
  const usual = (): Threshold => ({ ...beyond(), value: 100 });
  const quarter = { fromMs: startMs, toMs: startMs + (year.toMs - startMs) / 4 };
  const question = async (name: string, goalMs: number, ask: () => Promise<unknown>): Promise<void> => {
    const { p50, p95 } = await timed(ask, asks);
    console.log(line(name, `p50 ${ms(p50)}  p95 ${ms(p95)}`, goal(p95, goalMs, ' ms')));
  };
  await question(`latest values of a device (${channelsOfMachine})`, 2, () =>
    readLatest(database, machine()),
  );
  await question(`fleet list of ${fleetSize} devices`, 20, () => readFleet(database, ''));
  await question(`a channel, a year, ${points} points`, 5, () =>
    readSeries(database, machine(), channel(), year),
  );
  await question(`three channels, a year, ${points} points`, 15, () =>
    readManySeries(database, machine(), [channel(), channel(), channel()], year),
  );
  await question('exceeded ever (few devices did)', 5, () => readExceeding(database, '', beyond()));
  await question('exceeded ever (all devices did)', 5, () => readExceeding(database, '', usual()));
  await question('exceeded within three months', 5, () => readExceeding(database, '', beyond(), quarter));
  await question('exceeds now', 5, () => readExceedingNow(database, '', usual()));
}

async function onPeer(place: Place, engine: Engine, effort: Effort): Promise<void> {
  const each = Math.round(effort.peerValues / channelsOfMachine / machines);
  const values = each * machines * channelsOfMachine;
  console.log(`\n${names[engine]}, ${millions(values)} values, layout A`);
  const isBuilt = await hasPeer(place.database);
  const layout = await openLayoutA(place.database);
  if (!isBuilt) await build(telemetry(each), each * machines, (batch) => layout.store(batch));
  if (place.database.engine === 'sqlite') await settle(place.database);
  else await place.database.pool.promise().query('analyze table a_snapshot, a_value');
  const bytes = place.bytes() / values;
  console.log(line('bytes per value on disk', bytes.toFixed(2), ''));
  await askPeer(layout, each, Math.max(5, Math.round(effort.asks / 10)), effort.values / values);
}

async function hasPeer(database: Database): Promise<boolean> {
  try {
    const rows = await inTransaction(database, (statements) =>
      statements.all('select id from a_snapshot limit 1', []),
    );
    return rows.length > 0;
  } catch {
    return false; // no such table
  }
}

/** @param times - how many times more values ours has: what follows the number of rows is estimated for as many */
async function askPeer(layout: LayoutA, snapshots: number, asks: number, times: number): Promise<void> {
  const random = seeded(7);
  const machine = (): string => machinePath(Math.floor(random() * machines));
  const channel = (): string => pick(measuredChannels, random);
  const question = async (name: string, isLinear: boolean, ask: () => Promise<unknown>): Promise<void> => {
    const { p50, p95 } = await timed(ask, asks);
    const estimate =
      isLinear && times !== 1 ? `its rows × ${times.toFixed(0)}: about ${ms(p95 * times)}` : '';
    console.log(line(name, `p50 ${ms(p50)}  p95 ${ms(p95)}`, estimate));
  };
  await question(`latest values of a device (${channelsOfMachine})`, false, () => layout.latest(machine()));
  await question(`a channel, a year, ${points} points`, true, () =>
    layout.series(machine(), channel(), startMs, endMs(snapshots), points),
  );
  await question('exceeded ever (few devices did)', true, () => layout.exceededEver(channel(), usualMax));
}

/** Milliseconds. Between two questions is a pause, as there is between those of people. */
async function timed(ask: () => Promise<unknown>, asks: number): Promise<{ p50: number; p95: number }> {
  const warmUps = Math.ceil(asks / 10);
  const times: number[] = [];
  for (let index = -warmUps; index < asks; index++) {
    await sleep(pauseMs);
    const startedMs = performance.now();
    await ask();
    if (index >= 0) times.push(performance.now() - startedMs);
  }
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return { p50: at(0.5), p95: at(0.95) };
}

function pick<T>(from: readonly T[], random: () => number): T {
  const found = from[Math.floor(random() * from.length)];
  if (found === undefined) throw new Error('there is nothing to pick from');
  return found;
}

function line(name: string, figure: string, remark: string): string {
  return `  ${name.padEnd(36)} ${figure.padStart(28)}  ${remark}`.trimEnd();
}

function goal(value: number, most: number, unit: string): string {
  return `goal ${most}${unit}: ${value <= most ? 'reached' : 'missed'}`;
}

function ms(value: number): string {
  return `${value.toFixed(2).padStart(6)} ms`;
}

function millions(values: number): string {
  return `${(values / 1e6).toLocaleString('en', { maximumFractionDigits: 2 })} million`;
}

function whole(value: number): string {
  return Math.round(value).toLocaleString('en');
}
