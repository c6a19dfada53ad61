/** The latest value of every channel of one device. */
import { channelGroup } from '../domain/snapshot.ts';
import type { LatestValue } from '../domain/view.ts';
import type { Database } from './connect.ts';
import { inSnapshot } from './statements.ts';
import { placeColumns } from './storage.ts';
import type { DevicePlace } from './storage.ts';
import { storageOf } from './storage-of.ts';

interface Channel {
  readonly id: number;
  readonly name: string;
  readonly unit: string | null;
}

export const latestSql = {
  device: `select ${placeColumns('d')} from device d where d.path = ?`,
  channels: `select c.id, c.name, u.symbol as unit from channel c
    left join unit u on u.id = c.unit_id where c.device_type_id = ? order by c.name`,
} as const;

/**
 * The newest snapshot's values; a channel that it lacks shows the newest value that there is.
 *
 * @returns by name of channel; empty for a device without snapshots
 */
export async function readLatest(database: Database, path: string): Promise<LatestValue[]> {
  const storage = await storageOf(database);
  return inSnapshot(database, async (statements) => {
    const [device] = await statements.all<DevicePlace>(latestSql.device, [path]);
    if (device === undefined || device.device_type_id === null) return [];
    const channels = await statements.all<Channel>(latestSql.channels, [device.device_type_id]);
    const ids = channels.map(({ id }) => id);
    const found = await storage.readLatest(statements, device, ids);
    return channels.flatMap(({ id, name, unit }) => {
      const latest = found.get(id);
      return latest === undefined ? [] : [{ channel: name, group: channelGroup(name), unit, ...latest }];
    });
  });
}
