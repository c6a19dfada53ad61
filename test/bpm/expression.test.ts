import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { evaluate, parseExpression } from '../../bpm/expression.ts';

const variables = { classification: 'abnormal', sequence: 12, urgent: true };

void test('evaluate: compares texts, numbers and truth values with literals', () => {
  const cases: readonly [string, boolean][] = [
    ['classification = "abnormal"', true],
    ['classification != "abnormal"', false],
    ['sequence > 11.5', true],
    ['sequence <= -3', false],
    ['urgent = true', true],
    ['classification = 12', false],
    ['classification != 12', true],
    ['sequence > 20 or urgent = true and classification = "abnormal"', true],
    ['(sequence > 20 or urgent = true) and classification = "normal"', false],
  ];
  for (const [text, wanted] of cases) assert.equal(evaluate(parseExpression(text), variables), wanted, text);
});

void test('parseExpression: whatever is no comparison is refused', () => {
  const bad = [
    '',
    'classification',
    'classification = ',
    'classification = "abnormal',
    'classification = abnormal',
    '"abnormal" = classification',
    'a = 1 and',
    'and = 1',
    '(a = 1',
    'a = 1)',
    'a == 1',
    'process.exit() = 1',
    'a = 1; b = 2',
    `${'('.repeat(30)}a = 1${')'.repeat(30)}`,
    `a = "${'x'.repeat(600)}"`,
  ];
  for (const text of bad) assert.throws(() => parseExpression(text), { code: 'process.expression' }, text);
});

void test('evaluate: a variable that is not there is an error, also one that every object inherits', () => {
  for (const name of ['missing', 'constructor', 'toString']) {
    assert.throws(() => evaluate(parseExpression(`${name} = 1`), variables), { code: 'process.expression' });
  }
});

void test('parseExpression: any text is read or refused with a code', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[ab="<>()! 0-9ndor]{0,30}$/)), (text) => {
      try {
        parseExpression(text);
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'process.expression');
      }
    }),
  );
});
