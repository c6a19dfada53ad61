/** Everything that a device sent, as CSV (RFC 4180), a piece at a time: memory holds one run of snapshots. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { csvLineEnd, csvText } from '../domain/csv.ts';
import type { ChannelValue } from '../domain/snapshot.ts';
import type { Database } from './connect.ts';
import type { Window } from './extremes.ts';
import { inSnapshot } from './statements.ts';
import type { Statements } from './statements.ts';
import { placeColumns } from './storage.ts';
import type { DevicePlace, Storage, WholeSnapshot } from './storage.ts';
import { storageOf } from './storage-of.ts';

export const exportSql = {
  device: `select ${placeColumns('d')} from device d where d.path = ?`,
  name: 'select name from channel where id = ?',
} as const;

const everything: Window = { fromMs: -8.64e15, toMs: 8.64e15 };
/** With 340 channels, some hundredths of a second. */
const linesAtOnce = 128;

/**
 * Each piece is read in a transaction of its own, so that nobody waits for a slow reader; what is sealed or rewritten
 * meanwhile is there once all the same, and what comes late for a time that has passed is left out.
 *
 * @param path - of a device; one that is not there has only a header
 * @returns lines in the order of time: time (ISO 8601, UTC), sequence, and the channels by name, one of several types once.
 *   What a snapshot lacks is empty, an empty text is `""`, and one that would be a formula has an apostrophe before it
 */
export async function* exportDevice(
  database: Database,
  path: string,
  range: Window = everything,
): AsyncGenerator<string> {
  const storage = await storageOf(database);
  const [device] = await inSnapshot(database, (statements) =>
    statements.all<DevicePlace>(exportSql.device, [path]),
  );
  const channels =
    device === undefined ? [] : await inSnapshot(database, (one) => readNames(storage, one, device.id));
  yield line(['time', 'sequence', ...channels.map(({ name }) => csvText(name))]);
  if (device === undefined) return;
  const ids = channels.flatMap((channel) => channel.ids);
  for (let afterMs = range.fromMs - 1; afterMs < range.toMs;) {
    const piece = await inSnapshot(database, (statements) =>
      storage.readPiece(statements, device, { fromMs: afterMs + 1, toMs: range.toMs }, ids),
    );
    for (let at = 0; at < piece.snapshots.length; at += linesAtOnce) {
      yield piece.snapshots
        .slice(at, at + linesAtOnce)
        .map((row) => lineOf(row, channels))
        .join('');
      await nextTurn(); // whoever shares the thread has it in between
    }
    afterMs = piece.untilMs;
  }
}

interface Channel {
  readonly name: string;
  /** One for each type that the device has had: a snapshot is of one type. */
  readonly ids: readonly number[];
}

async function readNames(storage: Storage, statements: Statements, deviceId: number): Promise<Channel[]> {
  const idsOf = new Map<string, number[]>();
  for (const id of await storage.readChannelIds(statements, deviceId)) {
    const [row] = await statements.all<{ name: string }>(exportSql.name, [id]);
    if (row !== undefined) idsOf.set(row.name, [...(idsOf.get(row.name) ?? []), id]);
  }
  return Array.from(idsOf, ([name, ids]) => ({ name, ids })).toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

function lineOf({ timeMs, sequence, values }: WholeSnapshot, channels: readonly Channel[]): string {
  return line([
    new Date(timeMs).toISOString(),
    String(sequence),
    ...channels.map(({ ids }) => textOf(values.get(ids.find((id) => values.has(id)) ?? 0))),
  ]);
}

function textOf(value: ChannelValue | undefined): string {
  if (value === undefined) return '';
  if (typeof value === 'string') return value === '' ? '""' : csvText(value);
  return Object.is(value, -0) ? '-0' : String(value);
}

function line(fields: readonly string[]): string {
  return fields.join(',') + csvLineEnd;
}
