import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';
import { after, before, test } from 'node:test';
import { encode } from 'cborg';
import { countersignContent, signContent } from '../../cms/signed-content.ts';
import type { Policy } from '../../domain/policy.ts';
import { encodePolicy } from '../../domain/policy.ts';
import { Policies } from '../../policy/policies.ts';
import { readSignedPolicy, signPolicy } from '../../policy/signed-policy.ts';
import type { Authority } from '../../pki/authority/authority.ts';
import { createAuthority } from '../../pki/authority/authority.ts';
import type { E2eIdentity } from '../../pki/identity.ts';
import { loadE2eIdentity } from '../../pki/identity.ts';
import { RevocationLists } from '../../pki/revocation-lists.ts';
import type { StalePolicy } from '../../pki/revocation.ts';
import { createMetrics } from '../../runtime/observe.ts';
import { temporaryFolder } from '../device-agent/collector/files.ts';
import { named, pathOf, policyWith } from '../domain/policies.ts';
import { bundleOf } from '../pki/lists.ts';
import { RecordedLog } from '../runtime/recorded-log.ts';

const device = pathOf('ms-acc-1/acc-1/dev-1');
const writer = path.join(import.meta.dirname, 'policies-writer.ts');
const sibling = pathOf('ms-acc-1/acc-1/dev-2');

let folder = '';
let authority: Authority;
const identities = new Map<string, E2eIdentity>();
before(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'plombe-policy-'));
  authority = createAuthority({ directory: path.join(folder, 'authority') });
  for (const name of ['ms-acc-1', 'ms-acc-1/acc-1', 'ms-acc-1/acc-2', 'ms-acc-2', device, 'MRO-Admin']) {
    const outputDirectory = path.join(folder, name, 'keys');
    await authority.issue({ path: name, outputDirectory });
    identities.set(name, loadE2eIdentity(outputDirectory));
  }
});
after(() => rmSync(folder, { recursive: true }));

function identity(name: string): E2eIdentity {
  return identities.get(name) ?? assert.fail(name);
}

interface Desk {
  readonly policies: Policies;
  readonly lists: RevocationLists;
  readonly recorded: RecordedLog;
  readonly counted: (name: string) => Promise<number>;
  nowMs: number;
}

function openDesk(directory: string, stalePolicy: StalePolicy = { action: 'warn' }): Desk {
  const recorded = new RecordedLog();
  const metrics = createMetrics();
  const { roots } = identity('ms-acc-1');
  const lists = new RevocationLists({ directory, roots, stalePolicy, metrics, log: recorded.log });
  const desk = {
    recorded,
    lists,
    nowMs: Date.now(),
    policies: undefined as unknown as Policies,
    counted: async (name: string) => {
      const values = (await metrics.registry.getSingleMetric(name)?.get())?.values ?? [];
      return values.reduce((sum, { value }) => sum + value, 0);
    },
  };
  const clock = (): number => desk.nowMs;
  const policies = new Policies({ directory, roots, lists, clock, metrics, log: recorded.log });
  return Object.assign(desk, { policies });
}

function policyFor(owner: string, number: number, rest: Partial<Policy> = {}): Policy {
  const vendor = {
    recipients: named('vendor-snapshot-service'),
    channels: { auto: [`n${number}.*`], ask: [], deny: [] },
    limits: {},
  };
  return policyWith(owner, { vendor }, { number, ...rest });
}

function signed(policy: Policy, by: string = policy.issuer): Buffer {
  return signPolicy(policy, identity(by), Date.now());
}

function numbersOf({ policies }: Desk): number[] {
  return policies.of(device).map(({ number }) => number);
}

test('Policies: takes what the owners of a device say, and only what is newer', async (context: TestContext) => {
  const directory = temporaryFolder(context);
  const desk = openDesk(directory);
  assert.equal(desk.policies.take(device, signed(policyFor('ms-acc-1', 5))), true);
  assert.equal(desk.policies.take(device, signed(policyFor('ms-acc-1/acc-1', 1))), true);
  assert.equal(
    desk.policies.take(device, signed(policyFor(device, 2, { issuer: pathOf('ms-acc-1') }))),
    true,
  );
  assert.deepEqual(numbersOf(desk), [5, 1, 2]);
  assert.equal(desk.policies.take(device, signed(policyFor('ms-acc-1', 5))), false, 'signed again');
  assert.equal(desk.policies.faultOf(device), undefined);
  assert.equal(await desk.counted('plombe_policies_taken_total'), 3);
  assert.equal(await desk.counted('plombe_policies_refused_total'), 0);
  assert.deepEqual(numbersOf(openDesk(directory)), [5, 1, 2], 'also after a restart');
  assert.equal(desk.policies.take(device, Buffer.alloc(0)), false);
  assert.deepEqual(numbersOf(desk), [5, 1, 2], 'what was said holds, though the retained message is deleted');
});

