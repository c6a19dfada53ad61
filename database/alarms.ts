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
