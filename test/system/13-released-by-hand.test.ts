/** A person decides at the customer's auditor, in a real browser: does the vendor see what was released, and never what was denied? */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { auditorListing } from '../../auditor/list.ts';
import type { DemoSummary } from '../../cli/demo/summary.ts';
import { verifyLedger } from '../../ledger/verify.ts';
import { launch, logIn, openPageAt } from '../dashboard/browser.ts';
import { startPlombe, until } from './process.ts';

const released = 'ms-acc-2/acc-1/fm-1';
const denied = 'ms-acc-2/acc-1/pc-2';

interface Place {
  readonly url: string;
  readonly user: string;
  readonly password: string;
}

/** As the demo says it to whoever reads its first lines. */
function placeIn(output: string, name: 'Dashboard' | 'Auditor'): Place {
  const found = new RegExp(`^${name} +(http://[^\\s,]+).*\\n +\\w+ +user (\\S+), password (\\S+)$`, 'm').exec(
    output,
  );
  const [, url, user, password] = found ?? [];
  assert.ok(url !== undefined && user !== undefined && password !== undefined, output);
  return { url, user, password };
}

test('demo: what a person releases the dashboard has, what a person denies it never has', async (context) => {
  const directory = mkdtempSync(path.join(tmpdir(), 'plombe-released-'));
  const demo = startPlombe(['demo', '--dir', directory, '--json']);
  const browser = await launch();
  context.after(async () => {
    await browser.close();
    demo.process.kill('SIGTERM');
    await demo.finished;
    rmSync(directory, { recursive: true, force: true });
  });
  await until('the demo says where to look', () => demo.output().includes('Stop with Ctrl-C'));
  const [auditor, dashboard] = [placeIn(demo.output(), 'Auditor'), placeIn(demo.output(), 'Dashboard')];

  const { page: owner, complaints } = await openPageAt(browser, auditor.url);
  await logIn(owner, auditor.user, auditor.password);
  await owner.getByRole('link', { name: 'Held' }).click();
  const cardsOf = (device: string) => owner.getByRole('listitem').filter({ hasText: `${device} #` });
  /** The oldest, and no other, whatever comes meanwhile. */
  const oldestOf = async (device: string) => {
    const title = await cardsOf(device).first().getByRole('heading').textContent();
    return owner.getByRole('listitem').filter({ hasText: new RegExp(`${title}\\b`) });
  };
  const card = await oldestOf(released);
  await card.getByText('usage.hours-full-load').waitFor();
  await card.getByRole('button', { name: 'Look inside' }).click();
  await card.getByRole('row', { name: /^usage\.hours-full-load asked about [\d,.]+ h$/ }).waitFor();
  await card.getByText('Structure').click();
  await card.getByRole('row', { name: /^sequence \d+$/ }).waitFor();
  await card.getByText('As the DMZ sees it').click();
  await card.getByText(/^00000000 {2}30 8/).waitFor();

  const { page: vendor } = await openPageAt(browser, dashboard.url);
  await logIn(vendor, dashboard.user, dashboard.password);
  await vendor.getByRole('link', { name: released }).click();
  const values = vendor.locator('.value-groups');
  await values.getByRole('heading', { name: 'fuel' }).waitFor();
  assert.equal(await values.getByRole('heading', { name: 'usage' }).count(), 0, 'nothing of it before');
  const pressedMs = performance.now();
  await card.getByRole('button', { name: 'Release' }).click();
  await values.getByRole('button', { name: 'hours-full-load' }).waitFor();
  context.diagnostic(
    `${Math.round(performance.now() - pressedMs)} ms from Release to the vendor's dashboard`,
  );
  await card.waitFor({ state: 'detached' });

  await vendor.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Fleet' }).click();
  await vendor.getByRole('link', { name: denied }).click();
  await vendor.locator('#sequence').waitFor();
  const sequenceBefore = await vendor.locator('#sequence').textContent();
  await (await oldestOf(denied)).getByRole('button', { name: 'Deny' }).click();
  const entries = () => auditorListing(path.join(directory, 'customers/ms-acc-2/data/auditor')).entries;
  const decisions = () =>
    entries().flatMap(({ topic, outcome, decidedBy }) =>
      decidedBy === undefined ? [] : [[topic, outcome, decidedBy]],
    );
  await until('the ledger says who denied it', () => decisions().length === 2);
  assert.deepEqual(decisions(), [
    [`${released}/snapshots`, 'released', auditor.user],
    [`${denied}/snapshots`, 'denied', auditor.user],
  ]);

  await until('what came after it is there', async () => {
    return (await vendor.locator('#sequence').textContent()) !== sequenceBefore;
  });
  assert.equal(await values.getByRole('heading', { name: 'usage' }).count(), 0);
  await vendor.getByRole('button', { name: 'Ping' }).click();
  await until('the command is an entry too', () => entries().some(({ direction }) => direction === 'in'));
  const command = entries().find(({ direction }) => direction === 'in');
  assert.deepEqual([command?.topic, command?.alarm], [`${denied}/commands`, undefined]);
  assert.deepEqual(complaints, []);

  demo.process.kill('SIGTERM'); // what is on its way still arrives
  await until('the demo stops its devices', () => demo.output().includes('Stopping the agents'));
  const { stdout } = await demo.finished;
  const summary = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as DemoSummary;
  assert.deepEqual([summary.denied, summary.lost, summary.duplicated], [1, 0, 0]);
  assert.equal(
    summary.stored,
    summary.sealed - summary.held - summary.denied,
    'it is in no table of the vendor',
  );
  const { fault } = verifyLedger(path.join(directory, 'customers/ms-acc-2/data/auditor/egress.ledger'));
  assert.equal(fault, undefined);
});
