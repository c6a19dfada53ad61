import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { TestContext } from 'node:test';
import test from 'node:test';
import * as fc from 'fast-check';
import type { OutboxOptions } from '../../device-agent/outbox.ts';
import { openOutbox } from '../../device-agent/outbox.ts';
import type { Seal } from '../../device-agent/stream.ts';
import { parseDevicePath } from '../../domain/namespace.ts';
import { temporaryFolder } from './collector/files.ts';

const device = parseDevicePath('ms-acc-1/acc-1/dev-1') ?? assert.fail();
const other = parseDevicePath('ms-acc-1/acc-1/dev-2') ?? assert.fail();

const digestOf = (text: Uint8Array): Buffer => createHash('sha256').update(text).digest();

/** An envelope that states its place, so that a test can read the chain back. */
const seal: Seal = ({ sequence, previousDigest }) => {
  const envelope = Buffer.from(
    JSON.stringify({ sequence, previous: previousDigest?.toString('hex') ?? null }),
  );
  return { envelope, digest: digestOf(envelope) };
};

const brokenSeal: Seal = () => {
  throw new TypeError('no');
};

function options(context: TestContext, overrides: Partial<OutboxOptions> = {}): OutboxOptions {
  return {
    file: path.join(temporaryFolder(context), 'outbox.sqlite'),
    envelopesMax: 100,
    whenFull: 'refuse',
    ...overrides,
  };
}

function open(context: TestContext, settings: OutboxOptions) {
  const outbox = openOutbox(settings, [device, other]);
  context.after(() => outbox.close());
  return outbox;
}

const sequencesOf = (entries: readonly { sequence: number }[]): number[] =>
  entries.map((entry) => entry.sequence);

test('Outbox.put: numbers count from 1 per device, each envelope refers to the one before', async (context) => {
  const outbox = open(context, options(context));
  const numbers = await Promise.all([
    outbox.put(device, seal),
    outbox.put(device, seal),
    outbox.put(other, seal),
    outbox.put(device, seal),
  ]);
  assert.deepEqual(numbers, [1, 2, 1, 3]);
  const entries = outbox.pendingAfter(device, 0, 10);
  let previous: string | null = null;
  for (const [index, { envelope }] of entries.entries()) {
    assert.deepEqual(JSON.parse(envelope.toString()), { sequence: index + 1, previous });
    previous = digestOf(envelope).toString('hex');
  }
  assert.deepEqual(outbox.counts(device), { sealed: 3, delivered: 0, dropped: 0, pending: 3 });
});

test('Outbox.put: what was put is there after a restart, and numbers and chain go on', async (context) => {
  const settings = options(context);
  const before = open(context, settings);
  await Promise.all([before.put(device, seal), before.put(device, seal)]);
  before.delivered(device, 1);
  before.close();
  const after = open(context, settings);
  assert.deepEqual(after.counts(device), { sealed: 2, delivered: 1, dropped: 0, pending: 1 });
  const [last] = after.pendingAfter(device, 0, 10);
  assert.equal(last?.sequence, 2);
  assert.equal(await after.put(device, seal), 3);
  const [next] = after.pendingAfter(device, 2, 10);
  assert.equal(
    JSON.parse(next?.envelope.toString() ?? '').previous,
    digestOf(last?.envelope ?? Buffer.of()).toString('hex'),
  );
});

test('Outbox.put: one turn of the event loop is one commit', async (context) => {
  const outbox = open(context, options(context));
  const told: string[] = [];
  outbox.onCommitted((path) => told.push(path));
  await Promise.all(Array.from({ length: 50 }, () => outbox.put(device, seal)));
  assert.deepEqual(told, [device]);
});

test('Outbox.put: a seal that throws uses no number', async (context) => {
  const outbox = open(context, options(context));
  await assert.rejects(outbox.put(device, brokenSeal), TypeError);
  assert.equal(await outbox.put(device, seal), 1);
});

test('Outbox.put: refuses when full, until something is delivered', async (context) => {
  const outbox = open(context, options(context, { envelopesMax: 2 }));
  await Promise.all([outbox.put(device, seal), outbox.put(other, seal)]);
  await assert.rejects(outbox.put(device, seal), { code: 'outbox.full' });
  const room = outbox.room(new AbortController().signal);
  outbox.delivered(other, 1);
  await room;
  assert.equal(await outbox.put(device, seal), 2);
});

