import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import test from 'node:test';
import { openAccounts } from '../../auditor/page/accounts.ts';
import { inspect } from '../../cms/inspect.ts';
import { masterAccount } from '../device-agent/site.ts';
import { holdOne, openStage } from './page-stage.ts';
import { device, openBench, sealed, service, until } from './premises.ts';

test('page: nothing is answered without a login, and there is no account to begin with', async (context) => {
  const stage = await openStage(context);
  const { id } = await holdOne(stage);
  const { nobody } = stage;
  for (const path of [
    '/api/me',
    '/api/today',
    '/api/held',
    `/api/held/${id}/envelope`,
    '/api/ledger',
    '/api/alarms',
    '/api/devices',
    '/api/policies',
    '/api/completeness',
    `/api/device?device=${device}`,
    `/api/envelopes?device=${device}`,
    '/api/envelopes/2',
    `/api/export/snapshots.csv?device=${device}`,
    `/api/export/snapshots.parquet?device=${device}`,
    `/api/export/everything.json?device=${device}`,
    `/api/data-sheet.html?device=${device}`,
    `/api/data-sheet.md?device=${device}`,
    '/api/events',
    '/api/nothing',
    '/%61pi/held',
  ]) {
    assert.equal((await nobody.get(path)).status, 401, path);
  }
  assert.equal((await nobody.post(`/api/held/${id}/decision`, { outcome: 'released' })).status, 401);
  assert.equal((await nobody.post('/api/ledger/verification', {})).status, 401);
  for (const name of ['admin', 'root', 'deadline']) {
    assert.equal(await nobody.login(name, name), 401);
  }
  assert.equal(stage.auditor.state().held, 1);
});

test('page: a releaser lets a held envelope go, once; a viewer and another site may not', async (context) => {
  const stage = await openStage(context);
  const { id, envelope } = await holdOne(stage);
  const { vera, rolf, bench } = stage;
  const decision = `/api/held/${id}/decision`;
  const { body } = await vera.get('/api/held');
  const { held, atDeadline } = body as { held: Record<string, unknown>[]; atDeadline: string };
  assert.equal(atDeadline, 'denied');
  assert.deepEqual(
    [held[0]?.['device'], held[0]?.['sequence'], held[0]?.['channels'], held[0]?.['asked']],
    [device, 1, ['door.open'], ['door.open']],
  );
  assert.equal((await vera.post(decision, { outcome: 'released' })).status, 403);
  assert.equal(
    (await rolf.post(decision, { outcome: 'released' }, { origin: 'http://evil.test' })).status,
    403,
  );
  assert.equal((await rolf.post(decision, { outcome: 'passed' })).status, 400);
  assert.equal((await rolf.post('/api/held/x/decision', { outcome: 'released' })).status, 400);
  assert.equal((await rolf.post(decision, { outcome: 'released' })).status, 204);
  const { payload } = await bench.uplink.next('/snapshots');
  assert.equal(inspect(payload).signers.length, 2);
  assert.deepEqual(inspect(payload).digest, inspect(envelope).digest);
  assert.equal((await rolf.post(decision, { outcome: 'denied' })).status, 409);
  await until(() => stage.auditor.state().held === 0);
  const { body: csv } = await vera.get(`/api/export/entries.csv?device=${device}`);
  const lines = String(csv).trimEnd().split('\r\n');
  assert.match(lines[0] ?? '', /^number,time,direction,topic,/);
  assert.deepEqual(
    lines.slice(1).map((line) => /,(held|released),(\w*),/.exec(line)?.slice(1)),
    [
      ['held', ''],
      ['released', 'rolf'],
    ],
  );
});

test('page: one envelope as octets, as its structure, and opened', async (context) => {
  const stage = await openStage(context);
  const { id, envelope } = await holdOne(stage);
  const { status, body } = await stage.vera.get(`/api/held/${id}/envelope`);
  const view = body as { hex: string; structure: [string, string][]; readings: unknown };
  assert.equal(status, 200);
  assert.equal(view.hex, envelope.toString('hex'));
  assert.deepEqual(
    view.structure.find(([name]) => name === 'sequence'),
    ['sequence', '1'],
  );
  assert.deepEqual(view.readings, [{ channel: 'door.open', value: 1 }]);
  assert.equal((await stage.vera.get('/api/held/99/envelope')).status, 404);
});

