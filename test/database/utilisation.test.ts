import assert from 'node:assert/strict';
import { createIngest } from '../../database/ingest.ts';
import { snapshotsPerSealing } from '../../database/chunks/seal.ts';
import { readExceeding, readExceedingNow } from '../../database/exceeds.ts';
import { readManySeries, readSeries } from '../../database/series.ts';
import { readOperatingHours, readUtilisation, workDaysMax } from '../../database/utilisation.ts';
import { arrival, startMs } from './arrivals.ts';
import { freshDatabase, testForms } from './engines.ts';

const device = 'ms-acc-1/acc-1/dev-1';
const other = 'ms-acc-10/acc-1/dev-1';
const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

testForms(
  'readUtilisation, readOperatingHours: a day is what its snapshots say',
  async (context, engine, form) => {
    const database = await freshDatabase(context, engine, form);
    // Every hour of 16 days: it works in the first 6 hours of each day; on the third nothing is heard of it.
    const hours = Array.from({ length: 16 * 24 }, (_, hour) => hour).filter(
      (hour) => Math.floor(hour / 24) !== 2,
    );
    assert.ok(hours.length > snapshotsPerSealing);
    let counted = 100;
    const arrivals = hours.map((hour, index) => {
      const isRunning = hour % 24 < 6;
      if (isRunning) counted += 1;
      if (hour === 5 * 24) counted = 0; // a new counter
      const readings = [
        { channel: 'state.running', value: isRunning },
        { channel: 'counter.hours', unit: 'h', value: counted },
      ];
      return arrival(device, index + 1, readings, { timeMs: startMs + hour * hourMs });
    });
    await createIngest(database).storeBatch(
      arrivals.map((one) => ({ ...one, receivedMs: startMs + 17 * dayMs })),
    );
    const range = { fromMs: startMs, days: 5 };
    const worked = await readUtilisation(database, device, 'state.running', range);
    assert.deepEqual(
      worked?.map(({ hours: on, knownHours }) => [on, knownHours]),
      [
        [6, 24],
        [6, 24],
        [0, 5], // the state of 23 o'clock holds for six hours
        [6, 24],
        [6, 24],
      ],
    );
    const operated = await readOperatingHours(database, device, 'counter.hours', {
      fromMs: startMs,
      days: 6,
    });
    assert.deepEqual(
      operated?.map(({ hours: on, knownHours }) => [on, knownHours]),
      [
        [5, 23], // counted from the first snapshot on
        [6, 24],
        [0, 0],
        [5, 23],
        [6, 24],
        [5, 23], // what the former counter said at its end nobody knows
      ],
    );
    const today = { fromMs: startMs + 15 * dayMs, days: 1 };
    const evening = await readUtilisation(
      database,
      device,
      'state.running',
      today,
      today.fromMs + 23.5 * hourMs,
    );
    assert.deepEqual(
      evening?.map(({ knownHours }) => knownHours),
      [23.5],
      'of what is to come nothing is known',
    );
    assert.equal(await readUtilisation(database, device, 'no-such', range), undefined);
    await assert.rejects(
      () => readUtilisation(database, device, 'x', { fromMs: 0, days: workDaysMax + 1 }),
      RangeError,
    );
  },
);

