import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { TestContext } from 'node:test';
import test from 'node:test';
import type { Collected, Sample } from '../../device-agent/collector/collector.ts';
import { CollectorError, rejection } from '../../device-agent/collector/collector.ts';
import type { IntakeOptions } from '../../device-agent/intake.ts';
import { takeIn } from '../../device-agent/intake.ts';
import type { Outbox } from '../../device-agent/outbox.ts';
import { openOutbox } from '../../device-agent/outbox.ts';
import { CmsError } from '../../cms/errors.ts';
import { RecordedLog } from '../runtime/recorded-log.ts';
import { temporaryFolder } from './collector/files.ts';
import { devicePath } from './site.ts';

const device = devicePath('ms-acc-1/acc-1/dev-1');

function sample(line: number): Sample {
  const snapshot = { timeMs: line * 1000, deviceType: 'T', readings: [{ channel: 'level', value: line }] };
  return { kind: 'sample', device: undefined, snapshot, line };
}

async function* items(list: readonly Collected[]): AsyncGenerator<Collected> {
  yield* list;
}

/** The bytes stand for an envelope; a disk with the trigger of `openBench` refuses those that begin with `bad`. */
function put(outbox: Outbox, { line = 0 }: Sample, quality: 'good' | 'bad'): Promise<number> {
  const envelope = Buffer.from(`${quality} ${line}`);
  const digest = createHash('sha256').update(envelope).digest();
  return outbox.put(device, () => ({ envelope, digest }), { source: 'file', line });
}

function openBench(context: TestContext, envelopesMax = 10_000) {
  const file = path.join(temporaryFolder(context), 'outbox.sqlite');
  openOutbox({ file, envelopesMax, whenFull: 'refuse' }, [device]).close();
  const database = new DatabaseSync(file);
  database.exec(`CREATE TRIGGER full_disk BEFORE INSERT ON envelope WHEN CAST(new.content AS TEXT) LIKE 'bad%'
    BEGIN SELECT RAISE(ABORT, 'disk full'); END`);
  database.close();
  const outbox = openOutbox({ file, envelopesMax, whenFull: 'refuse' }, [device]);
  context.after(() => outbox.close());
  const recorded = new RecordedLog();
  const rejected: string[] = [];
  const options: IntakeOptions = {
    kind: 'csv',
    pace: 'waits',
    outbox,
    put: (one) => put(outbox, one, 'good'),
    onRejected: (_, reason) => rejected.push(reason),
    wait: () => Promise.resolve(true),
    signal: new AbortController().signal,
    log: recorded.log,
  };
  return { outbox, recorded, rejected, options };
}

const stored = (outbox: Outbox): string[] =>
  outbox.pendingAfter(device, 0, 10_000).map((entry) => entry.envelope.toString());
const lines = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);

test('takeIn: takes everything in order, and remembers how far it came', async (context) => {
  const { outbox, rejected, options } = openBench(context);
  const result = await takeIn(items([...lines(600).map(sample), rejection(601, 'bad-time', 'x')]), options);
  assert.deepEqual(result, { samples: 600, rejected: { 'bad-time': 1 } });
  assert.deepEqual(rejected, ['bad-time']);
  assert.deepEqual(
    stored(outbox),
    lines(600).map((line) => `good ${line}`),
  );
  assert.equal(outbox.takenUpTo(device, 'file'), 600);
  assert.equal(outbox.takenUpTo(device, 'another file'), 0);
});

test('takeIn: while the disk refuses, a file waits; afterwards its rows are all there, in order', async (context) => {
  const { outbox, recorded, rejected, options } = openBench(context);
  let quality: 'good' | 'bad' = 'good';
  let waits = 0;
  const result = await takeIn(items(lines(700).map(sample)), {
    ...options,
    put: (one) => {
      if (one.line === 300 && waits === 0) quality = 'bad';
      return put(outbox, one, quality);
    },
    wait: () => {
      waits += 1;
      quality = 'good';
      return Promise.resolve(true);
    },
  });
  assert.equal(result.samples, 700);
  assert.deepEqual(rejected, []);
  assert.deepEqual(
    stored(outbox),
    lines(700).map((line) => `good ${line}`),
  );
  assert.ok(Number((await recorded.event('samples.delayed'))['samples']) > 0);
});

test('takeIn: while the disk refuses, what a machine says is counted as lost', async (context) => {
  const { outbox, rejected, options } = openBench(context);
  const result = await takeIn(items(lines(3).map(sample)), {
    ...options,
    pace: 'live',
    put: (one) => put(outbox, one, 'bad'),
  });
  assert.deepEqual(result, { samples: 0, rejected: { 'outbox.storage': 3 } });
  assert.deepEqual(rejected, ['outbox.storage', 'outbox.storage', 'outbox.storage']);
});

test('takeIn: a sample that cannot be sealed is left out, the rest goes on', async (context) => {
  const { outbox, options } = openBench(context);
  const result = await takeIn(items(lines(3).map(sample)), {
    ...options,
    put: (one) =>
      one.line === 2
        ? Promise.reject(new CmsError('cms.unsupported', 'too large'))
        : put(outbox, one, 'good'),
  });
  assert.deepEqual(result, { samples: 2, rejected: { 'cms.unsupported': 1 } });
});

test('takeIn: a source that breaks is logged, and what came before is taken', async (context) => {
  const { outbox, recorded, rejected, options } = openBench(context);
  async function* breaking(): AsyncGenerator<Collected> {
    yield sample(1);
    throw new CollectorError('collector.unreadable', 'the disk is gone');
  }
  await takeIn(breaking(), options);
  assert.deepEqual(stored(outbox), ['good 1']);
  assert.deepEqual(rejected, ['collector.unreadable']);
  assert.equal((await recorded.event('collector.failed'))['detail'], 'the disk is gone');
});

test('takeIn: a full outbox is waited for, and no longer when the agent stops', async (context) => {
  const { outbox, options } = openBench(context, 2);
  const stopping = new AbortController();
  const taking = takeIn(items(lines(5).map(sample)), { ...options, signal: stopping.signal });
  await new Promise<void>((resolve) => outbox.onCommitted(() => resolve()));
  stopping.abort();
  assert.deepEqual(await taking, { samples: 2, rejected: {} });
  assert.equal(outbox.takenUpTo(device, 'file'), 2);
});

test('takeIn: of one reason, the first are logged and all are counted', async (context) => {
  const { recorded, rejected, options } = openBench(context);
  await takeIn(items(lines(50).map((line) => rejection(line, 'not-a-number', 'x'))), options);
  assert.equal(rejected.length, 50);
  assert.equal(recorded.records.filter((record) => record.event === 'sample.rejected').length, 20);
});
