import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { connectDatabase } from '../../database/connect.ts';
import type { Database } from '../../database/connect.ts';
import { createIngest } from '../../database/ingest.ts';
import type { Arrival } from '../../database/ingest.ts';
import { arrival, digestOf, startMs } from './arrivals.ts';
import { freshDatabase, testBoth, urlOf } from './engines.ts';

const device = 'ms-acc-1/acc-1/dev-1';

async function outcomes(database: Database, arrivals: readonly Arrival[]): Promise<string[]> {
  const result = await createIngest(database).storeBatch(arrivals);
  return result.outcomes.map((outcome) => (outcome.outcome === 'refused' ? outcome.reason : outcome.outcome));
}

async function openGaps(database: Database): Promise<[string, number, number][]> {
  const rows = await database.kysely
    .selectFrom('gap')
    .innerJoin('device', 'device.id', 'gap.device_id')
    .select(['path', 'from_sequence', 'to_sequence'])
    .where('closed_ms', 'is', null)
    .orderBy('path')
    .orderBy('from_sequence')
    .execute();
  return rows.map((row) => [row.path, row.from_sequence, row.to_sequence]);
}

async function storedSequences(database: Database): Promise<string[]> {
  const rows = await database.kysely
    .selectFrom('snapshot')
    .innerJoin('device', 'device.id', 'snapshot.device_id')
    .select(['path', 'sequence'])
    .execute();
  return rows.map(({ path, sequence }) => `${path}:${sequence}`).toSorted();
}

testBoth('storeBatch: stores a snapshot with everything that it refers to', async (context, engine) => {
  const database = await freshDatabase(context, engine);
  assert.deepEqual(
    await outcomes(database, [
      arrival(device, 1, [
        { channel: 'fuel.flow', unit: 'l/h', value: 12.5 },
        { channel: 'fuel.filter', value: 'clean' },
        { channel: 'ready', value: true },
      ]),
    ]),
    ['stored'],
  );
  const values = await database.kysely.selectFrom('v_value').selectAll().orderBy('channel').execute();
  const common = { device, sequence: 1, time_ms: startMs + 1000 };
  assert.deepEqual(values, [
    { ...common, channel: 'fuel.filter', unit: null, number_value: null, text_value: 'clean' },
    { ...common, channel: 'fuel.flow', unit: 'l/h', number_value: 12.5, text_value: null },
    { ...common, channel: 'ready', unit: null, number_value: 1, text_value: 'true' },
  ]);
  const state = await database.kysely.selectFrom('device').selectAll().executeTakeFirstOrThrow();
  assert.equal(state.last_sequence, 1);
  assert.equal(state.stored, 1);
  assert.equal(state.last_snapshot_ms, startMs + 1000);
  assert.deepEqual(Buffer.from(state.last_digest ?? []), digestOf(device, 1));
});

testBoth('storeBatch: an envelope that comes again is counted and not stored', async (context, engine) => {
  const database = await freshDatabase(context, engine);
  assert.deepEqual(await outcomes(database, [arrival(device, 1), arrival(device, 1)]), [
    'stored',
    'duplicate',
  ]);
  assert.deepEqual(await outcomes(database, [arrival(device, 1)]), ['duplicate']);
  const state = await database.kysely.selectFrom('device').selectAll().executeTakeFirstOrThrow();
  assert.deepEqual([state.stored, state.redelivered], [1, 2]);
});

testBoth('storeBatch: another envelope with a used sequence is an alarm, once', async (context, engine) => {
  const database = await freshDatabase(context, engine);
  await outcomes(database, [arrival(device, 1)]);
  const other = arrival(device, 1, undefined, { variant: 1 });
  assert.deepEqual(await outcomes(database, [other, other]), ['equivocation', 'equivocation']);
  const alarms = await database.kysely.selectFrom('alarm').selectAll().execute();
  assert.equal(alarms.length, 1);
  assert.equal(alarms[0]?.kind, 'equivocation');
  assert.deepEqual(Buffer.from(alarms[0].stored_digest), digestOf(device, 1));
  assert.deepEqual(Buffer.from(alarms[0].other_digest), digestOf(device, 1, 1));
});

