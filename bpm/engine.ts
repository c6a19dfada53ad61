/**
 * The token interpreter: from a definition, an instance's waiting tokens and one event, what happens next.
 *
 * Pure: it returns the rows to write, and the caller writes them in one transaction. A token in the
 * database always waits (for a person, for time, for its siblings); a token that can move moves within
 * the step, so a crash leaves either the whole step or nothing of it.
 */
import type { NotificationChannel } from '../domain/view.ts';
import type { Definition, Element, Flow, RecipientRole } from './definition.ts';
import type { Variables } from './expression.ts';
import { evaluate } from './expression.ts';
import { ProcessError } from './process-error.ts';
import { fillTemplate } from './template.ts';

export interface Token {
  readonly id: string;
  readonly elementId: string;
  /** What it waits for: a person, a moment, or the other tokens of a parallel gateway. */
  readonly waitsFor: 'task' | 'timer' | 'join';
  /** The flow by which it came to a join. */
  readonly arrivedBy: string | null;
  readonly dueMs: number | null;
  /** For a boundary timer: the token of the task that it watches. */
  readonly hostTokenId: string | null;
}

export interface NewTask {
  readonly tokenId: string;
  readonly elementId: string;
  readonly title: string;
  readonly assignee: string;
  readonly instructions: string;
}

export interface Message {
  readonly elementId: string;
  readonly channel: NotificationChannel;
  readonly recipients: RecipientRole;
  readonly subject: string;
  readonly text: string;
}

/** What one event changes. */
export interface Step {
  readonly removedTokenIds: readonly string[];
  readonly addedTokens: readonly Token[];
  /** Ids of the elements and flows that were passed, in order. */
  readonly visited: readonly string[];
  readonly tasks: readonly NewTask[];
  /** Tokens whose open tasks an interrupting timer took away. */
  readonly cancelledTokenIds: readonly string[];
  readonly messages: readonly Message[];
  /** No token is left. */
  readonly ended: boolean;
}

export interface StepContext {
  readonly nowMs: number;
  readonly newId: () => string;
}

/** More elements than this in one step without waiting is a circle. */
const elementsPerStepMax = 1000;

/** @throws ProcessError `process.stuck` or `process.expression` */
export function startInstance(definition: Definition, variables: Variables, context: StepContext): Step {
  const run = createRun(definition, variables, [], context);
  run.entering.push({ elementId: definition.start, by: undefined });
  return finish(run);
}

/**
 * Goes on behind a user task that was completed, or a timer that is due.
 *
 * @param tokens - all waiting tokens of the instance
 * @param tokenId - the one whose wait is over
 * @throws ProcessError `process.stuck` or `process.expression`
 */
export function resumeInstance(
  definition: Definition,
  variables: Variables,
  tokens: readonly Token[],
  tokenId: string,
  context: StepContext,
): Step {
  const run = createRun(definition, variables, tokens, context);
  const token = run.waiting.get(tokenId);
  if (token === undefined) throw new ProcessError('process.stuck', `there is no token ${tokenId}`);
  const element = elementOf(run, token.elementId);
  removeToken(run, token);
  if (element.behaviour.kind === 'boundary' && element.behaviour.interrupting && token.hostTokenId !== null) {
    const host = run.waiting.get(token.hostTokenId);
    if (host !== undefined) {
      removeToken(run, host);
      run.cancelledTokenIds.push(host.id);
    }
  }
  if (element.behaviour.kind === 'boundary') run.visited.push(element.id);
  leave(run, element.outgoing);
  return finish(run);
}

interface Run {
  readonly definition: Definition;
  readonly variables: Variables;
  readonly context: StepContext;
  readonly waiting: Map<string, Token>;
  readonly before: ReadonlySet<string>;
  readonly entering: { elementId: string; by: Flow | undefined }[];
  readonly visited: string[];
  readonly tasks: NewTask[];
  readonly cancelledTokenIds: string[];
  readonly messages: Message[];
}

function createRun(
  definition: Definition,
  variables: Variables,
  tokens: readonly Token[],
  context: StepContext,
): Run {
  return {
    definition,
    variables,
    context,
    waiting: new Map(tokens.map((token) => [token.id, token])),
    before: new Set(tokens.map((token) => token.id)),
    entering: [],
    visited: [],
    tasks: [],
    cancelledTokenIds: [],
    messages: [],
  };
}

function finish(run: Run): Step {
  for (let count = 0; ; count++) {
    const next = run.entering.shift();
    if (next === undefined) break;
    if (count === elementsPerStepMax) {
      throw new ProcessError('process.stuck', `instance turns in a circle at "${next.elementId}"`, next);
    }
    if (next.by !== undefined) run.visited.push(next.by.id);
    run.visited.push(next.elementId);
    enter(run, elementOf(run, next.elementId), next.by);
  }
  return {
    removedTokenIds: [...run.before].filter((id) => !run.waiting.has(id)),
    addedTokens: [...run.waiting.values()].filter((token) => !run.before.has(token.id)),
    visited: run.visited,
    tasks: run.tasks.filter((task) => run.waiting.has(task.tokenId)),
    cancelledTokenIds: run.cancelledTokenIds,
    messages: run.messages,
    ended: run.waiting.size === 0,
  };
}

