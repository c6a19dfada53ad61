/** Snapshots that devices sent and that never came. */
import type { Gap } from '../domain/view.ts';
import { isBehindAnnounced } from './announced.ts';
import type { Database } from './connect.ts';
import { within } from './scope.ts';
import type { Scope } from './scope.ts';

const gapsShownMax = 1000;

/** @returns the oldest sequences first, at most 1,000 */
export async function readOpenGaps(
  database: Database,
  scope: Scope,
  path: string,
  nowMs: number = Date.now(),
): Promise<Gap[]> {
  const behind = await database.kysely
    .selectFrom('device')
    .select(['last_sequence as lastSequence', 'announced_sequence as toSequence', 'announced_ms as openedMs'])
    .where('device.path', '=', path)
    .where(within('device.path', scope))
    .where(isBehindAnnounced(nowMs), '=', 1)
    .execute();
  const gaps = await database.kysely
    .selectFrom('gap')
    .innerJoin('device', 'device.id', 'gap.device_id')
    .select(['from_sequence as fromSequence', 'to_sequence as toSequence', 'opened_ms as openedMs'])
    .where('gap.closed_ms', 'is', null)
    .where('device.path', '=', path)
    .where(within('device.path', scope))
    .orderBy('to_sequence')
    .limit(gapsShownMax)
    .execute();
  return [...gaps, ...behind.map(({ lastSequence, ...gap }) => ({ fromSequence: lastSequence + 1, ...gap }))];
}
