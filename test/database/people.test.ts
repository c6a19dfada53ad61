import assert from 'node:assert/strict';
import { readChannelRows, renameChannel } from '../../database/channels.ts';
import { readFleet } from '../../database/fleet.ts';
import { createIngest } from '../../database/ingest.ts';
import { readLatest } from '../../database/latest.ts';
import {
  changeMetadata,
  metadataChangesMax,
  readMetadata,
  readMetadataChanges,
} from '../../database/metadata.ts';
import { readSeries } from '../../database/series.ts';
import { arrival, startMs } from './arrivals.ts';
import { freshDatabase, testBoth } from './engines.ts';

const device = 'ms-acc-1/acc-1/dev-1';
const moved = 'ms-acc-2/acc-1/dev-9';

testBoth('renameChannel: it keeps its values, and devices may send either name', async (context, engine) => {
  const database = await freshDatabase(context, engine);
  const ingest = createIngest(database);
  const send = async (sequence: number, ...channels: string[]) => {
    const readings = channels.map((channel) => ({ channel, unit: 'Cel', value: sequence }));
    const { outcomes } = await ingest.storeBatch([arrival(device, sequence, readings)]);
    return outcomes[0];
  };
  await send(1, 'fuel.temp');
  assert.equal(await renameChannel(database, 'FM', 'no-such', 'x', 5), false);
  assert.equal(await renameChannel(database, 'FM', 'fuel.temp', 'oil.temperature', 5), true);
  await send(2, 'fuel.temp');
  await send(3, 'oil.temperature');
  assert.deepEqual(await send(4, 'oil.temperature', 'fuel.temp'), {
    outcome: 'refused',
    reason: 'duplicate_channel',
  });
  // A backend that starts now knows both names too.
  const other = createIngest(database);
  await other.storeBatch([arrival(device, 5, [{ channel: 'fuel.temp', unit: 'degF', value: 5 }])]);
  const range = { fromMs: startMs, toMs: startMs + 10_000, points: 100 };
  assert.deepEqual((await readSeries(database, device, 'oil.temperature', range))?.max, [1, 2, 3, 5]);
  assert.deepEqual(
    (await readLatest(database, device)).map(({ channel, group }) => [channel, group]),
    [['oil.temperature', 'oil']],
  );
  const [row] = await readChannelRows(database, 'FM');
  assert.deepEqual(
    row?.changes.map(({ field, oldValue, newValue }) => [field, oldValue, newValue]),
    [
      ['name', 'fuel.temp', 'oil.temperature'],
      ['unit', 'Cel', 'degF'],
    ],
  );
  await other.storeBatch([arrival(device, 6, [{ channel: 'second', value: 1 }])]);
  for (const taken of ['oil.temperature', 'fuel.temp'])
    await assert.rejects(() => renameChannel(database, 'FM', 'second', taken, 6), {
      code: 'database.conflict',
    });
  // And back: what it was called between the two stays known.
  assert.equal(await renameChannel(database, 'FM', 'oil.temperature', 'fuel.temp', 7), true);
  assert.deepEqual((await readChannelRows(database, 'FM'))[0]?.formerNames, ['oil.temperature']);
});

testBoth('changeMetadata: what people said stays, with who said it when', async (context, engine) => {
  const database = await freshDatabase(context, engine);
  assert.equal(await changeMetadata(database, device, { owner: 'x' }, 'anna', 1), undefined);
  await createIngest(database).storeBatch([arrival(device, 1)]);
  const blank = { owner: '', labels: [], technician: '', serviceHours: null, serviceDays: null };
  assert.deepEqual(await readMetadata(database, device), blank);
  await changeMetadata(database, device, { owner: 'Werk 1', labels: ['a', 'Grüße'] }, 'anna', 10);
  await changeMetadata(database, device, { owner: 'Werk 2', serviceDays: 90 }, 'otto', 20);
  await changeMetadata(database, device, { owner: 'Werk 2' }, 'otto', 30);
  assert.deepEqual(await readMetadata(database, device), {
    ...blank,
    owner: 'Werk 2',
    labels: ['a', 'Grüße'],
    serviceDays: 90,
  });
  assert.deepEqual(
    (await readMetadataChanges(database, device)).map(({ changedMs, changedBy, field, oldValue, newValue }) =>
      [changedMs, changedBy, field, oldValue, newValue].join(' '),
    ),
    [
      '20 otto serviceDays null 90',
      '20 otto owner "Werk 1" "Werk 2"',
      '10 anna labels [] ["a","Grüße"]',
      '10 anna owner "" "Werk 1"',
    ],
  );
  for (let n = 0; n < metadataChangesMax; n++)
    await changeMetadata(database, device, { technician: `t${n}` }, 'anna', 100 + n);
  const rows = await database.kysely.selectFrom('device').select('owner').execute();
  assert.deepEqual(rows, [{ owner: 'Werk 2' }]);
  const changes = await readMetadataChanges(database, device);
  assert.deepEqual([changes.length, changes.at(-1)?.newValue], [metadataChangesMax, '"t0"']);
});

testBoth(
  'within: a device that changes hands leaves its past with the former owner',
  async (context, engine) => {
    const database = await freshDatabase(context, engine);
    const ingest = createIngest(database);
    await ingest.storeBatch([arrival(device, 1), arrival(device, 2)]);
    // docs/identity.md: from then on it seals under its new name, with numbers from 1.
    await ingest.storeBatch([arrival(moved, 1, [{ channel: 'fuel.flow', unit: 'l/h', value: 77 }])]);
    const seen = async (scope: string): Promise<[string, number][]> =>
      (await readFleet(database, scope)).map(({ path, stored }) => [path, stored]);
    assert.deepEqual(await seen('ms-acc-1'), [[device, 2]]);
    assert.deepEqual(await seen('ms-acc-2'), [[moved, 1]]);
    assert.deepEqual((await seen('')).length, 2);
  },
);
