/** How much of each day a machine worked: from a state that it reports, or from a counter of its hours. */
import type { DayOfWork } from '../domain/view.ts';
import type { Database } from './connect.ts';
import { inSnapshot } from './statements.ts';
import { placeColumns } from './storage.ts';
import type { DevicePlace } from './storage.ts';
import { storageOf } from './storage-of.ts';

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

interface Place extends DevicePlace {
  readonly channel_id: number;
}

type Sample = readonly [timeMs: number, value: number];

export const utilisationSql = {
  place: `select ${placeColumns('d')}, c.id as channel_id from device d
    join channel c on c.device_type_id = d.device_type_id where d.path = ? and c.name = ?`,
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
  nowMs: number = Date.now(),
): Promise<DayOfWork[] | undefined> {
  return eachDay(database, path, channel, range, stateHoldMs, (samples, fromMs) => {
    let onMs = 0;
    let knownMs = 0;
    for (const [index, [timeMs, value]] of samples.entries()) {
      const next = samples[index + 1]?.[0] ?? Infinity;
      const endMs = Math.min(next, timeMs + stateHoldMs, fromMs + dayMs, nowMs);
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
    let knownMs = 0;
    for (const [index, [timeMs, value]] of samples.entries()) {
      const before = samples[index - 1];
      if (timeMs < fromMs || before === undefined || value < before[1]) continue;
      hours += value - before[1];
      knownMs += timeMs - before[0];
    }
    return { dayMs: fromMs, hours, knownHours: Math.min(24, knownMs / hourMs) };
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
  const storage = await storageOf(database);
  const [place] = await inSnapshot(database, (statements) =>
    statements.all<Place>(utilisationSql.place, [path, channel]),
  );
  if (place === undefined) return undefined;
  const found: DayOfWork[] = [];
  for (let day = 0; day < days; day++) {
    const startMs = fromMs + day * dayMs;
    const samples = await inSnapshot(database, (statements) =>
      storage.readNumbers(statements, place, place.channel_id, {
        fromMs: startMs - beforeMs,
        toMs: startMs + dayMs - 1,
      }),
    );
    found.push(toDay(samples, startMs));
  }
  return found;
}
