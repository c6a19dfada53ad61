import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { readNumber, readTimeMs } from '../../../device-agent/collector/number.ts';

test('readNumber: every finite number that is written is read', () => {
  fc.assert(
    fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
      assert.equal(readNumber(String(value)), Object.is(value, -0) ? 0 : value);
    }),
  );
});

test('readNumber: refuses what only looks like a number', () => {
  for (const text of [
    '',
    ' ',
    'NaN',
    'Infinity',
    '-Infinity',
    '0x1f',
    '1e999',
    '1,5',
    '1.2.3',
    '--1',
    '1_000',
    '.',
    '9'.repeat(65),
  ]) {
    assert.equal(readNumber(text), undefined, text);
  }
});

test('readTimeMs: ISO 8601 with a zone, seconds and milliseconds', () => {
  const timeMs = Date.UTC(2026, 5, 1, 12, 30, 15, 250);
  for (const text of [
    '2026-06-01T12:30:15.250Z',
    '2026-06-01 14:30:15.25+02:00',
    String(timeMs),
    String(timeMs / 1000),
  ]) {
    assert.equal(readTimeMs(text), timeMs, text);
  }
});

test('readTimeMs: refuses a time without a zone, a day that does not exist, and what is before 1970', () => {
  for (const text of [
    '2026-06-01T12:30:15',
    '2026-13-01T00:00:00Z',
    '1969-12-31T00:00:00Z',
    '-5',
    '0',
    'now',
    '1e30',
  ]) {
    assert.equal(readTimeMs(text), undefined, text);
  }
});
