/** A device with the channels of its type, which are read once, and again when one was added or has changed. */
import type { Database } from './connect.ts';
import type { Statements } from './statements.ts';
import { placeColumns } from './storage.ts';
import type { DevicePlace } from './storage.ts';

export interface ListedChannel {
  readonly id: number;
  readonly name: string;
  readonly unit: string | null;
}

export interface ListedDevice {
  readonly place: DevicePlace;
  /** By name, in the order of names. */
  readonly channels: ReadonlyMap<string, ListedChannel>;
}

interface KnownType {
  /** How often channels had changed when these were read. */
  readonly mark: number | null;
  readonly channels: ReadonlyMap<string, ListedChannel>;
}

/** At 340 channels each, some megabytes. */
const typesMax = 100;

/** By id of the type, the one that was read longest ago first. */
const knownTypes = new WeakMap<Database, Map<number, KnownType>>();

export const channelListSql = {
  device: `select ${placeColumns('d')}, (select m.times from change_mark m where m.what = 'channels') as mark
    from device d where d.path = ?`,
  channels: `select c.id, c.name, u.symbol as unit from channel c
    left join unit u on u.id = c.unit_id where c.device_type_id = ? order by c.name`,
} as const;

/**
 * @param statements - of one snapshot of the database, so that the mark and the channels belong together
 * @returns undefined for a device that is not there, or has not stored a snapshot
 */
export async function findDevice(
  database: Database,
  statements: Statements,
  path: string,
): Promise<ListedDevice | undefined> {
  const [row] = await statements.all<DevicePlace & { readonly mark: number | null }>(channelListSql.device, [
    path,
  ]);
  if (row === undefined || row.device_type_id === null) return undefined;
  const { mark, ...place } = row;
  return { place, channels: await channelsOf(database, statements, row.device_type_id, mark) };
}

async function channelsOf(
  database: Database,
  statements: Statements,
  typeId: number,
  mark: number | null,
): Promise<ReadonlyMap<string, ListedChannel>> {
  const types = knownTypes.get(database) ?? new Map<number, KnownType>();
  knownTypes.set(database, types);
  const known = types.get(typeId);
  if (known !== undefined && known.mark === mark) return known.channels;
  const rows = await statements.all<ListedChannel>(channelListSql.channels, [typeId]);
  const channels = new Map(rows.map((channel) => [channel.name, channel]));
  types.delete(typeId);
  types.set(typeId, { mark, channels });
  for (const oldest of types.keys()) {
    if (types.size <= typesMax) break;
    types.delete(oldest);
  }
  return channels;
}
