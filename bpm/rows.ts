/** From what the engine says to the rows that the database takes. */
import type { InstanceRows, InstanceRow, StepRows, TokenRow } from '../database/processes.ts';
import type { Definition } from './definition.ts';
import type { Message, Step, Token } from './engine.ts';
import type { Classification } from './classification.ts';
import type { Variables } from './expression.ts';
import type { Recipients } from './recipients.ts';
import { recipientsOf } from './recipients.ts';

/** What starts an instance. */
export interface ConditionChange {
  readonly deviceId: number;
  readonly path: string;
  readonly deviceType: string;
  readonly classification: Classification;
  readonly reason: string;
  readonly sequence: number;
}

export interface RowContext {
  readonly nowMs: number;
  readonly newId: () => string;
  readonly recipients: Recipients;
}

const visitedMax = 2000;
const bodyLengthMax = 5000;

export function variablesOf(change: ConditionChange): Variables {
  const { path, deviceType, classification, reason, sequence } = change;
  return { device: path, deviceType, classification, reason, sequence };
}

/** @returns the key that only one open instance of a device and a classification can have */
export function openKeyOf({
  deviceId,
  classification,
}: Pick<ConditionChange, 'deviceId' | 'classification'>): string {
  return `${deviceId}/${classification}`;
}

export function startedRows(
  definition: Definition,
  change: ConditionChange,
  id: string,
  step: Step,
  context: RowContext,
): InstanceRows {
  return {
    instance: {
      ...instanceRow(definition, change, id, context.nowMs),
      open_key: step.ended ? null : openKeyOf(change),
      state: step.ended ? 'completed' : 'running',
      visited: JSON.stringify(step.visited.slice(0, visitedMax)),
      ended_ms: step.ended ? context.nowMs : null,
    },
    ...stepRows(id, change.deviceId, change.path, step, context),
  };
}

/** An instance that could not start is kept, so that people see that it failed and why. */
export function failedRows(
  definition: Definition,
  change: ConditionChange,
  id: string,
  detail: string,
  nowMs: number,
): InstanceRows {
  const instance = {
    ...instanceRow(definition, change, id, nowMs),
    state: 'failed' as const,
    ended_ms: nowMs,
    detail,
  };
  return { instance, tokens: [], tasks: [], notifications: [] };
}

function instanceRow(
  definition: Definition,
  change: ConditionChange,
  id: string,
  nowMs: number,
): InstanceRow {
  return {
    id,
    definition: definition.name,
    digest: definition.digest,
    device_id: change.deviceId,
    classification: change.classification,
    open_key: null,
    state: 'running',
    variables: JSON.stringify(variablesOf(change)),
    visited: '[]',
    started_ms: nowMs,
    ended_ms: null,
    detail: '',
  };
}

export function stepRows(
  instanceId: string,
  deviceId: number,
  path: string,
  step: Step,
  context: RowContext,
): StepRows {
  const { nowMs, newId, recipients } = context;
  return {
    tokens: step.addedTokens.map((token) => ({
      id: token.id,
      instance_id: instanceId,
      element_id: token.elementId,
      waits_for: token.waitsFor,
      arrived_by: token.arrivedBy,
      due_ms: token.dueMs,
      host_token_id: token.hostTokenId,
    })),
    tasks: step.tasks.map((task) => ({
      id: task.tokenId,
      instance_id: instanceId,
      element_id: task.elementId,
      device_id: deviceId,
      title: task.title,
      assignee: task.assignee,
      instructions: task.instructions.slice(0, bodyLengthMax),
      state: 'open' as const,
      created_ms: nowMs,
      completed_ms: null,
      completed_by: '',
      comment: '',
    })),
    notifications: step.messages.map((message) => ({
      id: newId(),
      instance_id: instanceId,
      device_id: deviceId,
      channel: message.channel,
      recipients: recipientsOf(message, recipients),
      subject: subjectOf(path, message),
      body: message.text.slice(0, bodyLengthMax),
      ...initialState(message, recipients),
      attempts: 0,
      due_ms: nowMs,
      created_ms: nowMs,
      sent_ms: null,
    })),
  };
}

/** Without a way out or an address a message is listed on the dashboard, and that is all that happens to it. */
function initialState(
  message: Message,
  recipients: Recipients,
): { readonly state: 'pending' | 'listed'; readonly detail: string } {
  if (!recipients.channels.includes(message.channel)) {
    return { state: 'listed', detail: `no ${message.channel} is configured` };
  }
  const addressed = recipientsOf(message, recipients) !== '';
  return addressed
    ? { state: 'pending', detail: '' }
    : { state: 'listed', detail: 'no address is configured' };
}

const subjectLengthMax = 200;

function subjectOf(path: string, message: Message): string {
  return `${path}: ${message.subject}`.slice(0, subjectLengthMax);
}

export function tokenOf(row: TokenRow): Token {
  return {
    id: row.id,
    elementId: row.element_id,
    waitsFor: row.waits_for,
    arrivedBy: row.arrived_by,
    dueMs: row.due_ms,
    hostTokenId: row.host_token_id,
  };
}

/** @returns the JSON of the list, with what the step passed; an instance that runs for ever keeps its first elements */
export function visitedWith(json: string, step: Step): string {
  const before: unknown = JSON.parse(json);
  return JSON.stringify([...(Array.isArray(before) ? before : []), ...step.visited].slice(0, visitedMax));
}
