/**
 * The gate under kills: auditor, customer's broker and agents are killed with SIGKILL at random while a person decides about
 * what is held. Nothing crosses the uplink that was not released, the ledger has every envelope and verifies, and the
 * database holds exactly what was released, each once; what is missing there is what was denied.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { auditorListing } from '../auditor/list.ts';
import type { ListedEntry } from '../auditor/list.ts';
import type { LogRecord } from '../cli/demo/supervisor.ts';
import { vendorBrokerName } from '../cli/deployment/plan.ts';
import { connectDatabase } from '../database/connect.ts';
import type { Database } from '../database/connect.ts';
import { readTotals } from '../database/totals.ts';
import { Generator } from '../fuzz/generator.ts';
import { streamOf } from '../ledger/stream.ts';
import {
  agentNames,
  askedAccount,
  auditorName,
  EnforceSite,
  masterAccount,
  victims,
} from './enforce-site.ts';
import type { Outcome, SoakOptions } from './outcome.ts';
import { Person } from './person.ts';
import { UplinkReader } from './uplink-reader.ts';

const calmMs = { min: 500, max: 4000 };
const personMs = 400;
const askMs = 500;
const patienceMs = 90_000;
const entriesMax = 1_000_000;
const shownMax = 5;
const everyone = '';

/** With `minutes` 0 each of them is killed once. */
export async function soakEnforce({ minutes, seed, onProgress }: SoakOptions): Promise<Outcome> {
  const sealed = new Map<string, number>();
  const site = await EnforceSite.make((record) => noteSealed(sealed, record));
  const generator = new Generator(seed);
  let reader: UplinkReader | undefined;
  try {
    await site.startVendor();
    reader = new UplinkReader({
      broker: { host: '127.0.0.1', port: site.vendorPort },
      brokerName: vendorBrokerName,
      identity: site.administrator,
      owner: masterAccount,
      releaser: site.releaser,
    });
    await reader.ready;
    await site.startCustomer();
    const database = await connectDatabase(site.databaseUrl);
    const deciding = new AbortController();
    const person = new Person(site.pagePort, new Generator(seed + 1));
    const decisions = decideUntil(deciding.signal, person);
    try {
      const kills = await killAll({ minutes, generator, site, reader, onProgress });
      onProgress('draining');
      await site.untilWorking(victims); // one that is down has nothing to say about what it sealed
      await site.supervisor.stop(agentNames);
      await untilSettled({ site, sealed, database, onProgress });
      deciding.abort();
      const left = await decisions;
      await site.supervisor.stop([auditorName]);
      const violations = [
        ...reader.violations,
        ...(left === 0 ? [] : [`${left ?? 'unknown'} are held still`]),
        ...(await compare(site, sealed, reader, database)),
        ...(await verify(site)),
      ];
      const sum = [...sealed.values()].reduce((total, count) => total + count, 0);
      const { crossings, repeated } = reader;
      const figures = { sealed: sum, crossed: crossings.length, repeated, decided: person.decided, ...kills };
      return { violations, figures };
    } finally {
      deciding.abort();
      await decisions;
      await database.close();
    }
  } finally {
    await reader?.close();
    await site.end();
  }
}

/** @returns how many are held in the end */
async function decideUntil(signal: AbortSignal, person: Person): Promise<number | undefined> {
  for (;;) {
    const isLast = signal.aborted;
    const left = await person.decide();
    if (isLast) return left;
    await sleep(personMs);
  }
}

interface Trial extends Pick<SoakOptions, 'minutes' | 'onProgress'> {
  readonly generator: Generator;
  readonly site: EnforceSite;
  readonly reader: UplinkReader;
}

/** In rounds, each of which kills everybody once in an order of its own. @returns how often each was killed */
async function killAll({
  minutes,
  generator,
  site,
  reader,
  onProgress,
}: Trial): Promise<Record<string, number>> {
  const kills: Record<string, number> = {};
  const endMs = performance.now() + minutes * 60_000;
  do {
    for (const victim of shuffled(victims, generator)) {
      await sleep(calmMs.min + generator.below(calmMs.max - calmMs.min));
      const processId = site.supervisor.processIds().get(victim);
      if (processId === undefined) continue; // it waits for its restart
      process.kill(processId, 'SIGKILL');
      kills[victim] = (kills[victim] ?? 0) + 1;
      const left = Math.max(0, Math.round((endMs - performance.now()) / 1000));
      onProgress(`${victim}; ${reader.crossings.length} crossed, ${left} s to go`);
    }
  } while (performance.now() < endMs);
  return kills;
}

