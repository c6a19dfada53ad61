/** The numbers of one channel over a range of time. */
import type { Window } from '../extremes.ts';
import { findNumber } from '../head.ts';
import { decodeNumbers } from '../payload.ts';
import type { Statements } from '../statements.ts';
import type { DevicePlace } from '../storage.ts';

export const chunkNumbersSql = {
  // A chunk that reaches into the range begins at most one span before it.
  chunks: `select k.t0, k.data, t.times from chunk k
    join chunk_time t on t.device_id = k.device_id and t.t0 = k.t0 and t.sealing = k.sealing
    where k.device_id = ? and k.channel_id = ? and k.t0 >= ? and k.t0 <= ? and k.t1 >= ?`,
  heads: 'select time_ms, payload from head where device_id = ? and time_ms >= ? and time_ms <= ?',
} as const;

export async function readNumbers(
  statements: Statements,
  { id, chunk_span_ms: spanMs }: DevicePlace,
  channelId: number,
  { fromMs, toMs }: Window,
): Promise<(readonly [timeMs: number, value: number])[]> {
  const numbers: (readonly [number, number])[] = [];
  const add = (timeMs: number, value: number | undefined): void => {
    if (value !== undefined && !Number.isNaN(value) && timeMs >= fromMs && timeMs <= toMs)
      numbers.push([timeMs, value]);
  };
  const chunks = await statements.all<{ t0: number; data: Uint8Array; times: Uint8Array }>(
    chunkNumbersSql.chunks,
    [id, channelId, fromMs - spanMs, toMs, fromMs],
  );
  for (const { t0, data, times } of chunks) {
    const offsets = decodeNumbers(times);
    for (const [index, value] of decodeNumbers(data).entries()) add(t0 + (offsets[index] ?? NaN), value);
  }
  const heads = await statements.all<{ time_ms: number; payload: Uint8Array }>(chunkNumbersSql.heads, [
    id,
    fromMs,
    toMs,
  ]);
  for (const { time_ms: timeMs, payload } of heads) add(timeMs, findNumber(payload, channelId));
  return numbers.toSorted(([a], [b]) => a - b);
}
