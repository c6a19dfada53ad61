import assert from 'node:assert/strict';
import path from 'node:path';
import test from 'node:test';
import type { TestContext } from 'node:test';
import { auditorListing } from '../../auditor/list.ts';
import type { RunningAuditor } from '../../auditor/main.ts';
import { createSealer } from '../../cms/seal.ts';
import { encodeSenmlCbor } from '../../domain/senml.ts';
import { devicePath, masterAccount, Site } from '../device-agent/site.ts';
import { bundleOf, tlsBundleOf } from '../pki/lists.ts';
import type { LogRecord } from '../runtime/recorded-log.ts';
import { RecordedLog } from '../runtime/recorded-log.ts';
import { auditorAt, introduce, until } from './premises.ts';

const device = devicePath('ms-acc-1/acc-1/dev-1');
const service = 'vendor-snapshot-service';
const crlService = 'vendor-crl-service';

interface Bench {
  readonly site: Site;
  readonly recorded: RecordedLog;
  readonly publishLists: (bundle: Buffer) => Promise<void>;
  readonly publishTlsLists: () => Promise<void>;
  readonly send: (sequence: number) => Promise<void>;
  readonly start: (settings?: object) => Promise<RunningAuditor>;
  readonly reasons: () => (string | undefined)[];
}

/** A customer's site with a device that has introduced itself, and the vendor's service that publishes lists. */
async function openBench(context: TestContext): Promise<Bench> {
  const site = new Site(context);
  await site.startBroker();
  for (const name of [masterAccount, device, service, crlService]) await site.issue(name);
  const { link } = await site.reader(device, 'agent', []);
  const { link: lists } = await site.reader(crlService, 'lists', []);
  const recorded = new RecordedLog();
  const data = path.join(site.folder, 'auditor-data');
  await introduce(site, link, device);
  return {
    site,
    recorded,
    publishLists: (bundle) => lists.publish('vendor/crl/e2e', bundle, { qos: 1, retain: true }),
    publishTlsLists: () =>
      lists.publish('vendor/crl/tls', tlsBundleOf(site.authority), { qos: 1, retain: true }),
    send: (sequence) => link.publish(`${device}/snapshots`, sealed(site, sequence), { qos: 1 }),
    start: async (settings = {}) => {
      const auditor = await auditorAt(site, recorded, { data, ...settings });
      await recorded.event('auditor.subscribed');
      return auditor;
    },
    reasons: () => auditorListing(data).entries.map(({ alarm }) => alarm?.reason),
  };
}

function sealed(site: Site, sequence: number): Buffer {
  const { signature, keyAgreement } = site.identity(device);
  const timeMs = Date.now();
  const readings = [{ channel: 'level', value: 1 }];
  return createSealer({ signature, keyAgreement }).seal(
    encodeSenmlCbor(device, { timeMs, deviceType: 'T', readings }),
    [service, masterAccount].map((name) => site.identity(name).keyAgreement.certificate),
    {
      topic: `${device}/snapshots`,
      sequence,
      previousDigest: undefined,
      contentType: 'senml+cbor',
      signingTimeMs: timeMs,
    },
  ).envelope;
}

test('auditor: what a revoked device sends is an alarm, also after a restart and for a broker that repeats an old list', async (context) => {
  const bench = await openBench(context);
  const { authority } = bench.site;
  const before = bundleOf(authority);
  await bench.publishLists(before);
  const first = await bench.start();
  await bench.recorded.event('crl.applied');
  await bench.send(1);
  await until(() => first.state().entries === 1);
  await authority.revoke({ target: { path: device }, kinds: ['sig'], reason: 'keyCompromise' });
  await bench.publishLists(bundleOf(authority));
  await until(() => bench.recorded.records.filter(({ event }) => event === 'crl.applied').length === 2);
  await bench.send(2);
  await until(() => first.state().entries === 2);
  await first.stop();
  await bench.publishLists(before); // retained in place of the newer one
  const second = await bench.start();
  await bench.recorded.event('crl.refused', ({ reason }) => reason === 'pki.crl_rollback');
  await bench.send(3);
  await until(() => second.state().entries === 3);
  assert.deepEqual(bench.reasons(), [undefined, 'pki.revoked', 'pki.revoked']);
});

for (const [kind, name, reason] of [
  ['enc', device, 'pki.revoked'],
  ['enc', service, 'audit.revoked_recipient'],
  ['ca', 'ms-acc-1/acc-1', 'pki.revoked'],
] as const) {
  test(`auditor: a revoked ${kind} certificate of ${name} is an alarm`, async (context) => {
    const bench = await openBench(context);
    const { authority } = bench.site;
    await authority.revoke({ target: { path: name }, kinds: [kind] });
    await bench.publishLists(bundleOf(authority));
    await bench.start();
    await bench.recorded.event('crl.applied');
    await bench.send(1);
    assert.equal((await bench.recorded.event('audit.alarm'))['reason'], reason);
  });
}

test('auditor: where the policy is to refuse, an envelope waits for the lists', async (context) => {
  const bench = await openBench(context);
  const auditor = await bench.start({ staleCrl: { action: 'refuse' } });
  await bench.send(1);
  await until(() => auditor.state().waiting === 1);
  await bench.publishLists(bundleOf(bench.site.authority));
  await until(() => auditor.state().entries === 1);
  assert.deepEqual(bench.reasons(), [undefined]);
});

test('auditor: where the policy is to refuse and no list comes, that is what the record says', async (context) => {
  const bench = await openBench(context);
  await bench.start({ staleCrl: { action: 'refuse' }, certificatesWaitSeconds: 0 });
  await bench.send(1);
  assert.match(String((await bench.recorded.event('audit.alarm'))['reason']), /pki.stale_crl|cms.untrusted/);
});

test('auditor: connects to no broker whose certificate is revoked', async (context) => {
  const bench = await openBench(context);
  await bench.start();
  await bench.site.revokeBroker();
  await bench.publishTlsLists();
  const isRevoked = (record: LogRecord): boolean => /revoked/.test(String(record['reason']));
  await bench.recorded.event('link.lost', isRevoked);
  await bench.recorded.event('link.connect_failed', isRevoked);
});
