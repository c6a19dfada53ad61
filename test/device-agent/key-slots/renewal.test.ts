/** Certificates are renewed while the device works; what was sealed by the keys before is read all the same. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { decide } from '../../../cli/device/approve.ts';
import { readSignedContent, signContent } from '../../../cms/signed-content.ts';
import { systemClock } from '../../../domain/clock.ts';
import { decodeEnrolmentRequest, encodeEnrolmentReply } from '../../../domain/enrolment.ts';
import type { EnrolmentReply } from '../../../domain/enrolment.ts';
import { keyTimes } from '../../../device-agent/key-slots/bearer.ts';
import { certificatesFromPem } from '../../../pki/certificate.ts';
import { loadIdentity } from '../../../pki/identity.ts';
import { Journal } from '../../broker/fixture.ts';
import { openVendor } from '../../registrar/fixture.ts';
import type { Vendor } from '../../registrar/fixture.ts';
import type { RunningRegistrar } from '../../../registrar/main.ts';
import {
  aged,
  agentSettings,
  currentOf,
  expired,
  identityOfAge,
  openReader,
  startFieldAgent,
  valueOf,
} from './field.ts';

let vendor: Vendor;
let registrar: RunningRegistrar;
before(async () => {
  vendor = await openVendor();
  ({ registrar } = await vendor.startRegistrar());
});
after(() => vendor.remove());

let devices = 0;
const newDevice = (): string => `ms-acc-1/acc-1/dev-${++devices}`;

test('renewal: new keys in a slot, proven, and the ones before are gone; nothing is lost and all is opened', async () => {
  const device = newDevice();
  const root = await identityOfAge(vendor, device, aged);
  const reader = await openReader(vendor);
  const before = loadIdentity(root);
  const { agent, journal, metrics } = await startFieldAgent(await agentSettings(vendor, root));
  await journal.until('renewal.done');
  await journal.until('former_keys.removed');
  const renewed = loadIdentity(path.join(root, 'slot-a'));
  const signedBy = (identity: typeof renewed): number =>
    reader
      .of(device)
      .filter(({ signers }) =>
        signers.some(({ certificate }) => certificate.der.equals(identity.e2e.signature.certificate.der)),
      ).length;
  const countNow = signedBy(renewed);
  await reader.until(() => signedBy(renewed) > countNow + 3);
  assert.equal(currentOf(root), 'slot-a');
  assert.deepEqual(readdirSync(root).toSorted(), ['current', 'slot-a']);
  assert.ok(!renewed.tls.certificate.publicKey.equals(before.tls.certificate.publicKey));
  assert.equal(await valueOf(metrics, 'plombe_agent_renewals_total', 'done'), 1);
  assert.equal(
    await valueOf(metrics, 'plombe_agent_certificate_not_after_timestamp_seconds', device),
    Math.floor(renewed.tls.certificate.notAfterMs / 1000),
  );
  const [state] = agent.state().devices;
  assert.deepEqual([state?.path, state?.keys.step, state?.keys.fault], [device, 'steady', undefined]);
  await agent.stop();
  const again = await startFieldAgent(await agentSettings(vendor, root));
  const countThen = reader.of(device).length;
  await reader.until(() => reader.of(device).length > countThen + 3);
  await again.agent.stop();
  assert.equal(again.journal.find('certificates.requested'), undefined);
  reader.requireWhole(device);
});

test('renewal: what waits in the outbox, sealed by the keys before, comes behind its own certificates', async () => {
  const device = newDevice();
  const root = await identityOfAge(vendor, device, aged);
  const settings = await agentSettings(vendor, root);
  const file = vendor.file('rows.csv', `level\n${Array.from({ length: 150 }, (_, row) => row).join('\n')}\n`);
  const offline = await startFieldAgent({
    ...settings,
    devices: [{ identity: root, collector: { kind: 'csv', file } }],
    broker: '127.0.0.1:1', // nobody listens there
    drainSeconds: 0,
    renewal: { enabled: false },
  });
  await offline.agent.collected();
  await offline.agent.stop();
  // As if it had been switched off right after the next keys had proven themselves.
  await vendor.site.authority.issue({ path: device, outputDirectory: path.join(root, 'slot-a') });
  writeFileSync(path.join(root, 'current'), 'slot-a\nformer plain\n');
  const reader = await openReader(vendor);
  const { agent, journal } = await startFieldAgent(settings);
  await journal.until('former_keys.removed');
  const countNow = reader.of(device).length;
  await reader.until(() => reader.of(device).length > countNow + 3);
  await agent.stop();
  assert.ok(reader.of(device).length > 150);
  reader.requireWhole(device);
  // Whoever comes now finds the certificates of what comes now.
  const late = await openReader(vendor);
  const again = await startFieldAgent(settings);
  await late.until(() => late.of(device).length > 3);
  await again.agent.stop();
  assert.deepEqual(late.faults, []);
});

test('renewal: again and again, from slot to slot', async () => {
  await vendor.stop(registrar);
  const daily = await vendor.startRegistrar({ certificateDays: 1 });
  const device = newDevice();
  const root = await identityOfAge(vendor, device, aged);
  const reader = await openReader(vendor);
  const { agent, journal, metrics } = await startFieldAgent({
    ...(await agentSettings(vendor, root)),
    renewal: { atFraction: 1e-5 }, // of a day: about a second
  });
  const slots = (): unknown[] =>
    journal.lines.filter(({ event }) => event === 'certificates.adopted').map(({ slot }) => slot);
  await reader.until(() => slots().length >= 3);
  await agent.stop();
  assert.deepEqual(slots().slice(0, 3), ['slot-a', 'slot-b', 'slot-a']);
  assert.ok((await valueOf(metrics, 'plombe_agent_renewals_total', 'done')) >= 2);
  reader.requireWhole(device);
  await vendor.stop(daily.registrar);
  ({ registrar } = await vendor.startRegistrar());
});

test('a device that was off past its expiry: seals nothing, asks, waits for its owner, and goes on', async () => {
  const device = newDevice();
  const root = await identityOfAge(vendor, device, expired);
  const reader = await openReader(vendor);
  const { agent, journal } = await startFieldAgent(await agentSettings(vendor, root));
  await journal.until('renewal.waiting');
  await journal.until('sample.rejected', { reason: 'slots.expired' });
  const [waiting] = agent.state().devices;
  assert.deepEqual(
    [waiting?.sealed, waiting?.connected, waiting?.keys.step],
    [0, false, 'waiting-for-approval'],
  );
  await decide({
    path: device,
    identityDirectory: await vendor.keyDirectory('ms-acc-1/acc-1'),
    passphraseFile: undefined,
    broker: { host: '127.0.0.1', port: vendor.broker.port, name: 'vendor-broker' },
    decision: 'approve',
    detail: '',
    asPath: undefined,
    timeoutMs: 60_000,
    print: () => undefined,
    log: new Journal().log,
    clock: systemClock,
  });
  await journal.until('renewal.done');
  await journal.until('former_keys.removed');
  await agent.stop();
  reader.requireWhole(device);
});

test('a device with a revoked certificate gets no answer: that is counted, and it asks ever more rarely', async () => {
  const device = newDevice();
  const root = await vendor.keyDirectory(device);
  await vendor.site.authority.revoke({ target: { path: device }, kinds: ['sig'] });
  const { agent, journal, metrics } = await startFieldAgent(
    { ...(await agentSettings(vendor, root)), renewal: { atFraction: 1e-9 } },
    {
      times: { ...keyTimes, answerMs: 100, retry: { firstMs: 10, maxMs: 3_600_000 } },
      random: () => 1, // the longest of each wait
    },
  );
  const waits = (): unknown[] =>
    journal.lines.filter(({ event }) => event === 'renewal.failed').map(({ retryMs }) => retryMs);
  for (const retryMs of [10, 20, 40]) {
    await journal.until('renewal.failed', { reason: 'enrolment.unanswered', retryMs });
  }
  await agent.stop();
  assert.deepEqual(waits().slice(0, 3), [10, 20, 40]);
  assert.ok((await valueOf(metrics, 'plombe_agent_renewals_total', 'failed')) >= 3);
  assert.equal(loadIdentity(root).commonName, device);
});

/** Answers every request of a device as it is told to. */
async function answerAll(
  device: string,
  answer: (request: ReturnType<typeof decodeEnrolmentRequest>, digest: Buffer) => Promise<Buffer[]>,
): Promise<{ readonly ids: Set<string> }> {
  const admin = await vendor.site.connect(vendor.broker, 'MRO-Admin', { clientId: `answers-${device}` });
  const ids = new Set<string>();
  admin.on('message', (_topic, payload) => {
    const { content } = readSignedContent(payload);
    const request = decodeEnrolmentRequest(content);
    ids.add(request.id);
    void answer(request, hash('sha256', content, 'buffer')).then(async (messages) => {
      for (const message of messages)
        await admin.publishAsync(`${device}/enrolment/reply`, message, { qos: 1 });
    });
  });
  await admin.subscribeAsync(`${device}/enrolment`, { qos: 1 });
  return { ids };
}