test('Policies: foreign, older, forked, malformed or unsigned, it changes nothing and is reported', async (context: TestContext) => {
  const directory = temporaryFolder(context);
  const desk = openDesk(directory);
  desk.policies.take(device, signed(policyFor('ms-acc-1', 5)));
  const cbor = encodePolicy(policyFor('ms-acc-1', 6));
  const by = (name: string): Buffer => signContent(cbor, identity(name).signature, Date.now());
  const flipped = signed(policyFor('ms-acc-1', 6));
  flipped.writeUInt8(flipped.readUInt8(120) ^ 1, 120);
  const refused: readonly (readonly [string, Buffer])[] = [
    ['policy.rollback', signed(policyFor('ms-acc-1', 4))],
    ['policy.forked', signed(policyFor('ms-acc-1', 5, { commands: [] }))],
    ['policy.unsigned_by_owner', by('ms-acc-2')],
    ['policy.unsigned_by_owner', by('ms-acc-1/acc-1')],
    ['policy.unsigned_by_owner', by(device)],
    ['policy.unsigned_by_owner', by('MRO-Admin')],
    [
      'policy.unsigned_by_owner',
      countersignContent(by('ms-acc-1'), identity('MRO-Admin').signature, Date.now()),
    ],
    ['policy.foreign', signed(policyFor('ms-acc-2', 6))],
    ['policy.foreign', signed(policyFor('ms-acc-1/acc-2', 6))],
    ['policy.foreign', signed(policyFor(sibling, 6))],
    ['policy.expired', signed(policyFor('ms-acc-1', 6, { validUntilMs: desk.nowMs }))],
    ['policy.malformed', signContent(Buffer.from('no policy'), identity('ms-acc-1').signature, Date.now())],
    ['cms.malformed', Buffer.from('no message')],
    ['cms.rejected', flipped],
  ];
  for (const [reason, message] of refused) {
    assert.equal(desk.policies.take(device, message), false);
    assert.equal(desk.policies.faultOf(device)?.reason, reason);
    assert.deepEqual(numbersOf(desk), [5]);
    assert.ok(
      desk.recorded.records.some((one) => one.event === 'policy.refused' && one['reason'] === reason),
    );
  }
  assert.equal(await desk.counted('plombe_policies_refused_total'), refused.length);
  assert.deepEqual(numbersOf(openDesk(directory)), [5], 'nothing of it is on the disk');
  desk.policies.take(device, signed(policyFor('ms-acc-1', 6)));
  assert.equal(desk.policies.faultOf(device), undefined, 'and is forgotten with the next good one');
});

test('Policies: an old policy that is served after a restart is refused too', (context: TestContext) => {
  const directory = temporaryFolder(context);
  openDesk(directory).policies.take(device, signed(policyFor('ms-acc-1', 7)));
  const desk = openDesk(directory);
  assert.equal(desk.policies.take(device, signed(policyFor('ms-acc-1', 6))), false);
  assert.equal(desk.policies.faultOf(device)?.reason, 'policy.rollback');
  const effect = desk.policies.effectiveFor(device, []);
  assert.equal(effect.groups[0]?.classOf('n7.x'), 'auto');
  assert.equal(effect.groups[0]?.classOf('n6.x'), 'deny');
});

test('Policies: does not start with a damaged policy, for an older one could take its place', (context: TestContext) => {
  const directory = temporaryFolder(context);
  openDesk(directory).policies.take(device, signed(policyFor('ms-acc-1', 7)));
  const kept = path.join(directory, 'policies');
  const [name = ''] = readdirSync(kept);
  const file = path.join(kept, name);
  const whole = readFileSync(file);
  for (const length of [0, 1, 10, whole.length - 1]) {
    writeFileSync(file, whole.subarray(0, length));
    assert.throws(() => openDesk(directory), { code: 'policy.damaged' }, `${length} bytes`);
  }
  const flipped = Buffer.from(whole);
  flipped.writeUInt8(flipped.readUInt8(whole.length - 8) ^ 1, whole.length - 8);
  writeFileSync(file, flipped);
  assert.throws(() => openDesk(directory), { code: 'policy.damaged', message: /%2F|ms-acc-1/ });
  writeFileSync(file, whole);
  writeFileSync(path.join(kept, `.${name}.123.new`), 'half of one'); // what a kill leaves behind
  assert.deepEqual(numbersOf(openDesk(directory)), [7]);
});

test('Policies: what cannot be written does not count, and is tried again', (context: TestContext) => {
  const directory = temporaryFolder(context);
  const desk = openDesk(directory);
  desk.policies.take(device, signed(policyFor('ms-acc-1', 1)));
  const kept = path.join(directory, 'policies');
  rmSync(kept, { recursive: true });
  writeFileSync(kept, 'in the way');
  assert.equal(desk.policies.take(device, signed(policyFor('ms-acc-1', 2))), false);
  assert.equal(desk.policies.faultOf(device)?.reason, 'policy.not_kept');
  assert.deepEqual(numbersOf(desk), [1]);
  rmSync(kept);
  desk.nowMs += 60_000;
  desk.policies.effectiveFor(device, []);
  assert.deepEqual(numbersOf(desk), [2]);
  assert.equal(desk.policies.faultOf(device), undefined);
});

