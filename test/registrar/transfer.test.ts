/** A device changes hands: three signatures, new certificates, and the old ones are worth nothing any more. */
import assert from 'node:assert/strict';
import { copyFileSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { countersignContent, signContent } from '../../cms/signed-content.ts';
import { systemClock } from '../../domain/clock.ts';
import { encodeEnrolmentConfirmation } from '../../domain/enrolment.ts';
import { exchange } from '../../enrolment/exchange.ts';
import { installCertificates, prepareRequest } from '../../enrolment/key-directory.ts';
import { requireTransfer } from '../../enrolment/transfer.ts';
import { loadIdentity } from '../../pki/identity.ts';
import type { Identity } from '../../pki/identity.ts';
import { Journal } from '../broker/fixture.ts';
import { plombe } from '../system/process.ts';
import { FullDisk } from '../runtime/full-disk.ts';
import { openVendor, requestOf } from './fixture.ts';
import type { Vendor } from './fixture.ts';

const from = 'ms-acc-1/acc-1/dev-1';
const to = 'ms-acc-2/acc-1/dev-7';
let vendor: Vendor;
let log: Journal;
let file: string;
let device: Identity;
before(async () => {
  vendor = await openVendor();
  log = (await vendor.startRegistrar()).journal;
  file = path.join(vendor.site.directory, 'transfer');
  device = await vendor.keys(from);
});
after(() => vendor.remove());

async function transfer(...args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await plombe('device', 'transfer', ...args);
  assert.equal(status, 0, stderr);
  return stdout;
}

async function refused(...args: readonly string[]): Promise<string> {
  const { status, stderr } = await plombe('device', 'transfer', ...args);
  assert.equal(status, 1);
  return stderr;
}

test('plombe device transfer: release, accept, approve; each says who has not signed yet', async () => {
  const certificate = path.join(await vendor.keyDirectory(from), 'sig.crt.pem');
  const port = String(vendor.broker.port);
  const terms = ['--from', from, '--to', to, '--certificate', certificate, '--out', file];
  const broker = ['--new-broker', `127.0.0.1:${port}`, '--new-broker-name', 'vendor-broker'];
  const owner = await vendor.keyDirectory('ms-acc-1/acc-1');
  const next = await vendor.keyDirectory('ms-acc-2');
  const admin = await vendor.keyDirectory('MRO-Admin');
  const first = await transfer('release', ...terms, ...broker, '--identity', owner);
  assert.match(first, /not signed yet by its new owner, ms-acc-2\/acc-1, nor by the vendor, MRO-Admin/);
  const early = `${file}.early`;
  copyFileSync(file, early);
  const vendorBroker = ['--broker', `127.0.0.1:${port}`, '--broker-name', 'vendor-broker'];
  assert.match(
    await refused('approve', early, '--identity', admin, ...vendorBroker),
    /not signed by its new owner/,
  );
  const stranger = await vendor.keyDirectory('ms-acc-3');
  assert.match(await refused('accept', file, '--identity', stranger), /that ms-acc-3 signed/);
  assert.match(await transfer('accept', file, '--identity', next), /not signed yet by the vendor, MRO-Admin/);
  const root = path.join(owner, 'e2e-root.crt.pem');
  assert.match(
    await transfer('show', file, '--root', root),
    /ms-acc-1\/acc-1\/dev-1 becomes ms-acc-2\/acc-1\/dev-7/,
  );
  const owned = await vendor.site.connect(vendor.broker, from);
  await owned.subscribeAsync(`${from}/enrolment/reply`, { qos: 1 });
  assert.match(await transfer('approve', file, '--identity', admin, ...vendorBroker), /signed by all/);
  await vendor.site.received(owned).count(1);
  await log.until('transfer.offered', { from, to });
});

test('a device follows the transfer: new keys, new certificates, the new broker; then the old ones are revoked, also on a disk that was full', async (context) => {
  const admin = await vendor.site.connect(vendor.broker, 'MRO-Admin');
  const offer = await new Promise<Buffer>((resolve, reject) => {
    admin.once('message', (_topic, payload) => resolve(payload));
    admin.subscribeAsync(`${from}/enrolment/reply`, { qos: 1 }).catch(reject);
  });
  const document = requireTransfer(offer, { roots: device.e2e.roots, atMs: Date.now() });
  assert.deepEqual([document.from, document.to], [from, to]);

  // Another equipment of the same owner cannot take its place, and it cannot go elsewhere.
  const [imposter, other] = [await vendor.keys('ms-acc-1/acc-1/dev-2'), 'ms-acc-2/acc-1/dev-8'];
  for (const [name, who, where] of [
    ['ms-acc-1/acc-1/dev-2', imposter, to],
    [from, device, other],
  ] as const) {
    const changes = { kind: 'transfer', transfer: document.id } as const;
    const { message } = requestOf(who.e2e.signature, where, changes);
    await admin.publishAsync(`${name}/enrolment`, message, { qos: 1 });
  }
  await log.until('request.taken', { name: 'ms-acc-1/acc-1/dev-2', state: 'refused' });
  await log.until('request.taken', { name: from, state: 'refused' });

  const directory = vendor.directory('moved');
  const pending = prepareRequest(directory, {
    kind: 'transfer',
    path: to,
    transfer: document.id,
    signer: device.e2e.signature,
    curves: { tls: 'P-256', sig: 'P-256', enc: 'P-256' },
    agentVersion: 'test',
    nowMs: Date.now(),
  });
  const broker = { host: '127.0.0.1', port: vendor.broker.port, name: 'vendor-broker' };
  const common = { broker, identity: device.tls, pending, roots: device.e2e.roots, timeoutMs: 60_000 };
  const reply = await exchange({ ...common, clock: systemClock, log: new Journal().log });
  assert.deepEqual([reply.outcome, reply.broker], ['issued', broker], reply.detail);
  const roots = { tls: device.tls.roots, e2e: device.e2e.roots };
  assert.equal(installCertificates(directory, pending, reply, { roots, nowMs: Date.now() }), to);

  const moved = loadIdentity(directory);
  const old = await vendor.site.connect(vendor.broker, from, { clientId: 'old' });
  const ended = new Promise<void>((resolve) => old.once('close', () => resolve()));
  const confirmation = encodeEnrolmentConfirmation({ id: pending.request.id, confirmedAtMs: Date.now() });
  const byTheOld = signContent(confirmation, device.e2e.signature, Date.now());
  await admin.publishAsync(`${to}/enrolment`, byTheOld, { qos: 1 });
  await log.until('message.ignored', { topic: `${to}/enrolment` });
  const disk = new FullDisk(vendor.site.authority.directory);
  context.after(() => disk.remove());
  disk.fill(1); // what is revoked is recorded, and cannot be listed
  await admin.publishAsync(`${to}/enrolment`, signContent(confirmation, moved.e2e.signature, Date.now()), {
    qos: 1,
  });
  assert.match(String((await log.until('journal.failed'))['detail']), /no space left/);
  assert.equal(log.find('transfer.done'), undefined);
  disk.empty();
  await log.until('transfer.done', { from, to });
  await ended;
  await assert.rejects(vendor.site.connect(vendor.broker, from, { clientId: 'old' }));
  const revoked = vendor.site.authority
    .ledger('e2e')
    .filter(({ event, subject }) => event === 'revoked' && subject === from);
  assert.deepEqual(new Set(revoked.map(({ reason }) => reason)), new Set(['affiliationChanged']));
  assert.deepEqual(
    vendor.site.authority.ledger('tls').filter(({ event, subject }) => event === 'revoked' && subject === to),
    [],
  );
});

test('requireTransfer: what is missing, foreign, or outside of its time is no transfer', async () => {
  const { roots } = device.e2e;
  const owner = (await vendor.keys('ms-acc-1')).e2e.signature;
  const all = readFileSync(file);
  const atMs = Date.now();
  assert.equal(requireTransfer(all, { roots, atMs }).to, to);
  assert.throws(() => requireTransfer(all, { roots, atMs: atMs + 15 * 86_400_000 }), {
    code: 'enrolment.untrusted',
  });
  const stranger = (await vendor.keys('ms-acc-3')).e2e.signature;
  assert.throws(() => requireTransfer(countersignContent(all, stranger, atMs), { roots, atMs }), {
    code: 'enrolment.untrusted',
  });
  assert.equal(requireTransfer(countersignContent(all, owner, atMs), { roots, atMs }).to, to);
});
