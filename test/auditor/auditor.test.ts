import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { TestContext } from 'node:test';
import test from 'node:test';
import { auditorListing, entryToJson, listingText } from '../../auditor/list.ts';
import type { RunningAuditor } from '../../auditor/main.ts';
import type { ContentType } from '../../cms/envelope-info.ts';
import { envelopeDigest } from '../../cms/envelope.ts';
import { createSealer } from '../../cms/seal.ts';
import { encodeSenmlCbor } from '../../domain/senml.ts';
import { verifyLedger } from '../../ledger/verify.ts';
import type { Link } from '../../mqtt/link.ts';
import { devicePath, masterAccount, Site } from '../device-agent/site.ts';
import { RecordedLog } from '../runtime/recorded-log.ts';
import { auditorAt, introduce, until } from './premises.ts';

const device = devicePath('ms-acc-1/acc-1/dev-1');
const other = devicePath('ms-acc-1/acc-1/dev-2');
const service = 'vendor-snapshot-service';
const topic = `${device}/snapshots`;
/** Within the validity of certificates that are issued for the test. */
const signingTimeMs = Math.floor(Date.now() / 1000) * 1000;

interface Bench {
  readonly site: Site;
  readonly recorded: RecordedLog;
  readonly link: Link;
  readonly data: string;
  readonly start: (settings?: object) => Promise<RunningAuditor>;
}

/** A site with a device's own client, which publishes, and an auditor to be started. */
async function openBench(context: TestContext): Promise<Bench> {
  const site = new Site(context);
  await site.startBroker();
  for (const name of [masterAccount, device, other, service, 'vendor-command-service'])
    await site.issue(name);
  const { link } = await site.reader(device, 'agent', []);
  const recorded = new RecordedLog();
  const data = path.join(site.folder, 'auditor-data');
  const start = (settings: object = {}): Promise<RunningAuditor> =>
    auditorAt(site, recorded, { data, ...settings });
  return { site, recorded, link, data, start };
}

function publishCertificates({ site, link }: Bench, name = device): Promise<void> {
  return introduce(site, link, device, name);
}

interface SealAs {
  readonly sequence?: number;
  readonly previousDigest?: Buffer;
  readonly recipients?: readonly string[];
  readonly originator?: string;
  readonly topic?: string;
  readonly contentType?: ContentType;
  readonly signingTimeMs?: number;
}

function sealed({ site }: Bench, how: SealAs = {}): Buffer {
  const { signature, keyAgreement } = site.identity(how.originator ?? device);
  const readings = [
    { channel: 'level', value: 1 },
    { channel: 'ok', value: true },
  ];
  return createSealer({ signature, keyAgreement }).seal(
    encodeSenmlCbor(device, { timeMs: signingTimeMs, deviceType: 'T', readings }),
    (how.recipients ?? [service, masterAccount]).map((name) => site.identity(name).keyAgreement.certificate),
    {
      topic: how.topic ?? topic,
      sequence: how.sequence ?? 1,
      previousDigest: how.previousDigest,
      contentType: how.contentType ?? 'senml+cbor',
      signingTimeMs: how.signingTimeMs ?? signingTimeMs,
    },
  ).envelope;
}

