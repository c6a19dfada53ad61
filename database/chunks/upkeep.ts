/** Small chunk runs become large ones, old ones are thinned, and older ones dropped. */
import type { Database } from '../connect.ts';
import { decodeIntegers } from '../payload.ts';
import { dayMs, snapshotsPerRun, thinnedShareMin } from '../retention.ts';
import type { RetentionPolicy } from '../retention.ts';
import { inSnapshot, inTransaction } from '../statements.ts';
import type { Statements } from '../statements.ts';
import type { Thinned } from '../storage.ts';
import { dropSnapshots } from '../dropped.ts';
import {
  deleteChunks,
  deleteTimes,
  readSealedChannels,
  rewriteRuns,
  rewriteSql,
  runsPerRewriteMax,
} from './rewrite.ts';
import type { RunGroup, RunKey } from './rewrite.ts';
import { renewZone } from './open-zone.ts';

interface RunRow extends RunKey {
  readonly t1: number;
  readonly n: number;
  readonly stretch_ms: number | null;
}

interface DeviceRow {
  readonly id: number;
  readonly stored: number;
  readonly zone_ordinal: number;
  readonly latest_ordinal: number;
}

type Work =
  | { readonly kind: 'rewrite'; readonly group: RunGroup; readonly stretchMs: number | undefined }
  | {
      readonly kind: 'drop';
      readonly deviceId: number;
      readonly runs: readonly RunRow[];
      readonly beforeMs: number;
    }
  | { readonly kind: 'drop_newest'; readonly deviceId: number; readonly beforeMs: number };

/** As at sealing: a longer pause than this part of the span ends a run. */
const pauseShare = 1 / 4;
/** A transaction drops at most so many runs. */
const runsPerDropMax = 4;

export const chunkUpkeepSql = {
  runs: `select c.t0, c.sealing, c.t1, c.n, t.stretch_ms from chunk_time c
    left join thinned_run t on t.device_id = c.device_id and t.t0 = c.t0 and t.sealing = c.sealing
    where c.device_id = ? order by c.t0, c.sealing`,
  // Of a device that sends no more, or what came late: the one with the highest sequence stays.
  oldHeads: `select h.sequence from device d join head h on h.device_id = d.id and h.ordinal <> d.latest_ordinal
    where d.id = ? and h.time_ms < ?`,
  device: 'select id, device.stored, zone_ordinal, latest_ordinal from device where id = ?',
  deleteHeads: 'delete from head where device_id = ? and ordinal <> ? and time_ms < ?',
  countHeads: `update device set head_count = (select count(*) from head h where h.device_id = device.id),
    zone_ordinal = device.stored where id = ?`,
} as const;

export async function keepUp(
  database: Database,
  deviceId: number,
  policy: RetentionPolicy,
  nowMs: number,
): Promise<boolean> {
  const runSize = snapshotsPerRun[database.engine];
  const work = await inSnapshot(database, (statements) =>
    findWork(statements, deviceId, policy, runSize, nowMs),
  );
  if (work !== undefined) await perform(database, work);
  return work !== undefined;
}

export async function readThinned(statements: Statements, deviceId: number): Promise<Thinned | undefined> {
  const runs = await statements.all<RunRow>(chunkUpkeepSql.runs, [deviceId]);
  return runs
    .flatMap(({ t1, stretch_ms: stretchMs }) => (stretchMs === null ? [] : [{ untilMs: t1, stretchMs }]))
    .toSorted((a, b) => a.untilMs - b.untilMs)
    .at(-1);
}

async function perform(database: Database, work: Work): Promise<void> {
  if (work.kind === 'drop') {
    await inTransaction(database, (statements) => drop(statements, work));
    return;
  }
  if (work.kind === 'drop_newest') {
    await inTransaction(database, (statements) => dropNewest(statements, work));
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
  const longRun = runSize * thinnedShareMin;
  const runs = await statements.all<RunRow>(chunkUpkeepSql.runs, [deviceId]);
  const beforeMs = nowMs - (policy.droppedAfterDays ?? Infinity) * dayMs;
  const old = runs.filter(({ t1 }) => t1 < beforeMs);
  if (old.length > 0) return { kind: 'drop', deviceId, runs: old.slice(0, runsPerDropMax), beforeMs };
  if (policy.droppedAfterDays !== undefined) {
    const heads = await statements.all(chunkUpkeepSql.oldHeads, [deviceId, beforeMs]);
    if (heads.length > 0) return { kind: 'drop_newest', deviceId, beforeMs };
  }
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
  for (const channelId of await readSealedChannels(statements, deviceId))
    await deleteChunks(statements, { deviceId, runs }, channelId);
  await deleteTimes(statements, { deviceId, runs });
  await dropSnapshots(statements, deviceId, sequences, beforeMs);
}

async function dropNewest(
  statements: Statements,
  { deviceId, beforeMs }: Work & { kind: 'drop_newest' },
): Promise<void> {
  await statements.run(rewriteSql.turn, []);
  const [device] = await statements.all<DeviceRow>(chunkUpkeepSql.device, [deviceId]);
  const heads = await statements.all<{ sequence: number }>(chunkUpkeepSql.oldHeads, [deviceId, beforeMs]);
  if (device === undefined || heads.length === 0) return;
  await statements.run(chunkUpkeepSql.deleteHeads, [deviceId, device.latest_ordinal, beforeMs]);
  await renewZone(statements, device);
  await statements.run(chunkUpkeepSql.countHeads, [deviceId]);
  await dropSnapshots(
    statements,
    deviceId,
    heads.map(({ sequence }) => sequence),
    beforeMs,
  );
}
