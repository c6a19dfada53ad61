import assert from 'node:assert/strict';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import test from 'node:test';
import { auditorListing } from '../../auditor/list.ts';
import { envelopeDigest } from '../../cms/envelope.ts';
import { inspect } from '../../cms/inspect.ts';
import { verifyLedger } from '../../ledger/verify.ts';
import { masterAccount } from '../device-agent/site.ts';
import { withoutSigners } from '../cms/signers.ts';
import type { Bench } from './premises.ts';
import {
  device,
  introduce,
  openAsVendor,
  openBench,
  publishPolicy,
  releasedTopic,
  sealed,
  service,
  stranger,
  until,
} from './premises.ts';

function outcomesOf({ data }: Bench): unknown[] {
  return auditorListing(data).entries.map(({ sequence, outcome, alarm }) => [
    sequence,
    outcome,
    alarm?.reason,
  ]);
}

test('enforce: what is right leaves with a second signature, and nothing else is changed', async (context) => {
  const bench = await openBench(context);
  await bench.start();
  const envelope = sealed(bench, 1);
  await bench.send(envelope);
  const { topic: came, payload } = await bench.uplink.next('/snapshots');
  assert.equal(came, releasedTopic);
  assert.deepEqual(envelopeDigest(payload), envelopeDigest(envelope));
  assert.deepEqual(
    openAsVendor(bench, payload).signers.map(({ commonName }) => commonName),
    [device, masterAccount],
  );
  assert.deepEqual(outcomesOf(bench), [[1, 'released', undefined]]);
});

test('enforce: what is not right stays inside, and the ledger says why', async (context) => {
  const bench = await openBench(context);
  const auditor = await bench.start();
  const first = sealed(bench, 1);
  const genuine = sealed(bench, 9);
  await bench.send(
    sealed(bench, 7, { recipients: [service, masterAccount, stranger] }), // a stranger may read it
    sealed(bench, 8, { recipients: [service] }), // its owner may not
    withoutSigners(genuine),
    Buffer.from('not an envelope'),
    first,
  );
  await until(() => auditor.state().entries === 5);
  const { payload } = await bench.uplink.next('/snapshots');
  assert.deepEqual(envelopeDigest(payload), envelopeDigest(first)); // the only one: what came before it did not leave
  await bench.send(genuine); // after a copy of it that was cut
  assert.deepEqual(envelopeDigest((await bench.uplink.next('/snapshots')).payload), envelopeDigest(genuine));
  assert.deepEqual(outcomesOf(bench), [
    [7, 'denied', 'audit.foreign_recipient'],
    [8, 'denied', 'cms.not_a_recipient'],
    [9, 'denied', 'cms.rejected'],
    [undefined, 'denied', 'cms.malformed'],
    [1, 'released', undefined],
    [9, 'released', undefined],
  ]);
});

test('enforce: what the policy denies stays inside, what it asks about waits over a restart and leaves in order', async (context) => {
  const bench = await openBench(context);
  const first = await bench.start();
  await publishPolicy(bench, 1, { auto: ['fuel.*'], ask: ['door.*'] });
  const one = sealed(bench, 1, { channel: 'door.open' });
  const two = sealed(bench, 2, { channel: 'door.open', previous: one });
  const three = sealed(bench, 3, { channel: 'camera.image', previous: two });
  const four = sealed(bench, 4, { channel: 'fuel.level', previous: three });
  await bench.send(one, two, three, four);
  assert.deepEqual(inspect((await bench.uplink.next('/snapshots')).payload).info?.sequence, 4);
  assert.equal(first.state().held, 2);
  await first.stop();

  const second = await bench.start();
  assert.ok(second.gate);
  const [held, later] = second.gate.list(10);
  assert.ok(held && later);
  assert.deepEqual([held.passage.sequence, later.passage.sequence], [1, 2]);
  assert.ok(second.gate.decide(later.id, { outcome: 'released', by: 'Anna' })); // waits for the one before it
  assert.equal(second.state().held, 2);
  assert.ok(second.gate.decide(held.id, { outcome: 'released', by: 'Anna' }));
  assert.ok(!second.gate.decide(held.id, { outcome: 'denied', by: 'Berta' })); // decided is decided
  const left: unknown[] = [];
  for (let sequence = 0; sequence !== 2; left.push(sequence)) {
    const opened = openAsVendor(bench, (await bench.uplink.next('/snapshots')).payload);
    assert.equal(opened.signers.length, 2);
    sequence = opened.sequence ?? 0;
  }
  // The fourth may come once more: the first auditor may have been stopped before it had acknowledged it.
  assert.deepEqual(
    left.filter((sequence) => sequence !== 4),
    [1, 2],
  );
  await until(() => second.state().held === 0);
  const { entries } = auditorListing(bench.data);
  assert.deepEqual(
    entries.map(({ sequence, outcome, decidedBy, alarm, policy }) => [
      sequence,
      outcome,
      decidedBy ?? alarm?.reason,
      policy,
    ]),
    [
      [1, 'held', undefined, 1],
      [2, 'held', undefined, 1],
      [3, 'denied', 'policy.denied_channel', 1],
      [4, 'released', undefined, 1],
      [1, 'released', 'Anna', 1],
      [2, 'released', 'Anna', 1],
    ],
  );
  await second.stop();
  const { fault, gaps, forks } = verifyLedger(path.join(bench.data, 'egress.ledger'));
  assert.deepEqual([fault, gaps, forks], [undefined, [], []]);
});

