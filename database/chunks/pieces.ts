/** Whole snapshots out of chunks and the head, a run of time after the other. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ChannelValue } from '../../domain/snapshot.ts';
import type { Window } from '../extremes.ts';
import { decodePairs, eachValue } from '../head.ts';
import { decodeColumn, decodeIntegers } from '../payload.ts';
import type { Statements } from '../statements.ts';
import type { DevicePlace, Piece, WholeSnapshot } from '../storage.ts';
import { readSealedChannels } from './rewrite.ts';

interface Run {
  readonly t0: number;
  readonly sealing: number;
  readonly times: Uint8Array;
  readonly sequences: Uint8Array;
}

export const chunkPiecesSql = {
  // Of what ends behind the cursor, the run that begins first.
  firstRun: `select t0, t1 from chunk_time where device_id = ? and t0 >= ? and t0 <= ? and t1 > ?
    order by t0, sealing limit 1`,
  runs: 'select t0, sealing, times, sequences from chunk_time where device_id = ? and t0 >= ? and t0 <= ? and t1 > ?',
  column: 'select data from chunk where device_id = ? and channel_id = ? and t0 = ? and sealing = ?',
  heads: 'select sequence, time_ms, payload from head where device_id = ? and time_ms > ? and time_ms <= ?',
  payloads: 'select payload from head where device_id = ?',
} as const;

export async function readChannelIds(statements: Statements, deviceId: number): Promise<number[]> {
  const ids = new Set(await readSealedChannels(statements, deviceId));
  const heads = await statements.all<{ payload: Uint8Array }>(chunkPiecesSql.payloads, [deviceId]);
  for (const { payload } of heads) eachValue(payload, (channelId) => ids.add(channelId));
  return [...ids];
}

export async function readPiece(
  statements: Statements,
  device: DevicePlace,
  { fromMs, toMs }: Window,
  channelIds: readonly number[],
): Promise<Piece> {
  // A run that reaches into the range begins at most one span before it.
  const earliest = fromMs - device.chunk_span_ms;
  const afterMs = fromMs - 1;
  const [first] = await statements.all<{ t1: number }>(chunkPiecesSql.firstRun, [
    device.id,
    earliest,
    toMs,
    afterMs,
  ]);
  const untilMs = Math.min(toMs, first?.t1 ?? toMs);
  const snapshots: WholeSnapshot[] = [];
  const runs = await statements.all<Run>(chunkPiecesSql.runs, [device.id, earliest, untilMs, afterMs]);
  for (const run of runs)
    snapshots.push(...(await readRun(statements, device, run, { fromMs, toMs: untilMs }, channelIds)));
  const heads = await statements.all<{ sequence: number; time_ms: number; payload: Uint8Array }>(
    chunkPiecesSql.heads,
    [device.id, afterMs, untilMs],
  );
  for (const { sequence, time_ms: timeMs, payload } of heads)
    snapshots.push({ timeMs, sequence, values: new Map(decodePairs(payload)) });
  const sorted = snapshots.toSorted((a, b) => a.timeMs - b.timeMs || a.sequence - b.sequence);
  return { snapshots: sorted, untilMs };
}

async function readRun(
  statements: Statements,
  device: DevicePlace,
  run: Run,
  { fromMs, toMs }: Window,
  channelIds: readonly number[],
): Promise<WholeSnapshot[]> {
  const sequences = decodeIntegers(run.sequences);
  const snapshots = decodeIntegers(run.times).map((offset, index): WholeSnapshot => ({
    timeMs: run.t0 + offset,
    sequence: sequences[index] ?? 0,
    values: new Map<number, ChannelValue>(),
  }));
  for (const id of channelIds) {
    const [row] = await statements.all<{ data: Uint8Array }>(chunkPiecesSql.column, [
      device.id,
      id,
      run.t0,
      run.sealing,
    ]);
    if (row === undefined) continue;
    for (const [index, value] of decodeColumn(row.data).entries())
      if (value !== null) snapshots[index]?.values.set(id, value);
    await nextTurn(); // SQLite answers without a wait, and hundreds of channels are half a second
  }
  return snapshots.filter(({ timeMs }) => timeMs >= fromMs && timeMs <= toMs);
}
