/** Single snapshots, from the head where they are whole, and else from the chunks of the wanted channels. */
import type { ChannelValue } from '../../domain/snapshot.ts';
import { decodePairs } from '../head.ts';
import { decodeColumn, decodeIntegers } from '../payload.ts';
import type { Statements } from '../statements.ts';
import type { Wanted } from '../storage.ts';

export const chunkSnapshotsSql = {
  heads: 'select sequence, payload from head where device_id = ? and sequence >= ? and sequence <= ?',
  chunks: `select t.sequences, k.data from chunk_time t
    join chunk k on k.device_id = t.device_id and k.channel_id = ? and k.t0 = t.t0 and k.sealing = t.sealing
    where t.device_id = ? and t.t0 <= ? and t.t1 >= ?`,
} as const;

type Values = Map<number, ChannelValue>;

export async function readSnapshots(
  statements: Statements,
  wanted: readonly Wanted[],
): Promise<readonly Values[]> {
  const found = new Map(wanted.map((one): [Wanted, Values] => [one, new Map()]));
  for (const [deviceId, own] of Map.groupBy(wanted, (one) => one.deviceId)) {
    const bySequence = new Map(own.map((one) => [one.sequence, one]));
    const [from, to] = extentOf(own.map(({ sequence }) => sequence));
    const heads = await statements.all<{ sequence: number; payload: Uint8Array }>(chunkSnapshotsSql.heads, [
      deviceId,
      from,
      to,
    ]);
    for (const { sequence, payload } of heads) {
      const one = bySequence.get(sequence);
      if (one === undefined) continue;
      found.set(one, new Map(decodePairs(payload)));
      bySequence.delete(sequence);
    }
    if (bySequence.size > 0) await addSealed(statements, deviceId, bySequence, found);
  }
  return [...found.values()];
}

async function addSealed(
  statements: Statements,
  deviceId: number,
  bySequence: ReadonlyMap<number, Wanted>,
  found: ReadonlyMap<Wanted, Values>,
): Promise<void> {
  const sealed = [...bySequence.values()];
  const [fromMs, toMs] = extentOf(sealed.map(({ timeMs }) => timeMs));
  for (const channelId of new Set(sealed.flatMap(({ channelIds }) => channelIds))) {
    const rows = await statements.all<{ sequences: Uint8Array; data: Uint8Array }>(chunkSnapshotsSql.chunks, [
      channelId,
      deviceId,
      toMs,
      fromMs,
    ]);
    for (const { sequences, data } of rows) {
      const values = decodeColumn(data);
      for (const [index, sequence] of decodeIntegers(sequences).entries()) {
        const one = bySequence.get(sequence);
        const value = values[index] ?? null;
        if (one !== undefined && value !== null) found.get(one)?.set(channelId, value);
      }
    }
  }
}

function extentOf(numbers: readonly number[]): [least: number, greatest: number] {
  return [
    numbers.reduce((least, number) => Math.min(least, number), Infinity),
    numbers.reduce((greatest, number) => Math.max(greatest, number), -Infinity),
  ];
}
