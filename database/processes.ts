/** What bpm writes: definitions, conditions, instances and their tokens. */
import type { Insertable, Kysely, Transaction } from 'kysely';
import type { Condition } from '../domain/view.ts';
import { noteChange } from './changes.ts';
import type { Database } from './connect.ts';
import type {
  ConditionStateTable,
  NotificationTable,
  ProcessInstanceTable,
  ProcessTables,
  ProcessTokenTable,
  TaskTable,
} from './processes-tables.ts';
import type { Schema } from './schema.ts';

/** A transaction that sees the tables of workflows too. */
export type ProcessTransaction = Transaction<Schema & ProcessTables>;

/** One row each, as many per statement as both engines take. */
const rowsPerStatement = 500;

/** @returns the same connection, seeing the tables of workflows too */
export function processTables(database: Database): Kysely<Schema & ProcessTables> {
  return database.kysely.withTables<ProcessTables>();
}

/** Runs `work` in one transaction; see `Database.transaction`. */
export function inProcessTransaction<T>(
  database: Database,
  work: (transaction: ProcessTransaction) => Promise<T>,
): Promise<T> {
  return database.transaction((transaction) => work(transaction.withTables<ProcessTables>()));
}

/** Records a definition and makes it the current one of its name. */
export async function saveDefinition(
  database: Database,
  definition: {
    readonly name: string;
    readonly title: string;
    readonly digest: string;
    readonly xml: string;
  },
  nowMs: number,
): Promise<void> {
  await inProcessTransaction(database, async (transaction) => {
    const { name, title, digest, xml } = definition;
    await transaction.deleteFrom('process_definition').where('digest', '=', digest).execute();
    await transaction
      .insertInto('process_definition')
      .values({ name, title, digest, xml: Buffer.from(xml), loaded_ms: nowMs })
      .execute();
  });
}

/** Replaces the rules that the dashboard shows, device type → JSON. */
export async function saveRules(database: Database, rules: ReadonlyMap<string, string>): Promise<void> {
  await inProcessTransaction(database, async (transaction) => {
    await transaction.deleteFrom('device_type_rules').execute();
    const rows = Array.from(rules, ([device_type, json]) => ({ device_type, rules: json }));
    for (const part of parts(rows)) await transaction.insertInto('device_type_rules').values(part).execute();
  });
}

/** @returns the `snapshot.id` behind which nothing has been judged yet; 0 at first */
export async function readCursor(database: Database, name: string): Promise<number> {
  const row = await processTables(database)
    .selectFrom('process_cursor')
    .select('position')
    .where('name', '=', name)
    .executeTakeFirst();
  return row?.position ?? 0;
}

/**
 * Moves a cursor, which also decides between two programs that judge the same snapshots.
 *
 * @returns false if the cursor is no longer at `from`; then roll back
 */
export async function moveCursor(
  transaction: ProcessTransaction,
  name: string,
  from: number,
  to: number,
): Promise<boolean> {
  if (from === 0) {
    const first = await transaction
      .selectFrom('process_cursor')
      .select('position')
      .where('name', '=', name)
      .executeTakeFirst();
    // A second program that inserts it at the same time meets the primary key.
    if (first === undefined) {
      await transaction.insertInto('process_cursor').values({ name, position: to }).execute();
      return true;
    }
  }
  const { numUpdatedRows } = await transaction
    .updateTable('process_cursor')
    .set({ position: to })
    .where('name', '=', name)
    .where('position', '=', from)
    .executeTakeFirst();
  return numUpdatedRows === 1n;
}

export type ConditionState = Readonly<ConditionStateTable>;

/** @returns by device id; a device that was never judged is absent */
export async function readConditionStates(
  transaction: ProcessTransaction,
  deviceIds: readonly number[],
): Promise<Map<number, ConditionState>> {
  const states = new Map<number, ConditionState>();
  for (const part of parts(deviceIds)) {
    const rows = await transaction
      .selectFrom('condition_state')
      .selectAll()
      .where('device_id', 'in', part)
      .execute();
    for (const row of rows) states.set(row.device_id, row);
  }
  return states;
}

/** Replaces the states, and shows the conditions that changed in the list of devices. */
export async function saveConditionStates(
  transaction: ProcessTransaction,
  states: readonly ConditionState[],
  changed: ReadonlyMap<number, Condition>,
): Promise<void> {
  for (const part of parts(states)) {
    const ids = part.map((state) => state.device_id);
    await transaction.deleteFrom('condition_state').where('device_id', 'in', ids).execute();
    await transaction.insertInto('condition_state').values(part).execute();
  }
  for (const condition of new Set(changed.values())) {
    const ids = Array.from(changed.keys()).filter((id) => changed.get(id) === condition);
    for (const part of parts(ids)) {
      await transaction
        .updateTable('device')
        .set({ device_condition: condition })
        .where('id', 'in', part)
        .execute();
    }
  }
}

/** @returns which of `keys` belong to an instance that is open */
export async function readOpenKeys(
  transaction: ProcessTransaction,
  keys: readonly string[],
): Promise<ReadonlySet<string>> {
  const open = new Set<string>();
  for (const part of parts(keys)) {
    const rows = await transaction
      .selectFrom('process_instance')
      .select('open_key')
      .where('open_key', 'in', part)
      .execute();
    for (const { open_key } of rows) if (open_key !== null) open.add(open_key);
  }
  return open;
}

/** The rows that one step of an instance adds. */
export interface StepRows {
  readonly tokens: readonly Insertable<ProcessTokenTable>[];
  readonly tasks: readonly Insertable<TaskTable>[];
  readonly notifications: readonly Insertable<NotificationTable>[];
}

