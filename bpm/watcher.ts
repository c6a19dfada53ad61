/**
 * Reads new snapshots behind a durable cursor, judges each, and starts an instance where a condition changed.
 *
 * Cursor, conditions, instances, tokens, tasks and messages of a batch are one transaction: after a crash the
 * batch either happened or is judged again from the same state, with the same result.
 */
import type { ChannelValue } from '../domain/snapshot.ts';
import { isConflict } from '../database/errors.ts';
import type { Database } from '../database/connect.ts';
import type { ConditionState, InstanceRows, ProcessTransaction } from '../database/processes.ts';
import {
  inProcessTransaction,
  insertInstances,
  moveCursor,
  readConditionStates,
  readCursor,
  readOpenKeys,
  saveConditionStates,
} from '../database/processes.ts';
import type { UnjudgedSnapshot } from '../database/processes-snapshots.ts';
import { readChannelIds, readSnapshotsAfter } from '../database/processes-snapshots.ts';
import type { Classification, Classified, DeviceCondition, DeviceTypeRules } from './classification.ts';
import { classify, observeClassification, unknownCondition } from './classification.ts';
import type { Definition } from './definition.ts';
import { startInstance } from './engine.ts';
import { ProcessError } from './process-error.ts';
import type { ConditionChange, RowContext } from './rows.ts';
import { failedRows, openKeyOf, startedRows, variablesOf } from './rows.ts';
import type { RuleBook } from './rules.ts';
import { rulesFor } from './rules.ts';

export interface WatchResult {
  readonly snapshots: number;
  /** Instances by what started them. */
  readonly started: Readonly<Record<Classification, number>>;
  /** Changes for which an instance was open already. */
  readonly repeated: number;
}

export interface WatcherDependencies {
  readonly database: Database;
  readonly rules: RuleBook;
  readonly definition: Definition;
  readonly rowContext: () => RowContext;
}

export interface Watcher {
  /**
   * Judges the next batch.
   *
   * @returns undefined if another program judged it first
   */
  judgeBatch(): Promise<WatchResult | undefined>;
}

export const watchCursor = 'condition';
export const batchMax = 2000;

export function createWatcher(dependencies: WatcherDependencies): Watcher {
  const { database, rules } = dependencies;
  let channels: ChannelsByType = new Map();
  const idsOf = (deviceType: string): number[] =>
    ruleChannelIds(rulesFor(rules, deviceType), channels.get(deviceType));
  return {
    judgeBatch: async () => {
      const from = await readCursor(database, watchCursor);
      let snapshots = await readSnapshotsAfter(database, from, batchMax, idsOf);
      const last = snapshots.at(-1);
      if (last === undefined) return emptyResult;
      if (snapshots.some((snapshot) => knowsNot(channels, rules, snapshot))) {
        channels = await readChannelIds(database);
        snapshots = await readSnapshotsAfter(database, from, batchMax, idsOf);
      }
      const judged = snapshots
        .filter(({ id }) => id <= last.id)
        .map((snapshot) => judge(rules, channels, snapshot));
      return commitBatch(dependencies, judged, from, last.id);
    },
  };
}

type ChannelsByType = ReadonlyMap<string, ReadonlyMap<string, number>>;

const emptyResult: WatchResult = {
  snapshots: 0,
  started: { normal: 0, abnormal: 0, overdue: 0 },
  repeated: 0,
};

interface Judged extends Classified {
  readonly snapshot: UnjudgedSnapshot;
  readonly hold: DeviceTypeRules['hold'];
}

function ruleChannels(rules: DeviceTypeRules): string[] {
  const comparisons = [...rules.abnormal, ...rules.overdue].flatMap((rule) => rule.all);
  return comparisons.flatMap(({ channel, limit }) =>
    typeof limit === 'object' ? [channel, limit.channel] : [channel],
  );
}

function ruleChannelIds(rules: DeviceTypeRules, ids: ReadonlyMap<string, number> | undefined): number[] {
  return ruleChannels(rules).flatMap((name) => ids?.get(name) ?? []);
}

/** Whether the names must be read again: a rule names a channel that was not there when they were read last. */
function knowsNot(
  channels: ChannelsByType,
  rules: RuleBook,
  { deviceType, values }: UnjudgedSnapshot,
): boolean {
  const ids = channels.get(deviceType);
  if (ids === undefined) return true;
  const known = new Set(ids.values());
  return (
    ruleChannels(rulesFor(rules, deviceType)).some((name) => !ids.has(name)) &&
    [...values.keys()].some((id) => !known.has(id))
  );
}