test('Outbox.put: drops the oldest of all when that is the policy, which leaves a gap', async (context) => {
  const settings = options(context, { envelopesMax: 3, whenFull: 'drop-oldest' });
  const outbox = open(context, settings);
  for (const path of [other, device, device, device, device]) await outbox.put(path, seal);
  assert.deepEqual(sequencesOf(outbox.pendingAfter(device, 0, 10)), [2, 3, 4]);
  assert.deepEqual(outbox.counts(other), { sealed: 1, delivered: 0, dropped: 1, pending: 0 });
  assert.deepEqual(outbox.counts(device), { sealed: 4, delivered: 0, dropped: 1, pending: 3 });
  // The broker's acknowledgement of what was dropped meanwhile counts nothing twice.
  outbox.delivered(device, 1);
  outbox.delivered(device, 2);
  outbox.close();
  assert.deepEqual(open(context, settings).counts(device), {
    sealed: 4,
    delivered: 1,
    dropped: 1,
    pending: 2,
  });
});

test('Outbox: any order of puts, deliveries and restarts keeps every count and number', async (context) => {
  const step = fc.constantFrom('put', 'put', 'put', 'deliver', 'restart');
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const settings = options(context, { envelopesMax: 1000 });
      let outbox = openOutbox(settings, [device]);
      const pending: number[] = [];
      let put = 0;
      for (const what of steps) {
        if (what === 'put') {
          assert.equal(await outbox.put(device, seal), ++put);
          pending.push(put);
        } else if (what === 'deliver') {
          const sequence = pending.shift();
          if (sequence !== undefined) outbox.delivered(device, sequence);
        } else {
          outbox.close();
          outbox = openOutbox(settings, [device]);
          assert.deepEqual(sequencesOf(outbox.pendingAfter(device, 0, 1000)), pending);
          const delivered = put - pending.length;
          assert.deepEqual(outbox.counts(device), {
            sealed: put,
            delivered,
            dropped: 0,
            pending: pending.length,
          });
        }
      }
      outbox.close();
    }),
    { numRuns: 25 },
  );
});

test('Outbox: a commit that fails stores nothing, and the same numbers are given out again', async (context) => {
  const settings = options(context);
  open(context, settings).close();
  const database = new DatabaseSync(settings.file);
  database.exec(`CREATE TRIGGER full_disk BEFORE INSERT ON envelope WHEN new.sequence >= 3 AND new.device = 1
    BEGIN SELECT RAISE(ABORT, 'disk full'); END`);
  database.close();
  const outbox = open(context, settings);
  await outbox.put(device, seal);
  const results = await Promise.allSettled([
    outbox.put(device, seal),
    outbox.put(other, seal),
    outbox.put(device, seal),
  ]);
  assert.deepEqual(
    results.map((result) => result.status === 'rejected' && result.reason.code),
    ['outbox.storage', 'outbox.storage', 'outbox.storage'],
  );
  assert.deepEqual(outbox.counts(device), { sealed: 1, delivered: 0, dropped: 0, pending: 1 });
  assert.deepEqual(outbox.counts(other), { sealed: 0, delivered: 0, dropped: 0, pending: 0 });
  assert.deepEqual(await Promise.all([outbox.put(device, seal), outbox.put(other, seal)]), [2, 1]);
});

test('openOutbox: a second process is refused', (context) => {
  const settings = options(context);
  open(context, settings);
  assert.throws(() => openOutbox(settings, [device]), { code: 'outbox.in_use', message: /another process/ });
});

test('openOutbox: a file of a newer version is refused, and one that is no database', (context) => {
  const settings = options(context);
  const database = new DatabaseSync(settings.file);
  database.exec('PRAGMA user_version = 99');
  database.close();
  assert.throws(() => openOutbox(settings, [device]), { code: 'outbox.version' });
  assert.throws(() => openOutbox({ ...settings, file: import.meta.filename }, [device]), {
    code: 'outbox.storage',
  });
});

