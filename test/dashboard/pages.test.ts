import assert from 'node:assert/strict';
import { test } from 'node:test';
import { continueReady } from '../../bpm/tasks.ts';
import { noteBroker } from '../../database/brokers.ts';
import { listTasks, listWorkflows } from '../../database/processes-lists.ts';
import type { Reading } from '../../domain/snapshot.ts';
import { logIn } from './browser.ts';
import { createStage, password } from './stage.ts';

const device = 'm-1/a-1/d-1';

function readings(faultCode: number, pumpLife = 80): Reading[] {
  return [
    { channel: 'fault.code', value: faultCode },
    { channel: 'pump.life', unit: '%', value: pumpLife },
    { channel: 'filter.life', unit: '%', value: 12 },
    { channel: 'state.mode', value: 'measuring' },
  ];
}

void test('login: a wrong password is refused in words, the right one leads to the fleet, and out again', async (context) => {
  const stage = await createStage(context);
  const { page, complaints } = await stage.openPage();
  await logIn(page, 'operator', 'not the password');
  await page.getByText('User name or password is wrong.').waitFor();
  await logIn(page, 'operator', password);
  await page.getByRole('heading', { name: 'Fleet' }).waitFor();
  await page.reload();
  await page.getByRole('heading', { name: 'Fleet' }).waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('Password').waitFor();
  assert.deepEqual(complaints, []);
});

void test('fleet: shows the devices with their conditions, sorts and filters', async (context) => {
  const stage = await createStage(context);
  for (const path of [device, 'm-1/a-1/d-2', 'm-2/a-1/d-3']) await stage.report(path, readings(0));
  for (let count = 0; count < 2; count++) await stage.report('m-1/a-1/d-2', readings(17));
  await stage.plant.judge();
  const { page, complaints } = await stage.openAs('operator');
  const paths = (): Promise<string[]> => page.locator('tbody a.path').allTextContents();
  await page.getByText('m-2/a-1/d-3').waitFor();
  assert.deepEqual(await paths(), ['m-1/a-1/d-2', device, 'm-2/a-1/d-3'], 'what needs somebody comes first');
  await page.getByRole('button', { name: 'Device', exact: true }).click();
  await page.locator('th[aria-sort=ascending]', { hasText: 'Device' }).waitFor();
  assert.deepEqual(await paths(), [device, 'm-1/a-1/d-2', 'm-2/a-1/d-3']);
  await page.getByRole('button', { name: 'Abnormal 1' }).click();
  await page.locator('tbody tr').nth(1).waitFor({ state: 'detached' });
  assert.deepEqual(await paths(), ['m-1/a-1/d-2']);
  await page.getByRole('button', { name: 'All 3' }).click();
  await page.getByRole('searchbox').fill('m-2');
  await page.locator('tbody tr').nth(1).waitFor({ state: 'detached' });
  assert.deepEqual(await paths(), ['m-2/a-1/d-3']);
  assert.deepEqual(complaints, []);
});

void test('brokers: shows whose broker is away and what waits at the others, live', async (context) => {
  const stage = await createStage(context);
  const { database } = stage.plant;
  const counts = { queuedBytes: 2048, forwardedUp: 10, forwardedDown: 1, refused: 0 };
  const online = { state: 'online', name: 'hall', version: '0.1.0', connectedSinceMs: 1, ...counts } as const;
  await noteBroker(database, 'm-1', { ...online, queued: 12, oldestWaitingMs: 7_200_000 }, stage.plant.nowMs);
  await noteBroker(database, 'm-2', { state: 'offline', name: 'yard' }, stage.plant.nowMs);
  const { page, complaints } = await stage.openAs('operator');
  await page.getByRole('link', { name: 'Brokers' }).click();
  const row = (path: string) => page.locator('tbody tr', { hasText: path });
  await row('m-1').getByText('catching up').waitFor();
  assert.match((await row('m-1').textContent()) ?? '', /12\s*2h/);
  await row('m-2').getByText('unreachable').waitFor();
  await noteBroker(database, 'm-2', { ...online, queued: 0, oldestWaitingMs: 0 }, stage.plant.nowMs);
  stage.feed.changed('brokers');
  await row('m-2').getByText('up to date').waitFor();
  assert.deepEqual(complaints, []);
});

void test('fleet: a user sees the own subtree alone', async (context) => {
  const stage = await createStage(context);
  for (const path of [device, 'm-10/a-1/d-1']) await stage.report(path, readings(0));
  const { page } = await stage.openAs('viewer');
  await page.getByText(device).waitFor();
  assert.deepEqual(await page.locator('tbody a.path').allTextContents(), [device]);
});

