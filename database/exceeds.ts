/** Which devices of a type are beyond a threshold: now, within a window of time, or ever. */
import type { Exceeding } from '../domain/view.ts';
import type { Database } from './connect.ts';
import { Extremes, isBeyond } from './extremes.ts';
import type { Threshold, TypePlace, Window } from './extremes.ts';
import { devicesOfType, scopeBounds } from './scope.ts';
import type { Scope } from './scope.ts';
import { inSnapshot } from './statements.ts';
import type { Statements } from './statements.ts';
import { storageOf } from './storage-of.ts';

export const exceedsSql = {
  channel: `select t.id as type_id, c.id from device_type t
    join channel c on c.device_type_id = t.id where t.name = ? and c.name = ?`,
  devices: `select d.id, d.path ${devicesOfType}`,
} as const;

/** @returns the devices whose newest snapshot is beyond the threshold, with that value; in the order of paths */
export async function readExceedingNow(
  database: Database,
  scope: Scope,
  threshold: Threshold,
): Promise<Exceeding[]> {
  const storage = await storageOf(database);
  return inSnapshot(database, async (statements) => {
    const channel = await findChannel(statements, threshold);
    if (channel === undefined) return [];
    const found = await storage.readNow(statements, channel.id, [channel.type_id, ...scopeBounds(scope)]);
    return found
      .filter(({ value }) => isBeyond(value, threshold))
      .map(({ path, value }) => ({ path, extreme: value }))
      .toSorted(byPath);
  });
}

/**
 * @param window - without it, ever
 * @returns the devices that were beyond the threshold, with the greatest (or least) value there; in the order of paths
 */
export async function readExceeding(
  database: Database,
  scope: Scope,
  threshold: Threshold,
  window?: Window,
): Promise<Exceeding[]> {
  const storage = await storageOf(database);
  return inSnapshot(database, async (statements) => {
    const channel = await findChannel(statements, threshold);
    if (channel === undefined) return [];
    const extremes = new Extremes(threshold);
    const place: TypePlace = [channel.type_id, ...scopeBounds(scope)];
    await storage.addExtremes(statements, channel.id, place, window, extremes);
    const devices = await statements.all<{ id: number; path: string }>(exceedsSql.devices, place);
    return devices
      .flatMap(({ id, path }) => {
        const extreme = extremes.of(id);
        return extreme === undefined ? [] : [{ path, extreme }];
      })
      .toSorted(byPath);
  });
}

function byPath(a: Exceeding, b: Exceeding): number {
  return a.path < b.path ? -1 : 1;
}

async function findChannel(
  statements: Statements,
  { deviceType, channel }: Threshold,
): Promise<{ type_id: number; id: number } | undefined> {
  const [row] = await statements.all<{ type_id: number; id: number }>(exceedsSql.channel, [
    deviceType,
    channel,
  ]);
  return row;
}