test('auditor: what leaves is opened and recorded, with who can read it', async (context) => {
  const bench = await openBench(context);
  const auditor = await bench.start();
  await bench.recorded.event('auditor.subscribed');
  await publishCertificates(bench);
  const envelope = sealed(bench);
  await bench.link.publish(topic, envelope, { qos: 1 });
  await untilEntries(auditor, 1);
  const { totals, entries } = auditorListing(bench.data);
  assert.deepEqual(totals, { entries: 1, alarms: 0, bytes: envelope.length });
  const [entry] = entries;
  assert.deepEqual(
    [
      entry?.topic,
      entry?.sequence,
      entry?.signingTimeMs,
      entry?.channels?.count,
      entry?.bytes,
      entry?.outcome,
    ],
    [topic, 1, signingTimeMs, 2, envelope.length, 'passed'],
  );
  assert.deepEqual(entry?.digest, envelopeDigest(envelope));
  assert.deepEqual(
    entry?.recipients.map((recipient) => recipient.name),
    [service, masterAccount],
  );
  assert.equal(entry?.alarm, undefined);
  assert.match(
    listingText({ totals, entries }),
    /dev-1\/snapshots #1 .* 2 channels {2}for vendor-snapshot-service, ms-acc-1 {2}ok\n1 envelopes/,
  );
  assert.ok(entry !== undefined && 'digest' in JSON.parse(JSON.stringify(entryToJson(entry))));
});

test('auditor: what a real agent sends is recorded without an alarm', async (context) => {
  const bench = await openBench(context);
  const auditor = await bench.start();
  await bench.recorded.event('auditor.subscribed');
  await bench.site.startAgent({
    devices: [
      {
        identity: path.join(bench.site.folder, other),
        collector: { kind: 'simulator', type: 'FM', intervalMs: 10 },
      },
    ],
    recipients: [masterAccount, service].map((name) => path.join(bench.site.folder, name, 'enc.chain.pem')),
  });
  await untilEntries(auditor, 5);
  await bench.site.stopAgents();
  const { totals, entries } = auditorListing(bench.data, { within: 'ms-acc-1/acc-1' });
  assert.equal(totals.alarms, 0);
  assert.deepEqual(
    entries.map((entry) => [entry.sequence, entry.channels?.count]),
    Array.from(entries, (_, index) => [index + 1, 40]),
  );
  assert.deepEqual(auditorListing(bench.data, { within: 'ms-acc-1/acc' }).entries, []);
});

test('auditor: the same envelope again changes nothing, also after a restart', async (context) => {
  const bench = await openBench(context);
  const first = await bench.start();
  await bench.recorded.event('auditor.subscribed');
  await publishCertificates(bench);
  const envelope = sealed(bench);
  await bench.link.publish(topic, envelope, { qos: 1 });
  await untilEntries(first, 1);
  await first.stop();
  await bench.link.publish(topic, envelope, { qos: 1 }); // waits for the auditor
  const second = await bench.start();
  await until(() => second.state().redelivered === 1);
  assert.equal(second.state().entries, 1);
});

test('auditor: an envelope waits for the certificates of its device', async (context) => {
  const bench = await openBench(context);
  const auditor = await bench.start();
  await bench.recorded.event('auditor.subscribed');
  await bench.link.publish(topic, sealed(bench), { qos: 1 });
  await until(() => auditor.state().waiting === 1);
  assert.equal(auditor.state().entries, 0);
  await publishCertificates(bench);
  await untilEntries(auditor, 1);
  assert.equal(auditorListing(bench.data).entries[0]?.alarm, undefined);
});

test('auditor: what waits while the clock is set back waits no longer for it', async (context) => {
  const bench = await openBench(context);
  let aheadMs = 3_600_000;
  const clock = (): number => Date.now() + aheadMs;
  const settings = { data: bench.data, certificatesWaitSeconds: 1 };
  const auditor = await auditorAt(bench.site, bench.recorded, settings, { clock });
  await bench.recorded.event('auditor.subscribed');
  await bench.link.publish(topic, sealed(bench), { qos: 1 });
  await until(() => auditor.state().waiting === 1);
  aheadMs = 0;
  assert.equal((await bench.recorded.event('audit.alarm'))['reason'], 'cms.untrusted_originator');
});

