import assert from 'node:assert/strict';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import test from 'node:test';
import { readArchive } from '../../auditor/archive-reading.ts';
import { Archive, openArchive } from '../../auditor/archive.ts';
import type { ArchivedEnvelope, ArchiveOptions } from '../../auditor/archive.ts';
import type { ExportBounds } from '../../auditor/export-source.ts';
import { temporaryFolder } from '../device-agent/collector/files.ts';
import { RecordedLog } from '../runtime/recorded-log.ts';

const dayMs = 24 * 3600 * 1000;
const { log } = new RecordedLog();

function envelope(
  number: number,
  receivedMs: number,
  change: Partial<ArchivedEnvelope> = {},
): ArchivedEnvelope {
  const octets = Buffer.alloc(100, number);
  return {
    number,
    device: 'm/a/d',
    kind: 'snapshot',
    topic: 'm/a/d/snapshots',
    receivedMs,
    envelope: octets,
    ...change,
  };
}

const everything: ExportBounds = { fromMs: -Infinity, untilMs: Infinity, last: Infinity };

function readBack(directory: string, device = 'm/a/d', bounds = everything): ArchivedEnvelope[] {
  const reading = readArchive(directory);
  try {
    return [...reading.of(device, 'snapshot', bounds)];
  } finally {
    reading.close();
  }
}

const numbersIn = (directory: string, device?: string, bounds: Partial<ExportBounds> = {}): number[] =>
  readBack(directory, device, { ...everything, ...bounds }).map(({ number }) => number);

test('Archive: keeps what came, by device and kind, once, also when it is opened again', (context) => {
  const directory = temporaryFolder(context);
  const options: ArchiveOptions = {
    directory,
    days: 1,
    bytesMax: 1e6,
    clock: () => dayMs,
    log,
  };
  const archive = openArchive(options);
  const many = Array.from({ length: 45 }, (_, index) => envelope(index, dayMs));
  archive.keep([
    ...many,
    envelope(45, dayMs, { device: 'm/a/d2' }),
    envelope(46, dayMs, { kind: 'command' }),
  ]);
  archive.keep([envelope(3, dayMs, { envelope: Buffer.from('another') })]);
  archive.close();
  const again = openArchive(options);
  context.after(() => again.close());
  assert.deepEqual(readBack(directory), many);
  assert.deepEqual(numbersIn(directory, 'm/a/d2'), [45]);
  assert.deepEqual(
    again.newestOf('m/a/d', 'snapshot', 2).map(({ number }) => number),
    [44, 43],
  );
  assert.deepEqual([again.sinceMs('m/a/d'), again.sinceMs('m/a/d3')], [dayMs, undefined]);
});

test('Archive: the oldest go when their time is over, and when there is no more room', (context) => {
  let nowMs = 10 * dayMs;
  const directory = temporaryFolder(context);
  const archive = openArchive({
    directory,
    days: 2,
    bytesMax: 500,
    clock: () => nowMs,
    log,
  });
  context.after(() => archive.close());
  archive.keep([1, 2, 3, 4, 5].map((number) => envelope(number, nowMs)));
  assert.deepEqual(numbersIn(directory), [1, 2, 3, 4, 5]);
  archive.keep([envelope(6, nowMs), envelope(7, nowMs)]);
  assert.deepEqual(numbersIn(directory), [3, 4, 5, 6, 7]);
  nowMs += 2 * dayMs + 1;
  archive.keep([envelope(8, nowMs)]);
  assert.deepEqual(numbersIn(directory), [8]);
  archive.keep([9, 10, 11, 12].map((number) => envelope(number, nowMs)));
  assert.deepEqual(numbersIn(directory), [8, 9, 10, 11, 12], 'what went was counted');
});

test('readArchive: what came from a time on, before another, and up to an entry', (context) => {
  const directory = temporaryFolder(context);
  const archive = openArchive({ directory, days: 100, bytesMax: 1e6, clock: () => dayMs, log });
  context.after(() => archive.close());
  archive.keep(Array.from({ length: 50 }, (_, number) => envelope(number, dayMs + number)));
  const found = numbersIn(directory, 'm/a/d', { fromMs: dayMs + 10, untilMs: dayMs + 45, last: 40 });
  assert.deepEqual([found.length, found[0], found.at(-1)], [31, 10, 40]);
  assert.equal(numbersIn(directory, 'm/a/d', { untilMs: dayMs + 45 }).at(-1), 44);
});

test('Archive: a disk that takes nothing is said once, and the audit goes on', (context) => {
  const recorded = new RecordedLog();
  const directory = temporaryFolder(context);
  const options = { directory, days: 1, bytesMax: 1e6, clock: () => 0, log: recorded.log };
  openArchive(options).close();
  const database = new DatabaseSync(path.join(directory, 'archive.sqlite'));
  database.exec('PRAGMA query_only = ON');
  const archive = new Archive(database, options);
  context.after(() => archive.close());
  archive.keep([envelope(1, 0)]);
  archive.keep([envelope(2, 0)]);
  assert.deepEqual(
    recorded.records.map(({ event }) => event),
    ['archive.failed'],
  );
});
