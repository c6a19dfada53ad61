/** Whole snapshots out of rows, some hundred at a time. */
import type { ChannelValue } from '../../domain/snapshot.ts';
import type { Window } from '../extremes.ts';
import type { Statements } from '../statements.ts';
import type { DevicePlace, Piece, WholeSnapshot } from '../storage.ts';
import { valueColumns, valueOfRow } from './value.ts';
import type { ValueRow } from './value.ts';

const snapshotsPerPiece = 256;

export const rowPiecesSql = {
  nextChannel: 'select min(channel_id) as id from value_row where device_id = ? and channel_id > ?',
  last: `select time_ms from row_snapshot where device_id = ? and time_ms >= ? and time_ms <= ?
    order by time_ms limit 1 offset ${snapshotsPerPiece - 1}`,
  snapshots: `select time_ms, sequence from row_snapshot where device_id = ? and time_ms >= ? and time_ms <= ?
    order by time_ms, sequence`,
  values: `select sequence, ${valueColumns} from value_row r
    where device_id = ? and channel_id = ? and time_ms >= ? and time_ms <= ?`,
} as const;

export async function readChannelIds(statements: Statements, deviceId: number): Promise<number[]> {
  const channels: number[] = [];
  for (;;) {
    const after = channels.at(-1) ?? 0;
    const [row] = await statements.all<{ id: number | null }>(rowPiecesSql.nextChannel, [deviceId, after]);
    if (row === undefined || row.id === null) return channels;
    channels.push(row.id);
  }
}

export async function readPiece(
  statements: Statements,
  { id }: DevicePlace,
  { fromMs, toMs }: Window,
  channelIds: readonly number[],
): Promise<Piece> {
  const [last] = await statements.all<{ time_ms: number }>(rowPiecesSql.last, [id, fromMs, toMs]);
  const untilMs = last?.time_ms ?? toMs;
  const rows = await statements.all<{ time_ms: number; sequence: number }>(rowPiecesSql.snapshots, [
    id,
    fromMs,
    untilMs,
  ]);
  const snapshots = rows.map(({ time_ms: timeMs, sequence }): WholeSnapshot => ({
    timeMs,
    sequence,
    values: new Map<number, ChannelValue>(),
  }));
  const bySequence = new Map(snapshots.map((one) => [one.sequence, one]));
  for (const channelId of channelIds) {
    const values = await statements.all<ValueRow & { sequence: number }>(rowPiecesSql.values, [
      id,
      channelId,
      fromMs,
      untilMs,
    ]);
    for (const row of values) bySequence.get(row.sequence)?.values.set(channelId, valueOfRow(row));
  }
  return { snapshots, untilMs };
}
