import assert from 'node:assert/strict';
import test from 'node:test';
import { auditorListing } from '../../auditor/list.ts';
import { Obedience } from '../../auditor/obedience.ts';
import { changesOf } from '../../auditor/policy-timeline.ts';
import { rateFault, useWith } from '../../auditor/rates.ts';
import type { Portion, StreamUse } from '../../auditor/rates.ts';
import { inspect } from '../../cms/inspect.ts';
import type { PolicyStatus } from '../../domain/device-status.ts';
import { encodeDeviceStatus } from '../../domain/device-status.ts';
import { masterAccount } from '../device-agent/site.ts';
import { pathOf, policyWith } from '../domain/policies.ts';
import type { Bench } from './premises.ts';
import { device, openBench, publishPolicy, sayStatus, sealed, until } from './premises.ts';

function outcomesOf({ data }: Bench): unknown[] {
  return auditorListing(data).entries.map(({ sequence, outcome, alarm, policy }) => [
    sequence,
    outcome,
    alarm?.reason,
    policy,
  ]);
}

const camera = { channel: 'camera.image' };
const wide = { auto: ['fuel.*', 'camera.*'] };
const narrow = { auto: ['fuel.*'] };

test('policy: what was sealed before its device had the newest leaves as it was granted then, and by its number nothing after', async (context) => {
  const bench = await openBench(context);
  const auditor = await bench.start();
  await publishPolicy(bench, 1, wide);
  await publishPolicy(bench, 2, narrow, { status: 'silent' });
  const one = sealed(bench, 1, camera);
  await bench.send(one);
  await until(() => auditor.state().waiting === 1); // for what the device says
  await sayStatus(bench, { numbers: { [masterAccount]: 2 }, since: { vendor: 2 } });
  assert.equal(inspect((await bench.uplink.next('/snapshots')).payload).info?.sequence, 1);
  await bench.send(sealed(bench, 2, { ...camera, previous: one }));
  await until(() => auditor.state().entries === 2);
  assert.deepEqual(outcomesOf(bench), [
    [1, 'released', undefined, 1],
    [2, 'denied', 'policy.denied_channel', 2],
  ]);
});

test('policy: when the grace is over, a person is asked about what was sealed before', async (context) => {
  const bench = await openBench(context);
  const auditor = await bench.start({ policyGraceHours: 0 });
  await publishPolicy(bench, 1, wide);
  await publishPolicy(bench, 2, narrow, {
    status: { numbers: { [masterAccount]: 2 }, since: { vendor: 2 } },
  });
  await bench.send(sealed(bench, 1, camera));
  await until(() => auditor.state().held === 1);
  assert.deepEqual(outcomesOf(bench), [[1, 'held', undefined, 1]]);
});

for (const [policyGraceHours, outcome] of [
  [24, [1, 'held', undefined, 1]],
  [0, [1, 'denied', 'policy.denied_channel', 2]],
] as const) {
  test(`policy: of a device that never says what it obeys, ${outcome[1]} with ${policyGraceHours} hours of grace, and nothing leaves by an older one`, async (context) => {
    const bench = await openBench(context);
    const auditor = await bench.start({ policyGraceHours, certificatesWaitSeconds: 0 });
    await publishPolicy(bench, 1, wide, { status: 'silent' });
    await publishPolicy(bench, 2, narrow, { status: 'silent' });
    await bench.send(sealed(bench, 1, camera));
    await until(() => auditor.state().entries === 1);
    assert.deepEqual(outcomesOf(bench), [outcome]);
  });
}

test('policy: what a device seals under a policy that has not come here yet waits for it', async (context) => {
  const bench = await openBench(context);
  const auditor = await bench.start();
  await publishPolicy(bench, 1, narrow, { status: { numbers: { [masterAccount]: 2 }, since: {} } });
  await bench.send(sealed(bench, 1, camera));
  await until(() => auditor.state().waiting === 1);
  await publishPolicy(bench, 2, wide, { status: 'silent' });
  await bench.uplink.next('/snapshots');
  assert.deepEqual(outcomesOf(bench), [[1, 'released', undefined, 2]]);
});

test('policy: what was decided stays decided when it comes again', async (context) => {
  const bench = await openBench(context);
  const auditor = await bench.start();
  await publishPolicy(bench, 1, narrow);
  const first = sealed(bench, 1);
  const second = sealed(bench, 2, { ...camera, previous: first });
  await bench.send(first, second);
  await until(() => auditor.state().entries === 2);
  await publishPolicy(bench, 2, { auto: ['camera.*'] });
  await bench.send(first, second);
  await until(() => auditor.state().redelivered === 2);
  assert.deepEqual(outcomesOf(bench), [
    [1, 'released', undefined, 1],
    [2, 'denied', 'policy.denied_channel', 1],
  ]);
});

