import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { decodeSenmlCbor } from '../../domain/senml.ts';
import { policyTopic } from '../../domain/topic.ts';
import { simulatorChannels } from '../../device-agent/collector/simulator-channels.ts';
import { seededRandom } from '../../device-agent/collector/random.ts';
import { signPolicy } from '../../policy/signed-policy.ts';
import { named, policyWith } from '../domain/policies.ts';
import { until } from '../system/process.ts';
import type { RunningProgram } from '../system/programs.ts';
import { startProgram } from '../system/programs.ts';
import { devicePath, masterAccount, openMessage, Site } from './site.ts';

const device = devicePath('ms-acc-1/acc-1/dev-1');
const service = 'vendor-snapshot-service';
/** More than waited in the outbox when it was killed. */
const envelopesRead = 40;

// Policy number n grants the channel n - 1 alone, so that an envelope tells by which policy it was sealed.
test('agent: killed again and again while policies arrive, it never seals by an older one than before, and leaves no gap', async (context) => {
  const site = new Site(context);
  await site.startBroker();
  for (const name of [masterAccount, device, service]) await site.issue(name);
  const { link, received } = await site.reader(masterAccount, 'owner', [`${device}/snapshots`]);
  const config = path.join(site.folder, 'agent.yaml');
  writeFileSync(
    config,
    `broker: 127.0.0.1:${site.brokerPort}
brokerName: ${masterAccount}
data: agent-data
recipients: [${service}/enc.chain.pem, ${masterAccount}/enc.chain.pem]
policy: { required: true }
devices:
  - identity: ${device}
    collector: { kind: simulator, type: FM, intervalMs: 10 }
`,
  );
  const channels = simulatorChannels.FM.map(({ channel }) => channel);
  const opener = site.opener(masterAccount, [device]);
  const random = seededRandom(7);
  const sealedBy = new Map<number, { readonly policy: number; readonly digest: string }>();
  let published = 0;
  let first: Buffer | undefined;

  async function publishNext(): Promise<void> {
    published += 1;
    const only = { auto: [channels[published - 1] ?? ''], ask: [], deny: [] };
    const policy = policyWith(
      masterAccount,
      { vendor: { recipients: named(service), channels: only, limits: {} } },
      { number: published },
    );
    const message = signPolicy(policy, site.identity(masterAccount), Date.now());
    first ??= message;
    await link.publish(policyTopic(policy.path), message, { qos: 1, retain: true });
  }

  /** @returns by which policy the next envelope was sealed */
  async function readOne(): Promise<number> {
    const opened = openMessage(opener, await received.next('/snapshots'));
    const [reading, another] = decodeSenmlCbor(device, opened.content).readings;
    assert.equal(another, undefined);
    const { sequence = 0 } = opened;
    const policy = channels.indexOf(reading?.channel ?? '') + 1;
    const digest = opened.digest.toString('hex');
    const known = sealedBy.get(sequence);
    assert.equal(known?.digest ?? digest, digest, `number ${sequence} was used twice`);
    sealedBy.set(sequence, { policy, digest });
    return policy;
  }

  async function readUntil(policyMin: number): Promise<void> {
    while ((await readOne()) < policyMin);
  }

  /** Until it has been served what the broker keeps, and has sealed on for a while. */
  async function start(): Promise<RunningProgram> {
    const agent = await startProgram('agent', config, 'agent.started');
    if (published === 0) return agent;
    await until('it was served a policy', () =>
      agent.records().some(({ event }) => event.startsWith('policy.')),
    );
    for (let read = 0; read < envelopesRead; read++) await readOne();
    return agent;
  }

  for (let run = 0; run < 3; run++) {
    const agent = await start();
    await publishNext();
    await readUntil(published);
    const killAt = published + 1 + Math.floor(random() * 4);
    while (published < killAt) await publishNext();
    agent.process.kill('SIGKILL'); // the last of them may have come, or be half taken, or neither
    await agent.finished;
    // What the broker keeps is the oldest now, as if somebody served it again.
    await link.publish(`${masterAccount}/policy`, first ?? '', { qos: 1, retain: true });
  }
  const agent = await start();
  await publishNext();
  await readUntil(published);
  await agent.stop();

  const order = [...sealedBy.keys()].toSorted((one, other) => one - other);
  assert.deepEqual(
    order,
    order.map((_, index) => index + 1),
    'no gap',
  );
  const policies = order.map((sequence) => sealedBy.get(sequence)?.policy ?? 0);
  assert.deepEqual(
    policies,
    policies.toSorted((one, other) => one - other),
    'never an older one',
  );
});
