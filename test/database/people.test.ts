import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { readChannelRows, renameChannel } from '../../database/channels.ts';
import { DatabaseError } from '../../database/errors.ts';
import { readFleet } from '../../database/fleet.ts';
import { readKinship, setFormer } from '../../database/former.ts';
import { createIngest } from '../../database/ingest.ts';
import { readLatest } from '../../database/latest.ts';
import {
  changeMetadata,
  metadataChangesMax,
  readMetadata,
  readMetadataChanges,
} from '../../database/metadata.ts';
import { readSeries } from '../../database/series.ts';
import { noteService, readServices, withdrawService } from '../../database/services.ts';
import { dataFolder } from '../cms/fixtures.ts';
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
  assert.equal(await renameChannel(database, 'FM', 'no-such', 'x', { by: 'otto', nowMs: 5 }), false);
  assert.equal(
    await renameChannel(database, 'FM', 'fuel.temp', 'oil.temperature', { by: 'otto', nowMs: 5 }),
    true,
  );
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
    row?.changes.map(({ changedBy, field, oldValue, newValue }) => [changedBy, field, oldValue, newValue]),
    [
      ['otto', 'name', 'fuel.temp', 'oil.temperature'],
      ['', 'unit', 'Cel', 'degF'],
    ],
  );
  await other.storeBatch([arrival(device, 6, [{ channel: 'second', value: 1 }])]);
  for (const taken of ['oil.temperature', 'fuel.temp'])
    await assert.rejects(() => renameChannel(database, 'FM', 'second', taken, { by: 'otto', nowMs: 6 }), {
      code: 'database.conflict',
    });
  // And back: what it was called between the two stays known.
  assert.equal(
    await renameChannel(database, 'FM', 'oil.temperature', 'fuel.temp', { by: 'otto', nowMs: 7 }),
    true,
  );
  assert.deepEqual((await readChannelRows(database, 'FM'))[0]?.formerNames, ['oil.temperature']);
});

