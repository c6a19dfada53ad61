import assert from 'node:assert/strict';
import { processTables } from '../../database/processes.ts';
import { completeTask, listNotifications, listTasks, listWorkflows } from '../../database/processes-lists.ts';
import { continueReady } from '../../bpm/tasks.ts';
import { ProcessError } from '../../bpm/process-error.ts';
import { testBoth } from '../database/engines.ts';
import type { Plant } from './plant.ts';
import { createPlant } from './plant.ts';

const device = 'm-1/a-1/d-1';
const dayMs = 86_400_000;

async function taskId({ database }: Plant): Promise<string> {
  const [task] = await listTasks(database, '', 10);
  assert.ok(task);
  return task.id;
}

async function makeOverdue(plant: Plant): Promise<void> {
  for (let count = 0; count < 2; count++) {
    await plant.reportReadings(device, 'FM', [
      { channel: 'service.hours-since', value: 600 },
      { channel: 'service.interval', value: 500 },
    ]);
  }
  assert.equal((await plant.judge()).started.overdue, 1);
}

testBoth(
  'continueReady: a completed task lets its workflow go on, once, with the comment',
  async (context, engine) => {
    const plant = await createPlant(context, engine);
    await makeOverdue(plant);
    assert.equal(await continueReady(plant), 0);
    const done = { id: await taskId(plant), by: 'eva', comment: 'on Monday', scope: '' };
    assert.equal(await completeTask(plant.database, done, plant.nowMs), 'completed');
    assert.equal(await completeTask(plant.database, done, plant.nowMs), 'closed');
    assert.equal(await continueReady(plant), 1);
    assert.equal(await continueReady(plant), 0);
    const mails = await listNotifications(plant.database, '', 10);
    assert.deepEqual(
      mails.map(({ body, recipients }) => [body, recipients]),
      [[`An appointment for ${device} (FM) is agreed: on Monday`, 'tech@example.org']],
    );
    const [workflow] = await listWorkflows(plant.database, '', {}, 10);
    assert.equal(workflow?.state, 'completed');
    assert.equal(workflow.visited.at(-1), 'End_Agreed');
    assert.deepEqual(
      await processTables(plant.database).selectFrom('process_token').selectAll().execute(),
      [],
    );
  },
);

testBoth('continueReady: two programs at once take a step once', async (context, engine) => {
  const plant = await createPlant(context, engine);
  await makeOverdue(plant);
  const done = { id: await taskId(plant), by: 'eva', comment: 'x', scope: '' };
  await completeTask(plant.database, done, plant.nowMs);
  const taken = await Promise.all([continueReady(plant), continueReady(plant)]);
  assert.equal(taken[0] + taken[1], 1);
  assert.equal((await listNotifications(plant.database, '', 10)).length, 1);
});

testBoth(
  'continueReady: a reminder goes out when its time has come, once, and the task stays',
  async (context, engine) => {
    const plant = await createPlant(context, engine);
    await makeOverdue(plant);
    plant.nowMs += 7 * dayMs - 1;
    assert.equal(await continueReady(plant), 0);
    plant.nowMs += 1;
    assert.equal(await continueReady(plant), 1);
    assert.equal(await continueReady(plant), 0);
    assert.equal((await listNotifications(plant.database, '', 10)).length, 1);
    const [workflow] = await listWorkflows(plant.database, '', {}, 10);
    assert.deepEqual(workflow?.waitingAt, ['Task_Appointment']);
  },
);

testBoth('completeTask: a task of another subtree is not there', async (context, engine) => {
  const plant = await createPlant(context, engine);
  await makeOverdue(plant);
  const id = await taskId(plant);
  for (const scope of ['m-2', 'm-1/a-10', 'm-1/a-1/d-10']) {
    assert.equal(await completeTask(plant.database, { id, by: 'x', comment: '', scope }, 1), 'absent');
  }
  assert.equal(
    await completeTask(plant.database, { id, by: 'x', comment: '', scope: 'm-1' }, 1),
    'completed',
  );
});

testBoth(
  'continueReady: an instance whose definition is gone fails visibly, and the device can start another',
  async (context, engine) => {
    const plant = await createPlant(context, engine);
    await makeOverdue(plant);
    await completeTask(plant.database, { id: await taskId(plant), by: 'eva', comment: '', scope: '' }, 1);
    const definitions = {
      byDigest: () => Promise.reject(new ProcessError('process.invalid', 'there is no such definition')),
    };
    assert.equal(await continueReady({ ...plant, definitions }), 1);
    const [workflow] = await listWorkflows(plant.database, '', {}, 10);
    assert.equal(workflow?.state, 'failed');
    assert.match(workflow.detail, /no such definition/);
    await plant.report(device, 0, 0, 0);
    await makeOverdue(plant);
  },
);
