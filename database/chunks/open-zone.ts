/** Keeps the statistics of each device's newest snapshots, which may lag a little behind these. */
import type { DeviceState } from '../device-state.ts';
import type { SqlValue, Statements } from '../statements.ts';
import { addToZone, decodeZone, encodeZone } from './zone.ts';
import type { Zone } from './zone.ts';

/** How far `open_zone` may lag behind: what it does not cover is decoded row by row. */
export const zoneLagMax = 16;

/** The device's row as it will be. `zone_ordinal` changes. */
export type Zoned = Pick<DeviceState, 'id' | 'stored' | 'zone_ordinal'>;

/** What came since the device's row was read. */
export interface Arrived {
  readonly timeMs: number;
  readonly payload: Uint8Array;
}

interface HeadRow {
  readonly device_id: number;
  readonly time_ms: number;
  readonly payload: Uint8Array;
}

interface ZoneRow {
  readonly device_id: number;
  readonly t0: number;
  readonly t1: number;
  readonly data: Uint8Array;
}

const ordinals = Array.from({ length: zoneLagMax }, (_, index) => `select ${index + 1} as behind`);

/**
 * Joins the devices `d` with their snapshots `h` that the zone does not cover, as the devices' rows say. By each ordinal,
 * because MySQL finds no range that begins at another table's column.
 */
export const uncovered = `join (${ordinals.join(' union all ')}) n on n.behind <= d.stored - d.zone_ordinal
    join head h on h.device_id = d.id and h.ordinal = d.zone_ordinal + n.behind`;

export const openZoneSql = {
  zones: 'select device_id, t0, t1, data from open_zone where device_id in (?)',
  uncovered: `select h.device_id, h.time_ms, h.payload from device d ${uncovered} where d.id in (?)`,
  heads: 'select device_id, time_ms, payload from head where device_id = ?',
} as const;

const columns = ['device_id', 't0', 't1', 'data'];

/** Makes a device's zone anew from all of its newest snapshots. */
export async function renewZone(statements: Statements, device: Zoned): Promise<void> {
  await writeZones(statements, [await newZone(statements, device)]);
}

/**
 * Brings up to date what lags far enough behind, and makes anew what was sealed.
 *
 * @param arrived - by device, also those that need nothing
 */
export async function advanceZones(
  statements: Statements,
  arrived: ReadonlyMap<Zoned, readonly Arrived[]>,
  sealed: ReadonlySet<Zoned>,
): Promise<void> {
  const lagging = [...arrived.keys()].filter(
    (device) => !sealed.has(device) && device.stored - device.zone_ordinal >= zoneLagMax,
  );
  const ids = lagging.map(({ id }) => id);
  const known = new Map(
    (await statements.allIn<ZoneRow>(openZoneSql.zones, ids)).map((row) => [row.device_id, row]),
  );
  const before = Map.groupBy(
    await statements.allIn<HeadRow>(openZoneSql.uncovered, ids),
    (row) => row.device_id,
  );
  const rows: SqlValue[][] = [];
  for (const device of sealed) rows.push(await newZone(statements, device));
  for (const device of lagging) {
    const zone = known.get(device.id);
    const heads = before.get(device.id) ?? [];
    const own = arrived.get(device) ?? [];
    // Of a device that was laid down by other means there may be none, or one too old.
    if (zone === undefined || device.stored - own.length - device.zone_ordinal > heads.length)
      rows.push(await newZone(statements, device));
    else
      rows.push(
        zoneRow(
          device,
          decodeZone(zone.data),
          [zone.t0, zone.t1],
          [...heads.map(({ time_ms: timeMs, payload }) => ({ timeMs, payload })), ...own],
        ),
      );
  }
  await writeZones(statements, rows);
}

async function newZone(statements: Statements, device: Zoned): Promise<SqlValue[]> {
  const rows = await statements.all<HeadRow>(openZoneSql.heads, [device.id]);
  return zoneRow(
    device,
    new Map(),
    [],
    rows.map(({ time_ms: timeMs, payload }) => ({ timeMs, payload })),
  );
}

function zoneRow(
  device: Zoned,
  zone: Zone,
  timesMs: readonly number[],
  added: readonly Arrived[],
): SqlValue[] {
  for (const { payload } of added) addToZone(zone, payload);
  const all = [...timesMs, ...added.map(({ timeMs }) => timeMs)];
  device.zone_ordinal = device.stored;
  return [device.id, Math.min(...all), Math.max(...all), encodeZone(zone)];
}

async function writeZones(statements: Statements, rows: readonly SqlValue[][]): Promise<void> {
  await statements.upsertMany('open_zone', 'device_id', columns, rows);
}
