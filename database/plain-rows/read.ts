/** The answers that rows give: each is a range of the key, device, channel and time. */
import type { ChannelValue } from '../../domain/snapshot.ts';
import type { SeriesRange } from '../buckets.ts';
import type { Extremes, TypePlace, Window } from '../extremes.ts';
import { devicesOfType, scopeCondition } from '../scope.ts';
import type { Statements } from '../statements.ts';
import type { DevicePlace, Drawn, TimedValue, Wanted } from '../storage.ts';
import { valueColumns, valueOfRow } from './value.ts';
import type { ValueRow } from './value.ts';

interface TimedRow extends ValueRow {
  readonly time_ms: number;
}

const ofType = `where d.device_type_id = ? and ${scopeCondition('d.path')}`;

export const rowSql = {
  whole: `select r.channel_id, r.time_ms, ${valueColumns} from channel c join value_row r
    on r.device_id = ? and r.channel_id = c.id and r.time_ms = ? and r.sequence = ? where c.device_type_id = ?`,
  last: `select time_ms, ${valueColumns} from value_row r where device_id = ? and channel_id = ?
    order by time_ms desc, sequence desc limit 1`,
  range: `select time_ms, number_value from value_row
    where device_id = ? and channel_id = ? and time_ms >= ? and time_ms <= ? and number_value is not null
    order by time_ms, sequence`,
  now: `select d.path, r.number_value from device d join value_row r on r.device_id = d.id and r.channel_id = ?
    and r.time_ms = d.last_snapshot_ms and r.sequence = d.latest_sequence ${ofType}`,
  above: `select d.id as device_id, (select max(r.number_value) from value_row r
    where r.device_id = d.id and r.channel_id = ? and r.time_ms >= ? and r.time_ms <= ?) as extreme ${devicesOfType}`,
  below: `select d.id as device_id, (select min(r.number_value) from value_row r
    where r.device_id = d.id and r.channel_id = ? and r.time_ms >= ? and r.time_ms <= ?) as extreme ${devicesOfType}`,
  one: `select ${valueColumns} from value_row r
    where device_id = ? and channel_id = ? and time_ms = ? and sequence = ?`,
} as const;

const everything: Window = { fromMs: -8.64e15, toMs: 8.64e15 };

export async function readLatest(
  statements: Statements,
  { id, device_type_id: typeId, last_snapshot_ms: timeMs, latest_sequence: sequence }: DevicePlace,
  channelIds: readonly number[],
): Promise<Map<number, TimedValue>> {
  const rows = await statements.all<TimedRow & { channel_id: number }>(rowSql.whole, [
    id,
    timeMs,
    sequence,
    typeId,
  ]);
  const found = new Map(rows.map((row) => [row.channel_id, timed(row)]));
  for (const channelId of channelIds) {
    if (found.has(channelId)) continue;
    const [row] = await statements.all<TimedRow>(rowSql.last, [id, channelId]);
    if (row !== undefined) found.set(channelId, timed(row));
  }
  return found;
}

function timed(row: TimedRow): TimedValue {
  return { timeMs: row.time_ms, value: valueOfRow(row) };
}

export async function draw(
  statements: Statements,
  device: DevicePlace,
  drawn: readonly Drawn[],
  range: SeriesRange,
): Promise<void> {
  for (const { id, buckets } of drawn) {
    for (const [timeMs, value] of await readNumbers(statements, device, id, range))
      buckets.addValue(timeMs, value);
  }
}

export async function readNumbers(
  statements: Statements,
  { id }: DevicePlace,
  channelId: number,
  { fromMs, toMs }: Window,
): Promise<(readonly [timeMs: number, value: number])[]> {
  const rows = await statements.all<{ time_ms: number; number_value: number }>(rowSql.range, [
    id,
    channelId,
    fromMs,
    toMs,
  ]);
  return rows.map(({ time_ms: timeMs, number_value: value }) => [timeMs, value] as const);
}

export async function readNow(
  statements: Statements,
  channelId: number,
  place: TypePlace,
): Promise<{ path: string; value: number }[]> {
  const rows = await statements.all<{ path: string; number_value: number | null }>(rowSql.now, [
    channelId,
    ...place,
  ]);
  return rows.flatMap(({ path, number_value: value }) => (value === null ? [] : [{ path, value }]));
}

export async function addExtremes(
  statements: Statements,
  channelId: number,
  place: TypePlace,
  window: Window | undefined,
  extremes: Extremes,
): Promise<void> {
  const { fromMs, toMs } = window ?? everything;
  const sql = extremes.threshold.direction === 'above' ? rowSql.above : rowSql.below;
  const rows = await statements.all<{ device_id: number; extreme: number | null }>(sql, [
    channelId,
    fromMs,
    toMs,
    ...place,
  ]);
  for (const { device_id, extreme } of rows) extremes.add(device_id, extreme);
}

export async function readSnapshots(
  statements: Statements,
  wanted: readonly Wanted[],
): Promise<readonly ReadonlyMap<number, ChannelValue>[]> {
  const found: Map<number, ChannelValue>[] = [];
  for (const { deviceId, channelIds, timeMs, sequence } of wanted) {
    const values = new Map<number, ChannelValue>();
    for (const channelId of channelIds) {
      const [row] = await statements.all<ValueRow>(rowSql.one, [deviceId, channelId, timeMs, sequence]);
      if (row !== undefined) values.set(channelId, valueOfRow(row));
    }
    found.push(values);
  }
  return found;
}