testBoth(
  'storeBatch: an envelope that follows another one than we have is an alarm',
  async (context, engine) => {
    const database = await freshDatabase(context, engine);
    await outcomes(database, [arrival(device, 1), arrival(device, 2)]);
    assert.deepEqual(await database.kysely.selectFrom('alarm').selectAll().execute(), []);
    await outcomes(database, [{ ...arrival(device, 3), previousDigest: digestOf(device, 2, 1) }]);
    const alarms = await database.kysely.selectFrom('alarm').selectAll().execute();
    assert.deepEqual(
      alarms.map(({ kind, sequence }) => [kind, sequence]),
      [['chain_broken', 2]],
    );
  },
);

const devices = [device, 'ms-acc-1/acc-1/dev-2', 'ms-acc-10/acc-1/dev-1'];

testBoth(
  'storeBatch: any order and any repetition leave each snapshot once, and the gaps that are',
  async (context, engine) => {
    const database = await freshDatabase(context, engine);
    let run = 0;
    const sequence = fc.record({
      device: fc.nat(devices.length - 1),
      sequence: fc.integer({ min: 1, max: 24 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(sequence, { maxLength: 12 }), { maxLength: 6 }), async (batches) => {
        // Every run has devices of its own, so that one database serves them all.
        run += 1;
        const pathOf = (index: number): string => `${devices[index]?.slice(0, -1)}r${run}-${index}`;
        const ingest = createIngest(database);
        const seen = new Set<string>();
        for (const batch of batches) {
          const result = await ingest.storeBatch(
            batch.map((item) => arrival(pathOf(item.device), item.sequence)),
          );
          for (const [index, item] of batch.entries()) {
            const key = `${pathOf(item.device)}:${item.sequence}`;
            assert.equal(result.outcomes[index]?.outcome, seen.has(key) ? 'duplicate' : 'stored');
            seen.add(key);
          }
        }
        const mine = (text: string): boolean => text.includes(`r${run}-`);
        assert.deepEqual((await storedSequences(database)).filter(mine), [...seen].toSorted());
        assert.deepEqual(
          (await openGaps(database)).filter(([path]) => mine(path)),
          gapsOf(seen),
        );
      }),
      { numRuns: engine === 'sqlite' ? 200 : 40 },
    );
  },
);

/** What is missing below the highest sequence of each device. */
function gapsOf(seen: ReadonlySet<string>): [string, number, number][] {
  const byPath = new Map<string, Set<number>>();
  for (const key of seen) {
    const [path = '', sequence = ''] = key.split(':');
    byPath.set(path, (byPath.get(path) ?? new Set()).add(Number(sequence)));
  }
  return [...byPath]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([path, present]) => {
      const gaps: [string, number, number][] = [];
      for (let at = 1; at < Math.max(...present); at++) {
        const last = gaps.at(-1);
        if (present.has(at)) continue;
        if (last !== undefined && last[2] === at - 1) last[2] = at;
        else gaps.push([path, at, at]);
      }
      return gaps;
    });
}

testBoth(
  'storeBatch: a unit that changes is remembered, and the channel has the new one',
  async (context, engine) => {
    const database = await freshDatabase(context, engine);
    await outcomes(database, [arrival(device, 1, [{ channel: 'oil.temperature', unit: 'Cel', value: 80 }])]);
    await outcomes(database, [arrival(device, 2, [{ channel: 'oil.temperature', unit: 'K', value: 353 }])]);
    const changes = await database.kysely.selectFrom('channel_change').selectAll().execute();
    assert.deepEqual(
      changes.map(({ field, old_value, new_value }) => [field, old_value, new_value]),
      [['unit', 'Cel', 'K']],
    );
    const units = await database.kysely
      .selectFrom('channel')
      .innerJoin('unit', 'unit.id', 'channel.unit_id')
      .select('symbol')
      .execute();
    assert.deepEqual(units, [{ symbol: 'K' }]);
  },
);

