/** Takes over the snapshots of a database that keeps them as rows: each piece becomes a run of chunks. */
import type { ChannelValue } from '../../domain/snapshot.ts';
import { encodePairs } from '../head.ts';
import type { Statements } from '../statements.ts';
import type { Thinned, WholeSnapshot } from '../storage.ts';
import { chunkRow, insertRun } from './chunk.ts';
import { rewriteSql } from './rewrite.ts';
import { renewZone } from './open-zone.ts';
import { headColumns } from './seal.ts';

export async function load(
  statements: Statements,
  deviceId: number,
  snapshots: readonly WholeSnapshot[],
  thinned: Thinned | undefined,
): Promise<void> {
  const [device] = await statements.all<{ sealings: number; chunk_span_ms: number }>(rewriteSql.device, [
    deviceId,
  ]);
  const timesMs = snapshots.map(({ timeMs }) => timeMs);
  const [t0] = timesMs;
  if (device === undefined || t0 === undefined) return;
  const sealing = device.sealings + 1;
  const run = { deviceId, sealing, timesMs, sequences: snapshots.map(({ sequence }) => sequence) };
  const rows = Array.from(columnsOf(snapshots), ([channelId, values]) => chunkRow(run, channelId, values));
  await insertRun(statements, run, rows);
  if (thinned !== undefined)
    await statements.run(rewriteSql.thinned, [deviceId, t0, sealing, thinned.stretchMs]);
  const spanMs = Math.max(device.chunk_span_ms, (timesMs.at(-1) ?? t0) - t0);
  await statements.run(rewriteSql.saveDevice, [sealing, spanMs, deviceId]);
}

/** The newest rests whole, as if it had come last. */
export async function finishLoad(
  statements: Statements,
  deviceId: number,
  newest: WholeSnapshot | undefined,
): Promise<void> {
  if (newest === undefined) return;
  const [device] = await statements.all<{ stored: number }>('select device.stored from device where id = ?', [
    deviceId,
  ]);
  const ordinal = device?.stored ?? 0;
  const { sequence, timeMs, values } = newest;
  await statements.insertMany('head', headColumns, [
    [deviceId, ordinal, sequence, timeMs, encodePairs([...values])],
  ]);
  await statements.run(
    'update device set latest_ordinal = ?, head_count = 1, zone_ordinal = ? where id = ?',
    [ordinal, ordinal, deviceId],
  );
  await renewZone(statements, { id: deviceId, stored: ordinal, zone_ordinal: 0 });
}

/** @returns channel id → its value in each snapshot, null where it has none */
function columnsOf(snapshots: readonly WholeSnapshot[]): Map<number, (ChannelValue | null)[]> {
  const columns = new Map<number, (ChannelValue | null)[]>();
  for (const [index, { values }] of snapshots.entries()) {
    for (const [channelId, value] of values) {
      const column =
        columns.get(channelId) ?? Array.from<ChannelValue | null>({ length: snapshots.length }).fill(null);
      column[index] = value;
      columns.set(channelId, column);
    }
  }
  return columns;
}