function shuffled<Item>(items: readonly Item[], generator: Generator): Item[] {
  const left = [...items];
  return items.flatMap(() => left.splice(generator.below(left.length), 1));
}

/** What an agent says of its devices when it has stopped. */
function noteSealed(sealed: Map<string, number>, { event, devices }: LogRecord): void {
  if (event !== 'agent.stopped') return;
  for (const [device, counts] of Object.entries(devices as Record<string, { sealed: number }>)) {
    sealed.set(device, counts.sealed);
  }
}

interface Settling {
  readonly site: EnforceSite;
  readonly sealed: ReadonlyMap<string, number>;
  readonly database: Database;
  readonly onProgress: SoakOptions['onProgress'];
}

/** Until the ledger has everything, all of it is decided, and the database has what was released; gives up after a while without news. */
async function untilSettled({ site, sealed, database, onProgress }: Settling): Promise<void> {
  const wanted = [...sealed.values()].reduce((sum, count) => sum + count, 0);
  let before = '';
  for (let idleMs = 0; idleMs < patienceMs; idleMs += askMs) {
    const last = lastEntries(site);
    const held = last.filter(({ outcome }) => outcome === 'held').length;
    const released = last.filter(({ outcome }) => outcome === 'released').length;
    const { stored } = await readTotals(database, everyone);
    const now = `${last.length} of ${wanted} recorded, ${held} held, ${stored} of ${released} released are stored`;
    if (last.length >= wanted && held === 0 && stored >= released) return;
    if (now !== before) {
      onProgress(now);
      idleMs = 0;
    }
    before = now;
    await sleep(askMs);
  }
}

/** Of each envelope what the ledger says last, in the order of their first entries. */
function lastEntries({ auditorData }: EnforceSite): ListedEntry[] {
  const { entries } = auditorListing(auditorData, { entriesMax });
  return [...new Map(entries.map((entry) => [keyOf(entry), entry])).values()];
}

function keyOf(entry: ListedEntry): string {
  return `${streamOf(entry)} #${entry.sequence ?? '?'} ${entry.digest.toString('hex')}`;
}

async function compare(
  site: EnforceSite,
  sealed: ReadonlyMap<string, number>,
  reader: UplinkReader,
  database: Database,
): Promise<string[]> {
  const entries = lastEntries(site);
  const released = new Set(entries.filter(({ outcome }) => outcome === 'released').map(keyOf));
  const crossed = reader.crossings.map(({ stream, sequence, digest }) => `${stream} #${sequence} ${digest}`);
  const rows = await database.kysely
    .selectFrom('snapshot')
    .innerJoin('device', 'device.id', 'snapshot.device_id')
    .select(['device.path', 'snapshot.sequence', 'snapshot.digest'])
    .execute();
  const stored = rows.map((row) => `${row.path} #${row.sequence} ${Buffer.from(row.digest).toString('hex')}`);
  const { deadLetters, alarmsOpen } = await readTotals(database, everyone);
  return [
    ...(sealed.size === 0 ? ['no agent said what it had sealed'] : []),
    ...recordedFaults(entries, sealed),
    ...differences('released', released, 'crossed the uplink', crossed),
    ...differences('released', released, 'are stored', stored),
    ...(stored.length > new Set(stored).size ? ['something is stored twice'] : []),
    ...orderFaults(reader),
    ...(await gapFaults(database, entries)),
    ...(deadLetters > 0 ? [`${deadLetters} messages were refused by the backend`] : []),
    ...(alarmsOpen > 0 ? [`${alarmsOpen} alarms at the backend`] : []),
  ];
}

