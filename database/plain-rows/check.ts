/** Whether a device's rows fit together: no value without its snapshot. */
import type { Statements } from '../statements.ts';
import { readChannelIds } from './pieces.ts';

const rowCheckSql = {
  snapshots: 'select sequence from row_snapshot where device_id = ?',
  astray: `select count(*) as n from value_row r left join row_snapshot s
    on s.device_id = r.device_id and s.time_ms = r.time_ms and s.sequence = r.sequence
    where r.device_id = ? and r.channel_id = ? and s.sequence is null`,
  times: `select count(*) as n from row_snapshot r join snapshot s
    on s.device_id = r.device_id and s.sequence = r.sequence where r.device_id = ? and s.time_ms <> r.time_ms`,
} as const;

/** @returns the sequences of the snapshots that rest */
export async function check(
  statements: Statements,
  deviceId: number,
  say: (fault: string) => void,
): Promise<number[]> {
  const rows = await statements.all<{ sequence: number }>(rowCheckSql.snapshots, [deviceId]);
  for (const channelId of await readChannelIds(statements, deviceId)) {
    const [astray] = await statements.all<{ n: number }>(rowCheckSql.astray, [deviceId, channelId]);
    const n = astray?.n ?? 0;
    if (n > 0) say(`channel ${channelId} has ${n} values of snapshots that are not there`);
  }
  const [late] = await statements.all<{ n: number }>(rowCheckSql.times, [deviceId]);
  if ((late?.n ?? 0) > 0) say(`${late?.n} snapshots have another time than their values`);
  return rows.map(({ sequence }) => sequence);
}
