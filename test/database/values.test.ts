import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { renameChannel } from '../../database/channels.ts';
import type { Database } from '../../database/connect.ts';
import { createIngest } from '../../database/ingest.ts';
import type { Arrival } from '../../database/ingest.ts';
import { readLatest } from '../../database/latest.ts';
import { snapshotsPerSealing } from '../../database/chunks/seal.ts';
import { readSeries } from '../../database/series.ts';
import type { ChannelValue, Reading } from '../../domain/snapshot.ts';
import type { Series } from '../../domain/view.ts';
import { arrival, startMs } from './arrivals.ts';
import { valuesAtRest } from './at-rest.ts';
import { freshDatabase, testBoth, testForms } from './engines.ts';

const device = 'ms-acc-1/acc-1/dev-1';

async function storeAll(database: Database, arrivals: readonly Arrival[], batchSize = 50): Promise<void> {
  const ingest = createIngest(database);
  for (let at = 0; at < arrivals.length; at += batchSize) {
    const { outcomes } = await ingest.storeBatch(arrivals.slice(at, at + batchSize));
    assert.ok(outcomes.every(({ outcome }) => outcome === 'stored'));
  }
}

const extremes = [
  NaN,
  Infinity,
  -Infinity,
  -0,
  0,
  5e-324,
  -1.7976931348623157e308,
  1.7976931348623157e308,
  0.1,
  2 ** 53,
  -1e21,
  1 / 3,
];
const texts = [
  '',
  'open',
  'Grüße',
  '"quoted"',
  '\\',
  'null',
  'true',
  '5',
  '\u{1F600}',
  '\u0000',
  "'; drop table head;--",
];

testForms('storeBatch: values come back as they went in, new and old ones', async (context, engine, form) => {
  const database = await freshDatabase(context, engine, form);
  const values: ChannelValue[] = [...extremes, ...texts, true, false];
  const count = snapshotsPerSealing + 40;
  const readings = (sequence: number): Reading[] => [
    { channel: 'always', value: values[sequence % values.length] ?? 0 },
    ...(sequence % 3 === 0 ? [{ channel: 'sometimes', value: sequence / 7 }] : []),
    ...(sequence === 5 ? [{ channel: 'once', value: -0 }] : []),
  ];
  const sequences = Array.from({ length: count }, (_, index) => index + 1);
  await storeAll(
    database,
    sequences.map((sequence) => arrival(device, sequence, readings(sequence))),
  );
  const wanted = new Map(
    sequences.flatMap((sequence) =>
      readings(sequence).map(({ channel, value }) => [`${sequence}/${channel}`, value] as const),
    ),
  );
  const found = await valuesAtRest(database);
  assert.equal(found.size, wanted.size);
  for (const [key, value] of wanted)
    assert.ok(Object.is(found.get(key)?.[1], value), `${key}: ${String(found.get(key)?.[1])}`);
  const runs = await database.kysely.selectFrom('chunk_time').selectAll().execute();
  assert.equal(runs.length, form === 'chunks' ? 1 : 0);

  const shown = await database.kysely
    .selectFrom('v_value')
    .select(['sequence', 'channel', 'time_ms', 'number_value', 'text_value'])
    .execute();
  assert.equal(shown.length, wanted.size);
  for (const row of shown) {
    const value = wanted.get(`${row.sequence}/${row.channel}`);
    assert.ok(value !== undefined);
    assert.equal(row.time_ms, startMs + row.sequence * 1000);
    const isShown = typeof value === 'boolean' || Number.isFinite(value);
    assert.equal(row.number_value, isShown ? Number(value) + 0 : null);
    assert.equal(row.text_value, isShown && typeof value === 'number' ? null : String(value));
  }
});

testBoth(
  'storeBatch: sealing takes the oldest and leaves the newest snapshot whole',
  async (context, engine) => {
    const database = await freshDatabase(context, engine);
    const sequences = Array.from({ length: 3 * snapshotsPerSealing + 1 }, (_, index) => index + 1);
    await storeAll(
      database,
      sequences.map((sequence) => arrival(device, sequence)),
      700,
    );
    const heads = await database.kysely.selectFrom('head').select('sequence').execute();
    assert.deepEqual(heads, [{ sequence: sequences.length }]);
    const state = await database.kysely.selectFrom('device').selectAll().executeTakeFirstOrThrow();
    assert.equal(state.head_count, 1);
    assert.equal(state.sealings, 3);
    assert.equal(state.zone_ordinal, sequences.length);
    assert.equal((await valuesAtRest(database)).size, sequences.length);
  },
);

