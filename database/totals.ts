/** How much there is, in a handful of numbers. */
import { sql } from 'kysely';
import type { Totals } from '../domain/view.ts';
import { isBehindAnnounced } from './announced.ts';
import type { Database } from './connect.ts';
import type { ProcessTables } from './processes-tables.ts';
import { within } from './scope.ts';
import type { Scope } from './scope.ts';

/** Reads counters and indexes, never the snapshots. */
export async function readTotals(
  database: Database,
  scope: Scope,
  nowMs: number = Date.now(),
): Promise<Totals> {
  const { kysely } = database;
  const { behind, ...sums } = await kysely
    .selectFrom('device')
    .select([
      sql<number>`count(*)`.as('devices'),
      sql<number>`coalesce(sum(device.stored), 0)`.as('stored'),
      sql<number>`coalesce(sum(redelivered), 0)`.as('redelivered'),
      sql<number>`coalesce(sum(${isBehindAnnounced(nowMs)}), 0)`.as('behind'),
    ])
    .where(within('device.path', scope))
    .executeTakeFirstOrThrow();
  const gaps = await kysely
    .selectFrom('gap')
    .innerJoin('device', 'device.id', 'gap.device_id')
    .select(sql<number>`count(*)`.as('n'))
    .where('gap.closed_ms', 'is', null)
    .where(within('device.path', scope))
    .executeTakeFirstOrThrow();
  const alarms = await kysely
    .selectFrom('alarm')
    .innerJoin('device', 'device.id', 'alarm.device_id')
    .select(sql<number>`count(*)`.as('n'))
    .where('alarm.closed_ms', 'is', null)
    .where(within('device.path', scope))
    .executeTakeFirstOrThrow();
  const letters = await kysely
    .selectFrom('dead_letter')
    .select(sql<number>`count(*)`.as('n'))
    .where(within('device_path', scope))
    .executeTakeFirstOrThrow();
  const tasks = await kysely
    .withTables<ProcessTables>()
    .selectFrom('task')
    .innerJoin('device', 'device.id', 'task.device_id')
    .select(sql<number>`count(*)`.as('n'))
    .where('task.state', '=', 'open')
    .where(within('device.path', scope))
    .executeTakeFirstOrThrow();
  return {
    ...sums,
    tasksOpen: tasks.n,
    gapsOpen: gaps.n + behind,
    deadLetters: letters.n,
    alarmsOpen: alarms.n,
  };
}

export interface ExactCounts {
  /** Rows that are there. */
  readonly stored: number;
  /** Rows beyond the first of one device and sequence. */
  readonly duplicated: number;
}

/** Counts the rows themselves, which takes about a second for ten million: for checks, not for a page. */
export async function countSnapshots(database: Database, scope: Scope): Promise<ExactCounts> {
  const snapshots = database.kysely
    .selectFrom('snapshot')
    .innerJoin('device', 'device.id', 'snapshot.device_id')
    .where(within('device.path', scope));
  const { stored } = await snapshots.select(sql<number>`count(*)`.as('stored')).executeTakeFirstOrThrow();
  const { different } = await database.kysely
    .selectFrom(snapshots.select(['device_id', 'sequence']).distinct().as('d'))
    .select(sql<number>`count(*)`.as('different'))
    .executeTakeFirstOrThrow();
  return { stored, duplicated: stored - different };
}
