/** What storing a snapshot needs to know of its device, read and written back once a batch. */
import type { SqlValue, Statements } from './statements.ts';

/** The columns of `device` that storing changes; see schema.ts. */
export interface DeviceState {
  readonly id: number;
  readonly path: string;
  readonly first_seen_ms: number;
  device_type_id: number | null;
  received_ms: number | null;
  last_sequence: number;
  last_snapshot_ms: number | null;
  last_digest: Uint8Array | null;
  stored: number;
  redelivered: number;
  latest_sequence: number;
  latest_ordinal: number;
  head_count: number;
  zone_ordinal: number;
  sealings: number;
  chunk_span_ms: number;
}

const columns = [
  'id',
  'path',
  'first_seen_ms',
  'device_type_id',
  'received_ms',
  'last_sequence',
  'last_snapshot_ms',
  'last_digest',
  'stored',
  'redelivered',
  'latest_sequence',
  'latest_ordinal',
  'head_count',
  'zone_ordinal',
  'sealings',
  'chunk_span_ms',
] as const satisfies readonly (keyof DeviceState)[];

const select = `select ${columns.map((column) => `device.${column}`).join(', ')} from device where path in (?)`;

/** @returns path → state; a device that was never heard of is registered */
export async function loadDevices(
  statements: Statements,
  paths: readonly string[],
  nowMs: number,
): Promise<Map<string, DeviceState>> {
  const rows = await statements.allIn<DeviceState>(select, paths);
  const states = new Map(rows.map((row) => [row.path, { ...row }]));
  const missing = paths.filter((path) => !states.has(path));
  if (missing.length === 0) return states;
  await statements.insertMany(
    'device',
    ['path', 'first_seen_ms'],
    missing.map((path) => [path, nowMs]),
  );
  for (const row of await statements.allIn<DeviceState>(select, missing)) states.set(row.path, { ...row });
  return states;
}

export async function saveDevices(statements: Statements, devices: readonly DeviceState[]): Promise<void> {
  const rows = devices.map((device) => columns.map((column): SqlValue => device[column]));
  await statements.upsertMany('device', 'id', columns, rows);
}
