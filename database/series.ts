/** Channels over a range of time in at most N points, so that no spike disappears. */
import type { Series } from '../domain/view.ts';
import { Buckets } from './buckets.ts';
import type { SeriesRange } from './buckets.ts';
import type { Database } from './connect.ts';
import { inSnapshot } from './statements.ts';
import { placeColumns } from './storage.ts';
import type { DevicePlace, Drawn } from './storage.ts';
import { storageOf } from './storage-of.ts';

/** How many channels one question may have. */
export const seriesChannelsMax = 100;

interface NamedChannel extends Drawn {
  readonly name: string;
  readonly unit: string | null;
}

export const seriesSql = {
  device: `select ${placeColumns('d')} from device d where d.path = ?`,
  channel: `select c.id, c.name, u.symbol as unit from channel c left join unit u on u.id = c.unit_id
    where c.device_type_id = ? and c.name = ?`,
} as const;

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
    const [device] = await statements.all<DevicePlace>(seriesSql.device, [path]);
    if (device === undefined) return [];
    const drawn: NamedChannel[] = [];
    for (const channel of channels) {
      const buckets = new Buckets(range);
      const [known] = await statements.all<Omit<NamedChannel, 'buckets'>>(seriesSql.channel, [
        device.device_type_id,
        channel,
      ]);
      if (known !== undefined) drawn.push({ ...known, buckets });
    }
    if (drawn.length > 0) await storage.draw(statements, device, drawn, range);
    return drawn.map(({ name, unit, buckets }) => ({ channel: name, unit, ...buckets.points() }));
  });
}