for (const [what, reason, how, settings] of [
  [
    'that somebody unknown can read',
    'audit.foreign_recipient',
    { recipients: [service, masterAccount, 'vendor-command-service'] },
    {},
  ],
  ['that we cannot read', 'cms.not_a_recipient', { recipients: [service] }, {}],
  ['sealed for another topic', 'cms.wrong_topic', { topic: `${other}/snapshots` }, {}],
  ['of another content', 'audit.foreign_content', { contentType: 'octets' }, {}],
  ['signed before its certificate was valid', 'pki.not_yet_valid', { signingTimeMs: Date.UTC(2020, 0) }, {}],
  ['signed after its certificate expired', 'pki.expired', { signingTimeMs: Date.UTC(2049, 0) }, {}],
  ['of nobody known', 'cms.untrusted_originator', { originator: other }, { certificatesWaitSeconds: 0 }],
] as const) {
  test(`auditor: an envelope ${what} is an entry with a reason, and an alarm`, async (context) => {
    const bench = await openBench(context);
    const auditor = await bench.start(settings);
    await bench.recorded.event('auditor.subscribed');
    await publishCertificates(bench);
    await bench.link.publish(topic, sealed(bench, how), { qos: 1 });
    assert.equal((await bench.recorded.event('audit.alarm'))['reason'], reason);
    const { totals, entries } = auditorListing(bench.data, { alarmsOnly: true });
    assert.equal(totals.alarms, 1);
    assert.equal(entries[0]?.alarm?.reason, reason);
    assert.equal(entries[0]?.sequence, 1);
    assert.equal(auditor.state().alarms, 1);
  });
}

test('auditor: bytes that are no envelope are an entry and an alarm', async (context) => {
  const bench = await openBench(context);
  await bench.start();
  await bench.recorded.event('auditor.subscribed');
  await bench.link.publish(topic, Buffer.from('not an envelope'), { qos: 1 });
  assert.equal((await bench.recorded.event('audit.alarm'))['reason'], 'cms.malformed');
  assert.equal(auditorListing(bench.data).entries[0]?.sequence, undefined);
});

test('auditor: a number used twice and a broken chain are alarms', async (context) => {
  const bench = await openBench(context);
  const auditor = await bench.start();
  await bench.recorded.event('auditor.subscribed');
  await publishCertificates(bench);
  const first = sealed(bench);
  const second = sealed(bench, { sequence: 2, previousDigest: envelopeDigest(first) });
  const again = sealed(bench, { sequence: 2, previousDigest: envelopeDigest(first) });
  const broken = sealed(bench, { sequence: 3, previousDigest: envelopeDigest(first) });
  for (const envelope of [first, second, again, broken])
    await bench.link.publish(topic, envelope, { qos: 1 });
  await untilEntries(auditor, 4);
  assert.deepEqual(
    auditorListing(bench.data).entries.map((entry) => entry.alarm?.reason),
    [undefined, undefined, 'audit.sequence_reused', 'audit.chain_broken'],
  );
});

test('auditor: a broker that drops, replays, reorders and moves envelopes is found out by the ledger', async (context) => {
  const bench = await openBench(context);
  const auditor = await bench.start();
  await bench.recorded.event('auditor.subscribed');
  await publishCertificates(bench);
  const chain: Buffer[] = [];
  for (let sequence = 1; sequence <= 7; sequence++) {
    const before = chain.at(-1);
    chain.push(sealed(bench, { sequence, ...(before ? { previousDigest: envelopeDigest(before) } : {}) }));
  }
  const [one, two, , four, five, six, seven] = chain as [
    Buffer,
    Buffer,
    Buffer,
    Buffer,
    Buffer,
    Buffer,
    Buffer,
  ];
  const { link } = await bench.site.reader(other, 'mover', []);
  for (const envelope of [one, two, four, two, six, five])
    await bench.link.publish(topic, envelope, { qos: 1 });
  await link.publish(`${other}/snapshots`, seven, { qos: 1 });
  await untilEntries(auditor, 6);
  await until(() => auditor.state().redelivered === 1);
  assert.deepEqual(
    auditorListing(bench.data, { alarmsOnly: true }).entries.map((entry) => [
      entry.topic,
      entry.alarm?.reason,
    ]),
    [[`${other}/snapshots`, 'cms.wrong_topic']],
  );
  await auditor.stop();
  const { gaps, forks, fault } = verifyLedger(path.join(bench.data, 'egress.ledger'));
  assert.deepEqual([fault, forks, gaps], [undefined, [], [{ stream: device, from: 3, to: 3 }]]);
});

