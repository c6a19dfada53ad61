import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { checkDatabase } from '../../database/check.ts';
import type { Database } from '../../database/connect.ts';
import { readExceeding } from '../../database/exceeds.ts';
import { readOpenGaps } from '../../database/gaps.ts';
import { createIngest } from '../../database/ingest.ts';
import type { Arrival } from '../../database/ingest.ts';
import { snapshotsPerSealing } from '../../database/chunks/seal.ts';
import { readLatest } from '../../database/latest.ts';
import { snapshotsPerRun } from '../../database/retention.ts';
import { storageForms } from '../../database/storage-of.ts';
import { readSeries } from '../../database/series.ts';
import { countSnapshots } from '../../database/totals.ts';
import { createUpkeep } from '../../database/upkeep.ts';
import type { UpkeepPolicies } from '../../database/upkeep.ts';
import { arrival, startMs } from './arrivals.ts';
import { valuesAtRest } from './at-rest.ts';
import { freshDatabase, testBoth, testForms } from './engines.ts';

const device = 'ms-acc-1/acc-1/dev-1';
const dayMs = 86_400_000;
const runs = 17;
const count = runs * snapshotsPerSealing + 5;
const hourly = (sequence: number): number => startMs + sequence * 3_600_000;
const lastMs = hourly(count);

/** Sequences 1 to `count` but a few that come late, an hour apart, with a spike. */
async function fill(database: Database): Promise<void> {
  const one = (sequence: number): Arrival => ({
    ...arrival(
      device,
      sequence,
      [
        { channel: 'x', value: sequence === 1234 ? 1e6 : Math.round(Math.sin(sequence) * 1000) / 8 },
        { channel: 'mode', value: sequence % 100 < 50 ? 'on' : 'off' },
        ...(sequence % 7 === 0 ? [{ channel: 'sometimes', value: sequence % 2 === 0 }] : []),
        ...(sequence === 40 ? [{ channel: 'odd', value: -0 }] : []),
      ],
      { timeMs: hourly(sequence) },
    ),
    receivedMs: hourly(count) + 1000,
  });
  const late = new Set([7, 8, 260, 2000]);
  const sequences = Array.from({ length: count }, (_, index) => index + 1);
  const ordered = [...sequences.filter((sequence) => !late.has(sequence)), ...late];
  const ingest = createIngest(database);
  for (let at = 0; at < ordered.length; at += 400) {
    const { outcomes } = await ingest.storeBatch(ordered.slice(at, at + 400).map(one));
    assert.ok(outcomes.every(({ outcome }) => outcome === 'stored'));
  }
  await ingest.storeBatch(Array.from({ length: 300 }, () => one(1))); // a budget for the sealings that are left
}

async function keepUp(database: Database, nowMs: number, policies?: UpkeepPolicies): Promise<void> {
  const upkeep = createUpkeep(database, policies);
  for (let steps = 0; await upkeep.step(nowMs); steps++) assert.ok(steps < 100, 'it comes to an end');
}

const runCount = async (database: Database): Promise<number> =>
  (await database.kysely.selectFrom('chunk_time').select('sealing').execute()).length;

testBoth('createUpkeep: small runs become large ones, and hold what they held', async (context, engine) => {
  const database = await freshDatabase(context, engine);
  await fill(database);
  const range = { fromMs: startMs, toMs: lastMs, points: 300 };
  const before = await valuesAtRest(database);
  const series = await readSeries(database, device, 'x', range);
  assert.ok((await runCount(database)) >= runs);
  await keepUp(database, lastMs);
  assert.ok((await runCount(database)) <= 5);
  assert.deepEqual(await valuesAtRest(database), before);
  const after = await readSeries(database, device, 'x', range);
  assert.deepEqual([after?.timesMs, after?.min, after?.max], [series?.timesMs, series?.min, series?.max]);
  // And what comes then is sealed behind it.
  await createIngest(database).storeBatch(
    Array.from({ length: 2 * snapshotsPerSealing }, (_, index) => arrival(device, count + 1 + index)),
  );
  assert.ok((await valuesAtRest(database)).size > before.size);
});

testForms('createUpkeep: old values are thinned, and their extremes stay', async (context, engine, form) => {
  const database = await freshDatabase(context, engine, form);
  await fill(database);
  const before = await valuesAtRest(database);
  const policies = { otherwise: {}, byType: { FM: { thinned: { afterDays: 0, perDay: 2 } } } };
  await keepUp(database, lastMs + dayMs, policies);
  const after = await valuesAtRest(database);
  assert.ok(after.size < before.size / 6, `${after.size} of ${before.size} values stay`);
  for (const [key, value] of after) assert.deepEqual(before.get(key), value);
  const whole = await readSeries(database, device, 'x', { fromMs: startMs, toMs: lastMs, points: 1 });
  assert.equal(whole?.max[0], 1e6);
  const days = await readSeries(database, device, 'x', {
    fromMs: startMs,
    toMs: lastMs - 20 * dayMs,
    points: 100,
  });
  assert.equal(days?.timesMs.length, 100);
  await keepUp(database, lastMs + dayMs, policies);
  assert.deepEqual(await valuesAtRest(database), after);
});

