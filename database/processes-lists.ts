/** What the dashboard reads of workflows, and the one thing that it writes: a task is completed. */
import { sql } from 'kysely';
import type { Condition, ConditionItem, Notification, Task, Workflow } from '../domain/view.ts';
import { noteChange } from './changes.ts';
import type { Database } from './connect.ts';
import { inProcessTransaction, processTables } from './processes.ts';
import { within } from './scope.ts';
import type { Scope } from './scope.ts';

/** @returns open tasks first, oldest first; then closed ones, newest first */
export async function listTasks(database: Database, scope: Scope, limit: number): Promise<Task[]> {
  const tasks = (open: boolean) =>
    processTables(database)
      .selectFrom('task as t')
      .innerJoin('process_instance as i', 'i.id', 't.instance_id')
      .innerJoin('device as d', 'd.id', 't.device_id')
      .leftJoin('device_type as y', 'y.id', 'd.device_type_id')
      .select([
        't.id',
        't.instance_id as instanceId',
        'd.path',
        'i.classification',
        't.title',
        't.instructions',
      ])
      .select(['t.assignee', 't.state', 't.created_ms as createdMs', 't.completed_ms as completedMs'])
      .select([
        't.completed_by as completedBy',
        't.comment',
        sql<string>`coalesce(y.name, '')`.as('deviceType'),
      ])
      .where('t.state', open ? '=' : '<>', 'open')
      .orderBy('t.created_ms', open ? 'asc' : 'desc')
      .orderBy('t.id', open ? 'asc' : 'desc')
      .limit(limit)
      .where(within('d.path', scope))
      .execute();
  return [...(await tasks(true)), ...(await tasks(false))];
}

export type Completion = 'completed' | 'absent' | 'closed';

/**
 * Records that a person did a task; bpm goes on from there.
 *
 * @returns `absent` also for a task outside the scope, so that nobody learns what others have
 */
export async function completeTask(
  database: Database,
  task: { readonly id: string; readonly by: string; readonly comment: string; readonly scope: Scope },
  nowMs: number,
): Promise<Completion> {
  return inProcessTransaction(database, async (transaction) => {
    const seen = await transaction
      .selectFrom('task as t')
      .innerJoin('device as d', 'd.id', 't.device_id')
      .select('t.id')
      .where('t.id', '=', task.id)
      .where(within('d.path', task.scope))
      .executeTakeFirst();
    if (seen === undefined) return 'absent';
    const { numUpdatedRows } = await transaction
      .updateTable('task')
      .set({ state: 'completed', completed_ms: nowMs, completed_by: task.by, comment: task.comment })
      .where('id', '=', task.id)
      .where('state', '=', 'open')
      .executeTakeFirst();
    if (numUpdatedRows !== 1n) return 'closed';
    await noteChange(transaction, database.engine, 'tasks');
    return 'completed';
  });
}

/** @returns newest first */
export async function listNotifications(
  database: Database,
  scope: Scope,
  limit: number,
): Promise<Notification[]> {
  return processTables(database)
    .selectFrom('notification as n')
    .innerJoin('device as d', 'd.id', 'n.device_id')
    .select([
      'n.id',
      'n.instance_id as instanceId',
      'd.path',
      'n.channel',
      'n.recipients',
      'n.subject',
      'n.body',
    ])
    .select(['n.state', 'n.attempts', 'n.created_ms as createdMs', 'n.sent_ms as sentMs', 'n.detail'])
    .orderBy('n.created_ms', 'desc')
    .orderBy('n.id', 'desc')
    .limit(limit)
    .where(within('d.path', scope))
    .execute();
}

/**
 * @param select - a device's path, or an instance's id, or neither for all
 * @returns newest first
 */
