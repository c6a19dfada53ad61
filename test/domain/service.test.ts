import assert from 'node:assert/strict';
import test from 'node:test';
import { lastService, serviceDue } from '../../domain/service.ts';
import type { Service } from '../../domain/service.ts';

const dayMs = 86_400_000;
const intervals = { serviceHours: 500, serviceDays: 90 };

function service(
  id: number,
  servicedMs: number,
  hours: number | null,
  withdrawnMs: number | null = null,
): Service {
  return { id, servicedMs, hours, remark: '', notedMs: 0, notedBy: 'theo', withdrawnMs, withdrawnBy: null };
}

const counted = (value: number) => [{ channel: 'counters.operating-hours', value }];

test('serviceDue: hours run from the counter at the last service, days from its date', () => {
  const services = [service(1, dayMs, 100), service(2, 5 * dayMs, 400), service(3, 9 * dayMs, 900, 1)];
  assert.deepEqual(serviceDue(intervals, services, counted(650)), { hoursLeft: 250, dueMs: 95 * dayMs });
  assert.deepEqual(serviceDue(intervals, services, counted(1000)).hoursLeft, -100, 'overdue');
  assert.equal(lastService(services)?.id, 2, 'what was a mistake does not count');
});

test('serviceDue: a machine that counts since its last service by itself is believed', () => {
  const latest = [...counted(650), { channel: 'service.hours-since', value: 20 }];
  assert.equal(serviceDue(intervals, [service(1, 0, 400)], latest).hoursLeft, 480);
});

test('serviceDue: never serviced, hours run since it was new, and no date is known', () => {
  assert.deepEqual(serviceDue(intervals, [], counted(650)), { hoursLeft: -150, dueMs: undefined });
});

test('serviceDue: nothing is said without an interval, or without a counter', () => {
  const none = { hoursLeft: undefined, dueMs: undefined };
  const services = [service(1, 0, null)];
  assert.deepEqual(serviceDue({ serviceHours: null, serviceDays: null }, services, counted(1)), none);
  assert.deepEqual(serviceDue({ ...intervals, serviceDays: null }, services, counted(1)), none);
  assert.deepEqual(
    serviceDue(
      { ...intervals, serviceDays: null },
      [],
      [{ channel: 'counters.operating-hours', value: 'x' }],
    ),
    none,
  );
});