test('a refused renewal is told, counted, and not repeated without end', async () => {
  await vendor.stop(registrar);
  const device = newDevice();
  const root = await identityOfAge(vendor, device, aged);
  const { signature } = (await vendor.keys('vendor-enrolment-service')).e2e;
  const { ids } = await answerAll(device, async ({ id }, requestDigest) => {
    const reply = {
      id,
      requestDigest,
      outcome: 'refused',
      detail: 'scrapped',
      repliedAtMs: Date.now(),
    } as const;
    return [signContent(encodeEnrolmentReply(reply), signature, Date.now())];
  });
  const reader = await openReader(vendor);
  const { agent, journal, metrics } = await startFieldAgent(await agentSettings(vendor, root));
  await journal.until('renewal.failed', { isLast: true });
  const count = reader.of(device).length;
  await reader.until(() => reader.of(device).length > count + 5); // a sixth request would have come long ago
  const [state] = agent.state().devices;
  assert.equal(state?.keys.step, 'refused');
  assert.match(state.keys.fault ?? '', /scrapped/);
  assert.equal(await valueOf(metrics, 'plombe_agent_renewals_total', 'refused'), 5);
  await agent.stop();
  assert.equal(ids.size, 5);
  assert.equal(loadIdentity(root).commonName, device);
  ({ registrar } = await vendor.startRegistrar());
});

