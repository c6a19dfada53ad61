import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { changeMetadata, readMetadata } from '../../database/metadata.ts';
import type { Reading } from '../../domain/snapshot.ts';
import { dataFolder } from '../cms/fixtures.ts';
import { startMs } from '../database/arrivals.ts';
import { createStage } from './stage.ts';

const device = 'm-1/a-1/d-1';
const evil = '<img src=x onerror="alert(1)"> & co';

const naughty = JSON.parse(
  readFileSync(path.join(dataFolder, 'naughty_strings', 'blns.json'), 'utf8'),
) as string[];

function readings(hours: number, temperature = 40): Reading[] {
  return [
    { channel: 'counters.operating-hours', unit: 'h', value: hours },
    { channel: 'fuel.temperature', unit: 'Cel', value: temperature },
  ];
}

test('device: an operator writes its record, notes a service, and finds it by its label', async (context) => {
  const stage = await createStage(context);
  await stage.report(device, readings(1200));
  await stage.report('m-1/a-1/d-2', readings(5));
  await changeMetadata(stage.plant.database, 'm-1/a-1/d-2', { labels: naughty }, { by: 'anna', nowMs: 1 });
  const { page, complaints } = await stage.openAs('operator');
  const labels = page.locator('tbody tr', { hasText: 'd-2' }).locator('bdi.label');
  await labels.first().waitFor();
  assert.deepEqual(await labels.allTextContents(), naughty);
  await page.getByRole('link', { name: device }).click();
  await page.getByRole('button', { name: 'Edit' }).press('Enter');
  // The keyboard is where the typing goes on.
  await page.keyboard.type(evil);
  await page.getByLabel('Technician in charge').fill('Max');
  await page.getByLabel('Service every … hours').fill('500');
  await page.getByLabel('Labels, one in a line').fill(`hall 2\n${evil}`);
  await page.getByRole('button', { name: 'Save' }).click();
  await page.locator('bdi.label', { hasText: evil }).waitFor();
  assert.equal(await page.locator('bdi img').count(), 0);
  await page.getByText('overdue by 700 h').waitFor();
  const row = (text: string) => page.locator('tr', { hasText: text });
  await row('Technician in charge').getByText('operator').waitFor();

  await page.getByRole('button', { name: 'Note a service' }).click();
  assert.equal(await page.getByLabel('Counter of operating hours then').inputValue(), '1200');
  await page.getByLabel('Remark').fill('filter');
  await page.getByRole('button', { name: 'Note', exact: true }).click();
  await page.getByText('in 500 h').waitFor();
  await row('filter').getByRole('button', { name: 'Take back' }).click();
  await page.getByText('taken back by operator').waitFor();
  await page.getByText('overdue by 700 h').waitFor();

  await page.getByText('Channels of FM').click();
  await page.getByRole('button', { name: 'Rename fuel.temperature' }).click();
  await page.getByLabel('New name of fuel.temperature').fill('oil.temperature');
  await page.getByRole('button', { name: 'Rename', exact: true }).click();
  await row('Name of oil.temperature').getByText('fuel.temperature').waitFor();

  const downloading = page.waitForEvent('download');
  await page.getByRole('link', { name: 'Everything as CSV' }).click();
  const lines = readFileSync(await (await downloading).path(), 'utf8').split('\r\n');
  assert.deepEqual([lines[0], lines.length], ['time,sequence,counters.operating-hours,oil.temperature', 3]);

  await page.getByRole('link', { name: 'Fleet' }).first().click();
  await page.getByRole('searchbox').fill('HALL max');
  await page.locator('tbody tr', { hasText: 'd-2' }).waitFor({ state: 'detached' });
  assert.deepEqual(await page.locator('tbody a.path').allTextContents(), [device]);
  await page.getByRole('link', { name: device }).click();
  await page.goBack();
  assert.equal(await page.getByRole('searchbox').inputValue(), 'HALL max');
  assert.deepEqual(complaints, []);
});

