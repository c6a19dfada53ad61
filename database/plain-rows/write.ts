/** Stores snapshots as rows, a row a value and one for each snapshot. */
import { eachValue } from '../head.ts';
import type { SqlValue, Statements } from '../statements.ts';
import type { NewSnapshot, Thinned, WholeSnapshot } from '../storage.ts';
import { rowColumns, valueRow } from './value.ts';

export const writeSql = {
  forgetThinned: 'delete from thinned_run where device_id = ?',
  thinned: 'insert into thinned_run (device_id, t0, sealing, stretch_ms) values (?, ?, 0, ?)',
} as const;

const snapshotColumns = ['device_id', 'time_ms', 'sequence'];

export async function store(statements: Statements, snapshots: readonly NewSnapshot[]): Promise<void> {
  const rows: SqlValue[][] = [];
  for (const { device, sequence, timeMs, payload } of snapshots)
    eachValue(payload, (channelId, value) =>
      rows.push(valueRow(device.id, channelId, timeMs, sequence, value)),
    );
  await insert(
    statements,
    snapshots.map(({ device, timeMs, sequence }) => [device.id, timeMs, sequence]),
    rows,
  );
}

async function insert(
  statements: Statements,
  snapshots: readonly SqlValue[][],
  rows: SqlValue[][],
): Promise<void> {
  await statements.insertMany('row_snapshot', snapshotColumns, snapshots);
  // In the order of the key, so that the rows of a page are written together.
  rows.sort(byKey);
  await statements.insertMany('value_row', rowColumns, rows);
}

function byKey(a: readonly SqlValue[], b: readonly SqlValue[]): number {
  for (let index = 0; index < 4; index++) {
    const difference = Number(a[index]) - Number(b[index]);
    if (difference !== 0) return difference;
  }
  return 0;
}

export async function load(
  statements: Statements,
  deviceId: number,
  snapshots: readonly WholeSnapshot[],
  thinned: Thinned | undefined,
): Promise<void> {
  await insert(
    statements,
    snapshots.map(({ timeMs, sequence }) => [deviceId, timeMs, sequence]),
    snapshots.flatMap(({ timeMs, sequence, values }) =>
      Array.from(values, ([channelId, value]) => valueRow(deviceId, channelId, timeMs, sequence, value)),
    ),
  );
  const last = snapshots.at(-1);
  if (thinned !== undefined && last !== undefined)
    await noteThinned(statements, deviceId, { ...thinned, untilMs: last.timeMs });
}

/** Rows need none of what the device's row says of chunks. */
export async function finishLoad(
  statements: Statements,
  deviceId: number,
  newest: WholeSnapshot | undefined,
): Promise<void> {
  await statements.run(
    `update device set latest_ordinal = 0, head_count = 0, zone_ordinal = 0, sealings = 0, chunk_span_ms = 0
      where id = ?`,
    [deviceId],
  );
  if (newest !== undefined) await load(statements, deviceId, [newest], undefined);
}

export async function noteThinned(
  statements: Statements,
  deviceId: number,
  { untilMs, stretchMs }: Thinned,
): Promise<void> {
  await statements.run(writeSql.forgetThinned, [deviceId]);
  await statements.run(writeSql.thinned, [deviceId, untilMs, stretchMs]);
}
