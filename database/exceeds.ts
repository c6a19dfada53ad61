/** Which devices of a type are beyond a threshold: now, within a window of time, or ever. */
import type { Exceeding } from '../domain/view.ts';
import type { Database } from './connect.ts';
import { findNumber, measurable } from './head.ts';
import { decodeColumn, decodeIntegers } from './payload.ts';
import type { Scope } from './scope.ts';
import { scopeBounds, scopeCondition } from './scope.ts';
import { inSnapshot } from './statements.ts';
import type { Statements } from './statements.ts';
import { statisticsIn } from './zone.ts';

export interface Threshold {
  readonly deviceType: string;
  readonly channel: string;
  readonly direction: 'above' | 'below';
  readonly value: number;
}

export interface Window {
  readonly fromMs: number;
  /** Inclusive. */
  readonly toMs: number;
}

interface ChunkRow {
  readonly device_id: number;
  readonly t0: number;
  readonly t1: number;
  readonly sealing: number;
  readonly extreme: number;
}

const devicesOfType = `from device d where d.device_type_id = ? and ${scopeCondition('d.path')}`;
const headsOfType = `from device d join head h on h.device_id = d.id`;

export const exceedsSql = {
  channel: `select t.id as type_id, c.id from device_type t
    join channel c on c.device_type_id = t.id where t.name = ? and c.name = ?`,
  devices: `select d.id, d.path ${devicesOfType}`,
  now: `select d.path, h.time_ms, h.payload ${headsOfType} and h.ordinal = d.latest_ordinal
    where d.device_type_id = ? and ${scopeCondition('d.path')}`,
  // The greatest of a device is the last of its entries in the index by extreme.
  everAbove: `select d.id as device_id, (select k.vmax from chunk k where k.channel_id = ? and k.device_id = d.id
    order by k.vmax desc limit 1) as extreme ${devicesOfType}`,
  everBelow: `select d.id as device_id, (select min(k.vmin) from chunk k where k.channel_id = ? and k.device_id = d.id)
    as extreme ${devicesOfType}`,
  windowAbove: `select k.device_id, k.t0, k.t1, k.sealing, k.vmax as extreme from device d
    join chunk k on k.channel_id = ? and k.device_id = d.id and k.vmax > ?
      and k.t0 >= ? - d.chunk_span_ms and k.t0 <= ? and k.t1 >= ?
    where d.device_type_id = ? and ${scopeCondition('d.path')}`,
  windowBelow: `select k.device_id, k.t0, k.t1, k.sealing, k.vmin as extreme from device d
    join chunk k on k.channel_id = ? and k.device_id = d.id and k.vmin < ?
      and k.t0 >= ? - d.chunk_span_ms and k.t0 <= ? and k.t1 >= ?
    where d.device_type_id = ? and ${scopeCondition('d.path')}`,
  data: `select k.data, t.times from chunk k
    join chunk_time t on t.device_id = k.device_id and t.t0 = k.t0 and t.sealing = k.sealing
    where k.device_id = ? and k.channel_id = ? and k.t0 = ? and k.sealing = ?`,
  zones: `select z.device_id, z.t0, z.t1, z.data from device d join open_zone z on z.device_id = d.id
    where d.device_type_id = ? and ${scopeCondition('d.path')}`,
  newest: `select h.device_id, h.time_ms, h.payload ${headsOfType} and h.ordinal > d.zone_ordinal
    where d.device_type_id = ? and ${scopeCondition('d.path')}`,
  heads: 'select time_ms, payload from head where device_id = ?',
} as const;

const everything: Window = { fromMs: -8.64e15, toMs: 8.64e15 };

/** @returns the devices whose newest snapshot is beyond the threshold, with that value; in the order of paths */
export async function readExceedingNow(
  database: Database,
  scope: Scope,
  threshold: Threshold,
): Promise<Exceeding[]> {
  return inSnapshot(database, async (statements) => {
    const channel = await findChannel(statements, threshold);
    if (channel === undefined) return [];
    const rows = await statements.all<{ path: string; time_ms: number; payload: Uint8Array }>(
      exceedsSql.now,
      [channel.type_id, ...scopeBounds(scope)],
    );
    const found = rows.flatMap(({ path, payload }) => {
      const value = findNumber(payload, channel.id);
      return value !== undefined && isBeyond(value, threshold) ? [{ path, extreme: value }] : [];
    });
    return found.toSorted(byPath);
  });
}

/**
 * @param window - without it, ever
 * @returns the devices that were beyond the threshold, with the greatest (or least) value there; in the order of paths
 */