test('device: who was slower is told so, keeps what was typed, and may begin again', async (context) => {
  const stage = await createStage(context);
  await stage.report(device, readings(5));
  const { database } = stage.plant;
  const { page, complaints } = await stage.openAs('operator');
  await page.getByRole('link', { name: device }).click();
  await page.getByRole('button', { name: 'Edit' }).click();
  await page.getByLabel('Owner').fill('mine');
  await changeMetadata(database, device, { owner: 'theirs' }, { by: 'anna', nowMs: 1 });
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('anna changed owner meanwhile').waitFor();
  assert.equal(await page.getByLabel('Owner').inputValue(), 'mine');
  assert.equal((await readMetadata(database, device))?.owner, 'theirs');
  await page.getByRole('button', { name: 'Begin again with that' }).click();
  await page.waitForFunction(
    () => document.querySelector<HTMLInputElement>('[name=owner]')?.value === 'theirs',
  );
  await page.getByLabel('Owner').fill('ours');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.locator('.facts bdi', { hasText: 'ours' }).waitFor();
  // What others write is there without asking.
  await changeMetadata(database, device, { technician: 'Ida' }, { by: 'anna', nowMs: 2 });
  await page.locator('.facts bdi', { hasText: 'Ida' }).waitFor();
  // A browser notes every answer of that kind.
  assert.deepEqual(
    complaints.filter((text) => !text.includes('409')),
    [],
  );
});

test('device: a range is typed, charted, and exported', async (context) => {
  const stage = await createStage(context);
  for (const hours of [1, 2, 3]) await stage.report(device, readings(hours));
  const { page, complaints } = await stage.openAs('viewer');
  await page.getByRole('link', { name: device }).click();
  await page.locator('.chart canvas').waitFor();
  await page.getByRole('link', { name: 'Everything as CSV' }).waitFor();
  // Snapshots of tests are a second apart, from a second after midnight on.
  const midnight = new Date(startMs - new Date(startMs).getTimezoneOffset() * 60_000)
    .toISOString()
    .slice(0, 16);
  await page.getByLabel('To').fill(midnight);
  await page.getByLabel('From').fill(midnight);
  await page.getByLabel('From').press('Enter');
  const link = page.getByRole('link', { name: 'This range as CSV' });
  const href = await link.getAttribute('href');
  assert.match(href ?? '', new RegExp(`fromMs=${startMs}&toMs=${startMs + 59_999}$`));
  await page.getByRole('button', { name: '1 h', exact: true }).click();
  await page.waitForFunction(
    (before) => document.querySelector('a[download]')?.getAttribute('href') !== before,
    href,
  );
  assert.deepEqual(complaints, []);
});

test('thresholds: lists what is beyond a value, by the address too, and leads to the chart', async (context) => {
  const stage = await createStage(context);
  await stage.report(device, readings(5, 71));
  await stage.report('m-1/a-1/d-2', readings(5, 55));
  await stage.report('m-2/a-1/d-1', readings(5, 90));
  const { page, complaints } = await stage.openAs('viewer');
  assert.equal(await page.getByRole('button', { name: 'Edit' }).count(), 0);
  await page.getByRole('link', { name: 'Thresholds' }).click();
  await page.getByLabel('Channel').selectOption('fuel.temperature');
  await page.getByLabel('Value in °C').fill('60');
  await page.getByRole('button', { name: 'Show' }).click();
  await page.getByRole('heading', { name: 'fuel.temperature above 60 °C' }).waitFor();
  assert.deepEqual(await page.locator('tbody a.path').allTextContents(), [device]);
  await page.getByLabel('When').selectOption('ever');
  await page.getByLabel('Value').fill('50');
  await page.getByRole('button', { name: 'Show' }).click();
  await page.getByRole('heading', { name: 'fuel.temperature above 50 °C' }).waitFor();
  await page.reload();
  await page.getByRole('heading', { name: 'fuel.temperature above 50 °C' }).waitFor();
  assert.deepEqual(await page.locator('tbody a.path').allTextContents(), [device, 'm-1/a-1/d-2']);
  await page.getByRole('link', { name: `Chart of ${device}` }).click();
  await page.locator('.chart canvas').waitFor();
  assert.equal(await page.locator('.chart-card select').inputValue(), 'fuel.temperature');
  assert.equal(await page.getByRole('button', { name: 'Edit' }).count(), 0, 'a viewer reads');
  assert.deepEqual(complaints, []);
});
