import assert from 'node:assert/strict';
import { createIngest } from '../../database/ingest.ts';
import { processTables } from '../../database/processes.ts';
import {
  countWorkflows,
  listNotifications,
  listTasks,
  listWorkflows,
} from '../../database/processes-lists.ts';
import { createWatcher } from '../../bpm/watcher.ts';
import { loadRules } from '../../bpm/rules.ts';
import { arrival } from '../database/arrivals.ts';
import { testBoth } from '../database/engines.ts';
import { createPlant } from './plant.ts';

const device = 'm-1/a-1/d-1';

testBoth(
  'judgeBatch: the first snapshot makes a device normal, and the list is told by mail',
  async (context, engine) => {
    const plant = await createPlant(context, engine);
    await plant.report(device, 0);
    assert.deepEqual((await plant.judge()).started, { normal: 1, abnormal: 0, overdue: 0 });
    const [mail] = await listNotifications(plant.database, '', 10);
    assert.equal(mail?.channel, 'mail');
    assert.equal(mail.recipients, 'list@example.org');
    assert.match(mail.body, /m-1\/a-1\/d-1 \(FM\) works normally/);
    const row = await plant.database.kysely
      .selectFrom('device')
      .select('device_condition')
      .executeTakeFirst();
    assert.equal(row?.device_condition, 'normal');
  },
);

testBoth('judgeBatch: one abnormal snapshot is noise, two are a change', async (context, engine) => {
  const plant = await createPlant(context, engine);
  await plant.report(device, 0, 17, 0, 17);
  assert.deepEqual((await plant.judge()).started, { normal: 1, abnormal: 0, overdue: 0 });
  await plant.report(device, 17);
  assert.deepEqual((await plant.judge()).started, { normal: 0, abnormal: 1, overdue: 0 });
  const [task] = await listTasks(plant.database, '', 10);
  assert.equal(task?.title, 'Investigate');
  assert.match(task.instructions, /fault.code 17 != 0/);
});

testBoth('judgeBatch: changes within one burst are all seen, in their order', async (context, engine) => {
  const plant = await createPlant(context, engine);
  await plant.report(device, 0, 17, 17, 0, 0, 0);
  await plant.judge();
  assert.deepEqual(await countWorkflows(plant.database, ''), { normal: 2, abnormal: 1, overdue: 0 });
});

testBoth(
  'judgeBatch: a condition that comes back while its workflow is open starts no second one',
  async (context, engine) => {
    const plant = await createPlant(context, engine);
    for (let round = 0; round < 3; round++) {
      await plant.report(device, 0, 0, 0, 17, 17);
      await plant.judge();
    }
    assert.equal((await countWorkflows(plant.database, '')).abnormal, 1);
    assert.equal((await listTasks(plant.database, '', 10)).length, 1);
  },
);

testBoth('judgeBatch: what fills a gap says nothing about the present', async (context, engine) => {
  const plant = await createPlant(context, engine);
  const ingest = createIngest(plant.database);
  const report = (sequence: number, value: number): Promise<unknown> =>
    ingest.storeBatch([arrival(device, sequence, [{ channel: 'fault.code', value }])]);
  await report(5, 0);
  await plant.judge();
  await report(3, 17);
  await report(4, 17);
  assert.deepEqual((await plant.judge()).started, { normal: 0, abnormal: 0, overdue: 0 });
});

testBoth('judgeBatch: a channel that appears later is judged too', async (context, engine) => {
  const plant = await createPlant(context, engine);
  await plant.reportReadings(device, 'FM', [{ channel: 'fuel.flow', value: 1 }]);
  await plant.judge();
  await plant.report(device, 17, 17);
  assert.equal((await plant.judge()).started.abnormal, 1);
});

testBoth(
  'judgeBatch: snapshots that were sealed into chunks before bpm came are judged from there',
  async (context, engine) => {
    const plant = await createPlant(context, engine);
    const long = Array.from({ length: 400 }, (_, index) => (index >= 20 && index < 30 ? 17 : 0));
    await plant.report(device, ...long);
    const heads = await plant.database.kysely.selectFrom('head').select('sequence').execute();
    assert.ok(
      heads.every(({ sequence }) => sequence > 30),
      'the fault is no longer in a head',
    );
    await plant.judge();
    assert.deepEqual(await countWorkflows(plant.database, ''), { normal: 2, abnormal: 1, overdue: 0 });
  },
);

testBoth(
  'judgeBatch: nothing is judged twice, also by a second watcher on the same database',
  async (context, engine) => {
    const plant = await createPlant(context, engine);
    const second = createWatcher({
      database: plant.database,
      rules: loadRules('bpm/rules'),
      definition: plant.definitions.condition,
      rowContext: plant.rowContext,
    });
    await plant.report(device, 0, 17, 17);
    await Promise.all([plant.watcher.judgeBatch(), second.judgeBatch()]);
    await plant.judge();
    assert.deepEqual(await countWorkflows(plant.database, ''), { normal: 1, abnormal: 1, overdue: 0 });
    assert.equal((await listNotifications(plant.database, '', 10)).length, 2);
  },
);

testBoth(
  'judgeBatch: a batch that cannot be committed leaves no trace, and is judged again',
  async (context, engine) => {
    const plant = await createPlant(context, engine);
    await plant.report(device, 0);
    const failing = createWatcher({
      database: plant.database,
      rules: loadRules('bpm/rules'),
      definition: plant.definitions.condition,
      rowContext: () => ({
        ...plant.rowContext(),
        newId: () => {
          throw new Error('power cut');
        },
      }),
    });
    await assert.rejects(failing.judgeBatch(), /power cut/);
    assert.deepEqual(
      await processTables(plant.database).selectFrom('process_cursor').selectAll().execute(),
      [],
    );
    assert.deepEqual(await listWorkflows(plant.database, '', {}, 10), []);
    assert.equal((await plant.judge()).started.normal, 1);
  },
);

testBoth('lists: a user sees the own subtree alone', async (context, engine) => {
  const plant = await createPlant(context, engine);
  for (const path of [device, 'm-1/a-10/d-1', 'm-10/a-1/d-1']) await plant.report(path, 0, 17, 17);
  await plant.judge();
  const paths = async (scope: string): Promise<string[]> =>
    (await listTasks(plant.database, scope, 10)).map((task) => task.path).toSorted();
  assert.deepEqual(await paths(''), [device, 'm-1/a-10/d-1', 'm-10/a-1/d-1']);
  assert.deepEqual(await paths('m-1'), [device, 'm-1/a-10/d-1']);
  assert.deepEqual(await paths('m-1/a-1'), [device]);
  assert.deepEqual(await paths(device), [device]);
  assert.deepEqual(await countWorkflows(plant.database, 'm-10'), { normal: 1, abnormal: 1, overdue: 0 });
});
