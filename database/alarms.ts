/** What somebody must look into: a sequence that was used twice, a chain of envelopes that broke. */
import type { Database } from './connect.ts';
import type { AlarmKind } from './schema.ts';
import { within } from './scope.ts';
import type { Scope } from './scope.ts';

export interface Alarm {
  readonly id: number;
  readonly path: string;
  readonly kind: AlarmKind;
  readonly sequence: number;
  /** Hexadecimal. */
  readonly storedDigest: string;
  readonly otherDigest: string;
  readonly openedMs: number;
  /** Null while nobody has closed it. */
  readonly closedMs: number | null;
}

const alarmsShownMax = 500;

/** @returns the newest first, at most 500 */
export async function readAlarms(database: Database, scope: Scope): Promise<Alarm[]> {
  const rows = await database.kysely
    .selectFrom('alarm')
    .innerJoin('device', 'device.id', 'alarm.device_id')
    .select([
      'alarm.id',
      'device.path',
      'kind',
      'sequence',
      'stored_digest',
      'other_digest',
      'opened_ms',
      'closed_ms',
    ])
    .where(within('device.path', scope))
    .orderBy('alarm.id', 'desc')
    .limit(alarmsShownMax)
    .execute();
  return rows.map(({ stored_digest, other_digest, opened_ms, closed_ms, ...row }) => ({
    ...row,
    storedDigest: Buffer.from(stored_digest).toString('hex'),
    otherDigest: Buffer.from(other_digest).toString('hex'),
    openedMs: opened_ms,
    closedMs: closed_ms,
  }));
}

/** @returns of alarms of all devices, the newest row; 0 if there is none */
export async function newestAlarm({ kysely }: Database): Promise<number> {
  const { id } = await kysely
    .selectFrom('alarm')
    .select(({ fn }) => fn.max<number | null>('id').as('id'))
    .executeTakeFirstOrThrow();
  return id ?? 0;
}

/** @param id - of a row @returns those that were added after it, the oldest first, at most 500 */
export async function readAlarmsAfter(
  { kysely }: Database,
  id: number,
): Promise<Pick<Alarm, 'id' | 'path' | 'kind' | 'sequence'>[]> {
  return kysely
    .selectFrom('alarm')
    .innerJoin('device', 'device.id', 'alarm.device_id')
    .select(['alarm.id', 'device.path', 'kind', 'sequence'])
    .where('alarm.id', '>', id)
    .orderBy('alarm.id')
    .limit(alarmsShownMax)
    .execute();
}
