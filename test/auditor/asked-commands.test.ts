import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import path from 'node:path';
import test from 'node:test';
import { auditorListing } from '../../auditor/list.ts';
import { createSealer } from '../../cms/seal.ts';
import { encodeCommand } from '../../domain/command.ts';
import { masterAccount } from '../device-agent/site.ts';
import type { Bench } from './premises.ts';
import { device, openBench, publishPolicy, stranger as issuer, until } from './premises.ts';

const topic = `${device}/commands`;

function sealedCommand({ site }: Bench, expiresAtMs: number): Buffer {
  const { signature, keyAgreement } = site.identity(issuer);
  const nowMs = Date.now();
  const content = encodeCommand({
    id: randomUUID(),
    name: 'ping',
    parameters: {},
    issuedAtMs: nowMs,
    expiresAtMs,
  });
  return createSealer({ signature, keyAgreement }).seal(
    content,
    [device, masterAccount].map((name) => site.identity(name).keyAgreement.certificate),
    { topic, sequence: 1, previousDigest: undefined, contentType: 'command+cbor', signingTimeMs: nowMs },
  ).envelope;
}

test('enforce: a command that the policy asks about waits for a person, over a restart, in order, and no longer than it is of use', async (context) => {
  const bench = await openBench(context);
  const settings = { commandIssuers: [path.join(bench.site.folder, issuer)] };
  const first = await bench.start(settings);
  await publishPolicy(bench, 1, { auto: ['*'] }, { rest: { commands: ['ping'], askedCommands: ['ping'] } });
  const { received } = await bench.site.reader(device, 'commanded', [topic]);
  // As the cascade does, which has the owner's rights.
  const arrive = (command: Buffer): Promise<void> =>
    bench.owner.publish('ms-acc-1/$arrived/acc-1/dev-1/commands', command, { qos: 1 });
  const laterMs = Date.now() + 3_600_000;
  const [one, two, three] = [laterMs, laterMs, laterMs].map((expiresAtMs) =>
    sealedCommand(bench, expiresAtMs),
  );
  assert.ok(one && two && three);
  for (const command of [one, two]) await arrive(command);
  await until(() => first.state().held === 2);
  assert.equal(first.gate?.list(1)[0]?.deadlineMs, laterMs, 'sooner than anybody has to decide');
  await first.stop();

  const second = await bench.start(settings);
  const [earlier, later] = second.gate?.list(2) ?? [];
  assert.ok(earlier && later);
  second.gate?.decide(later.id, { outcome: 'released', by: 'Anna' });
  assert.equal(second.state().held, 2, 'it waits for the one before');
  second.gate?.decide(earlier.id, { outcome: 'denied', by: 'Anna' });
  assert.deepEqual((await received.next('/commands')).payload, two, 'as it came, and before it nothing');
  await arrive(sealedCommand(bench, Date.now() + 100));
  // Its end may come at once, with an entry of its own.
  await until(() => second.state().entries >= 5);
  second.gate?.checkDeadlines();
  await until(() => second.state().held === 0);

  await publishPolicy(bench, 2, { auto: ['*'] }, { rest: { commands: ['ping'] } });
  await arrive(three);
  assert.deepEqual((await received.next('/commands')).payload, three);
  assert.deepEqual(
    auditorListing(bench.data).entries.map(({ direction, outcome, decidedBy }) => [
      direction,
      outcome,
      decidedBy,
    ]),
    [
      ['in', 'held', undefined],
      ['in', 'held', undefined],
      ['in', 'denied', 'Anna'],
      ['in', 'released', 'Anna'],
      ['in', 'held', undefined],
      ['in', 'denied', 'deadline'],
      ['in', 'released', undefined],
    ],
  );
});

test('enforce: without a policy nothing passes by itself, in neither direction, and the log says why', async (context) => {
  const bench = await openBench(context);
  const auditor = await bench.start({
    withoutPolicy: undefined,
    commandIssuers: [path.join(bench.site.folder, issuer)],
  });
  await bench.owner.publish(
    'ms-acc-1/$arrived/acc-1/dev-1/commands',
    sealedCommand(bench, Date.now() + 3_600_000),
    { qos: 1 },
  );
  await until(() => auditor.state().held === 1);
  const missing = await bench.recorded.event('policy.missing', (record) => record['device'] === device);
  assert.match(String(missing['hint']), /no policy speaks of it/);
  assert.match(String((await bench.recorded.event('policy.missing'))['hint']), /plombe policy publish/);
});
