import assert from 'node:assert/strict';
import { test } from 'node:test';
import path from 'node:path';
import * as fc from 'fast-check';
import { collectCmapss } from '../../device-agent/collector/cmapss.ts';
import type { DeviceTypeRules } from '../../bpm/classification.ts';
import { classify, observeClassification, unknownCondition } from '../../bpm/classification.ts';
import { loadRules, rulesFor } from '../../bpm/rules.ts';

const hold = { normal: 3, abnormal: 2, overdue: 2 };
const rules: DeviceTypeRules = {
  deviceType: 'X',
  title: 'X',
  hold,
  abnormal: [
    { all: [{ channel: 'fault.code', is: '!=', limit: 0 }], because: 'fault' },
    {
      all: [
        { channel: 'bearing.vibration', is: '>', limit: 7.1 },
        { channel: 'state', is: '=', limit: 'running' },
      ],
      because: undefined,
    },
  ],
  overdue: [
    {
      all: [{ channel: 'service.hours-since', is: '>', limit: { channel: 'service.interval' } }],
      because: undefined,
    },
  ],
  gauges: [],
  figures: [],
};

void test('classify: abnormal before overdue before normal, with the reason in words', () => {
  const overdue: [string, number][] = [
    ['service.hours-since', 501],
    ['service.interval', 500],
  ];
  assert.deepEqual(classify(rules, new Map([['fault.code', 7], ...overdue])), {
    classification: 'abnormal',
    reason: 'fault (fault.code 7 != 0)',
  });
  assert.deepEqual(classify(rules, new Map([['fault.code', 0], ...overdue])), {
    classification: 'overdue',
    reason: 'service.hours-since 501 > service.interval 500',
  });
  assert.equal(classify(rules, new Map([['fault.code', 0]])).classification, 'normal');
});

void test('classify: a rule of several comparisons needs all of them', () => {
  const vibrating: [string, string | number] = ['bearing.vibration', 8];
  assert.equal(classify(rules, new Map([vibrating, ['state', 'stopped']])).classification, 'normal');
  assert.equal(classify(rules, new Map([vibrating, ['state', 'running']])).classification, 'abnormal');
});

void test('classify: a channel that is missing or of another type decides nothing', () => {
  assert.equal(classify(rules, new Map()).classification, 'normal');
  assert.equal(classify(rules, new Map([['fault.code', 'none']])).classification, 'normal');
  assert.equal(classify(rules, new Map([['service.hours-since', 900]])).classification, 'normal');
});

void test('observeClassification: a condition changes only when it has held long enough', () => {
  let state = unknownCondition;
  const changes: string[] = [];
  const seen = [
    'normal',
    'abnormal',
    'normal',
    'abnormal',
    'abnormal',
    'abnormal',
    'normal',
    'normal',
    'normal',
  ] as const;
  for (const [index, classification] of seen.entries()) {
    const { after, changed } = observeClassification(state, classification, hold);
    if (changed) changes.push(`${index} ${after.condition}`);
    state = after;
  }
  assert.deepEqual(changes, ['0 normal', '4 abnormal', '8 normal']);
});

void test('observeClassification: no change without as many equal snapshots in a row as it has to hold', () => {
  const classification = fc.constantFrom('normal' as const, 'abnormal' as const, 'overdue' as const);
  fc.assert(
    fc.property(fc.array(classification, { maxLength: 40 }), (seen) => {
      let state = unknownCondition;
      for (const [index, current] of seen.entries()) {
        const first = state.condition === 'unknown';
        const { after, changed } = observeClassification(state, current, hold);
        assert.equal(changed, after.condition !== state.condition);
        if (changed && !(first && current === 'normal')) {
          const tail = seen.slice(index + 1 - hold[current], index + 1);
          assert.deepEqual(
            tail,
            Array.from({ length: hold[current] }, () => current),
          );
        }
        state = after;
      }
    }),
  );
});

void test('loadRules: the shipped files can be read, and an unknown type has the default', () => {
  const book = loadRules(path.resolve('bpm/rules'));
  for (const type of ['FM', 'PC', 'CMAPSS']) assert.equal(rulesFor(book, type).deviceType, type);
  assert.equal(rulesFor(book, 'something else').deviceType, 'default');
});

void test('the CMAPSS rules: train_FD001 is normal at first, and every engine is abnormal before its end', async () => {
  const engine = rulesFor(loadRules(path.resolve('bpm/rules')), 'CMAPSS');
  // Engines 1, 2 and 39, the shortest-lived, of NASA's train_FD001 (a work of the US government, 17 USC 105).
  const file = path.resolve('test/bpm/train_FD001-engines.txt');
  const states = new Map<string, typeof unknownCondition>();
  const changes = new Map<string, string[]>();
  for await (const collected of collectCmapss(file)) {
    if (collected.kind !== 'sample' || collected.device === undefined) continue;
    const values = new Map(collected.snapshot.readings.map(({ channel, value }) => [channel, value]));
    const { classification } = classify(engine, values);
    const { after, changed } = observeClassification(
      states.get(collected.device) ?? unknownCondition,
      classification,
      engine.hold,
    );
    states.set(collected.device, after);
    if (changed) changes.set(collected.device, [...(changes.get(collected.device) ?? []), after.condition]);
  }
  assert.equal(changes.size, 3);
  const all = [...changes.values()];
  assert.ok(all.every((list) => list[0] === 'normal' && list.includes('abnormal')));
  assert.ok(all.some((list) => list.includes('overdue')));
});