test('enforce: whatever nobody decides in time is decided by the default', async (context) => {
  const bench = await openBench(context);
  for (const [atDeadline, outcome] of [
    ['deny', 'denied'],
    ['release', 'released'],
  ] as const) {
    const auditor = await bench.start({
      withoutPolicy: 'hold',
      ask: { deadlineHours: 1e-9, atDeadline },
      data: path.join(bench.site.folder, atDeadline),
    });
    await bench.send(sealed(bench, atDeadline === 'deny' ? 1 : 2));
    await until(() => auditor.state().entries >= 1);
    auditor.gate?.checkDeadlines();
    await until(() => auditor.state().held === 0);
    const { entries } = auditorListing(path.join(bench.site.folder, atDeadline));
    const last = entries.at(-1);
    assert.deepEqual([last?.outcome, last?.decidedBy], [outcome, 'deadline']);
    await auditor.stop();
  }
  const { payload } = await bench.uplink.next('/snapshots');
  assert.equal(inspect(payload).info?.sequence, 2);
});

test('observe: what the policy denies is an alarm', async (context) => {
  const bench = await openBench(context);
  const auditor = await bench.start({ mode: 'observe' });
  await publishPolicy(bench, 1, { auto: ['door.*'] });
  await bench.send(sealed(bench, 1));
  await until(() => auditor.state().entries === 1);
  assert.deepEqual(outcomesOf(bench), [[1, 'passed', 'policy.denied_channel']]);
});

test('enforce: a disk that takes nothing more ends the auditor nowhere, and all goes on when there is room', async (context) => {
  const bench = await openBench(context);
  const settings = { headEverySeconds: 0.1, ask: { deadlineHours: 1 / 3600 }, certificatesWaitSeconds: 0 };
  const auditor = await bench.start(settings);
  const limits = { bytesPerHour: 1_000_000 };
  await publishPolicy(bench, 1, { auto: ['fuel.*'], ask: ['door.*'] }, { limits });
  const held = sealed(bench, 1, { channel: 'door.open' });
  await bench.send(held);
  await until(() => auditor.state().held === 1);
  const full = { when: "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END" };
  const files = {
    'auditor.sqlite': ['INSERT ON leaf', 'INSERT ON stream_use', 'INSERT ON device_certificates'],
    'held.sqlite': ['INSERT ON held', 'UPDATE ON held', 'DELETE ON held'],
  };
  const triggers = Object.entries(files).map(([file, events]) => {
    const database = new DatabaseSync(path.join(bench.data, file), { timeout: 5000 });
    events.forEach((event, index) => database.exec(`CREATE TRIGGER t${index} BEFORE ${event} ${full.when}`));
    return { database, events };
  });
  const room = (place: number, trigger: number): void =>
    triggers[place]?.database.exec(`DROP TRIGGER t${trigger}`);

  const second = sealed(bench, 2, { previous: held });
  await bench.send(second);
  await bench.recorded.event('record.failed');
  room(0, 0);
  const third = sealed(bench, 3, { previous: second });
  await bench.send(third);
  await bench.recorded.event('record.failed', ({ detail }) => String(detail).includes('what is used'));
  for (const envelope of [second, third])
    assert.deepEqual(
      envelopeDigest((await bench.uplink.next('/snapshots')).payload),
      envelopeDigest(envelope),
    );
  await bench.recorded.event('release.failed'); // the deadline is over, and cannot be noted
  await bench.site.issue(device);
  await introduce(bench.site, bench.agent, device);
  await bench.recorded.event('certificates.not_kept');
  room(0, 1);
  room(0, 2);
  for (const index of [0, 1, 2]) room(1, index);
  await bench.recorded.event('envelope.decided');
  for (const { database } of triggers) database.close();
  await auditor.stop();
  const { fault, leaves, signedHead } = verifyLedger(path.join(bench.data, 'egress.ledger'));
  assert.deepEqual([fault, signedHead?.size], [undefined, leaves]);
  assert.deepEqual(outcomesOf(bench), [
    [1, 'held', undefined],
    [2, 'released', undefined],
    [3, 'released', undefined],
    [1, 'denied', undefined],
  ]);
});
