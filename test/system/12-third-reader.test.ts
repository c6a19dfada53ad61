/** Does a reader whom the owner adds open exactly the channel groups that it was granted, and nothing once it is withdrawn? */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { freePorts } from '../../runtime/free-ports.ts';
import type { OpenedEnvelope } from '../../cms/open.ts';
import { createOpener } from '../../cms/open.ts';
import { connectDatabase } from '../../database/connect.ts';
import { OriginatorDirectory } from '../../cms/originator-directory.ts';
import { decodeDeviceCertificates } from '../../domain/device-certificates.ts';
import { decodeSenmlCbor } from '../../domain/senml.ts';
import { parseDevicePath } from '../../domain/namespace.ts';
import type { ReceivedMessage } from '../../mqtt/inbox.ts';
import type { Link } from '../../mqtt/link.ts';
import { openLink } from '../../mqtt/link.ts';
import { createAuthority } from '../../pki/authority/authority.ts';
import { loadIdentity } from '../../pki/identity.ts';
import { createLog } from '../../runtime/log.ts';
import type { Finished } from './process.ts';
import { plombe, until } from './process.ts';
import { startProgram } from './programs.ts';

const device = parseDevicePath('ms-acc-1/acc-1/dev-1') ?? assert.fail();
const owner = 'ms-acc-1';
const insurer = 'ms-acc-1/insurer';
const service = 'vendor-snapshot-service';

const directory = mkdtempSync(path.join(tmpdir(), 'plombe-third-reader-'));
const endings: (() => Promise<unknown>)[] = [];
after(async () => {
  for (const end of endings.toReversed()) await end();
  rmSync(directory, { recursive: true, force: true });
});

const at = (...names: readonly string[]): string => path.join(directory, ...names);

async function works(...args: readonly string[]): Promise<Finished> {
  const finished = await plombe(...args);
  assert.equal(finished.status, 0, `${args.join(' ')}: ${finished.stderr}`);
  return finished;
}

async function startSite(): Promise<number> {
  const [port = 0] = await freePorts(1);
  const authority = createAuthority({ directory: at('pki') });
  for (const name of [owner, insurer, service, device]) {
    await authority.issue({ path: name, outputDirectory: at(name, 'keys') });
  }
  await authority.issue({ path: owner, hosts: ['127.0.0.1'], outputDirectory: at('broker') });
  writeFileSync(
    at('broker.yaml'),
    `name: ${owner}
listen: 127.0.0.1:${port}
identity: broker
data: broker-data
roles:
  ${insurer}:
    subscribe:
      - ${owner}/+/+/shared/insurer/snapshots
      - ${owner}/$released/+/+/shared/insurer/snapshots
      - ${owner}/+/+/certificates
`,
  );
  writeFileSync(
    at('auditor.yaml'),
    `broker: 127.0.0.1:${port}
brokerName: ${owner}
identity: ${owner}/keys
data: auditor-data
mode: enforce
recipients: [${service}/keys/enc.chain.pem, ${owner}/keys/enc.chain.pem]
`,
  );
  writeFileSync(
    at('insurer.yaml'),
    `broker: 127.0.0.1:${port}
brokerName: ${owner}
identity: ${insurer}/keys
reads: { group: insurer, of: [${owner}], released: true }
releasers: [${owner}/keys/sig.chain.pem]
database: sqlite:./insurer.db
data: insurer-data
http: { listen: "127.0.0.1:0" }
`,
  );
  writeFileSync(
    at('agent.yaml'),
    `broker: 127.0.0.1:${port}
brokerName: ${owner}
data: agent-data
recipients: [${service}/keys/enc.chain.pem, ${owner}/keys/enc.chain.pem]
policy: { required: true }
devices:
  - identity: ${device}/keys
    collector: { kind: simulator, type: FM, intervalMs: 100 }
`,
  );
  return port;
}

/** What somebody gets and can open, with the identity that it has. */
class Reader {
  readonly refused: string[] = [];
  readonly opened: OpenedEnvelope[] = [];
  readonly #directory;
  readonly #opener;

  constructor(name: string, port: number, filters: readonly string[]) {
    const { tls, e2e } = loadIdentity(at(name, 'keys'), { nowMs: Date.now() });
    this.#directory = new OriginatorDirectory(e2e.roots);
    this.#opener = createOpener({ recipient: e2e.keyAgreement, originators: this.#directory });
    const link: Link = openLink({
      broker: { host: '127.0.0.1', port },
      brokerName: owner,
      identity: tls,
      clientId: `reader-${name}`,
      cleanSession: true,
      subscriptions: filters.map((filter) => ({ filter, qos: 1 })),
      onSubscribed: (granted) => {
        this.refused.push(...granted.flatMap((one) => (one.granted === 'refused' ? [one.filter] : [])));
      },
      onMessage: (message, acknowledge) => {
        this.#take(message);
        acknowledge();
      },
      log: createLog('reader', 'silent'),
    });
    endings.push(() => link.close());
  }

  channelsOf({ content }: OpenedEnvelope): string[] {
    return decodeSenmlCbor(device, content).readings.map(({ channel }) => channel);
  }

  #take({ topic, payload }: ReceivedMessage): void {
    if (topic.endsWith('/certificates')) {
      this.#directory.publish(device, decodeDeviceCertificates(payload), Date.now());
    } else this.opened.push(this.#opener.open(payload, { expectedTopic: topic }));
  }
}

