/** A BPMN 2.0 file read into the graph that the engine runs. What the engine cannot run is refused here, by name. */
import { createHash } from 'node:crypto';
import { BpmnModdle } from 'bpmn-moddle';
import type { NotificationChannel } from '../domain/view.ts';
import { parseDurationMs } from './duration.ts';
import type { Expression } from './expression.ts';
import { parseExpression, variablesOf } from './expression.ts';
import { ProcessError } from './process-error.ts';
import { checkGraph } from './definition-graph.ts';
import { placeholdersOf } from './template.ts';

export interface Flow {
  readonly id: string;
  readonly source: string;
  readonly target: string;
  /** Only on flows out of an exclusive gateway. */
  readonly condition: Expression | undefined;
}

export type Behaviour =
  | { readonly kind: 'start' }
  | { readonly kind: 'end' }
  | { readonly kind: 'exclusive'; readonly defaultFlow: string | undefined }
  | { readonly kind: 'parallel' }
  | {
      readonly kind: 'send';
      readonly channel: NotificationChannel;
      readonly recipients: RecipientRole;
      readonly text: string;
    }
  | { readonly kind: 'service'; readonly operation: ServiceOperation }
  | { readonly kind: 'user'; readonly assignee: string; readonly instructions: string }
  | { readonly kind: 'timer'; readonly durationMs: number }
  | {
      readonly kind: 'boundary';
      readonly durationMs: number;
      readonly host: string;
      readonly interrupting: boolean;
    };

/** `list`: the addresses of the configuration's `mail.to`; `technician`: the technician in charge; `webhook`: its address. */
export type RecipientRole = 'list' | 'technician' | 'webhook';
/** All that a service task can do; a file picks one by name, and can't bring its own. */
export type ServiceOperation = 'webhook';

export interface Element {
  readonly id: string;
  /** As drawn; the id where it has no name. */
  readonly name: string;
  readonly behaviour: Behaviour;
  readonly incoming: readonly Flow[];
  readonly outgoing: readonly Flow[];
}

export interface Definition {
  /** The id of the process in the file, for example `condition`. */
  readonly name: string;
  readonly title: string;
  /** SHA-256 of the file, hex: an instance runs to its end by the file that it began with. */
  readonly digest: string;
  readonly xml: string;
  readonly start: string;
  readonly elements: ReadonlyMap<string, Element>;
}

/** What a condition or a text may name: these are set when an instance starts, `comment` when a task is completed. */
export const variableNames: readonly string[] = [
  'device',
  'deviceType',
  'classification',
  'reason',
  'sequence',
  'comment',
];

const xmlBytesMax = 1024 * 1024;
const elementsMax = 500;
const idLengthMax = 100;
const nameLengthMax = 200;
const textLengthMax = 2000;
const operations: readonly ServiceOperation[] = ['webhook'];

/** @throws ProcessError `process.malformed`, `process.unsupported` or `process.invalid`, naming the element */
export async function parseDefinition(xml: string): Promise<Definition> {
  const process = await readProcess(xml);
  const flowElements = listOf(process, 'flowElements');
  if (flowElements.length > elementsMax) {
    throw new ProcessError(
      'process.unsupported',
      `process has ${flowElements.length} elements; at most ${elementsMax}`,
    );
  }
  const flows = flowElements.filter(isFlow).map(readFlow);
  const elements = new Map<string, Element>();
  for (const item of flowElements.filter((item) => !isFlow(item))) {
    const id = idOf(item);
    elements.set(id, {
      id,
      name: (textOf(item, 'name') ?? id).slice(0, nameLengthMax),
      behaviour: readBehaviour(id, item),
      incoming: flows.filter((flow) => flow.target === id),
      outgoing: flows.filter((flow) => flow.source === id),
    });
  }
  const name = idOf(process);
  return {
    name,
    title: textOf(process, 'name') ?? name,
    digest: createHash('sha256').update(xml).digest('hex'),
    xml,
    start: checkGraph(elements, flows),
    elements,
  };
}

