/** A customer's premises with an auditor that enforces: a device that seals, an owner that signs policies, and the way out. */
import path from 'node:path';
import type { TestContext } from 'node:test';
import { z } from 'zod';
import { auditorConfigType } from '../../auditor/config.ts';
import { startAuditor } from '../../auditor/main.ts';
import type { AuditorDependencies, RunningAuditor } from '../../auditor/main.ts';
import { envelopeDigest } from '../../cms/envelope.ts';
import { createOpener } from '../../cms/open.ts';
import type { OpenedEnvelope } from '../../cms/open.ts';
import { originatorsOf } from '../../cms/originator.ts';
import { createSealer } from '../../cms/seal.ts';
import { encodeDeviceCertificates } from '../../domain/device-certificates.ts';
import type { PolicyStatus } from '../../domain/device-status.ts';
import { encodeDeviceStatus } from '../../domain/device-status.ts';
import type { Policy, SharingLimits } from '../../domain/policy.ts';
import { encodeSenmlCbor } from '../../domain/senml.ts';
import type { Reading } from '../../domain/snapshot.ts';
import type { Link } from '../../mqtt/link.ts';
import { signPolicy } from '../../policy/signed-policy.ts';
import { devicePath, masterAccount, Site } from '../device-agent/site.ts';
import type { Received } from '../device-agent/site.ts';
import { RecordedLog } from '../runtime/recorded-log.ts';

export const device = devicePath('ms-acc-1/acc-1/dev-1');
export const service = 'vendor-snapshot-service';
export const stranger = 'vendor-command-service';
const topic = `${device}/snapshots`;
export const releasedTopic = 'ms-acc-1/$released/acc-1/dev-1/snapshots';
const signingTimeMs = Math.floor(Date.now() / 1000) * 1000;

export interface Bench {
  readonly site: Site;
  readonly recorded: RecordedLog;
  readonly agent: Link;
  readonly owner: Link;
  /** What the cascade would take. */
  readonly uplink: Received;
  readonly data: string;
  readonly start: (settings?: object) => Promise<RunningAuditor>;
  readonly send: (...envelopes: readonly Buffer[]) => Promise<void>;
}

export async function openBench(context: TestContext): Promise<Bench> {
  const site = new Site(context);
  await site.startBroker();
  for (const name of [masterAccount, device, service, stranger]) await site.issue(name);
  const { link: agent } = await site.reader(device, 'agent', []);
  const { link: owner, received: uplink } = await site.reader(masterAccount, 'uplink', [
    'ms-acc-1/$released/#',
  ]);
  const recorded = new RecordedLog();
  const data = path.join(site.folder, 'auditor-data');
  await introduce(site, agent, device);
  const start = async (settings: object = {}): Promise<RunningAuditor> => {
    const auditor = await auditorAt(site, recorded, {
      data,
      mode: 'enforce',
      withoutPolicy: 'release',
      ...settings,
    });
    await recorded.event('auditor.subscribed');
    return auditor;
  };
  const send = async (...envelopes: readonly Buffer[]): Promise<void> => {
    for (const envelope of envelopes) await agent.publish(topic, envelope, { qos: 1 });
  };
  return { site, recorded, agent, owner, uplink, data, start, send };
}

/** An auditor of the master account, which knows it and the vendor's service as recipients unless `settings` say otherwise. */
export async function auditorAt(
  site: Site,
  { log }: RecordedLog,
  settings: { readonly data: string; readonly [name: string]: unknown },
  surroundings: Pick<AuditorDependencies, 'clock'> = {},
): Promise<RunningAuditor> {
  const types = { path: z.string(), existingPath: z.string() };
  const config = auditorConfigType(types).parse({
    broker: `127.0.0.1:${site.brokerPort}`,
    brokerName: masterAccount,
    identity: path.join(site.folder, masterAccount),
    recipients: [masterAccount, service].map((name) => path.join(site.folder, name, 'enc.chain.pem')),
    ...settings,
  });
  return site.ending(
    await startAuditor(config, { log, reconnect: { firstMs: 5, maxMs: 50 }, ...surroundings }),
  );
}