testForms(
  'readLatest: shows the highest sequence, and for what it lacks the newest there is',
  async (context, engine, form) => {
    const database = await freshDatabase(context, engine, form);
    assert.deepEqual(await readLatest(database, device), []);
    const late = snapshotsPerSealing + 10;
    const arrivals = Array.from({ length: late }, (_, index) => index + 1)
      .filter((sequence) => sequence !== 3)
      .map((sequence) =>
        arrival(device, sequence, [
          { channel: 'fuel.flow', unit: 'l/h', value: sequence },
          ...(sequence === 2 ? [{ channel: 'serial', value: 'A-17' }] : []),
          ...(sequence === late - 1 ? [{ channel: 'oil.level', unit: '%', value: 40 }] : []),
        ]),
      );
    await storeAll(database, [...arrivals, arrival(device, 3)]);
    assert.deepEqual(await readLatest(database, device), [
      { channel: 'fuel.flow', group: 'fuel', unit: 'l/h', value: late, timeMs: startMs + late * 1000 },
      { channel: 'oil.level', group: 'oil', unit: '%', value: 40, timeMs: startMs + (late - 1) * 1000 },
      { channel: 'serial', group: 'general', unit: null, value: 'A-17', timeMs: startMs + 2000 },
    ]);
  },
);

/** The same by brute force. */
function bucketsOf(samples: readonly [number, number][], fromMs: number, toMs: number, points: number) {
  const width = (toMs - fromMs) / points || 1;
  const buckets = new Map<number, [number, number][]>();
  for (const [timeMs, value] of samples) {
    if (timeMs < fromMs || timeMs > toMs) continue;
    const index = Math.min(points - 1, Math.floor((timeMs - fromMs) / width));
    const bucket = buckets.get(index) ?? [];
    bucket.push([timeMs, value]);
    buckets.set(index, bucket);
  }
  return [...buckets]
    .toSorted(([a], [b]) => a - b)
    .map(([, bucket]) => {
      const numbers = bucket.map(([, value]) => value);
      return {
        timeMs: Math.min(...bucket.map(([timeMs]) => timeMs)),
        min: Math.min(...numbers),
        max: Math.max(...numbers),
        mean: numbers.reduce((sum, value) => sum + value, 0) / numbers.length,
      };
    });
}

function requireDrawn(series: Series | undefined, wanted: ReturnType<typeof bucketsOf>): void {
  assert.ok(series);
  const { timesMs, min, max, mean } = series;
  assert.deepEqual(
    timesMs.map((timeMs, index) => [timeMs, min[index], max[index]]),
    wanted.map((point) => [point.timeMs, point.min, point.max]),
  );
  for (const [index, point] of wanted.entries()) {
    assert.ok(Math.abs((mean[index] ?? NaN) - point.mean) <= 1e-6 * (1 + Math.abs(point.mean)));
  }
}

// A spike, a pause of a day, a late arrival, and a clock that once stood still.
const unevenTime = (sequence: number): number =>
  sequence === 100 ? startMs + 99_000 : startMs + sequence * 1000 + (sequence > 300 ? 86_400_000 : 0);
const spikyValue = (sequence: number): number =>
  sequence === 77 ? 1e6 : Math.round(Math.sin(sequence) * 1e6) / 64;