async function publishPolicy(port: number, number: number, readers: string): Promise<void> {
  writeFileSync(at('policy.yaml'), `for: ${owner}\nnumber: ${number}\nreaders:\n${readers}`);
  const identity = ['--identity', at(owner, 'keys')];
  await works('policy', 'sign', at('policy.yaml'), ...identity, '--out', at('policy.signed'));
  const broker = ['--broker', `127.0.0.1:${port}`, '--broker-name', owner];
  await works('policy', 'publish', at('policy.signed'), ...identity, ...broker);
}

const vendorLines = `  vendor:
    recipients: [${service}]
    channels: { auto: ["*"], deny: ["service.*"] }
`;
const insurerLines = `  insurer:
    recipients:
      - { name: ${insurer}, certificate: ${insurer}/keys/enc.chain.pem }
    channels: { auto: ["service.*", "*.life"] }
`;

interface Stored {
  readonly channels: readonly string[];
  readonly envelopes: readonly string[];
}

/** What is in the database of the third reader's own backend. */
async function stored(): Promise<Stored> {
  const database = await connectDatabase(`sqlite:${at('insurer.db')}`);
  try {
    const channels = await database.kysely
      .selectFrom('channel')
      .innerJoin('channel_group', 'channel_group.id', 'channel.group_id')
      .select(['channel_group.name as group', 'channel.name'])
      .execute();
    const snapshots = await database.kysely
      .selectFrom('snapshot')
      .select(['sequence', 'digest'])
      .orderBy('sequence')
      .execute();
    return {
      channels: channels.map(({ group, name }) => `${group}.${name}`),
      envelopes: snapshots.map(
        ({ sequence, digest }) => `${sequence} ${Buffer.from(digest).toString('hex')}`,
      ),
    };
  } finally {
    await database.close();
  }
}

function isGranted(channel: string): boolean {
  return channel.startsWith('service.') || channel.endsWith('.life');
}

test('a third reader opens, and its own backend stores, what was granted to it and nothing else', async () => {
  const port = await startSite();
  const broker = await startProgram('broker', at('broker.yaml'), 'broker.listening');
  endings.push(() => broker.stop());
  for (const [name, event] of [
    ['auditor', 'auditor.subscribed'],
    ['backend', 'backend.listening'],
  ] as const) {
    const file = name === 'backend' ? at('insurer.yaml') : at('auditor.yaml');
    const program = await startProgram(name, file, event);
    endings.push(() => program.stop());
  }
  const agent = await startProgram('agent', at('agent.yaml'), 'agent.started');
  endings.push(() => agent.stop());
  const shared = `${owner}/+/+/shared/insurer/snapshots`;
  const certificates = `${owner}/+/+/certificates`;
  // Of others, of several at once, and by way of a shared subscription.
  const denied = [
    `${device}/snapshots`,
    `${owner}/#`,
    `${owner}/+/+/shared/+/snapshots`,
    `${device}/shared/bank/snapshots`,
    `${owner}/$released/#`,
    `$share/all/${device}/snapshots`,
  ];
  const third = new Reader(insurer, port, [certificates, shared, ...denied]);
  const auditor = new Reader(owner, port, [certificates, shared, `${device}/snapshots`]);
  await until('the broker has answered', () => third.refused.length > 0);
  assert.deepEqual(third.refused, denied);

  await publishPolicy(port, 1, vendorLines + insurerLines);
  await until('the third reader has opened some', () => third.opened.length >= 3);
  for (const [index, opened] of third.opened.entries()) {
    const channels = third.channelsOf(opened);
    assert.ok(channels.length > 3);
    assert.ok(channels.every(isGranted), channels.join());
    assert.equal(opened.sequence, index + 1, 'a reader of a stream sees no gap');
    assert.equal(opened.recipients.length, 2, 'the owner and the third reader');
  }
  for (const { topic, ...opened } of auditor.opened) {
    if (topic !== `${device}/snapshots`) continue;
    const channels = auditor.channelsOf({ topic, ...opened });
    assert.ok(channels.length > 10 && !channels.some((channel) => channel.startsWith('service.')));
    assert.equal(opened.recipients.length, 2, 'the owner and the vendor');
  }

  await assert.rejects(publishPolicy(port, 1, vendorLines), /the broker keeps number 1 .* this is number 1/);

  await publishPolicy(port, 2, vendorLines);
  await until('the device obeys', () =>
    agent.records().some((record) => record.event === 'policy.applied' && record['number'] === 2),
  );
  const snapshotsOf = (reader: Reader): number =>
    reader.opened.filter(({ topic }) => topic === `${device}/snapshots`).length;
  const seen = snapshotsOf(auditor);
  await until('two more have left', () => snapshotsOf(auditor) >= seen + 2);
  const last = third.opened.length;
  await until('two more have left', () => snapshotsOf(auditor) >= seen + 5);
  assert.equal(third.opened.length, last, 'nothing for it after it was withdrawn');
  assert.equal(auditor.opened.filter(({ topic }) => topic !== `${device}/snapshots`).length, last);

  await until('its backend has all of it', async () => (await stored()).envelopes.length === last);
  const { channels, envelopes } = await stored();
  assert.ok(channels.length > 3 && channels.every(isGranted), channels.join());
  assert.deepEqual(
    envelopes,
    third.opened.map(({ sequence, digest }) => `${sequence} ${digest.toString('hex')}`),
  );
});