testForms(
  'readExceeding: ever, within a window, and now, from chunks and from the head',
  async (context, engine, form) => {
    const database = await freshDatabase(context, engine, form);
    const spikes = new Map([
      [40, 500],
      [snapshotsPerSealing + 100, 900],
      [snapshotsPerSealing + 150, -70],
    ]);
    const count = snapshotsPerSealing + 200;
    const store = (path: string, value: (sequence: number) => number) =>
      createIngest(database).storeBatch(
        Array.from({ length: count }, (_, index) =>
          arrival(path, index + 1, [{ channel: 'x', value: value(index + 1) }]),
        ),
      );
    await store(device, (sequence) => spikes.get(sequence) ?? sequence / 100);
    await store(other, () => 1);
    const at = (sequence: number): number => startMs + sequence * 1000;
    const above = (value: number) => ({ deviceType: 'FM', channel: 'x', direction: 'above', value }) as const;
    const below = (value: number) => ({ deviceType: 'FM', channel: 'x', direction: 'below', value }) as const;
    const within = (from: number, to: number) => ({ fromMs: at(from), toMs: at(to) });
    const [one, two] = [{ path: device }, { path: other }];
    assert.deepEqual(await readExceeding(database, '', above(100)), [{ ...one, extreme: 900 }]);
    assert.deepEqual(await readExceeding(database, '', above(0.5)), [
      { ...one, extreme: 900 },
      { ...two, extreme: 1 },
    ]);
    assert.deepEqual(await readExceeding(database, 'ms-acc-10', above(0.5)), [{ ...two, extreme: 1 }]);
    assert.deepEqual(await readExceeding(database, '', above(900)), []);
    assert.deepEqual(await readExceeding(database, '', below(0)), [{ ...one, extreme: -70 }]);
    // The window cuts a chunk, and then the head.
    assert.deepEqual(await readExceeding(database, '', above(100), within(30, 50)), [
      { ...one, extreme: 500 },
    ]);
    assert.deepEqual(await readExceeding(database, '', above(100), within(1, 256)), [
      { ...one, extreme: 500 },
    ]);
    assert.deepEqual(await readExceeding(database, '', above(100), within(41, 200)), []);
    assert.deepEqual(await readExceeding(database, '', above(100), within(41, 380)), [
      { ...one, extreme: 900 },
    ]);
    assert.deepEqual(await readExceeding(database, '', below(0), within(400, 410)), [
      { ...one, extreme: -70 },
    ]);
    assert.deepEqual(await readExceeding(database, '', below(0), within(407, 440)), []);
    assert.deepEqual(await readExceedingNow(database, '', above(2)), [{ ...one, extreme: count / 100 }]);
    assert.deepEqual(await readExceedingNow(database, '', below(2)), [{ ...two, extreme: 1 }]);
    assert.deepEqual(await readExceeding(database, '', { ...above(0), channel: 'no-such' }), []);
  },
);

testForms(
  'readOperatingHours: what came late for the time of another is counted in the order of sequences',
  async (context, engine, form) => {
    const database = await freshDatabase(context, engine, form);
    const last = snapshotsPerSealing + 20;
    const at = (sequence: number): number => startMs + (sequence === 2 ? 3 : sequence) * 1000;
    const sequences = Array.from({ length: last }, (_, index) => index + 1).filter(
      (sequence) => sequence !== 2,
    );
    await createIngest(database).storeBatch(
      [...sequences, 2].map((sequence) =>
        arrival(device, sequence, [{ channel: 'hours', value: sequence }], { timeMs: at(sequence) }),
      ),
    );
    const [day] = (await readOperatingHours(database, device, 'hours', { fromMs: startMs, days: 1 })) ?? [];
    assert.equal(day?.hours, last - 1);
  },
);

testForms('readManySeries: is what each channel gives alone', async (context, engine, form) => {
  const database = await freshDatabase(context, engine, form);
  const count = 2 * snapshotsPerSealing + 40;
  await createIngest(database).storeBatch(
    Array.from({ length: count }, (_, index) =>
      arrival(device, index + 1, [
        { channel: 'a', value: Math.sin(index) },
        { channel: 'b', value: index % 5 === 0 },
        ...(index > 100 ? [{ channel: 'c', value: index }] : []),
      ]),
    ),
  );
  for (const points of [1, 7, 5000]) {
    const range = { fromMs: startMs, toMs: startMs + count * 1000, points };
    const many = await readManySeries(database, device, ['c', 'no-such', 'a', 'b'], range);
    const alone = [];
    for (const channel of ['c', 'a', 'b']) alone.push(await readSeries(database, device, channel, range));
    assert.deepEqual(many, alone);
  }
});
