import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { openAccounts } from '../../auditor/page/accounts.ts';
import { inspect } from '../../cms/inspect.ts';
import { createSealer } from '../../cms/seal.ts';
import { hashPassword } from '../../web/password.ts';
import type { Bench } from '../auditor/premises.ts';
import { device, openBench, publishPolicy, sealed, service, until } from '../auditor/premises.ts';
import { password } from '../backend/page.ts';
import { masterAccount } from '../device-agent/site.ts';
import { launch, logIn, openPageAt } from './browser.ts';

test('auditor: a person sees a held envelope appear, looks inside, releases it, and it goes', async (context) => {
  const bench = await openBench(context);
  const accounts = openAccounts(bench.data);
  accounts.add('rolf', 'releaser', await hashPassword(password));
  accounts.close();
  const auditor = await bench.start({ page: { listen: '127.0.0.1:0' } });
  await publishPolicy(bench, 1, { auto: ['fuel.*'], ask: ['door.*'] });
  const browser = await launch();
  context.after(() => browser.close());
  const { page, complaints } = await openPageAt(browser, `http://127.0.0.1:${auditor.pagePort}`);
  await logIn(page, 'rolf', 'not the password');
  await page.getByText('User name or password is wrong.').waitFor();
  await logIn(page, 'rolf', password);
  await page.getByRole('heading', { name: 'Today' }).waitFor();
  await page.getByRole('link', { name: 'Held' }).click();
  await page.getByText('Nothing waits').waitFor();
  await page.getByText('Live', { exact: true }).waitFor();

  const first = sealed(bench, 1, { channel: 'door.open' });
  const second = sealed(bench, 2, { channel: 'door.open', previous: first });
  await bench.send(first, second);
  const cards = page.getByRole('listitem');
  await cards.filter({ hasText: 'dev-1 #2' }).waitFor();
  const held = cards.filter({ hasText: 'dev-1 #1' });
  await held.getByText('Otherwise denied').waitFor();
  await held.getByRole('button', { name: 'Look inside' }).click();
  await held.getByRole('row', { name: 'door.open asked about 1' }).waitFor();
  await held.getByText('Structure').click();
  await held.getByText('mqvSha256').waitFor();
  await held.getByText('As the DMZ sees it').click();
  await held.getByText(`00000000  ${first.toString('hex', 0, 2).replace(/(..)/, '$1 ')}`).waitFor();

  // The second click meets the next card, which has moved up, and decides nothing.
  await held.getByRole('button', { name: 'Release' }).dblclick();
  const { payload } = await bench.uplink.next('/snapshots');
  assert.deepEqual(inspect(payload).digest, inspect(first).digest);
  assert.equal(inspect(payload).signers.length, 2);
  await held.waitFor({ state: 'detached' });
  assert.equal(auditor.state().held, 1);
  await cards.getByRole('button', { name: 'Deny' }).click();
  await page.getByText('Nothing waits').waitFor();
  await until(() => auditor.state().held === 0);

  await page.getByRole('link', { name: 'Today' }).click();
  await page.getByRole('row', { name: /ms-acc-1\/acc-1\/dev-1 1 / }).waitFor();
  await page.getByRole('link', { name: 'ms-acc-1/acc-1/dev-1' }).click();
  await page.getByText('Policies in force: number 1 for ms-acc-1', { exact: true }).waitFor();
  await page.getByRole('row', { name: 'door.open number in every snapshot vendor, once' }).waitFor();
  await page
    .getByRole('row', { name: /^\d+ .* 2 denied / })
    .getByRole('button', { name: 'Look inside' })
    .click();
  await page.getByRole('row', { name: 'door.open 2' }).waitFor();
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('link', { name: 'decisions.csv' }).click(),
  ]);
  assert.match(readFileSync(await download.path(), 'utf8'), /,released,rolf,1,[\s\S]*,denied,rolf,1,/);
  await page.getByLabel('Received from').fill('2020-01-01T00:00');
  await page.getByLabel('and before').fill('2019-12-31T23:59');
  await page.getByText('The first time has to be before the second.').waitFor();
  await page.getByLabel('and before').fill('2020-01-02T00:00');
  const [part] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('link', { name: 'decisions.parquet' }).click(),
  ]);
  assert.match(part.suggestedFilename(), /-decisions-part\.parquet$/);
  await page.getByRole('link', { name: 'Policy' }).click();
  await page.getByRole('heading', { name: 'Number 1 for ms-acc-1 and all below' }).waitFor();
  await page.getByText('plombe policy publish policy.signed').waitFor();
  await page.getByRole('link', { name: 'Ledger' }).click();
  await page.getByRole('button', { name: 'Verify' }).click();
  await page.getByText('as it was written').waitFor();
  await page.getByText('No number of a device is missing.').waitFor();

  await page.getByRole('link', { name: 'Today' }).click();
  await page.getByText('no number missing, none used twice').waitFor();
  const fourth = sealed(bench, 4, { channel: 'door.open' });
  await bench.send(fourth, sealed(bench, 4, { channel: 'door.shut' }));
  await page.getByText('1 gap', { exact: true }).waitFor();
  const [gap, fork] = [/dev-1 #3 gap 1 envelope missing /, /dev-1 #4 fork number 4 is recorded with /];
  await Promise.all([gap, fork].map((name) => page.getByRole('row', { name }).waitFor()));
  await page.getByRole('link', { name: 'Devices', exact: true }).click();
  await page.getByRole('row', { name: 'dev-1 1 gap 1 fork' }).waitFor();
  await page.getByRole('link', { name: device }).click();
  await page.getByRole('row', { name: gap }).waitFor();
  assert.deepEqual(complaints, []);
});

