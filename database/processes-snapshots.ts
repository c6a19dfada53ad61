/** The snapshots that bpm has not judged yet, with their values, wherever those rest. */
import type { ChannelValue } from '../domain/snapshot.ts';
import type { Database } from './connect.ts';
import { decodePairs } from './head.ts';
import { decodeColumn, decodeIntegers } from './payload.ts';

export interface UnjudgedSnapshot {
  /** `snapshot.id`. */
  readonly id: number;
  readonly deviceId: number;
  readonly path: string;
  readonly deviceType: string;
  readonly sequence: number;
  readonly timeMs: number;
  /** By channel id. */
  readonly values: ReadonlyMap<number, ChannelValue>;
}

/**
 * @param after - `snapshot.id`, exclusive; ids count up in the order of commits, so nothing appears behind it later
 * @param channelIds - which channels are wanted from chunks; a whole payload carries them all
 * @returns in the order of ids
 */
export async function readSnapshotsAfter(
  database: Database,
  after: number,
  limit: number,
  channelIds: (deviceType: string) => readonly number[],
): Promise<UnjudgedSnapshot[]> {
  const rows = await database.kysely
    .selectFrom('snapshot as s')
    .innerJoin('device as d', 'd.id', 's.device_id')
    .leftJoin('device_type as t', 't.id', 'd.device_type_id')
    .leftJoin('head as h', (join) =>
      join.onRef('h.device_id', '=', 's.device_id').onRef('h.sequence', '=', 's.sequence'),
    )
    .select(['s.id', 's.device_id as deviceId', 'd.path', 's.sequence', 's.time_ms as timeMs', 'h.payload'])
    .select((builder) => builder.fn.coalesce('t.name', builder.val('')).as('deviceType'))
    .where('s.id', '>', after)
    .orderBy('s.id')
    .limit(limit)
    .execute();
  const sealed = await readSealed(
    database,
    rows.filter(({ payload }) => payload === null),
    channelIds,
  );
  return rows.map(({ payload, ...row }) => ({
    ...row,
    values:
      payload === null
        ? (sealed.get(keyOf(row)) ?? new Map<number, ChannelValue>())
        : new Map(decodePairs(payload)),
  }));
}

/** @returns every channel's id by its name, per device type */
export async function readChannelIds(database: Database): Promise<Map<string, Map<string, number>>> {
  const rows = await database.kysely
    .selectFrom('channel as c')
    .innerJoin('device_type as t', 't.id', 'c.device_type_id')
    .select(['t.name as deviceType', 'c.name', 'c.id'])
    .execute();
  const ids = new Map<string, Map<string, number>>();
  for (const { deviceType, name, id } of rows) {
    const ofType = ids.get(deviceType) ?? new Map<string, number>();
    ids.set(deviceType, ofType.set(name, id));
  }
  return ids;
}

interface SealedSnapshot {
  readonly deviceId: number;
  readonly deviceType: string;
  readonly sequence: number;
  readonly timeMs: number;
}

function keyOf({ deviceId, sequence }: { deviceId: number; sequence: number }): string {
  return `${deviceId}/${sequence}`;
}

type ValuesByKey = Map<string, Map<number, ChannelValue>>;

/** Snapshots that were sealed before bpm came: a chunk holds one channel's values over a span of time. */
async function readSealed(
  database: Database,
  wanted: readonly SealedSnapshot[],
  channelIds: (deviceType: string) => readonly number[],
): Promise<ValuesByKey> {
  const found: ValuesByKey = new Map();
  const byDevice = Map.groupBy(wanted, ({ deviceId }) => deviceId);
  for (const [deviceId, snapshots] of byDevice) {
    const ids = channelIds(snapshots[0]?.deviceType ?? '');
    if (ids.length === 0) continue;
    const keys = new Set(snapshots.map(keyOf));
    const times = snapshots.map(({ timeMs }) => timeMs);
    const rows = await database.kysely
      .selectFrom('chunk_time as t')
      .innerJoin('chunk as c', (join) =>
        join
          .onRef('c.device_id', '=', 't.device_id')
          .onRef('c.t0', '=', 't.t0')
          .onRef('c.sealing', '=', 't.sealing'),
      )
      .select(['t.sequences', 'c.channel_id as channelId', 'c.data'])
      .where('t.device_id', '=', deviceId)
      .where('c.channel_id', 'in', [...ids])
      .where(
        't.t0',
        '<=',
        times.reduce((max, time) => Math.max(max, time), -Infinity),
      )
      .where(
        't.t1',
        '>=',
        times.reduce((min, time) => Math.min(min, time), Infinity),
      )
      .execute();
    for (const { sequences, channelId, data } of rows) {
      const values = decodeColumn(data);
      for (const [index, sequence] of decodeIntegers(sequences).entries()) {
        const key = keyOf({ deviceId, sequence });
        const value = values[index];
        if (!keys.has(key) || value === undefined || value === null) continue;
        found.set(key, (found.get(key) ?? new Map<number, ChannelValue>()).set(channelId, value));
      }
    }
  }
  return found;
}
