/** Whether the elements of a process are wired so that the engine can run them. */
import type { Element, Flow } from './definition.ts';
import { ProcessError } from './process-error.ts';

/**
 * @returns the id of the one start event
 * @throws ProcessError `process.invalid`, naming the element
 */
export function checkGraph(elements: ReadonlyMap<string, Element>, flows: readonly Flow[]): string {
  const [start, second] = [...elements.values()].filter((element) => element.behaviour.kind === 'start');
  if (start === undefined) throw new ProcessError('process.invalid', 'process has no start event');
  if (second !== undefined) throw invalid(second.id, 'is a second start event');
  for (const flow of flows) {
    if (!elements.has(flow.source) || !elements.has(flow.target))
      throw invalid(flow.id, 'leaves the process');
  }
  for (const element of elements.values()) {
    checkDegree(element);
    checkConditions(element);
    checkBoundary(element, elements);
  }
  checkReached(start, elements);
  return start.id;
}

function checkDegree({ id, behaviour, incoming, outgoing }: Element): void {
  const isEntry = behaviour.kind === 'start' || behaviour.kind === 'boundary';
  if (isEntry && incoming.length > 0) throw invalid(id, 'has an incoming flow, which its kind cannot have');
  if (!isEntry && incoming.length === 0) throw invalid(id, 'has no incoming flow');
  if (behaviour.kind === 'end') {
    if (outgoing.length > 0) throw invalid(id, 'is an end event with an outgoing flow');
    return;
  }
  if (outgoing.length === 0) throw invalid(id, 'has no outgoing flow');
  const isGateway = behaviour.kind === 'exclusive' || behaviour.kind === 'parallel';
  // BPMN 2.0 §10.3.1 would fork here without showing it; a gateway says it.
  if (!isGateway && outgoing.length > 1)
    throw invalid(id, 'has several outgoing flows; put a gateway behind it');
}

function checkConditions({ id, behaviour, outgoing }: Element): void {
  if (behaviour.kind !== 'exclusive') {
    const conditional = outgoing.find((flow) => flow.condition !== undefined);
    if (conditional !== undefined)
      throw invalid(conditional.id, 'has a condition, but leaves no exclusive gateway');
    return;
  }
  const { defaultFlow } = behaviour;
  if (defaultFlow !== undefined && !outgoing.some((flow) => flow.id === defaultFlow)) {
    throw invalid(id, 'has a default flow that does not leave it');
  }
  if (outgoing.length === 1) return;
  const bare = outgoing.find((flow) => flow.condition === undefined && flow.id !== defaultFlow);
  if (bare !== undefined)
    throw invalid(bare.id, `has no condition and is not the default of gateway "${id}"`);
}

function checkBoundary({ id, behaviour }: Element, elements: ReadonlyMap<string, Element>): void {
  if (behaviour.kind !== 'boundary') return;
  if (elements.get(behaviour.host)?.behaviour.kind !== 'user') {
    throw invalid(id, 'is attached to something other than a user task; nothing else waits');
  }
}

function checkReached(start: Element, elements: ReadonlyMap<string, Element>): void {
  const reached = new Set<string>();
  const open = [start.id];
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    if (reached.has(id)) continue;
    reached.add(id);
    for (const element of elements.values()) {
      const { behaviour } = element;
      if (behaviour.kind === 'boundary' && behaviour.host === id) open.push(element.id);
    }
    open.push(...(elements.get(id)?.outgoing ?? []).map((flow) => flow.target));
  }
  const lost = [...elements.keys()].find((id) => !reached.has(id));
  if (lost !== undefined) throw invalid(lost, 'is not reached from the start event');
}

function invalid(elementId: string, fault: string): ProcessError {
  return new ProcessError('process.invalid', `element "${elementId}" ${fault}`, { elementId });
}
