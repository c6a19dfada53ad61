/** How much of each day a machine worked: from a state that it reports, or from a counter of its hours. */
import type { DayOfWork } from '../domain/view.ts';
import type { Database } from './connect.ts';
import { findNumber, measurable } from './head.ts';
import { decodeColumn, decodeIntegers } from './payload.ts';
import { inSnapshot } from './statements.ts';
import type { Statements } from './statements.ts';

export interface WorkRange {
  /** Where the first day begins: days are 24 hours from here. */
  readonly fromMs: number;
  /** 1 to `workDaysMax`. */
  readonly days: number;
}

export const workDaysMax = 400;
/** A state holds until the next snapshot, but no longer than this: then nothing is known. */
export const stateHoldMs = 6 * 3_600_000;
const dayMs = 86_400_000;
const hourMs = 3_600_000;

interface Place {
  readonly id: number;
  readonly channel_id: number;
  readonly chunk_span_ms: number;
}

type Sample = readonly [timeMs: number, value: number];

export const utilisationSql = {
  place: `select d.id, c.id as channel_id, d.chunk_span_ms from device d
    join channel c on c.device_type_id = d.device_type_id where d.path = ? and c.name = ?`,
  chunks: `select k.t0, k.data, t.times from chunk k
    join chunk_time t on t.device_id = k.device_id and t.t0 = k.t0 and t.sealing = k.sealing
    where k.device_id = ? and k.channel_id = ? and k.t0 >= ? and k.t0 <= ? and k.t1 >= ?`,
  heads: 'select time_ms, payload from head where device_id = ? and time_ms >= ? and time_ms <= ?',
} as const;

/**
 * @param channel - a boolean, or a number that is above 0 while the machine works
 * @returns a row for each day; undefined if the device has no such channel
 * @throws RangeError
 */
export async function readUtilisation(
  database: Database,
  path: string,
  channel: string,
  range: WorkRange,
): Promise<DayOfWork[] | undefined> {
  return eachDay(database, path, channel, range, stateHoldMs, (samples, fromMs) => {
    let onMs = 0;
    let knownMs = 0;
    for (const [index, [timeMs, value]] of samples.entries()) {
      const next = samples[index + 1]?.[0] ?? Infinity;
      const endMs = Math.min(next, timeMs + stateHoldMs, fromMs + dayMs);
      const heldMs = Math.max(0, endMs - Math.max(timeMs, fromMs));
      knownMs += heldMs;
      if (value > 0) onMs += heldMs;
    }
    return { dayMs: fromMs, hours: onMs / hourMs, knownHours: knownMs / hourMs };
  });
}

/**
 * @param channel - counts hours; a step back is a counter that was replaced, and counts for nothing
 * @returns a row for each day; undefined if the device has no such channel
 * @throws RangeError
 */
export async function readOperatingHours(
  database: Database,
  path: string,
  channel: string,
  range: WorkRange,
): Promise<DayOfWork[] | undefined> {
  // What was counted since the last snapshot before the day belongs to the day.
  return eachDay(database, path, channel, range, dayMs, (samples, fromMs) => {
    let hours = 0;
    for (const [index, [timeMs, value]] of samples.entries()) {
      const before = samples[index - 1];
      if (timeMs >= fromMs && before !== undefined && value > before[1]) hours += value - before[1];
    }
    const isKnown = samples.some(([timeMs]) => timeMs >= fromMs);
    return { dayMs: fromMs, hours, knownHours: isKnown ? 24 : 0 };
  });
}

/** A day at a time, each in a transaction of its own: memory holds one, and who stores waits for one at most. */
async function eachDay(
  database: Database,
  path: string,
  channel: string,
  { fromMs, days }: WorkRange,
  beforeMs: number,
  toDay: (samples: readonly Sample[], fromMs: number) => DayOfWork,
): Promise<DayOfWork[] | undefined> {
  if (!(days >= 1 && days <= workDaysMax))
    throw new RangeError(`wanted 1 to ${workDaysMax} days, got ${days}`);
  const [place] = await inSnapshot(database, (statements) =>
    statements.all<Place>(utilisationSql.place, [path, channel]),
  );
  if (place === undefined) return undefined;
  const found: DayOfWork[] = [];
  for (let day = 0; day < days; day++) {
    const startMs = fromMs + day * dayMs;
    const samples = await inSnapshot(database, (statements) =>
      readSamples(statements, place, startMs - beforeMs, startMs + dayMs - 1),
    );
    found.push(toDay(samples, startMs));
  }
  return found;
}

/** @returns in the order of time, both ends included */
async function readSamples(
  statements: Statements,
  { id, channel_id: channelId, chunk_span_ms: spanMs }: Place,
  fromMs: number,
  toMs: number,
): Promise<Sample[]> {
  const samples: Sample[] = [];
  const add = (timeMs: number, value: number | undefined): void => {
    if (value !== undefined && timeMs >= fromMs && timeMs <= toMs) samples.push([timeMs, value]);
  };
  // A chunk that reaches into the range begins at most one span before it.
  const chunks = await statements.all<{ t0: number; data: Uint8Array; times: Uint8Array }>(
    utilisationSql.chunks,
    [id, channelId, fromMs - spanMs, toMs, fromMs],
  );
  for (const { t0, data, times } of chunks) {
    const values = decodeColumn(data);
    for (const [index, offset] of decodeIntegers(times).entries())
      add(t0 + offset, measurable(values[index] ?? null));
  }
  const heads = await statements.all<{ time_ms: number; payload: Uint8Array }>(utilisationSql.heads, [
    id,
    fromMs,
    toMs,
  ]);
  for (const { time_ms: timeMs, payload } of heads) add(timeMs, findNumber(payload, channelId));
  return samples.toSorted(([a], [b]) => a - b);
}
