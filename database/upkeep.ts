/** In the background: small chunk runs become large ones, old values are thinned, and older ones dropped, by policy. */
import type { Database } from './connect.ts';
import { decodeIntegers } from './payload.ts';
import {
  deleteChunks,
  deleteTimes,
  readChannels,
  rewriteRuns,
  rewriteSql,
  runsPerRewriteMax,
} from './rewrite.ts';
import type { RunGroup, RunKey } from './rewrite.ts';
import { whenFree } from './sqlite-dialect.ts';
import { inSnapshot, inTransaction } from './statements.ts';
import type { Statements } from './statements.ts';

/** How long values of a device type are kept. Days are 24 hours. */
export interface RetentionPolicy {
  /** Absent: they stay whole for as long as they are kept. */
  readonly thinned?: { readonly afterDays: number; readonly perDay: number };
  /** Absent: forever. */
  readonly droppedAfterDays?: number;
}

export interface UpkeepPolicies {
  readonly otherwise: RetentionPolicy;
  /** By name of the device type. */
  readonly byType: Readonly<Record<string, RetentionPolicy>>;
}

export const keepEverything: UpkeepPolicies = { otherwise: {}, byType: {} };

export interface Upkeep {
  /**
   * One piece of work, of at most some tenths of a second, most of it outside of any writing transaction.
   *
   * @returns whether there may be more
   */
  step(nowMs: number): Promise<boolean>;
}

interface RunRow extends RunKey {
  readonly t1: number;
  readonly n: number;
  readonly stretch_ms: number | null;
}

interface Candidate {
  readonly id: number;
  readonly path: string;
  readonly type: string | null;
}

type Work =
  | { readonly kind: 'rewrite'; readonly group: RunGroup; readonly stretchMs: number | undefined }
  | {
      readonly kind: 'drop';
      readonly deviceId: number;
      readonly runs: readonly RunRow[];
      readonly beforeMs: number;
    };

/**
 * A run of so many snapshots decodes at 30 ns a value instead of 160, and takes two thirds of the space. Twice as many on
 * SQLite, whose overflow pages would be three quarters empty (34 million values: 2.3 bytes each, instead of 1.9), and
 * half as many on InnoDB, whose files keep the room that the small ones took (4.7 bytes, instead of 5.1).
 */
const snapshotsPerRun = { sqlite: 4096, mysql: 2048 } as const;
/** As at sealing: a longer pause than this part of the span ends a run. */
const pauseShare = 1 / 4;
/** A transaction drops at most so many runs. */
const runsPerDropMax = 4;
/** https://www.sqlite.org/pragma.html#pragma_auto_vacuum */
const incremental = 2;
/** What is free is used again by what comes; more than this part of the file is given back. */
const freeShareMax = 1 / 20;
const pagesGivenBackMax = 1000;
const dayMs = 86_400_000;

export const upkeepSql = {
  devices: `select d.id, d.path, t.name as type from device d left join device_type t on t.id = d.device_type_id
    where d.id > ? and d.sealings > 0 order by d.id limit 1`,
  runs: `select c.t0, c.sealing, c.t1, c.n, t.stretch_ms from chunk_time c
    left join thinned_run t on t.device_id = c.device_id and t.t0 = c.t0 and t.sealing = c.sealing
    where c.device_id = ? order by c.t0, c.sealing`,
  dropSnapshots:
    'delete from snapshot where device_id = ? and sequence >= ? and sequence <= ? and time_ms < ?',
  dropped: 'select sequence from dropped where device_id = ?',
} as const;

export function createUpkeep(database: Database, policies: UpkeepPolicies = keepEverything): Upkeep {
  let after = 0;
  return {
    step: async (nowMs) => {
      const candidate = await inSnapshot(database, async (statements) => {
        const [row] = await statements.all<Candidate>(upkeepSql.devices, [after]);
        return row;
      });
      if (candidate === undefined) {
        const isMore = await giveBack(database);
        if (!isMore) after = 0;
        return isMore;
      }
      const policy = policies.byType[candidate.type ?? ''] ?? policies.otherwise;
      const work = await inSnapshot(database, (statements) =>
        findWork(statements, candidate.id, policy, snapshotsPerRun[database.engine], nowMs),
      );
      if (work === undefined) after = candidate.id;
      else await perform(database, work);
      return true;
    },
  };
}