function enter(run: Run, element: Element, by: Flow | undefined): void {
  const { behaviour, outgoing } = element;
  switch (behaviour.kind) {
    case 'end':
      return;
    case 'start':
      return leave(run, outgoing);
    case 'exclusive':
      return leave(run, [chooseFlow(run, element)]);
    case 'parallel':
      return enterParallel(run, element, by);
    case 'send':
      run.messages.push({
        elementId: element.id,
        channel: behaviour.channel,
        recipients: behaviour.recipients,
        subject: element.name,
        text: fillTemplate(behaviour.text, run.variables),
      });
      return leave(run, outgoing);
    case 'service':
      run.messages.push({
        elementId: element.id,
        channel: behaviour.operation,
        recipients: behaviour.operation,
        subject: element.name,
        text: JSON.stringify(run.variables),
      });
      return leave(run, outgoing);
    case 'user':
      return enterUserTask(run, element, behaviour);
    case 'timer':
      addToken(run, {
        elementId: element.id,
        waitsFor: 'timer',
        dueMs: run.context.nowMs + behaviour.durationMs,
      });
      return;
    case 'boundary':
      throw new ProcessError('process.stuck', `boundary event "${element.id}" was entered by a flow`, {
        elementId: element.id,
      });
  }
}

function enterUserTask(run: Run, element: Element, task: { assignee: string; instructions: string }): void {
  const token = addToken(run, { elementId: element.id, waitsFor: 'task' });
  run.tasks.push({
    tokenId: token.id,
    elementId: element.id,
    title: element.name,
    assignee: task.assignee,
    instructions: fillTemplate(task.instructions, run.variables),
  });
  for (const { id, behaviour } of run.definition.elements.values()) {
    if (behaviour.kind !== 'boundary' || behaviour.host !== element.id) continue;
    const dueMs = run.context.nowMs + behaviour.durationMs;
    addToken(run, { elementId: id, waitsFor: 'timer', dueMs, hostTokenId: token.id });
  }
}

/** BPMN 2.0 §13.4.1: a parallel gateway takes one token from each incoming flow and gives one to each outgoing flow. */
function enterParallel(run: Run, element: Element, by: Flow | undefined): void {
  if (element.incoming.length > 1) {
    addToken(run, { elementId: element.id, waitsFor: 'join', arrivedBy: by?.id ?? null });
    const arrived = element.incoming.map((flow) =>
      [...run.waiting.values()].find(
        (token) => token.elementId === element.id && token.arrivedBy === flow.id,
      ),
    );
    const complete = arrived.filter((token) => token !== undefined);
    if (complete.length < arrived.length) return;
    for (const token of complete) run.waiting.delete(token.id);
  }
  leave(run, element.outgoing);
}

/** BPMN 2.0 §13.4.2: the first flow whose condition holds, in the order of the file, else the default. */
function chooseFlow(run: Run, element: Element): Flow {
  const { behaviour, outgoing } = element;
  const defaultFlow = behaviour.kind === 'exclusive' ? behaviour.defaultFlow : undefined;
  const chosen =
    outgoing.find(
      ({ id, condition }) =>
        id !== defaultFlow && (condition === undefined || evaluate(condition, run.variables)),
    ) ?? outgoing.find(({ id }) => id === defaultFlow);
  if (chosen === undefined) {
    throw new ProcessError('process.stuck', `no condition behind gateway "${element.id}" holds`, {
      elementId: element.id,
    });
  }
  return chosen;
}

function leave(run: Run, flows: readonly Flow[]): void {
  for (const flow of flows) run.entering.push({ elementId: flow.target, by: flow });
}

function addToken(run: Run, token: Partial<Token> & Pick<Token, 'elementId' | 'waitsFor'>): Token {
  const added = { id: run.context.newId(), arrivedBy: null, dueMs: null, hostTokenId: null, ...token };
  run.waiting.set(added.id, added);
  return added;
}

/** Removes a token, and with it the timers on its task. */
function removeToken(run: Run, token: Token): void {
  run.waiting.delete(token.id);
  for (const other of run.waiting.values()) if (other.hostTokenId === token.id) run.waiting.delete(other.id);
}

function elementOf(run: Run, id: string): Element {
  const element = run.definition.elements.get(id);
  if (element === undefined) {
    throw new ProcessError('process.stuck', `definition has no element "${id}"`, { elementId: id });
  }
  return element;
}
