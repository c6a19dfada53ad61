/** The newest values of a device: of its newest snapshot, and for what that lacks, of the others and of chunks. */
import { decodePairs } from '../head.ts';
import { decodeColumn, decodeIntegers } from '../payload.ts';
import type { Statements } from '../statements.ts';
import type { DevicePlace, TimedValue } from '../storage.ts';

interface HeadRow {
  readonly time_ms: number;
  readonly payload: Uint8Array;
}

export const chunkLatestSql = {
  head: 'select time_ms, payload from head where device_id = ? and ordinal = ?',
  heads:
    'select time_ms, payload from head where device_id = ? and ordinal <> ? order by time_ms desc, sequence desc',
  sealedUntil: 'select max(t1) as t1 from chunk_time where device_id = ?',
  // What comes late is sealed later, so chunks may overlap: one that begins more than a span before the last one ends before it.
  chunks: `select k.t0, k.t1, k.data, t.times from chunk k
    join chunk_time t on t.device_id = k.device_id and t.t0 = k.t0 and t.sealing = k.sealing
    where k.device_id = ? and k.channel_id = ?
      and k.t0 >= (select max(m.t0) from chunk m where m.device_id = ? and m.channel_id = ?) - ?
    order by k.t1 desc`,
} as const;

export async function readLatest(
  statements: Statements,
  device: DevicePlace,
  channelIds: readonly number[],
): Promise<Map<number, TimedValue>> {
  const found = new Map<number, TimedValue>();
  const take = (rows: readonly HeadRow[]): void => {
    for (const { time_ms: timeMs, payload } of rows) {
      for (const [id, value] of decodePairs(payload)) if (!found.has(id)) found.set(id, { value, timeMs });
    }
  };
  take(await statements.all<HeadRow>(chunkLatestSql.head, [device.id, device.latest_ordinal]));
  const lacking = channelIds.filter((id) => !found.has(id));
  if (lacking.length === 0) return found;
  take(await statements.all<HeadRow>(chunkLatestSql.heads, [device.id, device.latest_ordinal]));
  const [sealed] = await statements.all<{ t1: number | null }>(chunkLatestSql.sealedUntil, [device.id]);
  const sealedMs = sealed?.t1 ?? -Infinity;
  for (const channelId of lacking) {
    const known = found.get(channelId);
    if (known !== undefined && known.timeMs >= sealedMs) continue;
    const latest = await latestSealed(statements, device, channelId);
    if (latest !== undefined && !(known !== undefined && known.timeMs >= latest.timeMs))
      found.set(channelId, latest);
  }
  return found;
}

async function latestSealed(
  statements: Statements,
  { id, chunk_span_ms: spanMs }: DevicePlace,
  channelId: number,
): Promise<TimedValue | undefined> {
  const rows = await statements.all<{ t0: number; t1: number; data: Uint8Array; times: Uint8Array }>(
    chunkLatestSql.chunks,
    [id, channelId, id, channelId, spanMs],
  );
  let latest: TimedValue | undefined;
  for (const { t0, t1, data, times } of rows) {
    if (latest !== undefined && latest.timeMs >= t1) break;
    const values = decodeColumn(data);
    const index = values.findLastIndex((value) => value !== null);
    const value = values[index] ?? null;
    const timeMs = t0 + (decodeIntegers(times)[index] ?? 0);
    if (value !== null && !(latest !== undefined && latest.timeMs >= timeMs)) latest = { value, timeMs };
  }
  return latest;
}