/** An object of bpmn-moddle; what we read of it is checked on the way. */
type Moddle = Readonly<Record<string, unknown>>;

async function readProcess(xml: string): Promise<Moddle> {
  if (Buffer.byteLength(xml) > xmlBytesMax) {
    throw new ProcessError('process.malformed', `file has more than ${xmlBytesMax} bytes`);
  }
  // bpmn-moddle's parser knows no entities; a document type would be a surprise in a file that we show to browsers.
  if (/<!DOCTYPE/i.test(xml)) throw new ProcessError('process.malformed', 'a document type is not accepted');
  let parsed: { rootElement: unknown; warnings: readonly { message: string }[] };
  try {
    parsed = await new BpmnModdle().fromXML(xml);
  } catch (cause) {
    const reason = cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : String(cause);
    throw new ProcessError('process.malformed', `file is not BPMN 2.0: ${reason}`, { cause });
  }
  const warning = parsed.warnings[0];
  // A warning is an element that was dropped or a reference that leads nowhere: the process would not be what was drawn.
  if (warning !== undefined) throw new ProcessError('process.malformed', warning.message);
  if (!isModdle(parsed.rootElement)) throw new ProcessError('process.malformed', 'file is empty');
  const processes = listOf(parsed.rootElement, 'rootElements').filter(
    (item) => item['$type'] === 'bpmn:Process',
  );
  const [process, second] = processes;
  if (process === undefined || second !== undefined) {
    throw new ProcessError(
      'process.unsupported',
      `file has ${processes.length} processes; wanted exactly one`,
    );
  }
  return process;
}

function isFlow(item: Moddle): boolean {
  return item['$type'] === 'bpmn:SequenceFlow';
}

function readFlow(item: Moddle): Flow {
  const id = idOf(item);
  const source = item['sourceRef'];
  const target = item['targetRef'];
  if (!isModdle(source) || !isModdle(target)) throw invalid(id, 'has no source or no target');
  const condition = item['conditionExpression'];
  const text = isModdle(condition) ? textOf(condition, 'body') : undefined;
  if (isModdle(condition) && text === undefined) throw invalid(id, 'has an empty condition');
  return {
    id,
    source: idOf(source),
    target: idOf(target),
    condition: text === undefined ? undefined : readCondition(id, text),
  };
}

function readCondition(id: string, text: string): Expression {
  let expression: Expression;
  try {
    expression = parseExpression(text);
  } catch (cause) {
    if (!(cause instanceof ProcessError)) throw cause;
    throw new ProcessError('process.expression', `element "${id}": ${cause.message}`, {
      cause,
      elementId: id,
    });
  }
  const unknown = variablesOf(expression).find((variable) => !variableNames.includes(variable));
  if (unknown !== undefined) throw invalid(id, `names "${unknown}"; there are ${variableNames.join(', ')}`);
  return expression;
}

function readBehaviour(id: string, item: Moddle): Behaviour {
  if (isModdle(item['loopCharacteristics'])) throw unsupported(id, 'is a loop');
  const type = String(item['$type']);
  switch (type) {
    case 'bpmn:StartEvent':
      requireNoDefinition(id, item);
      return { kind: 'start' };
    case 'bpmn:EndEvent':
      requireNoDefinition(id, item);
      return { kind: 'end' };
    case 'bpmn:ExclusiveGateway': {
      const defaultFlow = item['default'];
      return { kind: 'exclusive', defaultFlow: isModdle(defaultFlow) ? idOf(defaultFlow) : undefined };
    }
    case 'bpmn:ParallelGateway':
      return { kind: 'parallel' };
    case 'bpmn:SendTask':
      return readSend(id, item);
    case 'bpmn:ServiceTask': {
      const operation = operations.find((known) => known === attributeOf(item, 'plombe:operation'));
      if (operation === undefined)
        throw unsupported(id, `needs plombe:operation, one of ${operations.join(', ')}`);
      return { kind: 'service', operation };
    }
    case 'bpmn:UserTask':
      return {
        kind: 'user',
        assignee: attributeOf(item, 'plombe:assignee') ?? '',
        instructions: readText(id, item),
      };
    case 'bpmn:IntermediateCatchEvent':
      return { kind: 'timer', durationMs: readTimer(id, item) };
    case 'bpmn:BoundaryEvent': {
      const host = item['attachedToRef'];
      if (!isModdle(host)) throw invalid(id, 'is attached to nothing');
      const interrupting = item['cancelActivity'] !== false;
      return { kind: 'boundary', durationMs: readTimer(id, item), host: idOf(host), interrupting };
    }
    default:
      throw unsupported(id, `is a ${type.replace('bpmn:', '')}, which the engine does not run`);
  }
}

