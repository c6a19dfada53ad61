import assert from 'node:assert/strict';
import test from 'node:test';
import { Packer, unpackArrivals } from '../../backend/packed-arrivals.ts';
import { createIngest, StaleEncoding } from '../../database/ingest.ts';
import { readLatest } from '../../database/latest.ts';
import type { Reading } from '../../domain/snapshot.ts';
import { layOut } from '../../domain/snapshot-layout.ts';
import { arrival } from '../database/arrivals.ts';
import { freshDatabase, testBoth } from '../database/engines.ts';
import { bench, introduce, publish } from './ingest-bench.ts';

const name = 'ms-acc-1/acc-1/dev-1';
const readings: readonly Reading[] = [
  { channel: 'a.number', unit: 'l/h', value: -0 },
  { channel: 'a.text', value: 'grün "x"' },
  { channel: 'b.switch', value: true },
];

function packed(packer: Packer, sequence: number, values: readonly Reading[] = readings) {
  const { snapshot, encoded: _, ...rest } = arrival(name, sequence, values);
  if (snapshot === undefined) throw new Error('no snapshot');
  const [unpacked] = unpackArrivals(
    packer.pack([{ arrival: { ...rest, snapshot: layOut(snapshot) }, result: undefined }]),
  );
  return unpacked ?? assert.fail();
}

test('Packer: what is unpacked is what was packed', () => {
  const { arrival: found } = packed(new Packer(), 1);
  assert.deepEqual(found.snapshot, arrival(name, 1, readings).snapshot);
});

testBoth('Packer: what the database said lets it write the next one as it rests', async (context, engine) => {
  const database = await freshDatabase(context, engine);
  const ingest = createIngest(database);
  const packer = new Packer();
  const first = packed(packer, 1);
  const { resolved } = await ingest.storeBatch([first.arrival]);
  const resolution = resolved.get(first.arrival) ?? assert.fail();
  packer.learn([{ ...resolution, key: first.layoutKey ?? '' }]);
  const changed = readings.map((reading) =>
    reading.value === true ? { ...reading, value: false } : reading,
  );
  const second = packed(packer, 2, changed);
  assert.equal(second.arrival.snapshot, undefined);
  const result = await ingest.storeBatch([second.arrival]);
  assert.deepEqual(result.outcomes, [{ outcome: 'stored' }]);
  const values = new Map((await readLatest(database, name)).map(({ channel, value }) => [channel, value]));
  for (const { channel, value } of changed) assert.ok(Object.is(values.get(channel), value), channel);

  // A channel gets another unit: what was written before that must come whole.
  const late = packed(packer, 3, changed);
  await ingest.storeBatch([arrival(name, 4, [{ channel: 'a.number', unit: 'l/s', value: 1 }])]);
  await assert.rejects(ingest.storeBatch([late.arrival]), StaleEncoding);
  assert.deepEqual((await ingest.storeBatch([late.whole()])).outcomes, [{ outcome: 'stored' }]);
  // So must what another process wrote, or one before a restart.
  await assert.rejects(createIngest(database).storeBatch([packed(packer, 5).arrival]), StaleEncoding);
});

test('Ingest: a unit that goes to and fro is remembered each time, however familiar its snapshots are', async (context) => {
  const on = await bench(context);
  const device = await on.vendor.device(name);
  await introduce(on, device);
  const units = ['l/h', 'l/h', 'l/h', 'l/s', 'l/s', 'l/s', 'l/h', 'l/h', 'l/h', 'l/s'];
  for (const [index, unit] of units.entries())
    await publish(on, device.snapshot(index + 1, [{ channel: 'fuel.flow', unit, value: index }]));
  const changes = await on.database.kysely
    .selectFrom('channel_change')
    .select(['old_value', 'new_value'])
    .orderBy('id')
    .execute();
  assert.deepEqual(
    changes.map(({ old_value, new_value }) => [old_value, new_value]),
    [
      ['l/h', 'l/s'],
      ['l/s', 'l/h'],
      ['l/h', 'l/s'],
    ],
  );
  const [latest] = await readLatest(on.database, name);
  assert.deepEqual([latest?.unit, latest?.value], ['l/s', 9]);
});