test('Policies: what begins later waits for its time, and an older one does not push it out', (context: TestContext) => {
  const desk = openDesk(temporaryFolder(context));
  const beginsMs = desk.nowMs + 3_600_000;
  assert.equal(
    desk.policies.take(device, signed(policyFor('ms-acc-1', 9, { validFromMs: beginsMs }))),
    false,
  );
  assert.equal(desk.policies.faultOf(device)?.reason, 'policy.not_yet_valid');
  desk.policies.take(device, signed(policyFor('ms-acc-1', 8, { validFromMs: beginsMs })));
  desk.policies.effectiveFor(device, []);
  assert.deepEqual(numbersOf(desk), []);
  desk.nowMs = beginsMs;
  desk.policies.effectiveFor(device, []);
  assert.deepEqual(numbersOf(desk), [9]);
});

test('Policies: a clock that was ahead and is set right ends no policy for good, and stops no attempt', (context: TestContext) => {
  const desk = openDesk(temporaryFolder(context));
  const { nowMs } = desk;
  const standing = (): (string | undefined)[] =>
    desk.policies.effectiveFor(device, []).levels.map((level) => level.standing);
  desk.policies.take(device, signed(policyFor('ms-acc-1', 3, { validUntilMs: nowMs + 3_600_000 })));
  assert.deepEqual(standing(), ['in_force']);
  desk.nowMs = nowMs + 86_400_000;
  assert.deepEqual(standing(), ['expired']);
  desk.policies.take(device, signed(policyFor('ms-acc-1/acc-1', 1, { validFromMs: nowMs + 2 * 86_400_000 })));
  desk.policies.retry();
  desk.nowMs = nowMs;
  assert.deepEqual(standing(), ['in_force']);
  desk.policies.take(device, signed(policyFor('ms-acc-1/acc-1', 2, { validFromMs: nowMs + 3_000_000 })));
  desk.nowMs = nowMs + 3_000_000;
  assert.deepEqual(standing(), ['in_force', 'in_force']);
});

test('Policies: an owner that is revoked decides nothing any more; without lists it waits for them', async (context: TestContext) => {
  const desk = openDesk(temporaryFolder(context), { action: 'refuse' });
  assert.equal(desk.policies.take(device, signed(policyFor('ms-acc-1/acc-1', 3))), false);
  assert.equal(desk.policies.faultOf(device)?.reason, 'pki.stale_crl');
  desk.lists.take(bundleOf(authority));
  desk.policies.retry();
  assert.deepEqual(numbersOf(desk), [3]);
  await authority.revoke({ target: { path: 'ms-acc-1/acc-1' }, kinds: ['sig'] });
  desk.lists.take(bundleOf(authority));
  desk.nowMs = Date.now() + 1000;
  assert.equal(desk.policies.take(device, signed(policyFor('ms-acc-1/acc-1', 4))), false);
  assert.equal(desk.policies.faultOf(device)?.reason, 'pki.revoked');
  assert.deepEqual(numbersOf(desk), [3]);
});

test('signPolicy: signs in the name of the issuer alone', () => {
  const policy = policyFor('ms-acc-1/acc-1', 1);
  assert.throws(() => signPolicy(policy, identity('ms-acc-1'), Date.now()), {
    code: 'policy.unsigned_by_owner',
  });
  const { roots } = identity('ms-acc-1');
  const read = readSignedPolicy(signed(policy), { roots, atMs: Date.now() });
  assert.deepEqual(read.policy, policy);
  assert.equal(read.signer.commonName, 'ms-acc-1/acc-1');
});

test('Policies: killed at any moment while policies arrive, the one that held holds, and none is half there', async (context: TestContext) => {
  const directory = temporaryFolder(context);
  const input = path.join(directory, 'input');
  const messages = Array.from({ length: 60 }, (_, index) => signed(policyFor('ms-acc-1', index + 1)));
  const [root] = identity('ms-acc-1').roots;
  writeFileSync(input, encode({ root: root?.der, messages }));
  let heldBefore = 0;
  for (const killAt of [1, 17, 41]) {
    const child = spawn(process.execPath, [writer, directory, input], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let said = 0;
    for await (const line of createInterface({ input: child.stdout })) {
      said = Number(line);
      if (said >= killAt) child.kill('SIGKILL');
    }
    const [held = 0] = numbersOf(openDesk(directory));
    assert.ok(held >= said, `it said that number ${said} holds, and then it was ${held}`);
    assert.ok(said >= heldBefore, `number ${said} after ${heldBefore}`);
    heldBefore = held;
  }
});