test('policy: how often and how much is counted once more', async (context) => {
  const bench = await openBench(context);
  const auditor = await bench.start();
  const startMs = Date.now() - 3_600_000;
  const sent: Buffer[] = [];
  const send = async (...seconds: readonly number[]): Promise<void> => {
    for (const second of seconds) {
      const previous = sent.at(-1);
      const envelope = sealed(bench, sent.length + 1, {
        timeMs: startMs + second * 1000,
        ...(previous === undefined ? {} : { previous }),
      });
      sent.push(envelope);
      await bench.send(envelope);
    }
  };
  await publishPolicy(bench, 1, { auto: ['*'] }, { limits: { secondsBetweenSnapshots: 60 } });
  await send(0, 59, 60);
  await bench.send(...sent.slice(2)); // the same again is no other one
  await until(() => auditor.state().redelivered === 1);
  const bytes = sent[0]?.length ?? 0;
  await publishPolicy(bench, 2, { auto: ['*'] }, { limits: { bytesPerHour: Math.round(bytes * 3.5) } });
  await send(61, 62, 63);
  await until(() => auditor.state().entries === 6);
  assert.deepEqual(
    outcomesOf(bench).map((outcome) => (outcome as unknown[]).slice(0, 3)),
    [
      [1, 'released', undefined],
      [2, 'denied', 'policy.sampling'],
      [3, 'released', undefined],
      [4, 'released', undefined],
      [5, 'denied', 'policy.rate'],
      [6, 'denied', 'policy.rate'],
    ],
  );
});

test('rateFault: an hour is one of the stated ones, nobody is in the future, and a clock that was set back has twice as much', () => {
  const hourMs = 3_600_000;
  const noon = 12 * hourMs;
  const portion = (signingTimeMs: number, receivedMs = signingTimeMs): Portion => ({
    snapshotMs: signingTimeMs,
    signingTimeMs,
    receivedMs,
    bytes: 400,
  });
  const limits = { bytesPerHour: 1000 };
  const reasonAfter = (portions: readonly Portion[], next: Portion): string | undefined => {
    const used = portions.reduce<StreamUse | undefined>(useWith, undefined);
    return rateFault(limits, used, next)?.reason;
  };
  assert.equal(reasonAfter([portion(noon)], portion(noon + 1)), undefined);
  assert.equal(reasonAfter([portion(noon), portion(noon)], portion(noon + 1)), 'policy.rate');
  assert.equal(reasonAfter([portion(noon), portion(noon)], portion(noon + hourMs)), undefined);
  // What waited for a connection comes together, and was sealed in hours of its own.
  const late = [0, 0, 1, 1, 2, 2].map((hours) => portion(noon + hours * hourMs, noon + 9 * hourMs));
  assert.equal(reasonAfter(late, portion(noon + 3 * hourMs, noon + 9 * hourMs)), undefined);
  // Whoever states hours that have not come has those of now.
  const ahead = [1, 2].map((hours) => portion(noon + hours * hourMs, noon));
  assert.equal(reasonAfter(ahead, portion(noon + 3 * hourMs, noon)), 'policy.rate');
  const back = [portion(noon), portion(noon)];
  const earlier = (count: number) => Array.from({ length: count }, () => portion(noon - hourMs, noon));
  assert.equal(reasonAfter(back, portion(noon - hourMs, noon)), undefined);
  assert.equal(reasonAfter([...back, ...earlier(3)], portion(noon - hourMs, noon)), 'policy.rate');
});

test('Obedience: numbers only rise, and a last will says nothing new', () => {
  const obedience = new Obedience();
  const say = (policy: PolicyStatus): boolean =>
    obedience.take(device, Buffer.from(encodeDeviceStatus({ state: 'online', agentVersion: '1', policy })));
  const levels = [{ path: pathOf(masterAccount), number: 2, standing: 'in_force' as const }];
  const standing = (sequence: number, group = 'vendor') =>
    obedience.standingOf(device, { levels }, group, sequence);
  assert.equal(standing(1), 'unknown');
  assert.ok(say({ numbers: { [masterAccount]: 1 }, since: { vendor: 1 } }));
  assert.equal(standing(1), 'unknown');
  assert.ok(say({ numbers: { [masterAccount]: 2 }, since: { vendor: 5 } }));
  assert.deepEqual([standing(4), standing(5), standing(1, 'insurer')], ['before', 'under', 'under']);
  // It cannot say later that more of it was sealed before, nor forget what it had.
  assert.ok(!say({ numbers: { [masterAccount]: 2 }, since: { vendor: 9 } }));
  assert.ok(!say({ numbers: { [masterAccount]: 1 }, since: { vendor: 9 } }));
  assert.equal(standing(5), 'under');
  assert.ok(!obedience.take(device, Buffer.from('no status')));
  assert.ok(say({ numbers: { [masterAccount]: 2, [device]: 1 }, since: { vendor: 9 } }));
  assert.equal(standing(9), 'ahead');
});

test('changesOf: what held before each policy came, and before one ended', () => {
  const taken = (number: number, takenMs: number, validUntilMs?: number) => ({
    policy: policyWith(
      masterAccount,
      {},
      { number, ...(validUntilMs === undefined ? {} : { validUntilMs }) },
    ),
    takenMs,
  });
  const below = { policy: policyWith('ms-acc-1/acc-1', {}, { number: 7 }), takenMs: 150 };
  const changes = changesOf([[taken(1, 100), taken(2, 200, 300)], [below]], 400);
  assert.deepEqual(
    changes.map(({ atMs, kind, before }) => [atMs, kind, before.map(({ number }) => number)]),
    [
      [300, 'ended', [2, 7]],
      [200, 'taken', [1, 7]],
      [150, 'taken', [1]],
      [100, 'taken', []],
    ],
  );
  assert.deepEqual(changesOf([[taken(2, 200, 300)]], 250).length, 1, 'it has not ended yet');
});
