import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { copyFileSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import type { TestContext } from 'node:test';
import test from 'node:test';
import type { OpenedEnvelope } from '../../cms/open.ts';
import { createOpener } from '../../cms/open.ts';
import { originatorsOf } from '../../cms/originator.ts';
import { createSealer } from '../../cms/seal.ts';
import type { CommandResult } from '../../domain/command.ts';
import { decodeCommandResult, encodeCommand } from '../../domain/command.ts';
import { parseDeviceStatus } from '../../domain/device-status.ts';
import type { Policy, PolicyRecipient } from '../../domain/policy.ts';
import { decodeSenmlCbor } from '../../domain/senml.ts';
import { policyTopic, sharedTopic } from '../../domain/topic.ts';
import type { RunningAgent } from '../../device-agent/main.ts';
import type { Link } from '../../mqtt/link.ts';
import { createAuthority } from '../../pki/authority/authority.ts';
import { loadE2eIdentity } from '../../pki/identity.ts';
import { signPolicy } from '../../policy/signed-policy.ts';
import { named, pathOf, policyWith } from '../domain/policies.ts';
import { RecordedLog } from '../runtime/recorded-log.ts';
import { devicePath, masterAccount, openMessage, Site } from './site.ts';
import type { Received } from './site.ts';

const device = devicePath('ms-acc-1/acc-1/dev-1');
const account = 'ms-acc-1/acc-1';
const service = 'vendor-snapshot-service';
const insurer = 'ms-acc-1/insurer';
const names = [masterAccount, account, device, service, insurer];

interface Desk {
  readonly site: Site;
  readonly recorded: RecordedLog;
  readonly owner: Link;
  readonly received: Received;
  readonly stdin: PassThrough;
  readonly settings: object;
  readonly agent: RunningAgent;
}

/** An agent with one device, which seals for the vendor's service and the owner; the owner sees all that leaves. */
async function openDesk(context: TestContext, settings: object = {}): Promise<Desk> {
  const site = new Site(context);
  await site.startBroker();
  for (const name of names) await site.issue(name);
  const { link, received } = await site.reader(masterAccount, 'owner', [
    `${device}/snapshots`,
    `${device}/shared/+/snapshots`,
    `${device}/status`,
    `${device}/commands/result`,
  ]);
  const recorded = new RecordedLog();
  const stdin = new PassThrough();
  const whole = {
    devices: [{ identity: path.join(site.folder, device), collector: { kind: 'stdin' } }],
    recipients: [service, masterAccount].map((name) => path.join(site.folder, name, 'enc.chain.pem')),
    ...settings,
  };
  const agent = await site.startAgent(whole, recorded.log, { stdin });
  return { site, recorded, owner: link, received, stdin, settings: whole, agent };
}

/** @returns when the agent has taken it, or refused it */
async function publish({ site, owner, recorded }: Desk, policy: Policy): Promise<void> {
  const message = signPolicy(policy, site.identity(policy.issuer), Date.now());
  const before = recorded.records.length;
  await owner.publish(policyTopic(policy.path), message, { qos: 1, retain: true });
  const isNew = (record: object): boolean => recorded.records.indexOf(record as never) >= before;
  await Promise.race([recorded.event('policy.applied', isNew), recorded.event('policy.refused', isNew)]);
}

function insurerOf({ site }: Desk): PolicyRecipient {
  const { chain } = site.identity(insurer).keyAgreement;
  return { name: insurer, trust: 'chain', certificates: chain.map(({ der }) => der) };
}

function rules(auto: readonly string[], deny: readonly string[] = []) {
  return { auto, ask: [], deny };
}

const line = (values: Readonly<Record<string, number>>): string => `${JSON.stringify(values)}\n`;
const values = { 'fuel.temperature': 41, 'fuel.recipe': 7, hours: 1234 };

interface Seen {
  readonly opened: OpenedEnvelope;
  /** Who can open it. */
  readonly readers: readonly string[];
  readonly channels: readonly string[];
}

/** The next envelope on a topic, and who of all can open it. */
async function next({ site, received }: Desk, topicEnd: string): Promise<Seen> {
  const message = await received.next(topicEnd);
  const openings = [service, masterAccount, account, insurer].flatMap((name) => {
    try {
      return [{ name, opened: openMessage(site.opener(name, [device]), message) }];
    } catch {
      return []; // not for that one
    }
  });
  const [first] = openings;
  assert.ok(first, 'nobody can open it');
  const { readings } = decodeSenmlCbor(device, first.opened.content);
  return {
    opened: first.opened,
    readers: openings.map(({ name }) => name),
    channels: readings.map(({ channel }) => channel),
  };
}

const shared = sharedTopic(device, 'insurer').slice(device.length);

test('agent: each group of readers gets what its policy grants, and no key to more', async (context) => {
  const desk = await openDesk(context);
  desk.stdin.write(line(values));
  const before = await next(desk, '/dev-1/snapshots');
  assert.deepEqual(before.readers, [service, masterAccount]);
  assert.equal(before.channels.length, 3);

  await publish(
    desk,
    policyWith(masterAccount, {
      vendor: { recipients: named(service), channels: rules(['*'], ['fuel.recipe']), limits: {} },
      insurer: { recipients: [insurerOf(desk)], channels: rules(['hours']), limits: {} },
    }),
  );
  for (const sequence of [2, 3]) {
    desk.stdin.write(line(values));
    const forVendor = await next(desk, '/dev-1/snapshots');
    assert.deepEqual(forVendor.readers, [service, masterAccount]);
    assert.deepEqual(forVendor.channels, ['fuel.temperature', 'hours']);
    assert.equal(forVendor.opened.sequence, sequence);
    const forInsurer = await next(desk, shared);
    assert.deepEqual(forInsurer.readers, [masterAccount, insurer]);
    assert.deepEqual(forInsurer.channels, ['hours']);
    assert.equal(forInsurer.opened.sequence, sequence - 1, 'a stream has its own numbers, from 1');
    assert.equal(forInsurer.opened.previousDigest === undefined, sequence === 2, 'and its own chain');
  }
  assert.deepEqual(desk.agent.state().devices[0]?.shared['insurer']?.sealed, 2);

  await publish(
    desk,
    policyWith(
      masterAccount,
      { vendor: { recipients: named(service), channels: rules(['fuel.*']), limits: {} } },
      { number: 2 },
    ),
  );
  desk.stdin.write(line(values));
  assert.deepEqual((await next(desk, '/dev-1/snapshots')).channels, ['fuel.temperature', 'fuel.recipe']);
  await desk.site.stopAgents();
  assert.equal(desk.agent.state().devices[0]?.shared['insurer']?.sealed, 2, 'nothing after it was withdrawn');
});

test('agent: whom the owner pinned can read, wherever the certificate is from; a name that nobody has is left out', async (context) => {
  const desk = await openDesk(context);
  const elsewhere = createAuthority({ directory: path.join(desk.site.folder, 'elsewhere') });
  const outputDirectory = path.join(desk.site.folder, 'stranger');
  await elsewhere.issue({ path: 'ms-acc-9', outputDirectory });
  const stranger = loadE2eIdentity(outputDirectory);
  await publish(
    desk,
    policyWith(masterAccount, {
      insurer: {
        recipients: [
          { name: 'A stranger', trust: 'pinned', certificates: [stranger.keyAgreement.certificate.der] },
          ...named('vendor-unknown-service'),
        ],
        channels: rules(['hours']),
        limits: {},
      },
    }),
  );
  desk.stdin.write(line(values));
  const message = await desk.received.next(shared);
  const { signature, keyAgreement } = desk.site.identity(device);
  const opener = createOpener({
    recipient: stranger.keyAgreement,
    originators: originatorsOf([
      { commonName: device, signature: signature.certificate, keyAgreement: keyAgreement.certificate },
    ]),
  });
  const opened = openMessage(opener, message);
  assert.equal(opened.recipients.length, 2, 'the stranger and the owner');
  const left = await desk.recorded.event('recipient.left_out');
  assert.equal(left['recipient'], 'vendor-unknown-service');
});

test('agent: what a group may read nothing of is not sealed for it at all, and uses no number', async (context) => {
  const desk = await openDesk(context);
  await publish(
    desk,
    policyWith(account, { vendor: { recipients: named(service), channels: rules(['hours']), limits: {} } }),
  );
  desk.stdin.write(line({ 'fuel.recipe': 1 }));
  desk.stdin.write(line({ 'fuel.recipe': 2, hours: 1 }));
  const first = await next(desk, '/dev-1/snapshots');
  assert.deepEqual([first.opened.sequence, first.channels], [1, ['hours']]);
});

test('agent: an old policy, served again, changes nothing; the status of the device says so, also after a restart', async (context) => {
  const desk = await openDesk(context);
  const policy = (number: number, channel: string): Policy =>
    policyWith(
      masterAccount,
      { vendor: { recipients: named(service), channels: rules([channel]), limits: {} } },
      { number },
    );
  const status = async (isRight: (policy: unknown) => boolean): Promise<void> => {
    for (;;) {
      const found = parseDeviceStatus((await desk.received.next('/status')).payload);
      if (found?.policy !== undefined && isRight(found.policy)) return;
    }
  };
  await publish(desk, policy(5, 'hours'));
  await publish(desk, policy(4, 'fuel.*'));
  await status((found) => {
    const { numbers, refused } = found as { numbers: object; refused?: { reason: string } };
    return JSON.stringify(numbers) === '{"ms-acc-1":5}' && refused?.reason === 'policy.rollback';
  });
  desk.stdin.write(line(values));
  assert.deepEqual((await next(desk, '/dev-1/snapshots')).channels, ['hours']);

  await desk.site.stopAgents();
  const [stdin, recorded] = [new PassThrough(), new RecordedLog()];
  await desk.site.startAgent(desk.settings, recorded.log, { stdin });
  await recorded.event('policy.refused', ({ reason }) => reason === 'policy.rollback'); // it is what the broker keeps
  stdin.write(line(values));
  assert.deepEqual((await next(desk, '/dev-1/snapshots')).channels, ['hours']);
});

test('agent: where the configuration wants a policy, nothing is sealed before one has come', async (context) => {
  const desk = await openDesk(context, { policy: { required: true } });
  desk.stdin.write(line(values));
  desk.stdin.write(line(values));
  assert.equal((await desk.recorded.event('samples.delayed'))['reason'], 'readers.no_policy');
  await publish(
    desk,
    policyWith(masterAccount, {
      vendor: { recipients: named(service), channels: rules(['hours']), limits: {} },
    }),
  );
  assert.deepEqual(
    (await next(desk, '/dev-1/snapshots')).channels,
    ['hours'],
    'and what waited is sealed by it',
  );
});

for (const [asked, settings, wanted] of [
  ['withheld unless the configuration says that somebody asks', {}, ['hours']],
  ['sealed where an auditor holds it', { policy: { asked: 'sealed' } }, ['fuel.recipe', 'hours']],
] as const) {
  test(`agent: what is to be asked about is ${asked}`, async (context) => {
    const desk = await openDesk(context, settings);
    const channels = { auto: ['hours'], ask: ['fuel.recipe'], deny: [] };
    await publish(
      desk,
      policyWith(masterAccount, { vendor: { recipients: named(service), channels, limits: {} } }),
    );
    desk.stdin.write(line(values));
    const first = await next(desk, '/dev-1/snapshots');
    assert.deepEqual([first.opened.sequence, first.channels.toSorted()], [1, wanted]);
  });
}

test('agent: limits hold for each group alone, and leave no gap', async (context) => {
  const nowMs = Date.now();
  const desk = await openDesk(context);
  await desk.site.stopAgents();
  const stdin = new PassThrough();
  const agent = await desk.site.startAgent(desk.settings, desk.recorded.log, { stdin, clock: () => nowMs });
  await publish(
    desk,
    policyWith(masterAccount, {
      vendor: { recipients: named(service), channels: rules(['*']), limits: {} },
      insurer: {
        recipients: [insurerOf(desk)],
        channels: rules(['hours']),
        limits: { secondsBetweenSnapshots: 60 },
      },
      small: { recipients: named(service), channels: rules(['*']), limits: { envelopeBytes: 100 } },
    }),
  );
  for (const atMs of [0, 59_000, 60_000, 61_000, 125_000]) {
    stdin.write(`${JSON.stringify({ time: new Date(nowMs + atMs).toISOString(), hours: 1 })}\n`);
    await next(desk, '/dev-1/snapshots');
  }
  for (const sequence of [1, 2, 3]) assert.equal((await next(desk, shared)).opened.sequence, sequence);
  await desk.site.stopAgents();
  const [state] = agent.state().devices;
  assert.deepEqual(
    [state?.sealed, state?.shared['insurer']?.sealed, state?.shared['small']?.sealed],
    [5, 3, 0],
  );
});

test('agent: what goes out in an hour is bounded, also over a restart', async (context) => {
  let nowMs = 1000 * Math.ceil(Date.now() / 3_600_000) * 3600;
  const desk = await openDesk(context);
  await publish(
    desk,
    policyWith(masterAccount, {
      vendor: { recipients: named(service), channels: rules(['*']), limits: {} },
      insurer: { recipients: [insurerOf(desk)], channels: rules(['hours']), limits: { bytesPerHour: 2500 } },
    }),
  );
  const counts: unknown[] = [];
  for (const laterMs of [0, 1000, 3_600_000]) {
    await desk.site.stopAgents();
    nowMs += laterMs;
    const stdin = new PassThrough();
    const agent = await desk.site.startAgent(desk.settings, desk.recorded.log, { stdin, clock: () => nowMs });
    for (let written = 0; written < 4; written++) {
      stdin.write(line({ hours: written }));
      await next(desk, '/dev-1/snapshots');
    }
    counts.push(agent.state().devices[0]?.shared['insurer']?.sealed);
  }
  assert.deepEqual(counts, [2, 2, 4], 'two envelopes of some 900 bytes in each hour');
});

test('agent: a command that the owner does not allow, or asks about where nobody is asked, is refused with the reason', async (context) => {
  const issuers = path.join('issuers', masterAccount);
  const desk = await openDesk(context, { commandIssuers: [] });
  const folder = path.join(desk.site.folder, issuers);
  mkdirSync(folder, { recursive: true });
  for (const file of ['sig.chain.pem', 'enc.chain.pem']) {
    copyFileSync(path.join(desk.site.folder, masterAccount, file), path.join(folder, file));
  }
  await desk.site.stopAgents();
  await desk.site.startAgent({ ...desk.settings, commandIssuers: [folder] }, desk.recorded.log, {
    stdin: new PassThrough(),
  });
  await desk.recorded.event('commands.subscribed');
  const obey = (number: number, commands: string[], askedCommands: string[]): Promise<void> =>
    publish(
      desk,
      policyWith(account, undefined, {
        number,
        issuer: pathOf(masterAccount),
        commands,
        ...(askedCommands.length === 0 ? {} : { askedCommands }),
      }),
    );
  await obey(3, [], []);
  const refused = await pinged(desk);
  assert.equal(refused.outcome, 'refused');
  assert.match(refused.detail, /policy does not allow ping \(ms-acc-1\/acc-1 number 3\)/);

  await obey(4, ['ping'], ['ping']);
  assert.match((await pinged(desk)).detail, /policy asks a person about ping, and no configuration says/);
  await desk.site.stopAgents();
  await desk.site.startAgent(
    { ...desk.settings, commandIssuers: [folder], policy: { asked: 'sealed' } },
    desk.recorded.log,
    { stdin: new PassThrough() },
  );
  assert.equal((await pinged(desk)).outcome, 'done');
});

/** @returns what a device answers to its owner */
async function pinged(desk: Desk): Promise<CommandResult> {
  const { signature, keyAgreement } = desk.site.identity(masterAccount);
  const command = {
    id: randomUUID(),
    name: 'ping',
    issuedAtMs: Date.now() - 1000,
    expiresAtMs: Date.now() + 60_000,
    parameters: {},
  } as const;
  const { envelope } = createSealer({ signature, keyAgreement }).seal(
    encodeCommand(command),
    [desk.site.identity(device).keyAgreement.certificate],
    {
      topic: `${device}/commands`,
      sequence: 1,
      previousDigest: undefined,
      contentType: 'command+cbor',
      signingTimeMs: Date.now(),
    },
  );
  await desk.owner.publish(`${device}/commands`, envelope, { qos: 1 });
  const message = await desk.received.next('/commands/result');
  return decodeCommandResult(openMessage(desk.site.opener(masterAccount, [device]), message).content);
}