test('a broker that answers itself: what is old, of others, or for other keys installs nothing', async () => {
  await vendor.stop(registrar);
  const device = newDevice();
  const root = await identityOfAge(vendor, device, aged);
  const service = (await vendor.keys('vendor-enrolment-service')).e2e.signature;
  const admin = (await vendor.keys('MRO-Admin')).e2e.signature;
  const other = await vendor.keys(device); // certificates of the same name, for keys of others
  const chains = {
    tls: certificatesFromPem(other.tls.chainPem).map(({ der }) => der),
    sig: other.e2e.signature.chain.map(({ der }) => der),
    enc: other.e2e.keyAgreement.chain.map(({ der }) => der),
  };
  let old: Buffer | undefined;
  await answerAll(device, async ({ id }, requestDigest) => {
    const reply: EnrolmentReply = {
      id,
      requestDigest,
      outcome: 'issued',
      detail: '',
      repliedAtMs: Date.now(),
      chains,
    };
    const forOtherKeys = signContent(encodeEnrolmentReply(reply), service, Date.now());
    const byAnother = signContent(encodeEnrolmentReply(reply), admin, Date.now());
    const replayed = old === undefined ? [] : [old];
    old ??= forOtherKeys;
    return [Buffer.from('nonsense'), ...replayed, byAnother, forOtherKeys];
  });
  const { agent, journal, metrics } = await startFieldAgent(await agentSettings(vendor, root));
  await journal.until('reply.ignored', { reason: 'enrolment.untrusted' });
  const { reason } = await journal.until('renewal.failed', { isLast: true });
  assert.equal(reason, 'enrolment.wrong_reply');
  await agent.stop();
  assert.equal(await valueOf(metrics, 'plombe_agent_renewals_total', 'failed'), 5);
  assert.equal(journal.find('certificates.installed'), undefined);
  assert.equal(currentOf(root), '');
  assert.equal(loadIdentity(root).commonName, device);
  assert.ok(!existsSync(path.join(root, 'slot-a')));
  ({ registrar } = await vendor.startRegistrar());
});
