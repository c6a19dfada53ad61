import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import path from 'node:path';
import test from 'node:test';
import type { TestContext } from 'node:test';
import { auditorListing } from '../../auditor/list.ts';
import { createSealer } from '../../cms/seal.ts';
import { encodeCommand } from '../../domain/command.ts';
import { devicePath, masterAccount, Site } from '../device-agent/site.ts';
import { RecordedLog } from '../runtime/recorded-log.ts';
import { auditorAt, introduce } from './premises.ts';

const device = devicePath('ms-acc-1/acc-1/dev-1');
const service = 'vendor-command-service';
const topic = `${device}/commands`;

interface Bench {
  readonly site: Site;
  readonly data: string;
  readonly entries: () => unknown[];
  readonly untilEntries: (count: number) => Promise<void>;
  /** One that is right, and four that are not. */
  readonly envelopes: readonly [Buffer, ...Buffer[]];
}

async function openBench(context: TestContext, mode: 'observe' | 'enforce'): Promise<Bench> {
  const site = new Site(context);
  await site.startBroker();
  for (const name of [masterAccount, device, service, 'vendor-snapshot-service']) await site.issue(name);
  const recorded = new RecordedLog();
  const { link: agent } = await site.reader(device, 'certificates', []);
  await introduce(site, agent, device);
  const data = path.join(site.folder, 'auditor-data');
  const auditor = await auditorAt(site, recorded, {
    data,
    mode,
    withoutPolicy: 'release',
    recipients: [path.join(site.folder, masterAccount, 'enc.chain.pem')],
    commandIssuers: [service, 'vendor-snapshot-service'].map((name) => path.join(site.folder, name)),
  });
  await recorded.event('auditor.subscribed');
  while (auditor.state().devices === 0) await new Promise((resolve) => setImmediate(resolve));
  const nowMs = Date.now();
  const command = {
    id: randomUUID(),
    name: 'ping',
    parameters: {},
    issuedAtMs: nowMs,
    expiresAtMs: nowMs + 60_000,
  } as const;
  const sealed = (issuer: string, readers: readonly string[], content = encodeCommand(command)): Buffer => {
    const keys = site.identity(issuer);
    return createSealer({ signature: keys.signature, keyAgreement: keys.keyAgreement }).seal(
      content,
      readers.map((name) => site.identity(name).keyAgreement.certificate),
      { topic, sequence: 1, previousDigest: undefined, contentType: 'command+cbor', signingTimeMs: nowMs },
    ).envelope;
  };
  return {
    site,
    data,
    entries: () =>
      auditorListing(data).entries.map((entry) => [entry.direction, entry.outcome, entry.alarm?.reason]),
    untilEntries: async (count) => {
      while (auditor.state().entries < count) await new Promise((resolve) => setImmediate(resolve));
    },
    envelopes: [
      sealed(service, [device, masterAccount]),
      sealed(service, [device, masterAccount, 'vendor-snapshot-service']), // somebody else may read it
      sealed(service, [device]), // its owner may not
      sealed('vendor-snapshot-service', [device, masterAccount]), // who commands nobody
      sealed(service, [device, masterAccount], Buffer.from('not a command')),
    ],
  };
}

const reasons = [
  undefined,
  'audit.foreign_recipient',
  'cms.not_a_recipient',
  'audit.foreign_originator',
  'command.malformed',
];

test('auditor: a command that comes in is recorded like what leaves: who sent it, who can read it, whether that is right', async (context) => {
  const bench = await openBench(context, 'observe');
  const { link } = await bench.site.reader(service, 'commands', []);
  for (const envelope of bench.envelopes) await link.publish(topic, envelope, { qos: 1 });
  await bench.untilEntries(5);
  assert.deepEqual(
    bench.entries(),
    reasons.map((reason) => ['in', 'passed', reason]),
  );
});

test('enforce: of the commands that wait for the auditor, a device gets those that are right', async (context) => {
  const bench = await openBench(context, 'enforce');
  const { received } = await bench.site.reader(device, 'agent', [topic]);
  // As the cascade does, which has the owner's rights.
  const { link } = await bench.site.reader(masterAccount, 'cascade', []);
  const [right, ...wrong] = bench.envelopes;
  for (const envelope of [...wrong, right]) {
    await link.publish('ms-acc-1/$arrived/acc-1/dev-1/commands', envelope, { qos: 1 });
  }
  const { payload } = await received.next('/commands');
  assert.deepEqual(payload, right); // as it came, and before it nothing
  await bench.untilEntries(5);
  assert.deepEqual(bench.entries(), [
    ...reasons.slice(1).map((reason) => ['in', 'denied', reason]),
    ['in', 'released', undefined],
  ]);
});