function readSend(id: string, item: Moddle): Behaviour {
  const channel = attributeOf(item, 'plombe:notify');
  if (channel !== 'mail' && channel !== 'sms') throw unsupported(id, 'needs plombe:notify, "mail" or "sms"');
  const recipients = attributeOf(item, 'plombe:recipients');
  if (recipients !== 'list' && recipients !== 'technician') {
    throw unsupported(id, 'needs plombe:recipients, "list" or "technician"');
  }
  return { kind: 'send', channel, recipients, text: readText(id, item) };
}

/** The documentation of a task is the text of its message, or what the person reads who does it. */
function readText(id: string, item: Moddle): string {
  const [documentation] = listOf(item, 'documentation');
  const text = documentation === undefined ? undefined : textOf(documentation, 'text');
  if (text === undefined) throw invalid(id, 'needs a documentation: it is the text that people read');
  if (text.length > textLengthMax)
    throw unsupported(id, `has a text of more than ${textLengthMax} characters`);
  const unknown = placeholdersOf(text).find((name) => !variableNames.includes(name));
  if (unknown !== undefined) throw invalid(id, `names {${unknown}}; there are ${variableNames.join(', ')}`);
  return text;
}

function readTimer(id: string, item: Moddle): number {
  const [definition, second] = listOf(item, 'eventDefinitions');
  if (definition?.['$type'] !== 'bpmn:TimerEventDefinition' || second !== undefined) {
    throw unsupported(id, 'is an event other than a timer');
  }
  const duration = definition['timeDuration'];
  const text = isModdle(duration) ? textOf(duration, 'body') : undefined;
  const durationMs = text === undefined ? undefined : parseDurationMs(text);
  if (durationMs === undefined) {
    throw unsupported(id, `needs a timeDuration such as P2D or PT30M, found ${JSON.stringify(text ?? '')}`);
  }
  return durationMs;
}

function requireNoDefinition(id: string, item: Moddle): void {
  if (listOf(item, 'eventDefinitions').length > 0)
    throw unsupported(id, 'is an event with a trigger or a result');
}

function isModdle(value: unknown): value is Moddle {
  return typeof value === 'object' && value !== null;
}

function listOf(item: Moddle, key: string): Moddle[] {
  const value = item[key];
  return Array.isArray(value) ? value.filter(isModdle) : [];
}

function textOf(item: Moddle, key: string): string | undefined {
  const value = item[key];
  return typeof value === 'string' && value.trim() !== '' ? value.trim() : undefined;
}

function attributeOf(item: Moddle, name: string): string | undefined {
  const attributes = item['$attrs'];
  return isModdle(attributes) ? textOf(attributes, name) : undefined;
}

function idOf(item: Moddle): string {
  const id = textOf(item, 'id');
  if (id === undefined || id.length > idLengthMax) {
    throw new ProcessError(
      'process.invalid',
      `a ${String(item['$type'])} has no id of 1 to ${idLengthMax} characters`,
    );
  }
  return id;
}

function invalid(elementId: string, fault: string): ProcessError {
  return new ProcessError('process.invalid', `element "${elementId}" ${fault}`, { elementId });
}

function unsupported(elementId: string, fault: string): ProcessError {
  return new ProcessError('process.unsupported', `element "${elementId}" ${fault}`, { elementId });
}