testBoth('changeMetadata: what people said stays, with who said it when', async (context, engine) => {
  const database = await freshDatabase(context, engine);
  assert.equal(await changeMetadata(database, device, { owner: 'x' }, { by: 'anna', nowMs: 1 }), undefined);
  await createIngest(database).storeBatch([arrival(device, 1)]);
  const blank = { owner: '', labels: [], technician: '', serviceHours: null, serviceDays: null };
  assert.deepEqual(await readMetadata(database, device), { ...blank, revision: 0 });
  await changeMetadata(
    database,
    device,
    { owner: 'Werk 1', labels: ['a', 'Grüße'] },
    { by: 'anna', nowMs: 10 },
  );
  await changeMetadata(database, device, { owner: 'Werk 2', serviceDays: 90 }, { by: 'otto', nowMs: 20 });
  await changeMetadata(database, device, { owner: 'Werk 2' }, { by: 'otto', nowMs: 30 });
  assert.deepEqual(await readMetadata(database, device), {
    ...blank,
    owner: 'Werk 2',
    labels: ['a', 'Grüße'],
    serviceDays: 90,
    revision: 4,
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
    await changeMetadata(database, device, { technician: `t${n}` }, { by: 'anna', nowMs: 100 + n });
  const rows = await database.kysely.selectFrom('device').select('owner').execute();
  assert.deepEqual(rows, [{ owner: 'Werk 2' }]);
  const changes = await readMetadataChanges(database, device);
  // Those of one field do not push those of another out.
  assert.deepEqual([changes.length, changes.at(-1)?.newValue], [metadataChangesMax + 4, '"Werk 1"']);
  await changeMetadata(database, device, { technician: 'last' }, { by: 'anna', nowMs: 900 });
  const after = await readMetadataChanges(database, device);
  assert.deepEqual([after.length, after[0]?.newValue], [metadataChangesMax + 4, '"last"']);
});

testBoth('changeMetadata: of those who looked at one revision, one is taken', async (context, engine) => {
  const database = await freshDatabase(context, engine);
  await createIngest(database).storeBatch([arrival(device, 1)]);
  const outcomes = await Promise.allSettled(
    Array.from({ length: 8 }, (_, index) =>
      changeMetadata(database, device, { owner: `o${index}` }, { by: `u${index}`, nowMs: 1, revision: 0 }),
    ),
  );
  const taken = outcomes.filter(({ status }) => status === 'fulfilled');
  assert.equal(taken.length, 1);
  const refused = outcomes.flatMap((one) => (one.status === 'rejected' ? [one.reason as unknown] : []));
  for (const error of refused) {
    assert.ok(error instanceof DatabaseError);
    assert.equal(error.code, 'database.conflict');
    assert.match(error.message, /^u\d changed owner meanwhile$/);
  }
});

testBoth('changeMetadata: every text comes back as it was', async (context, engine) => {
  const database = await freshDatabase(context, engine);
  await createIngest(database).storeBatch([arrival(device, 1)]);
  const texts = JSON.parse(
    readFileSync(path.join(dataFolder, 'naughty_strings', 'blns.json'), 'utf8'),
  ) as string[];
  const short = texts.filter(({ length }) => length <= 40);
  const long = texts.filter(({ length }) => length <= 200).slice(-60);
  const edit = { by: 'anna', nowMs: 1 };
  await changeMetadata(database, device, { labels: short }, edit);
  assert.deepEqual((await readMetadata(database, device))?.labels, short);
  for (const text of [...long, ' leading', 'trailing ']) {
    await changeMetadata(database, device, { owner: text, technician: text }, edit);
    const now = await readMetadata(database, device);
    assert.deepEqual([now?.owner, now?.technician], [text, text]);
  }
});

testBoth(
  'noteService: what people noted is there, the newest first, and what was a mistake too',
  async (context, engine) => {
    const database = await freshDatabase(context, engine);
    await createIngest(database).storeBatch([arrival(device, 1), arrival(moved, 1)]);
    const service = { servicedMs: 50, hours: 12.25, remark: 'Öl', by: 'theo' };
    assert.equal(await noteService(database, 'ms/acc/no-such', service, 60), false);
    assert.equal(await noteService(database, device, service, 60), true);
    assert.equal(await noteService(database, device, { ...service, servicedMs: 40, hours: null }, 61), true);
    const [newest, older] = await readServices(database, device);
    assert.deepEqual(
      [newest?.hours, newest?.remark, newest?.notedMs, newest?.notedBy],
      [12.25, 'Öl', 60, 'theo'],
    );
    assert.deepEqual([older?.servicedMs, older?.hours, older?.withdrawnMs], [40, null, null]);
    const id = newest?.id ?? 0;
    assert.equal(await withdrawService(database, moved, id, 'otto', 70), false, 'of another device');
    assert.equal(await withdrawService(database, device, id, 'otto', 70), true);
    assert.equal(await withdrawService(database, device, id, 'eve', 80), false);
    const [withdrawn] = await readServices(database, device);
    assert.deepEqual([withdrawn?.withdrawnMs, withdrawn?.withdrawnBy], [70, 'otto']);
    assert.deepEqual(await readServices(database, moved), []);
  },
);

testBoth('setFormer: who sees one part alone does not learn of the other', async (context, engine) => {
  const database = await freshDatabase(context, engine);
  const third = 'ms-acc-3/acc-1/dev-1';
  for (const [index, name] of [device, moved, third].entries())
    await createIngest(database).storeBatch([{ ...arrival(name, 1), receivedMs: startMs + 2000 + index }]);
  const kin = async (scope: string, of: string): Promise<(string | undefined)[]> => {
    const { former, later } = await readKinship(database, scope, of);
    return [former?.path, later?.path];
  };
  const note = (of: string, former: string | undefined, scope = ''): Promise<boolean> =>
    setFormer(database, of, { former, by: 'otto', scope }, 5);
  assert.equal(await note(moved, 'ms/acc/no-such'), false);
  assert.equal(await note(moved, device), true);
  assert.deepEqual(await kin('', moved), [device, undefined]);
  assert.deepEqual(await kin('', device), [undefined, moved]);
  assert.deepEqual(await kin('ms-acc-2', moved), [undefined, undefined]);
  assert.deepEqual(await kin('ms-acc-1', device), [undefined, undefined]);
  // What he does not see, he neither takes back nor replaces.
  assert.equal(await note(moved, undefined, 'ms-acc-2'), true);
  assert.deepEqual(await kin('', moved), [device, undefined]);
  const own = 'ms-acc-2/acc-1/dev-0';
  await createIngest(database).storeBatch([{ ...arrival(own, 1), receivedMs: startMs }]);
  await assert.rejects(() => note(moved, own, 'ms-acc-2'), { code: 'database.conflict' });
  assert.deepEqual(await kin('', moved), [device, undefined]);
  // It went on to one owner, not to two; and names do not close into a ring.
  for (const [of, former] of [
    [third, device],
    [device, moved],
    [device, device],
  ] as const)
    await assert.rejects(() => note(of, former), { code: 'database.conflict' });
  assert.equal(await note(third, moved), true);
  assert.deepEqual(await kin('', moved), [device, third]);
  assert.equal(await note(moved, undefined), true);
  assert.deepEqual(await kin('', moved), [undefined, third]);
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