export async function readExceeding(
  database: Database,
  scope: Scope,
  threshold: Threshold,
  window: Window = everything,
): Promise<Exceeding[]> {
  return inSnapshot(database, async (statements) => {
    const channel = await findChannel(statements, threshold);
    if (channel === undefined) return [];
    const extremes = new Extremes(threshold);
    const place = [channel.type_id, ...scopeBounds(scope)] as const;
    if (window === everything) {
      const sql = threshold.direction === 'above' ? exceedsSql.everAbove : exceedsSql.everBelow;
      const rows = await statements.all<{ device_id: number; extreme: number | null }>(sql, [
        channel.id,
        ...place,
      ]);
      for (const { device_id, extreme } of rows) extremes.add(device_id, extreme);
    } else {
      await addChunks(statements, channel.id, place, window, extremes);
    }
    await addHeads(statements, channel.id, place, window, extremes);
    const devices = await statements.all<{ id: number; path: string }>(exceedsSql.devices, place);
    return devices
      .flatMap(({ id, path }) => {
        const extreme = extremes.of(id);
        return extreme === undefined ? [] : [{ path, extreme }];
      })
      .toSorted(byPath);
  });
}

/** Device id → the farthest value beyond the threshold. */
class Extremes {
  readonly #threshold: Threshold;
  readonly #known = new Map<number, number>();

  constructor(threshold: Threshold) {
    this.#threshold = threshold;
  }

  get threshold(): Threshold {
    return this.#threshold;
  }

  of(deviceId: number): number | undefined {
    return this.#known.get(deviceId);
  }

  add(deviceId: number, value: number | null | undefined): void {
    if (value === null || value === undefined || !isBeyond(value, this.#threshold)) return;
    const known = this.#known.get(deviceId);
    if (known === undefined || isBeyond(value, { ...this.#threshold, value: known }))
      this.#known.set(deviceId, value);
  }
}

type Place = readonly [typeId: number, ...bounds: readonly string[]];

function isBeyond(value: number, { direction, value: limit }: Threshold): boolean {
  return direction === 'above' ? value > limit : value < limit;
}

function byPath(a: Exceeding, b: Exceeding): number {
  return a.path < b.path ? -1 : 1;
}

async function findChannel(
  statements: Statements,
  { deviceType, channel }: Threshold,
): Promise<{ type_id: number; id: number } | undefined> {
  const [row] = await statements.all<{ type_id: number; id: number }>(exceedsSql.channel, [
    deviceType,
    channel,
  ]);
  return row;
}

async function addChunks(
  statements: Statements,
  channelId: number,
  place: Place,
  window: Window,
  extremes: Extremes,
): Promise<void> {
  const { direction, value } = extremes.threshold;
  const { fromMs, toMs } = window;
  const sql = direction === 'above' ? exceedsSql.windowAbove : exceedsSql.windowBelow;
  const rows = await statements.all<ChunkRow>(sql, [channelId, value, fromMs, toMs, fromMs, ...place]);
  for (const { device_id, t0, t1, sealing, extreme } of rows) {
    if (t0 >= fromMs && t1 <= toMs) {
      extremes.add(device_id, extreme);
      continue;
    }
    // The extreme may lie outside: look into the chunk.
    const [row] = await statements.all<{ data: Uint8Array; times: Uint8Array }>(exceedsSql.data, [
      device_id,
      channelId,
      t0,
      sealing,
    ]);
    if (row === undefined) continue;
    const times = decodeIntegers(row.times);
    for (const [index, item] of decodeColumn(row.data).entries()) {
      const timeMs = t0 + (times[index] ?? 0);
      if (timeMs >= fromMs && timeMs <= toMs) extremes.add(device_id, measurable(item));
    }
  }
}

async function addHeads(
  statements: Statements,
  channelId: number,
  place: Place,
  { fromMs, toMs }: Window,
  extremes: Extremes,
): Promise<void> {
  const zones = await statements.all<{ device_id: number; t0: number; t1: number; data: Uint8Array }>(
    exceedsSql.zones,
    place,
  );
  const isAbove = extremes.threshold.direction === 'above';
  const partial = new Set<number>();
  for (const { device_id, t0, t1, data } of zones) {
    const statistics = t0 <= toMs && t1 >= fromMs ? statisticsIn(data, channelId) : undefined;
    const extreme = isAbove ? statistics?.max : statistics?.min;
    if (extreme === undefined || !isBeyond(extreme, extremes.threshold)) continue;
    if (t0 >= fromMs && t1 <= toMs) extremes.add(device_id, extreme);
    else partial.add(device_id);
  }
  const take = (deviceId: number, row: { readonly time_ms: number; readonly payload: Uint8Array }): void => {
    if (row.time_ms >= fromMs && row.time_ms <= toMs)
      extremes.add(deviceId, findNumber(row.payload, channelId));
  };
  const newest = await statements.all<{ device_id: number; time_ms: number; payload: Uint8Array }>(
    exceedsSql.newest,
    place,
  );
  for (const row of newest) take(row.device_id, row);
  for (const deviceId of partial) {
    const rows = await statements.all<{ time_ms: number; payload: Uint8Array }>(exceedsSql.heads, [deviceId]);
    for (const row of rows) take(deviceId, row);
  }
}