function judge(book: RuleBook, channels: ChannelsByType, snapshot: UnjudgedSnapshot): Judged {
  const rules = rulesFor(book, snapshot.deviceType);
  const ids = channels.get(snapshot.deviceType);
  const values = new Map<string, ChannelValue>();
  for (const name of ruleChannels(rules)) {
    const value = snapshot.values.get(ids?.get(name) ?? -1);
    if (value !== undefined) values.set(name, value);
  }
  return { snapshot, hold: rules.hold, ...classify(rules, values) };
}

async function commitBatch(
  dependencies: WatcherDependencies,
  judged: readonly Judged[],
  from: number,
  to: number,
): Promise<WatchResult | undefined> {
  const { database } = dependencies;
  try {
    return await inProcessTransaction(database, async (transaction) => {
      if (!(await moveCursor(transaction, watchCursor, from, to))) throw new OvertakenError();
      const context = dependencies.rowContext();
      const { states, changes } = await followConditions(transaction, judged, context.nowMs);
      const { started, repeated } = await startInstances(
        transaction,
        dependencies.definition,
        changes,
        context,
      );
      await saveConditionStates(
        transaction,
        states,
        new Map(changes.map(({ deviceId, classification }) => [deviceId, classification])),
      );
      await insertInstances(transaction, database.engine, started);
      return { snapshots: judged.length, started: countByClassification(started), repeated };
    });
  } catch (error) {
    // A second bpm on the same database got there first: its cursor or its open instance is in the way.
    if (error instanceof OvertakenError || isConflict(error)) return undefined;
    throw error;
  }
}

class OvertakenError extends Error {
  override readonly name = 'OvertakenError';
}

/** Every snapshot in its order, so that no change is missed, however many came at once. */
async function followConditions(
  transaction: ProcessTransaction,
  judged: readonly Judged[],
  nowMs: number,
): Promise<{ states: ConditionState[]; changes: ConditionChange[] }> {
  const deviceIds = [...new Set(judged.map(({ snapshot }) => snapshot.deviceId))];
  const states = await readConditionStates(transaction, deviceIds);
  const changes: ConditionChange[] = [];
  for (const { snapshot, classification, reason, hold } of judged) {
    const state = states.get(snapshot.deviceId);
    // What fills a gap is older than what was judged already: it says nothing about the present.
    if (state !== undefined && snapshot.sequence <= state.sequence) continue;
    const { after, changed } = observeClassification(conditionOf(state), classification, hold);
    states.set(snapshot.deviceId, {
      device_id: snapshot.deviceId,
      sequence: snapshot.sequence,
      device_condition: after.condition,
      candidate: after.candidate,
      candidate_count: after.candidateCount,
      since_ms: changed ? nowMs : (state?.since_ms ?? null),
      reason: classification === after.condition ? reason : (state?.reason ?? ''),
    });
    const { deviceId, path, deviceType, sequence } = snapshot;
    if (changed) changes.push({ deviceId, path, deviceType, classification, reason, sequence });
  }
  return { states: [...states.values()], changes };
}

function conditionOf(state: ConditionState | undefined): DeviceCondition {
  if (state === undefined) return unknownCondition;
  return {
    condition: state.device_condition,
    candidate: state.candidate === 'unknown' ? null : state.candidate,
    candidateCount: state.candidate_count,
  };
}

async function startInstances(
  transaction: ProcessTransaction,
  definition: Definition,
  changes: readonly ConditionChange[],
  context: RowContext,
): Promise<{ started: InstanceRows[]; repeated: number }> {
  const open = new Set(await readOpenKeys(transaction, changes.map(openKeyOf)));
  const started: InstanceRows[] = [];
  let repeated = 0;
  for (const change of changes) {
    if (open.has(openKeyOf(change))) {
      repeated++;
      continue;
    }
    const rows = startOne(definition, change, context);
    if (rows.instance.state === 'running') open.add(openKeyOf(change));
    started.push(rows);
  }
  return { started, repeated };
}

function startOne(definition: Definition, change: ConditionChange, context: RowContext): InstanceRows {
  const id = context.newId();
  try {
    return startedRows(
      definition,
      change,
      id,
      startInstance(definition, variablesOf(change), context),
      context,
    );
  } catch (error) {
    // A definition that gets stuck must not stop the watch over every other device.
    if (!(error instanceof ProcessError)) throw error;
    return failedRows(definition, change, id, error.message, context.nowMs);
  }
}

function countByClassification(started: readonly InstanceRows[]): Record<Classification, number> {
  const count = (classification: Classification): number =>
    started.filter(({ instance }) => instance.classification === classification).length;
  return { normal: count('normal'), abnormal: count('abnormal'), overdue: count('overdue') };
}
