/** The latest value of every channel of one device. */
import type { LatestValue } from '../domain/view.ts';
import { channelGroup } from '../domain/snapshot.ts';
import type { ChannelValue } from '../domain/snapshot.ts';
import type { Database } from './connect.ts';
import { decodePairs } from './head.ts';
import { decodeColumn, decodeIntegers } from './payload.ts';
import { inSnapshot } from './statements.ts';
import type { Statements } from './statements.ts';

interface Channel {
  readonly id: number;
  readonly name: string;
  readonly unit: string | null;
}

export const latestSql = {
  device: 'select id, device_type_id, latest_ordinal from device where path = ?',
  channels: `select c.id, c.name, u.symbol as unit from channel c
    left join unit u on u.id = c.unit_id where c.device_type_id = ? order by c.name`,
  head: 'select time_ms, payload from head where device_id = ? and ordinal = ?',
  heads: 'select time_ms, payload from head where device_id = ? and ordinal <> ? order by sequence desc',
  chunk: `select k.t0, k.sealing, k.data, t.times from chunk k
    join chunk_time t on t.device_id = k.device_id and t.t0 = k.t0 and t.sealing = k.sealing
    where k.device_id = ? and k.channel_id = ? order by k.t0 desc, k.sealing desc limit 1`,
} as const;

/**
 * The newest snapshot's values; a channel that it lacks shows the newest value that there is.
 *
 * @returns by name of channel; empty for a device without snapshots
 */
export async function readLatest(database: Database, path: string): Promise<LatestValue[]> {
  return inSnapshot(database, async (statements) => {
    const [device] = await statements.all<{
      id: number;
      device_type_id: number | null;
      latest_ordinal: number;
    }>(latestSql.device, [path]);
    if (device === undefined || device.device_type_id === null) return [];
    const channels = await statements.all<Channel>(latestSql.channels, [device.device_type_id]);
    const found = new Map<number, { value: ChannelValue; timeMs: number }>();
    const take = (rows: readonly { time_ms: number; payload: Uint8Array }[]): void => {
      for (const row of rows) {
        for (const [id, value] of decodePairs(row.payload)) {
          if (!found.has(id)) found.set(id, { value, timeMs: row.time_ms });
        }
      }
    };
    take(await statements.all(latestSql.head, [device.id, device.latest_ordinal]));
    if (found.size < channels.length)
      take(await statements.all(latestSql.heads, [device.id, device.latest_ordinal]));
    for (const channel of channels) {
      if (found.has(channel.id)) continue;
      const sealed = await latestSealed(statements, device.id, channel.id);
      if (sealed !== undefined) found.set(channel.id, sealed);
    }
    return channels.flatMap(({ id, name, unit }) => {
      const latest = found.get(id);
      return latest === undefined ? [] : [{ channel: name, group: channelGroup(name), unit, ...latest }];
    });
  });
}

async function latestSealed(
  statements: Statements,
  deviceId: number,
  channelId: number,
): Promise<{ value: ChannelValue; timeMs: number } | undefined> {
  const [row] = await statements.all<{ t0: number; data: Uint8Array; times: Uint8Array }>(latestSql.chunk, [
    deviceId,
    channelId,
  ]);
  if (row === undefined) return undefined;
  const values = decodeColumn(row.data);
  const times = decodeIntegers(row.times);
  const index = values.findLastIndex((value) => value !== null);
  const value = values[index];
  const offset = times[index];
  return value === undefined || value === null || offset === undefined
    ? undefined
    : { value, timeMs: row.t0 + offset };
}