export async function listWorkflows(
  database: Database,
  scope: Scope,
  select: { readonly path?: string | undefined; readonly id?: string | undefined },
  limit: number,
): Promise<Workflow[]> {
  const tables = processTables(database);
  let query = tables
    .selectFrom('process_instance as i')
    .innerJoin('device as d', 'd.id', 'i.device_id')
    .select([
      'i.id',
      'i.definition',
      'i.digest',
      'd.path',
      'i.classification',
      'i.state',
      'i.variables',
      'i.detail',
    ])
    .select(['i.started_ms as startedMs', 'i.ended_ms as endedMs', 'i.visited'])
    .orderBy('i.started_ms', 'desc')
    .orderBy('i.id', 'desc')
    .limit(limit);
  if (select.path !== undefined) query = query.where('d.path', '=', select.path);
  if (select.id !== undefined) query = query.where('i.id', '=', select.id);
  const rows = await query.where(within('d.path', scope)).execute();
  const open = rows.filter((row) => row.state === 'running').map((row) => row.id);
  const tokens =
    open.length === 0
      ? []
      : await tables
          .selectFrom('process_token')
          .select(['instance_id', 'element_id'])
          .where('instance_id', 'in', open)
          .execute();
  return rows.map(({ variables, visited, ...row }) => ({
    ...row,
    reason: textIn(variables, 'reason'),
    visited: listIn(visited),
    waitingAt: tokens.filter((token) => token.instance_id === row.id).map((token) => token.element_id),
  }));
}

export type WorkflowCounts = Readonly<Record<'normal' | 'abnormal' | 'overdue', number>>;

/** @returns how many instances each condition has ever started */
export async function countWorkflows(database: Database, scope: Scope): Promise<WorkflowCounts> {
  const rows = await processTables(database)
    .selectFrom('process_instance as i')
    .innerJoin('device as d', 'd.id', 'i.device_id')
    .select(['i.classification', sql<number>`count(*)`.as('count')])
    .groupBy('i.classification')
    .where(within('d.path', scope))
    .execute();
  const count = (classification: Condition): number =>
    rows.find((row) => row.classification === classification)?.count ?? 0;
  return { normal: count('normal'), abnormal: count('abnormal'), overdue: count('overdue') };
}

/** @returns the XML of a definition: the one with this digest, or the current one of this name */
export async function readDefinitionXml(
  database: Database,
  name: string,
  digest: string | undefined,
): Promise<string | undefined> {
  let query = processTables(database)
    .selectFrom('process_definition')
    .select('xml')
    .where('name', '=', name)
    .orderBy('loaded_ms', 'desc')
    .limit(1);
  if (digest !== undefined) query = query.where('digest', '=', digest);
  const row = await query.executeTakeFirst();
  return row === undefined ? undefined : Buffer.from(row.xml).toString('utf8');
}

/** @returns the rules of a device type, or those of all others, as bpm read them; undefined before bpm first started */
export async function readDeviceTypeRules(database: Database, deviceType: string): Promise<unknown> {
  const rows = await processTables(database)
    .selectFrom('device_type_rules')
    .selectAll()
    .where('device_type', 'in', [deviceType, 'default'])
    .execute();
  const row = rows.find((candidate) => candidate.device_type === deviceType) ?? rows[0];
  return row === undefined ? undefined : JSON.parse(row.rules);
}

/** @returns undefined for a device that is not there, or not in the scope: nobody learns which */
export async function readCondition(
  database: Database,
  scope: Scope,
  path: string,
): Promise<ConditionItem | undefined> {
  return processTables(database)
    .selectFrom('device as d')
    .leftJoin('condition_state as c', 'c.device_id', 'd.id')
    .select([
      'd.device_condition as condition',
      'c.since_ms as sinceMs',
      sql<string>`coalesce(c.reason, '')`.as('reason'),
    ])
    .where('d.path', '=', path)
    .where(within('d.path', scope))
    .executeTakeFirst();
}

function textIn(json: string, key: string): string {
  const parsed: unknown = JSON.parse(json);
  const value: unknown =
    typeof parsed === 'object' && parsed !== null ? Object.entries(parsed).find(([k]) => k === key)?.[1] : '';
  return typeof value === 'string' ? value : '';
}

function listIn(json: string): string[] {
  const parsed: unknown = JSON.parse(json);
  return Array.isArray(parsed) ? parsed.map(String) : [];
}
