/** Channels over a range of time in at most N points, so that no spike disappears. */
import type { Series } from '../domain/view.ts';
import { Buckets } from './buckets.ts';
import type { SeriesRange } from './buckets.ts';
import { findDevice } from './channel-list.ts';
import type { Database } from './connect.ts';
import { inSnapshot } from './statements.ts';
import { storageOf } from './storage-of.ts';

/** How many channels one question may have. */
export const seriesChannelsMax = 100;

/**
 * @returns undefined if the device has no such channel; texts have no points, booleans are 1 and 0
 * @throws RangeError
 */
export async function readSeries(
  database: Database,
  path: string,
  channel: string,
  range: SeriesRange,
): Promise<Series | undefined> {
  const [series] = await readManySeries(database, path, [channel], range);
  return series;
}

/**
 * Several channels of one device, whose times are read once.
 *
 * @param channels - at most `seriesChannelsMax`
 * @returns in their order; a channel that the device does not have is left out
 * @throws RangeError
 */
export async function readManySeries(
  database: Database,
  path: string,
  channels: readonly string[],
  range: SeriesRange,
): Promise<Series[]> {
  if (channels.length > seriesChannelsMax) {
    throw new RangeError(`cannot draw ${channels.length} channels; wanted at most ${seriesChannelsMax}`);
  }
  const storage = await storageOf(database);
  return inSnapshot(database, async (statements) => {
    const device = await findDevice(database, statements, path);
    if (device === undefined) return [];
    const drawn = channels.flatMap((name) => {
      const channel = device.channels.get(name);
      return channel === undefined ? [] : [{ ...channel, buckets: new Buckets(range) }];
    });
    if (drawn.length > 0) await storage.draw(statements, device.place, drawn, range);
    return drawn.map(({ name, unit, buckets }) => ({ channel: name, unit, ...buckets.points() }));
  });
}