/** @returns whether there are more free pages in SQLite's file than it needs */
async function giveBack(database: Database): Promise<boolean> {
  if (database.engine !== 'sqlite') return false;
  return database.exclusively(async (raw) => {
    const pragma = (name: string): number => Number(raw.prepare(`pragma ${name}`).get()?.[name] ?? 0);
    if (pragma('auto_vacuum') !== incremental) return false; // made by an earlier version
    const spare = pragma('freelist_count') - pragma('page_count') * freeShareMax;
    if (spare <= 0) return false;
    const pages = Math.min(pagesGivenBackMax, Math.ceil(spare));
    await whenFree(() => raw.exec(`pragma incremental_vacuum(${pages})`));
    return spare > pagesGivenBackMax;
  });
}

async function perform(database: Database, work: Work): Promise<void> {
  if (work.kind === 'drop') {
    await inTransaction(database, (statements) => drop(statements, work));
    return;
  }
  const { group, stretchMs } = work;
  // Where somebody else was faster, the next step looks again.
  await rewriteRuns(database, group, stretchMs === undefined ? undefined : { stretchMs });
}

async function findWork(
  statements: Statements,
  deviceId: number,
  policy: RetentionPolicy,
  runSize: number,
  nowMs: number,
): Promise<Work | undefined> {
  const longRun = runSize / 2;
  const runs = await statements.all<RunRow>(upkeepSql.runs, [deviceId]);
  const beforeMs = nowMs - (policy.droppedAfterDays ?? Infinity) * dayMs;
  const old = runs.filter(({ t1 }) => t1 < beforeMs);
  if (old.length > 0) return { kind: 'drop', deviceId, runs: old.slice(0, runsPerDropMax), beforeMs };
  const whole = runs.filter(({ stretch_ms }) => stretch_ms === null);
  if (policy.thinned !== undefined) {
    const { afterDays, perDay } = policy.thinned;
    const aged = whole.filter(({ t1 }) => t1 < nowMs - afterDays * dayMs);
    // Fewer would keep nearly every snapshot for some channel's extreme.
    const group = groupsOf(aged, Infinity, runSize).find((one) => sizeOf(one) >= longRun);
    if (group !== undefined)
      return { kind: 'rewrite', group: { deviceId, runs: group }, stretchMs: dayMs / perDay };
  }
  const small = groupsOf(whole, longRun, runSize).find(
    (one) => one.length > 1 && (sizeOf(one) >= runSize || one.length === runsPerRewriteMax),
  );
  return small && { kind: 'rewrite', group: { deviceId, runs: small }, stretchMs: undefined };
}

function sizeOf(runs: readonly RunRow[]): number {
  return runs.reduce((sum, { n }) => sum + n, 0);
}

/** @returns runs that follow one another and may become one; a run of `alone` snapshots or more stays by itself */
function groupsOf(runs: readonly RunRow[], alone: number, runSize: number): RunRow[][] {
  const groups: RunRow[][] = [];
  for (const run of runs) {
    const group = groups.at(-1);
    const first = group?.[0];
    const joins =
      group !== undefined &&
      first !== undefined &&
      first.n < alone &&
      run.n < alone &&
      group.length < runsPerRewriteMax &&
      sizeOf(group) < runSize &&
      run.t0 - latestOf(group) <= pauseShare * (run.t1 - first.t0);
    if (joins) group.push(run);
    else groups.push([run]);
  }
  return groups;
}

function latestOf(runs: readonly RunRow[]): number {
  return runs.reduce((latest, { t1 }) => Math.max(latest, t1), -Infinity);
}

async function drop(
  statements: Statements,
  { deviceId, runs, beforeMs }: Work & { kind: 'drop' },
): Promise<void> {
  await statements.run(rewriteSql.turn, []);
  const sequences: number[] = [];
  for (const { t0, sealing } of runs) {
    const [row] = await statements.all<{ sequences: Uint8Array }>(rewriteSql.times, [deviceId, t0, sealing]);
    if (row !== undefined) sequences.push(...decodeIntegers(row.sequences));
  }
  for (const channelId of await readChannels(statements, deviceId))
    await deleteChunks(statements, { deviceId, runs }, channelId);
  await deleteTimes(statements, { deviceId, runs });
  const range = sequences.reduce(
    ({ from, to }, sequence) => ({ from: Math.min(from, sequence), to: Math.max(to, sequence) }),
    { from: Infinity, to: 0 },
  );
  if (sequences.length === 0) return;
  await statements.run(upkeepSql.dropSnapshots, [deviceId, range.from, range.to, beforeMs]);
  const [known] = await statements.all<{ sequence: number }>(upkeepSql.dropped, [deviceId]);
  await statements.upsertMany(
    'dropped',
    'device_id',
    ['device_id', 'sequence', 'time_ms'],
    [[deviceId, Math.max(known?.sequence ?? 0, range.to), beforeMs]],
  );
}
