/** What a cascade carries, and under which topic above: a filter, or a filter here and its counterpart there. */
import { filterCovers } from '../../domain/topic.ts';

/** `local` and `remote` are equal from the first wildcard on, or both are topic names. */
export interface Mapping {
  readonly local: string;
  readonly remote: string;
  /** Between the two stands an auditor, who alone may know both. */
  readonly isGate?: true;
}

/** Topics whose other name is remembered, in each direction; a site has fewer. */
const knownMax = 4096;

/** A change of the literal levels before the first wildcard. */
export class TopicMap {
  readonly #entries: readonly Mapping[];
  readonly #remotes = new Map<string, string | undefined>();
  readonly #locals = new Map<string, string | undefined>();

  constructor(entries: readonly Mapping[]) {
    this.#entries = entries;
  }

  /** @returns the topic above; undefined for one that no entry has */
  toRemote(topic: string): string | undefined {
    return remembered(this.#remotes, topic, () => translate(topic, this.#entries, 'local', 'remote'));
  }

  toLocal(topic: string): string | undefined {
    return remembered(this.#locals, topic, () => translate(topic, this.#entries, 'remote', 'local'));
  }

  /** Whether a topic of this broker is one of those that are carried. */
  hasLocal(topic: string): boolean {
    return this.#entries.some(({ local }) => filterCovers(local, topic));
  }
}

/** @returns the names that clients on the two sides may tell each other */
export function withoutGates(entries: readonly Mapping[]): TopicMap {
  return new TopicMap(entries.filter(({ isGate }) => isGate === undefined));
}

/** @returns why two filters are no counterparts, or undefined */
export function mismatchOf({ local, remote }: Mapping): string | undefined {
  if (local.startsWith('$') || remote.startsWith('$')) return 'topics below $ are not carried';
  if (wildcards(local) === wildcards(remote)) return undefined;
  return 'both need the same levels from the first wildcard on';
}

/**
 * @returns the first pair of mappings that leaves it open what becomes of a topic, and why; undefined if there is none
 */
export function conflictOf(up: readonly Mapping[], down: readonly Mapping[]): string | undefined {
  for (const [name, entries] of [
    ['up', up],
    ['down', down],
  ] as const) {
    for (const [index, one] of entries.entries()) {
      for (const other of entries.slice(index + 1)) {
        if (isSameChange(one, other)) continue;
        for (const side of ['local', 'remote'] as const) {
          if (!overlap(one[side], other[side])) continue;
          return `${name}: ${one.local} and ${other.local} have topics in common at the ${side} side`;
        }
      }
    }
  }
  for (const one of up) {
    for (const other of down) {
      if (isSameChange(one, other) || !overlap(one.remote, other.remote)) continue;
      return `what goes up from ${one.local} to ${one.remote} would come down again to ${other.local}`;
    }
  }
  return undefined;
}

/** Whether there is a topic that both filters match. */
export function overlap(a: string, b: string): boolean {
  // [MQTT-4.7.2-1]
  if (a.startsWith('$') !== b.startsWith('$') && /^[+#]/.test(a.startsWith('$') ? b : a)) return false;
  return levelsOverlap(a.split('/'), b.split('/'));
}

function levelsOverlap(a: readonly string[], b: readonly string[]): boolean {
  for (let depth = 0; ; depth++) {
    const [one, other] = [a[depth], b[depth]];
    if (one === '#' || other === '#') return true;
    if (one === undefined || other === undefined) {
      // §4.7.1.2: `a/#` matches `a` too.
      return one === other;
    }
    if (one !== '+' && other !== '+' && one !== other) return false;
    if (a[depth + 1] === '#' || b[depth + 1] === '#') return true;
  }
}

function isSameChange(one: Mapping, other: Mapping): boolean {
  const [a, b] = [one, other].map(({ local, remote }) => shortest(local, remote));
  return a?.local === b?.local && a?.remote === b?.remote;
}

/** What differs of the literal beginnings, without the levels at their end that both have. */
function shortest(local: string, remote: string): Mapping {
  const [here, there] = [literals(local), literals(remote)];
  while (here.length > 0 && here.at(-1) === there.at(-1)) {
    here.pop();
    there.pop();
  }
  return { local: here.join('/'), remote: there.join('/') };
}

function translate(
  topic: string,
  entries: readonly Mapping[],
  from: 'local' | 'remote',
  to: 'local' | 'remote',
): string | undefined {
  const entry = entries.find((one) => filterCovers(one[from], topic));
  if (entry === undefined) return undefined;
  const rest = topic.split('/').slice(literals(entry[from]).length);
  return [...literals(entry[to]), ...rest].join('/');
}

function remembered(
  known: Map<string, string | undefined>,
  topic: string,
  ask: () => string | undefined,
): string | undefined {
  const before = known.get(topic);
  if (before !== undefined || known.has(topic)) return before;
  if (known.size >= knownMax) known.clear();
  const answer = ask();
  known.set(topic, answer);
  return answer;
}

/** The levels before the first wildcard; all of them in a topic name. */
function literals(filter: string): string[] {
  const levels = filter.split('/');
  const end = levels.findIndex((level) => level === '+' || level === '#');
  return end < 0 ? levels : levels.slice(0, end);
}

function wildcards(filter: string): string {
  return filter.split('/').slice(literals(filter).length).join('/');
}