/** Publishes the certificates of a device, as it does itself. @param keys - whose they are */
export function introduce(site: Site, link: Link, name: string, keys = name): Promise<void> {
  const { signature, keyAgreement } = site.identity(keys);
  const certificates = encodeDeviceCertificates({
    signature: signature.chain.map(({ der }) => der),
    keyAgreement: keyAgreement.chain.map(({ der }) => der),
  });
  return link.publish(`${name}/certificates`, certificates, { qos: 1, retain: true });
}

interface SealAs {
  readonly previous?: Buffer;
  readonly recipients?: readonly string[];
  readonly channel?: string;
  readonly readings?: readonly Reading[];
  readonly timeMs?: number;
  readonly signingTimeMs?: number;
}

export function sealed({ site }: Bench, sequence: number, how: SealAs = {}): Buffer {
  const { signature, keyAgreement } = site.identity(device);
  const readings = how.readings ?? [{ channel: how.channel ?? 'fuel.level', value: sequence }];
  return createSealer({ signature, keyAgreement }).seal(
    encodeSenmlCbor(device, { timeMs: how.timeMs ?? signingTimeMs, deviceType: 'T', readings }),
    (how.recipients ?? [service, masterAccount]).map((name) => site.identity(name).keyAgreement.certificate),
    {
      topic,
      sequence,
      previousDigest: how.previous && envelopeDigest(how.previous),
      contentType: 'senml+cbor',
      signingTimeMs: how.signingTimeMs ?? signingTimeMs,
    },
  ).envelope;
}

/** As the vendor does, who knows the device and the customer's auditor. */
export function openAsVendor({ site }: Bench, envelope: Buffer): OpenedEnvelope {
  const originators = [device, masterAccount].map((name) => {
    const { commonName, signature, keyAgreement } = site.identity(name);
    return { commonName, signature: signature.certificate, keyAgreement: keyAgreement.certificate };
  });
  const recipient = site.identity(service).keyAgreement;
  return createOpener({ recipient, originators: originatorsOf(originators) }).open(envelope, {
    expectedTopic: topic,
  });
}

export interface PolicySettings {
  readonly limits?: SharingLimits;
  /** Of the policy, beside who may read. */
  readonly rest?: Partial<Policy>;
  /** What the device says of itself; undefined: that it obeys all that is published, from its first envelope on. */
  readonly status?: PolicyStatus | 'silent';
}

/** What a device says of the policies that it obeys. */
export async function sayStatus({ owner }: Bench, policy: PolicyStatus): Promise<void> {
  const status = encodeDeviceStatus({ state: 'online', agentVersion: '1', policy });
  await owner.publish(`${device}/status`, status, { qos: 1, retain: true });
}

/** Publishes what the owner signs, and waits until the auditor has it. */
export async function publishPolicy(
  bench: Bench,
  number: number,
  channels: Partial<Record<'auto' | 'ask' | 'deny', string[]>>,
  {
    limits = {},
    rest = {},
    status = { numbers: { [masterAccount]: number }, since: {} },
  }: PolicySettings = {},
) {
  // By the same connection and before it, so that the auditor has both.
  if (status !== 'silent') await sayStatus(bench, status);
  const recipients = [{ name: service, trust: 'configured', certificates: [] }] as const;
  const rules = { auto: [], ask: [], deny: [], ...channels };
  const policy: Policy = {
    path: bench.site.identity(masterAccount).commonName as Policy['path'],
    number,
    issuer: masterAccount as Policy['issuer'],
    readers: { vendor: { recipients, channels: rules, limits } },
    limits: {},
    ...rest,
  };
  const message = signPolicy(policy, bench.site.identity(masterAccount), Date.now());
  await bench.owner.publish(`${masterAccount}/policy`, message, { qos: 1, retain: true });
  await bench.recorded.event('policy.applied', (record) => record['number'] === number);
}

/** The condition becomes true by what the programs do; the test runner's time limit is the only clock. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}