/** Every number of every device is in the ledger once, and no honest envelope is an alarm. */
function recordedFaults(entries: readonly ListedEntry[], sealed: ReadonlyMap<string, number>): string[] {
  const faults = entries.flatMap((entry) =>
    entry.alarm === undefined
      ? []
      : [`${keyOf(entry)} is the alarm ${entry.alarm.reason}: ${entry.alarm.detail}`],
  );
  for (const [device, count] of sealed) {
    const numbers = entries.flatMap((entry) => (streamOf(entry) === device ? [entry.sequence] : []));
    const isWhole = numbers.length === count && new Set(numbers).size === count;
    if (!isWhole) faults.push(`${device} sealed ${count}, and the ledger has ${numbers.length}`);
  }
  return faults.slice(0, shownMax);
}

function differences(
  name: string,
  wanted: ReadonlySet<string>,
  otherName: string,
  found: readonly string[],
): string[] {
  const other = new Set(found);
  const missing = [...wanted].filter((one) => !other.has(one));
  const foreign = [...other].filter((one) => !wanted.has(one));
  return [
    ...missing
      .slice(0, shownMax)
      .map((one) => `${one} is among those that were ${name}, and not among those that ${otherName}`),
    ...foreign
      .slice(0, shownMax)
      .map((one) => `${one} is among those that ${otherName}, and was not ${name}`),
  ];
}

/** What was held of a device leaves in the order in which it was sealed. */
function orderFaults({ crossings }: UplinkReader): string[] {
  const last = new Map<string, number>();
  return crossings.flatMap(({ stream, sequence }) => {
    if (!stream.startsWith(`${askedAccount}/`)) return [];
    const before = last.get(stream) ?? 0;
    last.set(stream, Math.max(before, sequence));
    return sequence < before ? [`${stream} #${sequence} was released after #${before}`] : [];
  });
}

/** What the database misses is what was denied, as far as something later came. */
async function gapFaults(database: Database, entries: readonly ListedEntry[]): Promise<string[]> {
  const rows = await database.kysely
    .selectFrom('gap')
    .innerJoin('device', 'device.id', 'gap.device_id')
    .select(['device.path', 'gap.from_sequence', 'gap.to_sequence'])
    .where('gap.closed_ms', 'is', null)
    .execute();
  const missing = new Set(
    rows.flatMap(({ path: device, from_sequence: from, to_sequence: to }) =>
      Array.from({ length: to - from + 1 }, (_, index) => `${device} #${from + index}`),
    ),
  );
  const newest = new Map<string, number>();
  for (const entry of entries) {
    if (entry.outcome !== 'released') continue;
    const stream = streamOf(entry);
    newest.set(stream, Math.max(newest.get(stream) ?? 0, entry.sequence ?? 0));
  }
  const denied = new Set(
    entries.flatMap((entry) => {
      const isBefore = (entry.sequence ?? 0) < (newest.get(streamOf(entry)) ?? 0);
      return entry.outcome === 'denied' && isBefore ? [`${streamOf(entry)} #${entry.sequence}`] : [];
    }),
  );
  return differences('denied', denied, 'are gaps of the database', [...missing]);
}

/** As anybody does who has the file, the root, and what the vendor has signed. */
async function verify({ ledger, rootFile, auditorData }: EnforceSite): Promise<string[]> {
  const head = path.join(auditorData, 'countersigned.head');
  const command = path.resolve(import.meta.dirname, '../cli/main.ts');
  const args = [command, 'audit', 'verify', ledger, '--root', rootFile, '--json'];
  const heads = existsSync(head) ? ['--head', head] : [];
  const faults = heads.length === 0 ? ['the vendor has countersigned nothing'] : [];
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [...args, ...heads]);
    const { gaps, forks } = JSON.parse(stdout) as { gaps: readonly unknown[]; forks: readonly unknown[] };
    if (gaps.length > 0) faults.push(`gaps of the ledger: ${JSON.stringify(gaps.slice(0, shownMax))}`);
    if (forks.length > 0) faults.push(`numbers used twice: ${JSON.stringify(forks.slice(0, shownMax))}`);
  } catch (error) {
    faults.push(`plombe audit verify: ${String(error)}`);
  }
  return faults;
}
