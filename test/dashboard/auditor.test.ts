import assert from 'node:assert/strict';
import test from 'node:test';
import { openAccounts } from '../../auditor/page/accounts.ts';
import { inspect } from '../../cms/inspect.ts';
import { hashPassword } from '../../web/password.ts';
import { openBench, publishPolicy, sealed, until } from '../auditor/premises.ts';
import { password } from '../backend/page.ts';
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
  await held.getByRole('row', { name: 'door.open 1' }).waitFor();
  await held.getByText('Structure').click();
  await held.getByText('mqvSha256').waitFor();
  await held.getByText('As the DMZ sees it').click();
  await held.getByText(`00000000  ${first.toString('hex', 0, 2).replace(/(..)/, '$1 ')}`).waitFor();

  await held.getByRole('button', { name: 'Release' }).click();
  const { payload } = await bench.uplink.next('/snapshots');
  assert.deepEqual(inspect(payload).digest, inspect(first).digest);
  assert.equal(inspect(payload).signers.length, 2);
  await held.waitFor({ state: 'detached' });
  await cards.getByRole('button', { name: 'Deny' }).click();
  await page.getByText('Nothing waits').waitFor();
  await until(() => auditor.state().held === 0);

  await page.getByRole('link', { name: 'Today' }).click();
  await page.getByRole('row', { name: /ms-acc-1\/acc-1\/dev-1 1 / }).waitFor();
  await page.getByRole('link', { name: 'Ledger' }).click();
  await page.getByRole('button', { name: 'Verify' }).click();
  await page.getByText('as it was written').waitFor();
  await page.getByText('No number of a device is missing.').waitFor();
  assert.deepEqual(complaints, []);
});
