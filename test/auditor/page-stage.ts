/** An auditor's page with two people: Vera looks on, Rolf decides. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { openAccounts } from '../../auditor/page/accounts.ts';
import type { RunningAuditor } from '../../auditor/main.ts';
import { hashPassword } from '../../web/password.ts';
import { Page, password } from '../backend/page.ts';
import type { Bench } from './premises.ts';
import { openBench, publishPolicy, sealed, until } from './premises.ts';

const hashed = hashPassword(password);

export interface Stage {
  readonly bench: Bench;
  readonly auditor: RunningAuditor;
  readonly nobody: Page;
  readonly vera: Page;
  readonly rolf: Page;
}

/** @param given - premises whose auditor was stopped; new ones unless given */
export async function openStage(context: TestContext, settings: object = {}, given?: Bench): Promise<Stage> {
  const bench = given ?? (await openBench(context));
  const accounts = openAccounts(bench.data);
  for (const [name, role] of [
    ['vera', 'viewer'],
    ['rolf', 'releaser'],
  ] as const) {
    accounts.remove(name);
    accounts.add(name, role, await hashed);
  }
  accounts.close();
  const auditor = await bench.start({ page: { listen: '127.0.0.1:0' }, ...settings });
  assert.ok(auditor.pagePort);
  const [nobody, vera, rolf] = [0, 1, 2].map(() => new Page(auditor.pagePort ?? 0));
  assert.ok(nobody && vera && rolf);
  assert.deepEqual([await vera.login('vera'), await rolf.login('rolf')], [204, 204]);
  return { bench, auditor, nobody, vera, rolf };
}

/** One envelope of which the policy asks, held. */
export async function holdOne({ bench, auditor, vera }: Stage): Promise<{ id: number; envelope: Buffer }> {
  await publishPolicy(bench, 1, { auto: ['fuel.*'], ask: ['door.*'] });
  const envelope = sealed(bench, 1, { channel: 'door.open' });
  await bench.send(envelope);
  await until(() => auditor.state().held === 1);
  const { body } = await vera.get('/api/held');
  const [item] = (body as { held: { id: number }[] }).held;
  assert.ok(item);
  return { id: item.id, envelope };
}
