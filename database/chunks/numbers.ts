/** The numbers of one channel over a range of time. */
import type { Window } from '../extremes.ts';
import { findNumber } from '../head.ts';
import { decodeNumbers } from '../payload.ts';
import type { Statements } from '../statements.ts';
import type { DevicePlace } from '../storage.ts';

interface ChunkRow {
  readonly t0: number;
  readonly data: Uint8Array;
  readonly times: Uint8Array;
  readonly sequences: Uint8Array;
}

export const chunkNumbersSql = {
  // A chunk that reaches into the range begins at most one span before it.
  chunks: `select k.t0, k.data, t.times, t.sequences from chunk k
    join chunk_time t on t.device_id = k.device_id and t.t0 = k.t0 and t.sealing = k.sealing
    where k.device_id = ? and k.channel_id = ? and k.t0 >= ? and k.t0 <= ? and k.t1 >= ?`,
  heads: 'select time_ms, sequence, payload from head where device_id = ? and time_ms >= ? and time_ms <= ?',
} as const;

export async function readNumbers(
  statements: Statements,
  { id, chunk_span_ms: spanMs }: DevicePlace,
  channelId: number,
  { fromMs, toMs }: Window,
): Promise<(readonly [timeMs: number, value: number])[]> {
  const numbers: (readonly [timeMs: number, value: number, sequence: number])[] = [];
  const add = (timeMs: number, value: number | undefined, sequence: number): void => {
    if (value !== undefined && !Number.isNaN(value) && timeMs >= fromMs && timeMs <= toMs)
      numbers.push([timeMs, value, sequence]);
  };
  const chunks = await statements.all<ChunkRow>(chunkNumbersSql.chunks, [
    id,
    channelId,
    fromMs - spanMs,
    toMs,
    fromMs,
  ]);
  for (const { t0, data, times, sequences } of chunks) {
    const offsets = decodeNumbers(times);
    const order = decodeNumbers(sequences);
    for (const [index, value] of decodeNumbers(data).entries())
      add(t0 + (offsets[index] ?? NaN), value, order[index] ?? 0);
  }
  const heads = await statements.all<{ time_ms: number; sequence: number; payload: Uint8Array }>(
    chunkNumbersSql.heads,
    [id, fromMs, toMs],
  );
  for (const { time_ms: timeMs, sequence, payload } of heads)
    add(timeMs, findNumber(payload, channelId), sequence);
  // Within one time by sequence: what came late was sealed later, or not at all yet.
  const sorted = numbers.toSorted(([a, , i], [b, , j]) => a - b || i - j);
  return sorted.map(([timeMs, value]) => [timeMs, value] as const);
}
