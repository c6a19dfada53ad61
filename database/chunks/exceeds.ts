/** Values of chunks and of the newest snapshots beyond a threshold, mostly by their statistics. */
import type { Extremes, TypePlace, Window } from '../extremes.ts';
import { isBeyond } from '../extremes.ts';
import { findNumber } from '../head.ts';
import { passingNumbers } from '../payload.ts';
import { devicesOfType, scopeCondition } from '../scope.ts';
import type { Statements } from '../statements.ts';
import { offsetsOf } from './times-cache.ts';
import { uncovered } from './open-zone.ts';
import { partAround, statisticsIn } from './zone.ts';
import type { Statistics } from './zone.ts';

interface ChunkRow {
  readonly device_id: number;
  readonly t0: number;
  readonly t1: number;
  readonly sealing: number;
  readonly extreme: number;
}

interface HeadRow {
  readonly device_id: number;
  readonly payload: Uint8Array;
}

const within = `where d.device_type_id = ? and ${scopeCondition('d.path')}`;

export const chunkExceedsSql = {
  now: `select d.path, h.payload from device d join head h on h.device_id = d.id and h.ordinal = d.latest_ordinal
    ${within}`,
  everAbove: `select d.id as device_id, (select max(k.vmax) from chunk k where k.channel_id = ? and k.device_id = d.id)
    as extreme ${devicesOfType}`,
  everBelow: `select d.id as device_id, (select min(k.vmin) from chunk k where k.channel_id = ? and k.device_id = d.id)
    as extreme ${devicesOfType}`,
  windowAbove: `select k.device_id, k.t0, k.t1, k.sealing, k.vmax as extreme from device d
    join chunk k on k.channel_id = ? and k.device_id = d.id and k.vmax > ?
      and k.t0 >= ? - d.chunk_span_ms and k.t0 <= ? and k.t1 >= ? ${within}`,
  windowBelow: `select k.device_id, k.t0, k.t1, k.sealing, k.vmin as extreme from device d
    join chunk k on k.channel_id = ? and k.device_id = d.id and k.vmin < ?
      and k.t0 >= ? - d.chunk_span_ms and k.t0 <= ? and k.t1 >= ? ${within}`,
  data: `select k.data, t.times from chunk k
    join chunk_time t on t.device_id = k.device_id and t.t0 = k.t0 and t.sealing = k.sealing
    where k.device_id = ? and k.channel_id = ? and k.t0 = ? and k.sealing = ?`,
  rank: `select count(*) as n from channel c join channel o on o.device_type_id = c.device_type_id and o.id < c.id
    where c.id = ?`,
  zone: 'select data from open_zone where device_id = ?',
  zones: `select z.device_id, z.t0, z.t1, substr(z.data, ?, ?) as data from device d join open_zone z on z.device_id = d.id
    and z.t0 <= ? and z.t1 >= ? ${within}`,
  newest: `select h.device_id, h.payload from device d ${uncovered} and h.time_ms >= ? and h.time_ms <= ? ${within}`,
  heads: 'select device_id, payload from head where device_id = ? and time_ms >= ? and time_ms <= ?',
} as const;

const everything: Window = { fromMs: -8.64e15, toMs: 8.64e15 };

export async function readNow(
  statements: Statements,
  channelId: number,
  place: TypePlace,
): Promise<{ path: string; value: number }[]> {
  const rows = await statements.all<{ path: string; payload: Uint8Array }>(chunkExceedsSql.now, place);
  return rows.flatMap(({ path, payload }) => {
    const value = findNumber(payload, channelId);
    return value === undefined ? [] : [{ path, value }];
  });
}

export async function addExtremes(
  statements: Statements,
  channelId: number,
  place: TypePlace,
  window: Window | undefined,
  extremes: Extremes,
): Promise<void> {
  if (window === undefined) {
    const { direction } = extremes.threshold;
    const sql = direction === 'above' ? chunkExceedsSql.everAbove : chunkExceedsSql.everBelow;
    const rows = await statements.all<{ device_id: number; extreme: number | null }>(sql, [
      channelId,
      ...place,
    ]);
    for (const { device_id, extreme } of rows) extremes.add(device_id, extreme);
  } else {
    await addChunks(statements, channelId, place, window, extremes);
  }
  await addHeads(statements, channelId, place, window ?? everything, extremes);
}

async function addChunks(
  statements: Statements,
  channelId: number,
  place: TypePlace,
  { fromMs, toMs }: Window,
  extremes: Extremes,
): Promise<void> {
  const { direction, value } = extremes.threshold;
  const sql = direction === 'above' ? chunkExceedsSql.windowAbove : chunkExceedsSql.windowBelow;
  const rows = await statements.all<ChunkRow>(sql, [channelId, value, fromMs, toMs, fromMs, ...place]);
  const isInside = ({ t0, t1 }: ChunkRow): boolean => t0 >= fromMs && t1 <= toMs;
  for (const row of rows) if (isInside(row)) extremes.add(row.device_id, row.extreme);
  for (const { device_id, t0, t1, sealing, extreme } of rows) {
    const known = extremes.of(device_id);
    // Of what lies outside in part the extreme may be there, unless it is no news anyway.
    if (isInside({ device_id, t0, t1, sealing, extreme })) continue;
    if (known !== undefined && !isBeyond(extreme, { ...extremes.threshold, value: known })) continue;
    const [row] = await statements.all<{ data: Uint8Array; times: Uint8Array }>(chunkExceedsSql.data, [
      device_id,
      channelId,
      t0,
      sealing,
    ]);
    if (row === undefined) continue;
    const times = offsetsOf(`${device_id}/${t0}/${sealing}`, row.times);
    for (const [index, item] of passingNumbers(row.data).entries()) {
      const timeMs = t0 + (times[index] ?? NaN);
      if (timeMs >= fromMs && timeMs <= toMs) extremes.add(device_id, item);
    }
  }
}

async function addHeads(
  statements: Statements,
  channelId: number,
  place: TypePlace,
  { fromMs, toMs }: Window,
  extremes: Extremes,
): Promise<void> {
  const [rank] = await statements.all<{ n: number }>(chunkExceedsSql.rank, [channelId]);
  const zones = await statements.all<{ device_id: number; t0: number; t1: number; data: Uint8Array }>(
    chunkExceedsSql.zones,
    [...partAround(rank?.n ?? 0), toMs, fromMs, ...place],
  );
  const isAbove = extremes.threshold.direction === 'above';
  const partial: number[] = [];
  for (const { device_id, t0, t1, data } of zones) {
    const statistics =
      statisticsIn(data, channelId) ?? (await statisticsOf(statements, device_id, channelId));
    const extreme = isAbove ? statistics?.max : statistics?.min;
    if (statistics?.n === 0 || extreme === undefined || !isBeyond(extreme, extremes.threshold)) continue;
    if (t0 >= fromMs && t1 <= toMs) extremes.add(device_id, extreme);
    else partial.push(device_id);
  }
  const rows = await statements.all<HeadRow>(chunkExceedsSql.newest, [fromMs, toMs, ...place]);
  for (const deviceId of partial)
    rows.push(...(await statements.all<HeadRow>(chunkExceedsSql.heads, [deviceId, fromMs, toMs])));
  for (const { device_id, payload } of rows) extremes.add(device_id, findNumber(payload, channelId));
}

async function statisticsOf(
  statements: Statements,
  deviceId: number,
  channelId: number,
): Promise<Statistics | undefined> {
  const [zone] = await statements.all<{ data: Uint8Array }>(chunkExceedsSql.zone, [deviceId]);
  return zone && statisticsIn(zone.data, channelId);
}
