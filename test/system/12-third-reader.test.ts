/** Does a reader whom the owner adds open exactly the channel groups that it was granted, and nothing once it is withdrawn? */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { freePorts } from '../../runtime/free-ports.ts';
import type { OpenedEnvelope } from '../../cms/open.ts';
import { createOpener } from '../../cms/open.ts';
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
    subscribe: ["${owner}/+/+/shared/insurer/snapshots", "${owner}/+/+/certificates"]
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

test('a third reader opens what was granted to it and nothing else', async () => {
  const port = await startSite();
  const broker = await startProgram('broker', at('broker.yaml'), 'broker.listening');
  endings.push(() => broker.stop());
  const agent = await startProgram('agent', at('agent.yaml'), 'agent.started');
  endings.push(() => agent.stop());
  const shared = `${owner}/+/+/shared/insurer/snapshots`;
  const certificates = `${owner}/+/+/certificates`;
  const third = new Reader(insurer, port, [certificates, shared, `${device}/snapshots`, `${owner}/#`]);
  const auditor = new Reader(owner, port, [certificates, shared, `${device}/snapshots`]);
  await until('the broker has answered', () => third.refused.length > 0);
  assert.deepEqual(third.refused, [`${device}/snapshots`, `${owner}/#`]);

  await publishPolicy(port, 1, vendorLines + insurerLines);
  await until('the third reader has opened some', () => third.opened.length >= 3);
  for (const [index, opened] of third.opened.entries()) {
    const channels = third.channelsOf(opened);
    assert.ok(channels.length > 3);
    assert.deepEqual(
      channels.filter((channel) => !channel.startsWith('service.') && !channel.endsWith('.life')),
      [],
    );
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
});
