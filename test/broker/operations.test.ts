import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { createMeasures } from '../../broker/measures.ts';
import { denialMeanings, refusalMeanings } from '../../broker/reasons.ts';
import { declareCascadeTopics, declareSystemTopics } from '../../broker/system-topics.ts';

const root = path.resolve(import.meta.dirname, '../..');
/** The broker's chapter; other programs have tables of their own. */
const [, text = ''] = readFileSync(path.join(root, 'docs/operations.md'), 'utf8').split(/^# /m);

/** The first columns of the tables whose heading begins so, and the rest of each row. */
function rowsUnder(heading: RegExp): Map<string, string> {
  const rows = new Map<string, string>();
  let isInside = false;
  for (const line of text.split('\n')) {
    if (!line.startsWith('|')) isInside = false;
    else if (heading.test(line)) isInside = true;
    else if (isInside && !line.startsWith('| --')) {
      const [first = '', ...rest] = line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim());
      rows.set(first, rest.join(' | '));
    }
  }
  return rows;
}

/** Every name of an event that one of the broker's log lines can have. */
function eventsInCode(): Set<string> {
  const files = globSync(['broker/**/*.ts', 'mqtt/*.ts', 'runtime/{shutdown,bounded-log}.ts'], { cwd: root });
  const events = new Set<string>();
  for (const file of files) {
    const source = readFileSync(path.join(root, file), 'utf8');
    for (const call of source.matchAll(/\blog\.(?:debug|info|warn|error)\(/gi)) {
      const args = argumentsAt(source, call.index + call[0].length);
      // What comes last names it: one literal, or one of two.
      const last = /(?:'[a-z_]+\.[a-z_]+'[^']*){1,2}$/.exec(args)?.[0] ?? '';
      for (const [literal] of last.matchAll(/'[a-z_]+\.[a-z_]+'/g)) events.add(literal.slice(1, -1));
    }
  }
  return events;
}

/** The text up to the parenthesis that closes a call. */
function argumentsAt(source: string, start: number): string {
  let depth = 1;
  let end = start;
  for (; depth > 0 && end < source.length; end++) {
    if (source[end] === '(') depth++;
    else if (source[end] === ')') depth--;
  }
  return source.slice(start, end - 1);
}

test('operations.md: every event of the code is in a table, and every event of a table in the code', () => {
  const documented = [...rowsUnder(/^\| event /).keys()].flatMap((cell) =>
    cell.split(', ').map((name) => name.replaceAll('`', '')),
  );
  assert.deepEqual(documented.toSorted(), [...eventsInCode()].toSorted());
});

test('operations.md: every metric is in the table, with its labels', async () => {
  const documented = [...rowsUnder(/^\| metric /).keys()].map((cell) => cell.replaceAll('`', ''));
  const metrics = await createMeasures().metrics.registry.getMetricsAsJSON();
  const names = metrics.map(({ name }) => name).filter((name) => name.startsWith('plombe_'));
  assert.deepEqual(documented.map((cell) => cell.replace(/\{.*/, '')).toSorted(), names.toSorted());
});

test('operations.md: the tables of reasons are those of the code', () => {
  const documented = rowsUnder(/^\| reason /);
  const meanings = { ...refusalMeanings, ...denialMeanings };
  for (const [reason, meaning] of Object.entries({ ...refusalMeanings })) {
    assert(text.includes(`\`${reason}\``), reason);
    assert(text.replaceAll(/ +\|/g, ' |').includes(`| ${meaning} |`), `${reason}: ${meaning}`);
  }
  for (const [reason, meaning] of Object.entries({ ...denialMeanings })) {
    assert.equal(documented.get(`\`${reason}\``), meaning);
  }
  assert.deepEqual(
    [...documented.keys()].toSorted(),
    Object.keys(meanings)
      .map((reason) => `\`${reason}\``)
      .toSorted(),
  );
});

test('operations.md: every name below $SYS is there', () => {
  const names: string[] = [];
  const hub = { declareSystemTopic: (topic: string) => void names.push(topic), retainedCount: 0 };
  declareSystemTopics({
    hub,
    sessions: () => [],
    measures: createMeasures(),
    room: { state: { full: undefined, usedBytes: 0, freeBytes: 0 } },
    name: 'x',
    version: '0',
    startedMs: 0,
    monotonicMs: () => 0,
  });
  declareCascadeTopics(hub, () => undefined);
  const section = text.slice(text.indexOf('## `$SYS`'), text.indexOf('## Events')).replaceAll(/\s+/g, ' ');
  for (const topic of names) {
    const name = topic.replace('$SYS/broker/', '');
    const load = /^load\/(.*)\/\d+min$/.exec(name)?.[1];
    assert(section.includes(`\`${load ?? name}\``), name);
  }
});