test('page: what left today, for whom, and which channels; and the ledger is verified in the background', async (context) => {
  const { bench, auditor, vera, rolf } = await openStage(context, { headEverySeconds: 0.1 });
  const first = sealed(bench, 1);
  const second = sealed(bench, 2, { previous: first });
  await bench.send(first, second, Buffer.from('not an envelope'));
  await until(() => auditor.state().entries === 3);
  const { body: today } = await vera.get('/api/today');
  const { devices, recipients, isComplete, ...sums } = today as {
    readonly devices: { device: string; envelopes: number; channels: unknown }[];
    readonly recipients: { name: string; bytes: number }[];
    readonly isComplete: boolean;
    readonly [sum: string]: unknown;
  };
  const bytes = first.length + second.length;
  assert.deepEqual([sums['envelopes'], sums['bytes'], sums['denied'], sums['alarms']], [2, bytes, 1, 1]);
  assert.equal(isComplete, true);
  assert.deepEqual(
    new Map(recipients.map((recipient) => [recipient.name, recipient.bytes])),
    new Map([masterAccount, service].map((name) => [name, bytes])),
  );
  assert.deepEqual(devices[0]?.channels, [{ name: 'fuel.level', envelopes: 2 }]);
  const { body: alarms } = await vera.get('/api/alarms');
  assert.deepEqual(
    (alarms as { reason: string }[]).map(({ reason }) => reason),
    ['cms.malformed'],
  );

  const state = async () =>
    ((await vera.get('/api/ledger')).body as { verification: Record<string, unknown> }).verification;
  assert.deepEqual(await state(), { state: 'never' });
  const answers = await Promise.all([0, 1].map(() => rolf.post('/api/ledger/verification', {})));
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([202, 409]));
  await bench.recorded.event('ledger.verified');
  const { state: found, by, finding } = await state();
  assert.deepEqual([found, by], ['found', 'rolf']);
  const { passages, gapCount, fault } = finding as Record<string, unknown>;
  assert.deepEqual([passages, gapCount, fault], [3, 0, undefined]);
});

test('page: what is held is told without asking, and a removed user hears nothing more', async (context) => {
  const stage = await openStage(context);
  const aborted = new AbortController();
  const response = await stage.vera.fetch('/api/events', { signal: aborted.signal });
  assert.equal(response.headers.get('content-type'), 'text/event-stream');
  assert.ok(response.body);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  await holdOne(stage);
  for (let text = ''; !text.includes('{"what":"held"}');) text += (await reader.read()).value ?? '';
  aborted.abort();
  const accounts = openAccounts(stage.bench.data);
  assert.equal(accounts.remove('vera'), true);
  accounts.close();
  assert.equal((await stage.vera.get('/api/held')).status, 401);
  assert.equal((await stage.rolf.get('/api/held')).status, 200);
});

test('page: its files come with a policy that allows nothing of anybody else', async (context) => {
  const { nobody } = await openStage(context);
  const response = await nobody.fetch('/');
  const policy = response.headers.get('content-security-policy') ?? '';
  assert.equal(response.status, 200);
  assert.match(policy, /^default-src 'none'; script-src 'self' 'sha256-[^']+'; style-src 'self'; /);
  assert.match(policy, /frame-ancestors 'none'/);
  assert.equal((await nobody.fetch('/dashboard/auditor/main.ts')).status, 200);
  for (const path of [
    '/auditor/page/accounts.ts',
    '/data/accounts.sqlite',
    '/dashboard/../auditor/config.ts',
  ])
    assert.equal((await nobody.fetch(path)).status, 404, path);
});

test('accounts: what nobody decided has a name of its own', async (context) => {
  const bench = await openBench(context);
  const accounts = openAccounts(bench.data);
  context.after(() => accounts.close());
  assert.throws(() => accounts.add('deadline', 'releaser', 'x'), { code: 'account.reserved' });
  accounts.add('anna', 'viewer', 'x');
  assert.throws(() => accounts.add('anna', 'releaser', 'x'), { code: 'account.taken' });
  assert.deepEqual(
    accounts.list().map(({ name, role }) => [name, role]),
    [['anna', 'viewer']],
  );
});

test('page: who decides while the disk takes nothing is told so, and may decide again', async (context) => {
  const stage = await openStage(context);
  const { id } = await holdOne(stage);
  const database = new DatabaseSync(join(stage.bench.data, 'held.sqlite'), { timeout: 5000 });
  database.exec("CREATE TRIGGER full BEFORE UPDATE ON held BEGIN SELECT RAISE(ABORT, 'disk full'); END");
  const decide = () => stage.rolf.post(`/api/held/${id}/decision`, { outcome: 'released' });
  const { status, body } = await decide();
  assert.equal(status, 503);
  assert.match(JSON.stringify(body), /cannot keep a decision: .*disk full/);
  database.exec('DROP TRIGGER full');
  database.close();
  assert.equal((await decide()).status, 204);
  await stage.bench.uplink.next('/snapshots');
});