testForms(
  'readSeries: any range in any number of points is what the values say',
  async (context, engine, form) => {
    const database = await freshDatabase(context, engine, form);
    const count = 2 * snapshotsPerSealing + 60;
    const last = startMs + count * 1000;
    const one = (sequence: number): Arrival =>
      arrival(
        device,
        sequence,
        [
          { channel: 'x', unit: 'bar', value: spikyValue(sequence) },
          { channel: 'on', value: sequence % 2 === 0 },
          { channel: 'text', value: 'idle' },
        ],
        { timeMs: unevenTime(sequence) },
      );
    const sequences = Array.from({ length: count }, (_, index) => index + 1);
    const late = new Set([7, 8, 260]);
    await storeAll(database, [...sequences.filter((sequence) => !late.has(sequence)), ...late].map(one), 37);
    const samples = sequences.map(
      (sequence) => [unevenTime(sequence), spikyValue(sequence)] as [number, number],
    );
    const time = fc.oneof(
      fc.integer({ min: startMs - 100_000, max: last }),
      fc.integer({ min: startMs + 86_400_000, max: last + 86_500_000 }),
    );
    await fc.assert(
      fc.asyncProperty(time, time, fc.integer({ min: 1, max: 700 }), async (a, b, points) => {
        const range = { fromMs: Math.min(a, b), toMs: Math.max(a, b), points };
        const series = await readSeries(database, device, 'x', range);
        assert.equal(series?.unit, 'bar');
        requireDrawn(series, bucketsOf(samples, range.fromMs, range.toMs, points));
      }),
      { numRuns: engine === 'sqlite' ? 150 : 40 },
    );
    const whole = { fromMs: startMs, toMs: last + 86_400_000, points: 2 };
    const states = await readSeries(database, device, 'on', whole);
    assert.deepEqual(
      [states?.min, states?.max],
      [
        [0, 0],
        [1, 1],
      ],
    );
    assert.deepEqual((await readSeries(database, device, 'text', whole))?.timesMs, []);
    assert.equal(await readSeries(database, device, 'no-such', whole), undefined);
    assert.equal(await readSeries(database, 'no/such/device', 'x', whole), undefined);
  },
);

testBoth(
  'readSeries: of more chunks than are read at once none is missing, and none counts twice',
  async (context, engine) => {
    const database = await freshDatabase(context, engine);
    const count = 80 * snapshotsPerSealing + 10;
    const sequences = Array.from({ length: count }, (_, index) => index + 1);
    const [first, last] = [startMs, startMs + count * 1000];
    const arrivals = sequences.map((sequence) =>
      arrival(device, sequence, [{ channel: 'x', value: spikyValue(sequence) }]),
    );
    await storeAll(database, arrivals, 4 * snapshotsPerSealing);
    const samples = sequences.map(
      (sequence) => [startMs + sequence * 1000, spikyValue(sequence)] as [number, number],
    );
    for (const [fromMs, toMs, points] of [
      [first, last, 500],
      [first, last, 3],
      [first, last, 10_000],
      [first + 40 * snapshotsPerSealing * 1000, last - 333_333, 90],
      [last - 100_000, last, 7],
    ] as const) {
      const series = await readSeries(database, device, 'x', { fromMs, toMs, points });
      requireDrawn(series, bucketsOf(samples, fromMs, toMs, points));
    }
  },
);

testBoth(
  'findDevice: who has asked before sees a new channel, another unit and another name at once',
  async (context, engine) => {
    const database = await freshDatabase(context, engine);
    const ask = async (): Promise<string[]> =>
      (await readLatest(database, device)).map(
        ({ channel, unit, value }) => `${channel} ${String(value)} ${unit}`,
      );
    await storeAll(database, [arrival(device, 1, [{ channel: 'a', unit: 'bar', value: 1 }])]);
    assert.deepEqual(await ask(), ['a 1 bar']);
    await storeAll(database, [
      arrival(device, 2, [
        { channel: 'a', unit: 'bar', value: 2 },
        { channel: 'b', unit: 'K', value: 3 },
      ]),
    ]);
    assert.deepEqual(await ask(), ['a 2 bar', 'b 3 K']);
    await storeAll(database, [
      arrival(device, 3, [
        { channel: 'a', unit: 'Pa', value: 4 },
        { channel: 'b', unit: 'K', value: 5 },
      ]),
    ]);
    assert.deepEqual(await ask(), ['a 4 Pa', 'b 5 K']);
    assert.ok(await renameChannel(database, 'FM', 'b', 'c', { by: 'operator', nowMs: startMs }));
    assert.deepEqual(await ask(), ['a 4 Pa', 'c 5 K']);
    const range = { fromMs: startMs, toMs: startMs + 10_000, points: 1 };
    assert.deepEqual((await readSeries(database, device, 'c', range))?.max, [5]);
    assert.equal(await readSeries(database, device, 'b', range), undefined);
  },
);
