/** Everything that a device sent, as CSV (RFC 4180), a piece at a time: memory holds one run of snapshots. */
import type { ChannelValue } from '../domain/snapshot.ts';
import type { Database } from './connect.ts';
import { decodePairs, eachValue } from './head.ts';
import { decodeColumn, decodeIntegers } from './payload.ts';
import { readChannels } from './rewrite.ts';
import { inSnapshot } from './statements.ts';
import type { Statements } from './statements.ts';

export interface ExportRange {
  readonly fromMs: number;
  /** Inclusive. */
  readonly toMs: number;
}

interface Device {
  readonly id: number;
  readonly chunk_span_ms: number;
}

interface Run {
  readonly t0: number;
  readonly sealing: number;
  readonly times: Uint8Array;
  readonly sequences: Uint8Array;
}

interface Row {
  readonly timeMs: number;
  readonly sequence: number;
  /** By channel id. */
  readonly values: Map<number, ChannelValue>;
}

export const exportSql = {
  device: 'select id, chunk_span_ms from device where path = ?',
  // Of what ends behind the cursor, the run that begins first.
  firstRun: `select t0, t1 from chunk_time where device_id = ? and t0 >= ? and t0 <= ? and t1 > ?
    order by t0, sealing limit 1`,
  runs: 'select t0, sealing, times, sequences from chunk_time where device_id = ? and t0 >= ? and t0 <= ? and t1 > ?',
  column: 'select data from chunk where device_id = ? and channel_id = ? and t0 = ? and sealing = ?',
  heads: 'select sequence, time_ms, payload from head where device_id = ? and time_ms > ? and time_ms <= ?',
  payloads: 'select payload from head where device_id = ?',
  name: 'select name from channel where id = ?',
} as const;

const everything: ExportRange = { fromMs: -8.64e15, toMs: 8.64e15 };
const lineEnd = '\r\n'; // RFC 4180 §2

/**
 * Each piece is read in a transaction of its own, so that nobody waits for a slow reader; what is sealed or rewritten
 * meanwhile is there once all the same, and what comes late for a time that has passed is left out.
 *
 * @param path - of a device; one that is not there has only a header
 * @returns lines in the order of time: time (ISO 8601, UTC), sequence, and the channels by name. What a snapshot lacks is
 *   empty, an empty text is `""`
 */
export async function* exportDevice(
  database: Database,
  path: string,
  range: ExportRange = everything,
): AsyncGenerator<string> {
  const [device] = await inSnapshot(database, (statements) =>
    statements.all<Device>(exportSql.device, [path]),
  );
  const channels = device === undefined ? [] : await inSnapshot(database, (one) => readNames(one, device.id));
  yield line(['time', 'sequence', ...channels.map(({ name }) => quoted(name))]);
  if (device === undefined) return;
  for (let afterMs = range.fromMs - 1; afterMs < range.toMs;) {
    const piece = await inSnapshot(database, (statements) =>
      readPiece(statements, device, { fromMs: afterMs + 1, toMs: range.toMs }, channels),
    );
    if (piece.rows.length > 0) yield piece.rows.map((row) => lineOf(row, channels)).join('');
    afterMs = piece.untilMs;
  }
}

interface Channel {
  readonly id: number;
  readonly name: string;
}

async function readNames(statements: Statements, deviceId: number): Promise<Channel[]> {
  const ids = new Set(await readChannels(statements, deviceId));
  const heads = await statements.all<{ payload: Uint8Array }>(exportSql.payloads, [deviceId]);
  for (const { payload } of heads) eachValue(payload, (channelId) => ids.add(channelId));
  const channels: Channel[] = [];
  for (const id of ids) {
    const [row] = await statements.all<{ name: string }>(exportSql.name, [id]);
    if (row !== undefined) channels.push({ id, name: row.name });
  }
  return channels.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

async function readPiece(
  statements: Statements,
  device: Device,
  { fromMs, toMs }: ExportRange,
  channels: readonly Channel[],
): Promise<{ rows: readonly Row[]; untilMs: number }> {
  // A run that reaches into the range begins at most one span before it.
  const earliest = fromMs - device.chunk_span_ms;
  const afterMs = fromMs - 1;
  const [first] = await statements.all<{ t1: number }>(exportSql.firstRun, [
    device.id,
    earliest,
    toMs,
    afterMs,
  ]);
  const untilMs = Math.min(toMs, first?.t1 ?? toMs);
  const rows: Row[] = [];
  const runs = await statements.all<Run>(exportSql.runs, [device.id, earliest, untilMs, afterMs]);
  for (const run of runs)
    rows.push(...(await readRun(statements, device, run, { fromMs, toMs: untilMs }, channels)));
  const heads = await statements.all<{ sequence: number; time_ms: number; payload: Uint8Array }>(
    exportSql.heads,
    [device.id, afterMs, untilMs],
  );
  for (const { sequence, time_ms: timeMs, payload } of heads)
    rows.push({ timeMs, sequence, values: new Map(decodePairs(payload)) });
  return { rows: rows.toSorted((a, b) => a.timeMs - b.timeMs || a.sequence - b.sequence), untilMs };
}

async function readRun(
  statements: Statements,
  device: Device,
  run: Run,
  { fromMs, toMs }: ExportRange,
  channels: readonly Channel[],
): Promise<Row[]> {
  const sequences = decodeIntegers(run.sequences);
  const rows = decodeIntegers(run.times).map((offset, index): Row => ({
    timeMs: run.t0 + offset,
    sequence: sequences[index] ?? 0,
    values: new Map(),
  }));
  for (const { id } of channels) {
    const [row] = await statements.all<{ data: Uint8Array }>(exportSql.column, [
      device.id,
      id,
      run.t0,
      run.sealing,
    ]);
    if (row === undefined) continue;
    for (const [index, value] of decodeColumn(row.data).entries())
      if (value !== null) rows[index]?.values.set(id, value);
  }
  return rows.filter(({ timeMs }) => timeMs >= fromMs && timeMs <= toMs);
}

function lineOf({ timeMs, sequence, values }: Row, channels: readonly Channel[]): string {
  return line([
    new Date(timeMs).toISOString(),
    String(sequence),
    ...channels.map(({ id }) => textOf(values.get(id))),
  ]);
}

function textOf(value: ChannelValue | undefined): string {
  if (value === undefined) return '';
  if (typeof value === 'string') return value === '' ? '""' : quoted(value);
  return Object.is(value, -0) ? '-0' : String(value);
}

/** RFC 4180 §2, rules 5 to 7 */
function quoted(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function line(fields: readonly string[]): string {
  return fields.join(',') + lineEnd;
}
