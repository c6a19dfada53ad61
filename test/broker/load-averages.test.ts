import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LoadAverages, loadSpansMinutes } from '../../broker/load-averages.ts';

test('LoadAverages: after one minute of a steady load the shares are 1 - 1/e of what each span asks for', () => {
  let count = 0;
  const averages = new LoadAverages(new Map([['messages', () => count]]), 0);
  for (let second = 10; second <= 60; second += 10) {
    count += 100;
    averages.update(second * 1000);
  }
  for (const span of loadSpansMinutes) {
    const expected = 600 * (1 - Math.exp(-1 / span));
    assert(Math.abs(averages.perMinute('messages', span) - expected) < 1e-9, `${span} minutes`);
  }
});

test('LoadAverages: what was counted before is no load, and a quiet hour forgets', () => {
  let count = 1_000_000;
  const averages = new LoadAverages(new Map([['messages', () => count]]), 5000);
  averages.update(15_000);
  assert.equal(averages.perMinute('messages', 1), 0);
  count += 1000;
  averages.update(25_000);
  assert(averages.perMinute('messages', 1) > averages.perMinute('messages', 15));
  for (let minute = 1; minute <= 240; minute++) averages.update(25_000 + minute * 60_000);
  for (const span of loadSpansMinutes) assert(averages.perMinute('messages', span) < 0.01);
});

test('LoadAverages: an update at the same moment changes nothing', () => {
  let count = 0;
  const averages = new LoadAverages(new Map([['messages', () => count]]), 0);
  count = 10;
  averages.update(0);
  assert.equal(averages.perMinute('messages', 1), 0);
  averages.update(60_000);
  assert(averages.perMinute('messages', 1) > 6);
});