test('auditor: certificates of another identity are refused', async (context) => {
  const bench = await openBench(context);
  const auditor = await bench.start();
  await bench.recorded.event('auditor.subscribed');
  await publishCertificates(bench, other);
  assert.equal((await bench.recorded.event('certificates.refused'))['reason'], 'pki.path_discipline');
  assert.equal(auditor.state().devices, 0);
});

test('auditor: what cannot be stored is not acknowledged, and recorded when the disk works again', async (context) => {
  const bench = await openBench(context);
  const auditor = await bench.start({ certificatesWaitSeconds: 0 });
  await bench.recorded.event('auditor.subscribed');
  await publishCertificates(bench);
  const database = new DatabaseSync(path.join(bench.data, 'auditor.sqlite'));
  database.exec(`CREATE TRIGGER full_disk BEFORE INSERT ON leaf BEGIN SELECT RAISE(ABORT, 'disk full'); END`);
  await bench.link.publish(topic, sealed(bench), { qos: 1 });
  await bench.recorded.event('record.failed');
  assert.equal(auditor.state().entries, 0);
  database.exec('DROP TRIGGER full_disk');
  database.close();
  await untilEntries(auditor, 1);
  await auditor.stop();
  const { fault, passages, signedHead, leaves } = verifyLedger(path.join(bench.data, 'egress.ledger'));
  assert.deepEqual([fault, passages, signedHead?.size], [undefined, 1, leaves]); // it was in the ledger already
});

test('auditor: what it recorded is signed for when it stops, and goes on after a restart without its index', async (context) => {
  const bench = await openBench(context);
  const first = await bench.start();
  await bench.recorded.event('auditor.subscribed');
  await publishCertificates(bench);
  const envelope = sealed(bench);
  await bench.link.publish(topic, envelope, { qos: 1 });
  await untilEntries(first, 1);
  await first.stop();
  for (const end of ['', '-wal', '-shm'])
    rmSync(path.join(bench.data, `auditor.sqlite${end}`), { force: true });
  const second = await bench.start();
  assert.equal(second.state().entries, 1);
  await publishCertificates(bench);
  await bench.link.publish(topic, envelope, { qos: 1 });
  await until(() => second.state().redelivered === 1);
  await bench.link.publish(topic, sealed(bench, { sequence: 2, previousDigest: envelopeDigest(envelope) }), {
    qos: 1,
  });
  await untilEntries(second, 2);
  await second.stop();
  const { roots } = bench.site.identity(masterAccount);
  const found = verifyLedger(path.join(bench.data, 'egress.ledger'), { roots });
  assert.deepEqual([found.fault, found.passages, found.gaps, found.forks], [undefined, 2, [], []]);
  // The beginning, one list of channels for both, and the two envelopes.
  assert.deepEqual([found.leaves, found.heads], [4, 2]);
  assert.deepEqual(
    found.signedHead?.signers.map(({ commonName, isTrusted }) => [commonName, isTrusted]),
    [[masterAccount, true]],
  );
});

test('startAuditor: a device cannot audit its owner', async (context) => {
  const bench = await openBench(context);
  await assert.rejects(bench.start({ identity: path.join(bench.site.folder, device) }), {
    code: 'pki.path_discipline',
  });
});

test('auditorListing: without a record there is a clear error', () => {
  assert.throws(() => auditorListing('/nowhere'), { code: 'record.storage', message: /no record yet/ });
});

function untilEntries(auditor: RunningAuditor, entries: number): Promise<void> {
  return until(() => auditor.state().entries >= entries);
}