for (const form of storageForms) {
  void test(`createUpkeep: of a text that was thinned away, what is left is the latest [${form}]`, async (context) => {
    const database = await freshDatabase(context, 'sqlite', form);
    const ingest = createIngest(database);
    const last = 2 * snapshotsPerRun.sqlite;
    const minutely = (sequence: number): number => startMs + sequence * 60_000;
    const rare = new Set([1, last - 2000]); // the first of a day, which stays, and one that does not
    for (let from = 1; from <= last; from += 512)
      await ingest.storeBatch(
        Array.from({ length: 512 }, (__, index) => ({
          ...arrival(
            device,
            from + index,
            [
              { channel: 'x', value: 1 },
              ...(rare.has(from + index) ? [{ channel: 'rare', value: `of ${from + index}` }] : []),
            ],
            { timeMs: minutely(from + index) },
          ),
          receivedMs: minutely(last),
        })),
      );
    await ingest.storeBatch(Array.from({ length: 600 }, () => arrival(device, 1))); // for the sealings that are left
    const policies = { otherwise: { thinned: { afterDays: 1, perDay: 1 } }, byType: {} };
    await keepUp(database, minutely(last) + 2 * dayMs, policies);
    const latest = await readLatest(database, device);
    assert.deepEqual(
      latest.map(({ channel, value }) => [channel, value]),
      [
        ['rare', 'of 1'],
        ['x', 1],
      ],
    );
    assert.deepEqual(await checkDatabase(database), []);
  });
}

testForms(
  'createUpkeep: what is too old is dropped and does not come back',
  async (context, engine, form) => {
    const database = await freshDatabase(context, engine, form);
    await fill(database);
    const nowMs = hourly(10 * snapshotsPerSealing);
    await keepUp(database, nowMs + 30 * dayMs, { otherwise: { droppedAfterDays: 30 }, byType: {} });
    const rest = await valuesAtRest(database);
    for (const [, [timeMs]] of rest) assert.ok(timeMs > nowMs - snapshotsPerSealing * 3_600_000);
    const { stored } = await countSnapshots(database, '');
    assert.ok(stored < count && stored >= count - 10 * snapshotsPerSealing - 3);
    const again = {
      ...arrival(device, 20, [{ channel: 'x', value: 1 }], { timeMs: hourly(20) }),
      receivedMs: lastMs,
    };
    const { outcomes } = await createIngest(database).storeBatch([again]);
    assert.deepEqual(outcomes, [{ outcome: 'refused', reason: 'dropped_already' }]);
    const above = { deviceType: 'FM', channel: 'x', direction: 'above', value: 1000 } as const;
    assert.deepEqual(await readExceeding(database, '', above), []);
  },
);

testForms('createUpkeep: what never came is no snapshot that was dropped', async (context, engine, form) => {
  const database = await freshDatabase(context, engine, form);
  const ingest = createIngest(database);
  const nowMs = startMs + 10 * dayMs;
  const sent = (sequence: number, timeMs: number): Arrival => ({
    ...arrival(device, sequence, undefined, { timeMs }),
    receivedMs: nowMs,
  });
  const unset = Date.UTC(2001, 0, 1); // a clock that nobody had set yet
  await ingest.storeBatch([sent(1, nowMs), sent(2, nowMs), sent(10, unset), sent(11, nowMs)]);
  await keepUp(database, nowMs, { otherwise: { droppedAfterDays: 30 }, byType: {} });
  assert.deepEqual(await countSnapshots(database, ''), { stored: 3, duplicated: 0 });
  const { outcomes } = await ingest.storeBatch([sent(5, nowMs), sent(10, unset), sent(5, nowMs)]);
  assert.deepEqual(outcomes, [
    { outcome: 'stored' },
    { outcome: 'refused', reason: 'dropped_already' },
    { outcome: 'duplicate' },
  ]);
  const gaps = (await readOpenGaps(database, '', device)).map((gap) => [gap.fromSequence, gap.toSequence]);
  assert.deepEqual(gaps, [
    [3, 4],
    [6, 9],
  ]);
  assert.deepEqual(await checkDatabase(database), []);
});

testBoth('createUpkeep: a device whose values cannot be read holds up no other', async (context, engine) => {
  const database = await freshDatabase(context, engine);
  await fill(database);
  const other = 'ms-acc-1/acc-1/dev-2';
  const ingest = createIngest(database);
  for (let from = 1; from < count; from += 400)
    await ingest.storeBatch(
      Array.from({ length: Math.min(400, count - from) }, (_, index) => ({
        ...arrival(other, from + index, undefined, { timeMs: hourly(from + index) }),
        receivedMs: lastMs,
      })),
    );
  await database.kysely
    .updateTable('chunk')
    .set({ data: Buffer.alloc(9) })
    .where('device_id', '=', 1)
    .execute();
  const runsOf = async (id: number): Promise<number> =>
    (await database.kysely.selectFrom('chunk_time').select('sealing').where('device_id', '=', id).execute())
      .length;
  const [broken, whole] = [await runsOf(1), await runsOf(2)];
  const upkeep = createUpkeep(database);
  await assert.rejects(() => upkeep.step(lastMs));
  while (await upkeep.step(lastMs));
  assert.equal(await runsOf(1), broken);
  assert.ok((await runsOf(2)) < whole);
  await assert.rejects(() => upkeep.step(lastMs), 'and it is said again in the next round');
});

testForms(
  'createUpkeep: beside ingest and beside itself nothing is lost or doubled',
  async (context, engine, form) => {
    const database = await freshDatabase(context, engine, form);
    await fill(database);
    const before = await valuesAtRest(database);
    const upkeeps = [createUpkeep(database), createUpkeep(database)];
    const ingest = createIngest(database);
    let next = count + 1;
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(0, 1), async (index) => {
        const batch = Array.from({ length: 40 }, () => arrival(device, next++));
        await Promise.all([
          upkeeps[index]?.step(lastMs),
          upkeeps[1 - index]?.step(lastMs),
          ingest.storeBatch(batch),
        ]);
      }),
      { numRuns: 12 },
    );
    const after = await valuesAtRest(database);
    for (const [key, value] of before) assert.deepEqual(after.get(key), value);
    assert.equal((await countSnapshots(database, '')).stored, next - 1);
  },
);
