/** Which snapshots are gone for good, so that one that comes again is not taken for late. */
import type { Statements } from './statements.ts';

export const droppedSql = {
  snapshots: 'delete from snapshot where device_id = ? and sequence >= ? and sequence <= ? and time_ms < ?',
  known: 'select sequence from dropped where device_id = ?',
} as const;

/**
 * Deletes the rows of snapshots whose values are deleted in the same transaction.
 *
 * @param sequences - theirs; between them, what is older than `beforeMs` goes too
 */
export async function dropSnapshots(
  statements: Statements,
  deviceId: number,
  sequences: readonly number[],
  beforeMs: number,
): Promise<void> {
  if (sequences.length === 0) return;
  const from = sequences.reduce((least, sequence) => Math.min(least, sequence), Infinity);
  const to = sequences.reduce((greatest, sequence) => Math.max(greatest, sequence), 0);
  await statements.run(droppedSql.snapshots, [deviceId, from, to, beforeMs]);
  const [known] = await statements.all<{ sequence: number }>(droppedSql.known, [deviceId]);
  await statements.upsertMany(
    'dropped',
    'device_id',
    ['device_id', 'sequence', 'time_ms'],
    [[deviceId, Math.max(known?.sequence ?? 0, to), beforeMs]],
  );
}