const naughty = JSON.parse(
  readFileSync(path.resolve(import.meta.dirname, '../../../shared/data/naughty_strings/blns.json'), 'utf8'),
) as string[];

/** A snapshot that names its channel so that the ledger has to say so. */
function misnamed({ site }: Bench, channel: string): Buffer {
  const { signature, keyAgreement } = site.identity(device);
  const content = JSON.stringify([{ bn: `${device}:`, bt: 1.7e9, n: channel, v: 1 }]);
  return createSealer({ signature, keyAgreement }).seal(
    Buffer.from(content),
    [service, masterAccount].map((name) => site.identity(name).keyAgreement.certificate),
    {
      topic: `${device}/snapshots`,
      sequence: 2,
      previousDigest: undefined,
      contentType: 'senml+json',
      signingTimeMs: Date.now(),
    },
  ).envelope;
}

test('auditor: whatever a device says is text', async (context) => {
  const bench = await openBench(context);
  const accounts = openAccounts(bench.data);
  accounts.add('rolf', 'releaser', await hashPassword(password));
  accounts.close();
  const auditor = await bench.start({ page: { listen: '127.0.0.1:0' } });
  await publishPolicy(bench, 1, { ask: ['note.*'] });
  const readings = naughty.flatMap((text, index) => [
    { channel: `note.text-${index}`, value: text.slice(0, 256).toWellFormed() },
    { channel: `note.unit-${index}`, value: index, unit: text.slice(0, 32).toWellFormed() },
  ]);
  const evil = '<img src=x onerror="alert(1)">';
  await bench.send(sealed(bench, 1, { readings }), misnamed(bench, evil));
  await until(() => auditor.state().held === 1 && auditor.state().alarms === 1);
  const browser = await launch();
  context.after(() => browser.close());
  const { page, complaints } = await openPageAt(browser, `http://127.0.0.1:${auditor.pagePort}`);
  await logIn(page, 'rolf', password);
  await page.getByRole('heading', { name: 'Today' }).waitFor();
  const count = () =>
    page.locator('main :is(img, script, iframe, svg, object, embed, form, [onerror])').count();
  for (const [link, wanted] of [
    ['Ledger', 'is not a channel name'],
    ['Devices', device],
    [device, 'note.unit-514'],
    ['Held', 'Asked about'],
  ] as const) {
    await page.getByRole('link', { name: link }).first().click();
    await page.getByText(wanted).first().waitFor();
    assert.equal(await count(), 0, link);
  }
  await page.getByRole('button', { name: 'Look inside' }).click();
  await page.getByRole('row', { name: 'note.text-514' }).waitFor();
  assert.equal(await page.locator('table.dense').first().locator('tr').count(), readings.length);
  assert.equal(await count(), 0);
  assert.deepEqual(complaints, []);
});
