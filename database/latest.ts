/** The latest value of every channel of one device. */
import { channelGroup } from '../domain/snapshot.ts';
import type { LatestValue } from '../domain/view.ts';
import { findDevice } from './channel-list.ts';
import type { Database } from './connect.ts';
import { inSnapshot } from './statements.ts';
import { storageOf } from './storage-of.ts';

/**
 * The newest snapshot's values; a channel that it lacks shows the newest value that there is.
 *
 * @returns by name of channel; empty for a device without snapshots
 */
export async function readLatest(database: Database, path: string): Promise<LatestValue[]> {
  const storage = await storageOf(database);
  return inSnapshot(database, async (statements) => {
    const device = await findDevice(database, statements, path);
    if (device === undefined) return [];
    const channels = [...device.channels.values()];
    const found = await storage.readLatest(
      statements,
      device.place,
      channels.map(({ id }) => id),
    );
    return channels.flatMap(({ id, name, unit }) => {
      const latest = found.get(id);
      return latest === undefined ? [] : [{ channel: name, group: channelGroup(name), unit, ...latest }];
    });
  });
}