testBoth('storeBatch: what goes too far is refused alone, with its reason', async (context, engine) => {
  const database = await freshDatabase(context, engine);
  const limits = { deviceTypesMax: 1, channelsPerTypeMax: 2, unitsMax: 1, changesPerChannelMax: 1 };
  const ingest = createIngest(database, limits);
  const many = ['a', 'b', 'c'].map((channel) => ({ channel, value: 1 }));
  const result = await ingest.storeBatch([
    arrival(device, 1, [{ channel: 'a', unit: 'm', value: 1 }]),
    arrival(device, 2, many),
    arrival(device, 3, [{ channel: 'a', value: 1 }], { deviceType: 'other' }),
    arrival(device, 4, [{ channel: 'a', unit: 's', value: 1 }]),
    arrival(device, 5, [{ channel: 'a', value: 1 }], { deviceType: 'x'.repeat(65) }),
    arrival(device, 6, [
      { channel: 'a', value: 1 },
      { channel: 'a', value: 2 },
    ]),
    arrival(device, 7, undefined, { timeMs: Date.UTC(1999, 0, 1) }),
    arrival(device, 8, undefined, { timeMs: Date.UTC(2100, 0, 1) }),
    arrival(device, 0),
    arrival(device, 8, [{ channel: 'a', unit: 'm ', value: 1 }]),
    arrival(device, 8, [{ channel: 'a', unit: '\ud800', value: 1 }]),
    arrival(device, 8, undefined, { deviceType: 'FM ' }),
    arrival(device, 9, [{ channel: 'a', unit: 'm', value: 9 }]),
  ]);
  assert.deepEqual(
    result.outcomes.map((outcome) => (outcome.outcome === 'refused' ? outcome.reason : outcome.outcome)),
    [
      'stored',
      'too_many_channels',
      'too_many_types',
      'too_many_units',
      'bad_device_type',
      'duplicate_channel',
      'time_out_of_range',
      'time_out_of_range',
      'bad_sequence',
      'bad_unit',
      'bad_unit',
      'bad_device_type',
      'stored',
    ],
  );
  assert.deepEqual(await openGaps(database), [[device, 2, 8]]);
});

testBoth(
  'storeBatch: after a failure nothing of the batch is there, and the same batch can follow',
  async (context, engine) => {
    const database = await freshDatabase(context, engine);
    const ingest = createIngest(database);
    const bad: Arrival = {
      ...arrival(device, 2),
      digest: new Uint8Array(),
      signer: undefined as unknown as Uint8Array,
    };
    await assert.rejects(() => ingest.storeBatch([arrival(device, 1), bad]));
    assert.deepEqual(await storedSequences(database), []);
    const result = await ingest.storeBatch([arrival(device, 1), arrival(device, 2)]);
    assert.deepEqual(
      result.outcomes.map(({ outcome }) => outcome),
      ['stored', 'stored'],
    );
    assert.equal((await database.kysely.selectFrom('channel').selectAll().execute()).length, 1);
  },
);

testBoth(
  'storeBatch: two programs that store at once share the work without a duplicate',
  async (context, engine) => {
    const database = await freshDatabase(context, engine);
    const other = await connectDatabase(urlOf(database));
    context.after(() => other.close());
    const ingests = [createIngest(database), createIngest(other)];
    const all = Array.from({ length: 60 }, (_, index) =>
      arrival(devices[index % 3] ?? device, 1 + Math.floor(index / 3)),
    );
    const results = await Promise.all(
      ingests.map(async (ingest) => {
        const counted: string[] = [];
        for (let at = 0; at < all.length; at += 7) {
          const result = await ingest.storeBatch(all.slice(at, at + 7));
          counted.push(...result.outcomes.map(({ outcome }) => outcome));
        }
        return counted;
      }),
    );
    assert.equal(results.flat().filter((outcome) => outcome === 'stored').length, all.length);
    assert.equal(results.flat().filter((outcome) => outcome === 'duplicate').length, all.length);
    assert.deepEqual(await openGaps(database), []);
  },
);

testBoth('storeBatch: what is no snapshot takes its sequence and leaves no gap', async (context, engine) => {
  const database = await freshDatabase(context, engine);
  const { snapshot: _, ...result } = arrival(device, 2);
  assert.deepEqual(await outcomes(database, [arrival(device, 1), arrival(device, 3)]), ['stored', 'stored']);
  assert.deepEqual(await openGaps(database), [[device, 2, 2]]);
  assert.deepEqual(await outcomes(database, [result, result, { ...result, sequence: 4 }]), [
    'stored',
    'duplicate',
    'stored',
  ]);
  assert.deepEqual(await openGaps(database), []);
  assert.deepEqual(await outcomes(database, [arrival(device, 2)]), ['duplicate']);
  assert.deepEqual(await outcomes(database, [arrival(device, 2, undefined, { variant: 1 })]), [
    'equivocation',
  ]);
  const state = await database.kysely.selectFrom('device').selectAll().executeTakeFirstOrThrow();
  assert.deepEqual([state.stored, state.last_sequence, state.latest_sequence], [2, 4, 3]);
});
