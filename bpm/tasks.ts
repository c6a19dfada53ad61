/** Goes on with instances whose wait is over: a person completed a task, or a timer is due. */
import type { Database } from '../database/connect.ts';
import type { InstanceRow, ProcessTransaction, ReadyToken, TokenRow } from '../database/processes.ts';
import {
  continueInstance,
  inProcessTransaction,
  readOpenInstance,
  readReadyTokens,
  removeTokens,
} from '../database/processes.ts';
import type { Definition } from './definition.ts';
import type { Definitions } from './definitions.ts';
import { resumeInstance } from './engine.ts';
import type { Step } from './engine.ts';
import type { Scalar, Variables } from './expression.ts';
import { ProcessError } from './process-error.ts';
import type { RowContext } from './rows.ts';
import { stepRows, tokenOf, visitedWith } from './rows.ts';

export interface TaskDependencies {
  readonly database: Database;
  readonly definitions: Pick<Definitions, 'byDigest'>;
  readonly rowContext: () => RowContext;
}

const readyMax = 200;

/** @returns how many steps were taken; call again while it is not 0 */
export async function continueReady(dependencies: TaskDependencies): Promise<number> {
  const ready = await readReadyTokens(dependencies.database, dependencies.rowContext().nowMs, readyMax);
  let taken = 0;
  for (const token of ready) if (await continueOne(dependencies, token)) taken++;
  return taken;
}

class OvertakenError extends Error {
  override readonly name = 'OvertakenError';
}

/** @returns false if the step had been taken already, by an earlier token of this list or by another program */
async function continueOne(
  { database, definitions, rowContext }: TaskDependencies,
  ready: ReadyToken,
): Promise<boolean> {
  // Before the transaction: SQLite's one connection is the transaction's own until it ends.
  const definition = await findDefinition(definitions, ready.digest);
  try {
    return await inProcessTransaction(database, async (transaction) => {
      const open = await readOpenInstance(transaction, ready.instanceId);
      if (open === undefined || !open.tokens.some((token) => token.id === ready.tokenId)) return false;
      const variables = variablesWith(open.instance, ready.comment);
      let step: Step;
      try {
        if (definition instanceof ProcessError) throw definition;
        step = resumeInstance(definition, variables, open.tokens.map(tokenOf), ready.tokenId, rowContext());
      } catch (error) {
        if (!(error instanceof ProcessError)) throw error;
        await fail(transaction, database.engine, open, error.message, rowContext().nowMs);
        return true;
      }
      if (!(await removeTokens(transaction, step.removedTokenIds))) throw new OvertakenError();
      await write(transaction, database.engine, open.instance, variables, step, rowContext());
      return true;
    });
  } catch (error) {
    if (error instanceof OvertakenError) return false;
    throw error;
  }
}

async function findDefinition(
  definitions: TaskDependencies['definitions'],
  digest: string,
): Promise<Definition | ProcessError> {
  try {
    return await definitions.byDigest(digest);
  } catch (error) {
    if (error instanceof ProcessError) return error;
    throw error;
  }
}

async function write(
  transaction: ProcessTransaction,
  engine: Database['engine'],
  instance: InstanceRow,
  variables: Variables,
  step: Step,
  context: RowContext,
): Promise<void> {
  await continueInstance(transaction, engine, {
    id: instance.id,
    update: {
      state: step.ended ? 'completed' : 'running',
      open_key: step.ended ? null : instance.open_key,
      ended_ms: step.ended ? context.nowMs : null,
      variables: JSON.stringify(variables),
      visited: visitedWith(instance.visited, step),
    },
    cancelledTaskIds: step.cancelledTokenIds,
    rows: stepRows(instance.id, instance.device_id, String(variables['device']), step, context),
  });
}

/** Ends an instance that cannot go on, visibly, so that its device can start another. */
async function fail(
  transaction: ProcessTransaction,
  engine: Database['engine'],
  { instance, tokens }: { instance: InstanceRow; tokens: readonly TokenRow[] },
  detail: string,
  nowMs: number,
): Promise<void> {
  const tokenIds = tokens.map((token) => token.id);
  if (!(await removeTokens(transaction, tokenIds))) throw new OvertakenError();
  await continueInstance(transaction, engine, {
    id: instance.id,
    update: { state: 'failed', open_key: null, ended_ms: nowMs, detail: detail.slice(0, 500) },
    cancelledTaskIds: tokenIds,
    rows: { tokens: [], tasks: [], notifications: [] },
  });
}

function variablesWith(instance: InstanceRow, comment: string | undefined): Variables {
  const parsed: unknown = JSON.parse(instance.variables);
  const variables = Object.entries(typeof parsed === 'object' && parsed !== null ? parsed : {}).filter(
    (entry): entry is [string, Scalar] => ['string', 'number', 'boolean'].includes(typeof entry[1]),
  );
  return { ...Object.fromEntries(variables), ...(comment === undefined ? {} : { comment }) };
}