test('Outbox.claimCommand: new once, then interrupted, then its result; also after a restart', async (context) => {
  const settings = options(context, { envelopesMax: 1 });
  const outbox = open(context, settings);
  const id = randomUUID();
  const result = { id, outcome: 'done', finishedAtMs: 5, detail: 'pong' } as const;
  assert.equal(outbox.claimCommand(device, id, 1000, 0), undefined);
  assert.equal(outbox.claimCommand(other, id, 1000, 0), undefined);
  assert.deepEqual(outbox.claimCommand(device, id, 1000, 0), { result: undefined, resultPending: false });
  await outbox.put(device, seal);
  await outbox.putResult(device, result, seal); // finds room in a full outbox
  assert.deepEqual(outbox.claimCommand(device, id, 1000, 0), { result, resultPending: true });
  assert.deepEqual(
    outbox.pendingAfter(device, 0, 10).map((entry) => entry.topicName),
    ['snapshots', 'commands/result'],
  );
  outbox.delivered(device, 2);
  outbox.close();
  assert.deepEqual(open(context, settings).claimCommand(device, id, 1000, 0), {
    result,
    resultPending: false,
  });
});

test('Outbox.claimCommand: an id is forgotten a week after its expiry', (context) => {
  const outbox = open(context, options(context));
  const weekMs = 7 * 24 * 3_600_000;
  const id = randomUUID();
  outbox.claimCommand(device, id, 1000, 0);
  outbox.claimCommand(device, randomUUID(), 1000, 1000 + weekMs);
  assert.notEqual(outbox.claimCommand(device, id, 1000, 1000 + weekMs), undefined);
  outbox.claimCommand(device, randomUUID(), 1e12, 1001 + weekMs);
  assert.equal(outbox.claimCommand(device, id, 1000, 1001 + weekMs), undefined);
});

const shared = (of: typeof device): string => `${of}/shared/insurer`;

test('Outbox.putParts: each stream has its numbers and its chain; a restart goes on in each', async (context) => {
  const settings = options(context);
  const before = openOutbox(settings, [device, other]);
  const both = [
    { stream: device, seal },
    { stream: shared(device), seal },
  ];
  assert.deepEqual(await before.putParts(device, [{ stream: device, seal }]), [1]);
  assert.deepEqual(await before.putParts(device, both), [2, 1]);
  before.close();
  const outbox = open(context, settings);
  assert.deepEqual(outbox.streamsOf(device), [device, shared(device)]);
  assert.deepEqual(outbox.streamsOf(other), [other]);
  assert.deepEqual(await outbox.putParts(device, both), [3, 2]);
  const [, second] = outbox.pendingAfter(shared(device), 0, 10);
  const [first] = outbox.pendingAfter(shared(device), 0, 10);
  assert.ok(first !== undefined && second !== undefined);
  assert.equal(JSON.parse(second.envelope.toString()).previous, digestOf(first.envelope).toString('hex'));
  assert.equal(outbox.pending, 5);
  outbox.delivered(shared(device), 1);
  assert.equal(outbox.setAside(device), 4, 'a device goes with all of its streams');
  assert.equal(outbox.pending, 0);
});

test('Outbox.putParts: all or nothing, whether one cannot be sealed or the disk refuses', async (context) => {
  const outbox = open(context, options(context));
  const parts = (last: Seal) => [
    { stream: device, seal },
    { stream: shared(device), seal: last },
  ];
  await assert.rejects(outbox.putParts(device, parts(brokenSeal)), TypeError);
  assert.deepEqual(
    await outbox.putParts(
      device,
      parts(() => undefined),
    ),
    [1],
    'what is withheld uses no number',
  );
  assert.deepEqual(await outbox.putParts(device, parts(seal)), [2, 1]);
  assert.deepEqual(outbox.counts(shared(device)), { sealed: 1, delivered: 0, dropped: 0, pending: 1 });
});

test('Outbox.putParts: how far a file was taken in, and what went out by a stream, is kept with it', async (context) => {
  const settings = options(context);
  const before = openOutbox(settings, [device]);
  const usage = { snapshotMs: 1000, hour: 7, bytes: 300 };
  const counted: Seal = (place) => {
    const sealed = seal(place);
    return sealed && { ...sealed, usage };
  };
  await before.putParts(device, [{ stream: shared(device), seal: counted }], { source: 'file', line: 4 });
  await before.putParts(device, [], { source: 'file', line: 5 });
  await before.putParts(device, [{ stream: shared(device), seal: () => undefined }], {
    source: 'file',
    line: 6,
  });
  before.close();
  const outbox = open(context, settings);
  assert.equal(outbox.takenUpTo(device, 'file'), 6);
  assert.deepEqual(outbox.usageOf(device, shared(device)), usage);
  assert.equal(outbox.usageOf(device, device), undefined);
});