void test('device: shows gauges, a chart with data, and the parts to order', async (context) => {
  const stage = await createStage(context);
  for (let life = 90; life > 60; life--) await stage.report(device, readings(0, life));
  const { page, complaints } = await stage.openAs('operator');
  await page.getByRole('link', { name: device }).click();
  await page.getByRole('meter', { name: 'Pump' }).waitFor();
  const meters = page.getByRole('meter');
  assert.equal(await meters.count(), 2);
  assert.deepEqual(
    await meters.evaluateAll((all) => all.map((meter) => meter.getAttribute('aria-valuenow'))),
    ['61', '12'],
  );
  await page.getByText('Fuel filter element').waitFor();
  await page.locator('.chart canvas').waitFor();
  await page.waitForFunction(paintedColours);
  assert.deepEqual(complaints, []);
});

/** In the page: whether the line of the chart is painted, in the colour that the style sheet gives it. */
function paintedColours(): boolean {
  const canvas = document.querySelector<HTMLCanvasElement>('.chart canvas');
  const pixels = canvas?.getContext('2d')?.getImageData(0, 0, canvas.width, canvas.height).data ?? [];
  let painted = 0;
  for (let at = 0; at + 3 < pixels.length; at += 4) {
    if (pixels[at] === 15 && pixels[at + 1] === 95 && pixels[at + 2] === 125) painted++;
  }
  return painted > 100;
}

void test('device: a new snapshot appears without reloading, on the fleet page and on its own', async (context) => {
  const stage = await createStage(context);
  await stage.report(device, readings(0, 80));
  const { page, complaints } = await stage.openAs('operator');
  await page.getByText('Live', { exact: true }).waitFor();
  await page.evaluate(() => Object.assign(window, { sameDocument: true }));
  await page.locator('tbody tr', { hasText: device }).waitFor();
  await stage.report(device, readings(0, 79));
  await page
    .locator('tbody tr', { hasText: device })
    .locator('td.number', { hasText: /^2$/ })
    .first()
    .waitFor();
  await page.getByRole('link', { name: device }).click();
  await page.locator('#sequence', { hasText: /^2$/ }).waitFor();
  await stage.report(device, readings(0, 55));
  await page.locator('#sequence', { hasText: /^3$/ }).waitFor();
  await page.locator('[role=meter][aria-valuenow="55"]').waitFor();
  assert.equal(await page.evaluate(() => 'sameDocument' in window), true);
  assert.deepEqual(complaints, []);
});

void test('device: a script in what a device says is text', async (context) => {
  const stage = await createStage(context);
  const evil = '<img src=x onerror="alert(1)"><script>alert(2)</script>';
  await stage.report(device, [...readings(0), { channel: 'state.note', value: evil }]);
  const { page, complaints } = await stage.openAs('operator');
  await page.getByRole('link', { name: device }).click();
  await page.locator('.value-groups .value', { hasText: evil }).waitFor();
  assert.equal(await page.locator('.value-groups img, .value-groups script').count(), 0);
  assert.deepEqual(complaints, []);
});

void test('tasks: a completed task lets the workflow go on, and its diagram shows the way', async (context) => {
  const stage = await createStage(context);
  for (let count = 0; count < 2; count++) await stage.report(device, readings(17));
  await stage.plant.judge();
  const { page, complaints } = await stage.openAs('operator');
  await page.getByRole('link', { name: 'Workflows' }).click();
  await page.getByRole('link', { name: 'Show the way it took' }).click();
  await page.locator('[data-element-id=Task_Investigate].waiting').waitFor();
  await page.locator('[data-element-id=Flow_Abnormal].visited').waitFor({ state: 'attached' });
  assert.equal(await page.locator('[data-element-id=Flow_Normal].visited').count(), 0);

  await page.getByRole('link', { name: /^Tasks/ }).click();
  await page.getByLabel('Comment').fill('the pump was loose');
  await page.getByRole('button', { name: 'Complete' }).click();
  await page.getByText('Nothing to do').waitFor();
  await page.getByText('the pump was loose').waitFor();
  const [task] = await listTasks(stage.plant.database, '', 10);
  assert.deepEqual([task?.state, task?.completedBy], ['completed', 'operator']);
  assert.equal(await continueReady(stage.plant), 1);
  const [workflow] = await listWorkflows(stage.plant.database, '', {}, 10);
  assert.equal(workflow?.state, 'completed');
  assert.deepEqual(complaints, []);
});

void test('tasks: a viewer reads, and has no button', async (context) => {
  const stage = await createStage(context);
  for (let count = 0; count < 2; count++) await stage.report(device, readings(17));
  await stage.plant.judge();
  const { page } = await stage.openAs('viewer');
  await page.getByRole('link', { name: /^Tasks/ }).click();
  await page.getByRole('heading', { name: 'Investigate' }).waitFor();
  assert.equal(await page.getByRole('button', { name: 'Complete' }).count(), 0);
  await page.getByRole('link', { name: 'Notifications' }).click();
  await page.getByText('m-1/a-1/d-1: Alert the technician').waitFor();
});
