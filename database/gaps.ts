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

export interface NoticedGap {
  readonly id: number;
  readonly path: string;
  readonly fromSequence: number;
  readonly toSequence: number;
}

/** @returns of gaps of all devices, the newest row; 0 if there is none */
export async function newestGap({ kysely }: Database): Promise<number> {
  const { id } = await kysely
    .selectFrom('gap')
    .select(({ fn }) => fn.max<number | null>('id').as('id'))
    .executeTakeFirstOrThrow();
  return id ?? 0;
}

/**
 * @param id - of a row
 * @returns those that are open and were added after it, the oldest first, at most 1,000. Of a gap that was filled in its
 *   middle, what is left behind it is a row of its own.
 */
export async function readGapsAfter({ kysely }: Database, id: number): Promise<NoticedGap[]> {
  return kysely
    .selectFrom('gap')
    .innerJoin('device', 'device.id', 'gap.device_id')
    .select(['gap.id', 'device.path', 'from_sequence as fromSequence', 'to_sequence as toSequence'])
    .where('gap.id', '>', id)
    .where('gap.closed_ms', 'is', null)
    .orderBy('gap.id')
    .limit(gapsShownMax)
    .execute();
}

/** Of all devices. */
export async function countOpenGaps({ kysely }: Database): Promise<number> {
  const { gaps } = await kysely
    .selectFrom('gap')
    .select(({ fn }) => fn.countAll<number>().as('gaps'))
    .where('closed_ms', 'is', null)
    .executeTakeFirstOrThrow();
  return gaps;
}