export interface InstanceRows extends StepRows {
  readonly instance: Insertable<ProcessInstanceTable>;
}

/** Writes instances that have just started. */
export async function insertInstances(
  transaction: ProcessTransaction,
  engine: Database['engine'],
  started: readonly InstanceRows[],
): Promise<void> {
  for (const part of parts(started.map(({ instance }) => instance))) {
    await transaction.insertInto('process_instance').values(part).execute();
  }
  await insertStep(transaction, engine, {
    tokens: started.flatMap(({ tokens }) => tokens),
    tasks: started.flatMap(({ tasks }) => tasks),
    notifications: started.flatMap(({ notifications }) => notifications),
  });
  if (started.length > 0) await noteChange(transaction, engine, 'workflows');
}

export type InstanceRow = Readonly<ProcessInstanceTable>;
export type TokenRow = Readonly<ProcessTokenTable>;

/** @returns an open instance with all its tokens, or undefined if it is not there or no longer open */
export async function readOpenInstance(
  transaction: ProcessTransaction,
  instanceId: string,
): Promise<{ readonly instance: InstanceRow; readonly tokens: readonly TokenRow[] } | undefined> {
  const instance = await transaction
    .selectFrom('process_instance')
    .selectAll()
    .where('id', '=', instanceId)
    .where('state', '=', 'running')
    .executeTakeFirst();
  if (instance === undefined) return undefined;
  const tokens = await transaction
    .selectFrom('process_token')
    .selectAll()
    .where('instance_id', '=', instanceId)
    .execute();
  return { instance, tokens };
}

/**
 * Takes tokens away.
 *
 * @returns false if one was already gone, because another program took the same step; then roll back
 */
export async function removeTokens(
  transaction: ProcessTransaction,
  tokenIds: readonly string[],
): Promise<boolean> {
  for (const part of parts(tokenIds)) {
    const { numDeletedRows } = await transaction
      .deleteFrom('process_token')
      .where('id', 'in', part)
      .executeTakeFirst();
    if (numDeletedRows !== BigInt(part.length)) return false;
  }
  return true;
}

/** Writes what a step adds to an instance that is already there. */
export async function continueInstance(
  transaction: ProcessTransaction,
  engine: Database['engine'],
  change: {
    readonly id: string;
    readonly update: Partial<
      Pick<InstanceRow, 'state' | 'open_key' | 'ended_ms' | 'detail' | 'variables' | 'visited'>
    >;
    readonly cancelledTaskIds: readonly string[];
    readonly rows: StepRows;
  },
): Promise<void> {
  await transaction.updateTable('process_instance').set(change.update).where('id', '=', change.id).execute();
  for (const part of parts(change.cancelledTaskIds)) {
    await transaction
      .updateTable('task')
      .set({ state: 'cancelled' })
      .where('id', 'in', part)
      .where('state', '=', 'open')
      .execute();
  }
  await insertStep(transaction, engine, change.rows);
  await noteChange(transaction, engine, 'workflows');
  await noteChange(transaction, engine, 'tasks');
}

export interface ReadyToken {
  readonly tokenId: string;
  readonly instanceId: string;
  /** Of the definition that the instance follows. */
  readonly digest: string;
  /** What the person wrote who completed the task; undefined for a timer. */
  readonly comment: string | undefined;
}

/** @returns tokens whose wait is over: their task is completed, or their time has come */
export async function readReadyTokens(
  database: Database,
  nowMs: number,
  limit: number,
): Promise<ReadyToken[]> {
  const tables = processTables(database);
  const completed = await tables
    .selectFrom('process_token as token')
    .innerJoin('task', 'task.id', 'token.id')
    .innerJoin('process_instance as instance', 'instance.id', 'token.instance_id')
    .select(['token.id as tokenId', 'token.instance_id as instanceId', 'instance.digest', 'task.comment'])
    .where('token.waits_for', '=', 'task')
    .where('task.state', '=', 'completed')
    .orderBy('task.completed_ms')
    .limit(limit)
    .execute();
  const due = await tables
    .selectFrom('process_token as token')
    .innerJoin('process_instance as instance', 'instance.id', 'token.instance_id')
    .select(['token.id as tokenId', 'token.instance_id as instanceId', 'instance.digest'])
    .where('token.waits_for', '=', 'timer')
    .where('token.due_ms', '<=', nowMs)
    .orderBy('token.due_ms')
    .limit(limit)
    .execute();
  return [...completed, ...due.map((token) => ({ ...token, comment: undefined }))];
}

/** @returns the XML of a definition by its digest, for an instance that began with it */
export async function readDefinitionByDigest(
  database: Database,
  digest: string,
): Promise<string | undefined> {
  const row = await processTables(database)
    .selectFrom('process_definition')
    .select('xml')
    .where('digest', '=', digest)
    .executeTakeFirst();
  return row === undefined ? undefined : Buffer.from(row.xml).toString('utf8');
}

async function insertStep(
  transaction: ProcessTransaction,
  engine: Database['engine'],
  { tokens, tasks, notifications }: StepRows,
): Promise<void> {
  for (const part of parts(tokens)) await transaction.insertInto('process_token').values(part).execute();
  for (const part of parts(tasks)) await transaction.insertInto('task').values(part).execute();
  for (const part of parts(notifications))
    await transaction.insertInto('notification').values(part).execute();
  if (tasks.length > 0) await noteChange(transaction, engine, 'tasks');
}

function parts<T>(rows: readonly T[]): T[][] {
  return Array.from({ length: Math.ceil(rows.length / rowsPerStatement) }, (_, index) =>
    rows.slice(index * rowsPerStatement, (index + 1) * rowsPerStatement),
  );
}
