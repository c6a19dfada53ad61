import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { MqttClient } from 'mqtt';
import { countersignContent, readSignedContent, signContent } from '../../cms/signed-content.ts';
import type { ContentSigner } from '../../cms/signed-content.ts';
import { decodeEnrolmentReply, encodeEnrolmentApproval } from '../../domain/enrolment.ts';
import type { EnrolmentApproval, EnrolmentReply } from '../../domain/enrolment.ts';
import { writeToken } from '../../enrolment/token.ts';
import { parseCertificate } from '../../pki/certificate.ts';
import { loadIdentity } from '../../pki/identity.ts';
import { createRequest } from '../../pki/request.ts';
import type { Journal } from '../broker/fixture.ts';
import { openVendor, requestOf, tokenSigner } from './fixture.ts';
import type { Vendor } from './fixture.ts';
import { rogueCertificate, stolenAuthority } from '../pki/rogue-authority.ts';

let vendor: Vendor;
let admin: MqttClient;
let registrarLog: Journal;
const replies: { readonly topic: string; readonly reply: EnrolmentReply; readonly bytes: Buffer }[] = [];
const waking = new Set<() => void>();
let settlements = 1000;
before(async () => {
  vendor = await openVendor();
  registrarLog = (await vendor.startRegistrar()).journal;
  admin = await vendor.site.connect(vendor.broker, 'MRO-Admin');
  admin.on('message', (topic, payload) => {
    if (payload.length === 0) return;
    const { content } = readSignedContent(payload);
    if (content.equals(forgery)) return;
    replies.push({ topic, reply: decodeEnrolmentReply(content), bytes: payload });
    for (const wake of waking) wake();
    waking.clear();
  });
  await admin.subscribeAsync(['+/+/+/enrolment/reply', 'vendor/enrolment/+/reply'], { qos: 1 });
});
after(() => vendor.remove());

const device = (number: number): string => `ms-acc-1/acc-1/dev-${number}`;
const dayMs = 86_400_000;
const forgery = Buffer.from('forged');

async function replyTo(
  id: string,
  outcomes: readonly string[] = ['issued', 'refused', 'waiting'],
): Promise<EnrolmentReply> {
  for (;;) {
    const found = replies.findLast(({ reply }) => reply.id === id && outcomes.includes(reply.outcome));
    if (found !== undefined) return found.reply;
    await new Promise<void>((resolve) => waking.add(resolve));
  }
}

async function send(name: string, message: Buffer): Promise<void> {
  const base = name.startsWith('vendor-') ? `vendor/enrolment/${name}` : `${name}/enrolment`;
  await admin.publishAsync(base, message, { qos: 1 });
}

/** Whatever the registrar ignored, it has ignored by the time that it answers what came later. */
async function settled(): Promise<void> {
  const name = device((settlements += 1));
  const { request, message } = requestOf(tokenSigner(await vendor.token(name)), name, { kind: 'enrol' });
  await send(name, message);
  await replyTo(request.id);
}

test('enrolment: a token gives a device certificates of its own keys, in a directory as plombe pki issue writes it', async () => {
  const directory = vendor.directory('first');
  const printed = await vendor.enrol(await vendor.token(device(1)), directory);
  assert.match(printed.at(-1) ?? '', /enrolled/);
  const identity = loadIdentity(directory);
  assert.equal(identity.commonName, device(1));
  const issued = path.join(vendor.site.directory, 'issued');
  await vendor.site.authority.issue({ path: device(2), outputDirectory: issued });
  assert.deepEqual(readdirSync(directory).toSorted(), readdirSync(issued).toSorted());
  for (const file of readdirSync(directory)) {
    assert.equal(
      statSync(path.join(directory, file)).mode & 0o777,
      statSync(path.join(issued, file)).mode & 0o777,
      file,
    );
  }
  assert.match((await vendor.enrol('no token', directory))[0] ?? '', /already/);
});

test('enrolment: the same request gets the same answer, another one with the same invitation is refused', async () => {
  const signer = tokenSigner(await vendor.token(device(3)));
  const first = requestOf(signer, device(3), { kind: 'enrol' });
  await send(device(3), first.message);
  const reply = await replyTo(first.request.id);
  assert.equal(reply.outcome, 'issued');
  const before = replies.length;
  await send(device(3), first.message);
  await settled();
  const again = replies.slice(before).find(({ reply: { id } }) => id === first.request.id);
  assert.deepEqual(again?.bytes, replies.find(({ reply: { id } }) => id === first.request.id)?.bytes);
  const second = requestOf(signer, device(3), { kind: 'enrol' });
  await send(device(3), second.message);
  const refused = await replyTo(second.request.id);
  assert.deepEqual(
    [refused.outcome, refused.detail],
    ['refused', 'this invitation was used for another request'],
  );
});

test('enrolment: two requests at once with one invitation: one is issued, one refused', async () => {
  const signer = tokenSigner(await vendor.token(device(4)));
  const both = [1, 2].map(() => requestOf(signer, device(4), { kind: 'enrol' }));
  await Promise.all(both.map(({ message }) => send(device(4), message)));
  const outcomes = await Promise.all(both.map(async ({ request }) => (await replyTo(request.id)).outcome));
  assert.deepEqual(outcomes.toSorted(), ['issued', 'refused']);
});

test('enrolment: what a request cannot ask for is refused, with a reason', async () => {
  const key = (name: string): Buffer =>
    createRequest(name, generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey);
  const one = key(device(5));
  for (const [changes, reason] of [
    [{ kind: 'enrol', path: device(6) }, /cannot ask to be/],
    [{ kind: 'renew' }, /none to renew with/],
    [{ kind: 'enrol', requests: { tls: one, sig: one, enc: key(device(5)) } }, /two jobs/],
    [{ kind: 'enrol', requests: { tls: key(device(6)), sig: one, enc: key(device(5)) } }, /names "ms-acc-1/],
    [{ kind: 'enrol', requests: { tls: Buffer.of(0x30, 0), sig: one, enc: one } }, /cannot read/],
  ] as const) {
    const { request, message } = requestOf(tokenSigner(await vendor.token(device(5))), device(5), changes);
    await send(device(5), message);
    const { outcome, detail } = await replyTo(request.id);
    assert.equal(outcome, 'refused', detail);
    assert.match(detail, reason);
  }
  const { e2e } = await vendor.keys(device(5));
  const invited = requestOf(e2e.signature, device(5), { kind: 'enrol' });
  await send(device(5), invited.message);
  assert.match((await replyTo(invited.request.id)).detail, /none to enrol with/);
});

test('enrolment: nobody is answered for what is not signed by whose topic it is', async () => {
  const { e2e } = await vendor.keys(device(7));
  const other = await vendor.keys(device(8));
  const good = requestOf(e2e.signature, device(7));
  const foreignRoot = rogueCertificate({ commonName: 'root', ca: {} });
  const foreign = rogueCertificate({ issuer: foreignRoot, commonName: device(7) });
  const stranger = { ...foreign, chain: [foreign.certificate] };
  const unanswered = [
    requestOf(other.e2e.signature, device(7)),
    requestOf(stranger, device(7)),
    { ...good, message: countersignContent(good.message, other.e2e.signature, Date.now()) },
    { ...good, message: Buffer.from('nonsense') },
    { ...good, message: signContent(Buffer.from('nonsense'), e2e.signature, Date.now()) },
  ];
  for (const { message } of unanswered) await send(device(7), message);
  await settled();
  const ids = new Set(unanswered.map(({ request }) => request.id));
  assert.equal(
    replies.find(({ reply }) => ids.has(reply.id)),
    undefined,
  );
});

test('renewal: in time it is certified at once, for other keys than those that ask', async () => {
  const { e2e } = await vendor.keys(device(9));
  const { request, message } = requestOf(e2e.signature, device(9));
  await send(device(9), message);
  const { outcome, chains } = await replyTo(request.id);
  assert.equal(outcome, 'issued');
  assert.equal(parseCertificate(chains?.sig[0] ?? Buffer.alloc(0)).commonName, device(9));
  const requests = { ...request.requests, sig: createRequest(device(9), e2e.signature.key) };
  const lazy = requestOf(e2e.signature, device(9), { requests });
  await send(device(9), lazy.message);
  assert.match((await replyTo(lazy.request.id)).detail, /two jobs/);
});

test('renewal: a device that asks too often in a day is not answered any more', async () => {
  const { e2e } = await vendor.keys(device(10));
  const asked = Array.from({ length: 11 }, () => requestOf(e2e.signature, device(10)));
  for (const { message } of asked) await send(device(10), message);
  for (const { request } of asked.slice(0, 10)) assert.equal((await replyTo(request.id)).outcome, 'issued');
  await settled();
  assert.equal(
    replies.find(({ reply }) => reply.id === asked[10]?.request.id),
    undefined,
  );
});

test('renewal: a revoked device is nobody, from the moment of its revocation', async () => {
  const { e2e } = await vendor.keys(device(11));
  await vendor.site.authority.revoke({ target: { path: device(11) }, reason: 'keyCompromise' });
  const { request, message } = requestOf(e2e.signature, device(11));
  await send(device(11), message);
  await settled();
  assert.equal(
    replies.find(({ reply }) => reply.id === request.id),
    undefined,
  );
});

/** A SIG key that has expired, as the account's CA issued it long ago. */
function expiredSigner(name: string, ageMs = dayMs): ContentSigner {
  const account = stolenAuthority(vendor.site.authority, 'e2e', 'ms-acc-1/acc-1');
  const master = stolenAuthority(vendor.site.authority, 'e2e', 'ms-acc-1');
  const times = { notBeforeMs: Date.now() - 500 * dayMs, notAfterMs: Date.now() - ageMs };
  const { certificate, key } = rogueCertificate({ issuer: account, commonName: name, ...times });
  return { certificate, key, chain: [certificate, account.certificate, master.certificate] };
}

async function approve(
  name: string,
  { id, requestDigest }: Pick<EnrolmentReply, 'id' | 'requestDigest'>,
  signer: ContentSigner,
  changes: Partial<EnrolmentApproval> = {},
): Promise<void> {
  const approval = {
    id,
    requestDigest,
    decision: 'approve',
    detail: '',
    decidedAtMs: Date.now(),
    ...changes,
  } as const;
  const base = name.startsWith('vendor-') ? `vendor/enrolment/${name}` : `${name}/enrolment`;
  const message = signContent(encodeEnrolmentApproval(approval), signer, Date.now());
  await admin.publishAsync(`${base}/approval`, message, { qos: 1 });
}

test('renewal after the expiry: waits for an approval by the owner and by nobody else', async () => {
  const name = device(12);
  await vendor.keys(name); // makes the CAs
  const { request, message } = requestOf(expiredSigner(name), name);
  await send(name, message);
  const waiting = await replyTo(request.id);
  assert.deepEqual(
    [waiting.outcome, waiting.detail],
    ['waiting', 'its certificate expired: waits for an approval that ms-acc-1/acc-1 signs'],
  );
  assert.deepEqual(Buffer.from(waiting.request ?? []), message);
  for (const stranger of [device(9), 'ms-acc-1/acc-2', 'ms-acc-2', 'vendor-enrolment-service', 'MRO-Admin']) {
    await approve(name, waiting, (await vendor.keys(stranger)).e2e.signature);
  }
  const owner = (await vendor.keys('ms-acc-1/acc-1')).e2e.signature;
  await approve(name, { ...waiting, id: '00000000-0000-4000-8000-000000000000' }, owner);
  await approve(name, { ...waiting, requestDigest: createHash('sha256').update('another').digest() }, owner);
  await approve(name, waiting, owner, { path: device(13) });
  await settled();
  assert.equal((await replyTo(request.id)).outcome, 'waiting');
  // It stays there for whoever is to approve it, and is gone afterwards.
  const late = await vendor.site.connect(vendor.broker, 'ms-acc-1');
  await late.subscribeAsync(`${name}/enrolment/reply`, { qos: 1 });
  await vendor.site.received(late).count(1);
  await approve(name, waiting, owner);
  assert.equal((await replyTo(request.id, ['issued'])).outcome, 'issued');
  const later = await vendor.site.connect(vendor.broker, 'ms-acc-1', { clientId: 'later' });
  await later.subscribeAsync(`${name}/enrolment/reply`, { qos: 1 });
  await admin.publishAsync(`${name}/enrolment/reply`, '', { qos: 1 });
  assert.deepEqual(await vendor.site.received(later).count(1), [`${name}/enrolment/reply=`]);
});

test('renewal after the expiry: the owner may refuse it, and says why; past the grace it is nobody', async () => {
  const name = device(14);
  const { request, message } = requestOf(expiredSigner(name), name);
  await send(name, message);
  const waiting = await replyTo(request.id);
  const owner = (await vendor.keys('ms-acc-1')).e2e.signature;
  await approve(name, waiting, owner, { decision: 'refuse', detail: 'scrapped' });
  const refused = await replyTo(request.id, ['issued', 'refused']);
  assert.deepEqual([refused.outcome, refused.detail], ['refused', 'ms-acc-1 refused it: scrapped']);
  await approve(name, waiting, owner);
  await settled();
  assert.equal((await replyTo(request.id, ['issued', 'refused'])).outcome, 'refused');
  const ancient = requestOf(expiredSigner(name, 400 * dayMs), name);
  await send(name, ancient.message);
  await settled();
  assert.equal(
    replies.find(({ reply }) => reply.id === ancient.request.id),
    undefined,
  );
});

test('a factory name waits until the vendor says where it belongs, and gets certificates of that place', async () => {
  const factory = 'vendor-factory-4711';
  const directory = vendor.directory('factory');
  const enrolled = vendor.enrol(await vendor.token(factory), directory);
  const waiting = await (async () => {
    for (;;) {
      const found = replies.find(({ topic }) => topic === `vendor/enrolment/${factory}/reply`);
      if (found !== undefined) return found.reply;
      await new Promise<void>((resolve) => waking.add(resolve));
    }
  })();
  assert.match(waiting.detail, /where vendor-factory-4711 belongs/);
  await approve(factory, waiting, (await vendor.keys('ms-acc-1')).e2e.signature, { path: device(15) });
  const vendorKeys = (await vendor.keys('MRO-Admin')).e2e.signature;
  await approve(factory, waiting, vendorKeys);
  await settled();
  await approve(factory, waiting, vendorKeys, { path: device(15) });
  assert.match((await enrolled).at(-1) ?? '', /dev-15: enrolled/);
  assert.equal(loadIdentity(directory).commonName, device(15));
});

test('a place below a CA that nobody can make while a root is elsewhere: certified when its key is back', async () => {
  const factory = 'vendor-factory-4712';
  const asked = 'ms-acc-7/acc-1/dev-1';
  const directory = vendor.directory('offline');
  const enrolled = vendor.enrol(await vendor.token(factory), directory);
  const waiting = await (async () => {
    for (;;) {
      const found = replies.find(({ topic }) => topic === `vendor/enrolment/${factory}/reply`);
      if (found !== undefined) return found.reply;
      await new Promise<void>((resolve) => waking.add(resolve));
    }
  })();
  const key = path.join(vendor.site.authority.directory, 'e2e', 'root.key.pem');
  renameSync(key, `${key}.elsewhere`);
  await approve(factory, waiting, (await vendor.keys('MRO-Admin')).e2e.signature, { path: asked });
  await registrarLog.until('certification.delayed', { reason: 'pki.key_offline' });
  renameSync(`${key}.elsewhere`, key);
  assert.match((await enrolled).at(-1) ?? '', /enrolled/);
  assert.equal(loadIdentity(directory).commonName, asked);
});

test('enrolByToken: a refused request is given up, and the directory is good for the next token', async () => {
  const directory = vendor.directory('refused');
  const token = await vendor.token(device(16));
  await vendor.enrol(token, vendor.directory('thief'));
  await assert.rejects(vendor.enrol(token, directory), { code: 'enrolment.refused', message: /was used/ });
  await vendor.enrol(await vendor.token(device(16)), directory);
  assert.equal(loadIdentity(directory).commonName, device(16));
});

test('enrolByToken: answers of others than the enrolment service are passed over', async () => {
  const name = device(17);
  const text = await vendor.token(name);
  const { token } = tokenSigner(text);
  // An enrolment token that trusts another E2E root: nothing that the vendor says is believed.
  const foreignRoot = rogueCertificate({ commonName: 'root', ca: {} }).certificate;
  const broken = writeToken({ ...token, roots: { ...token.roots, e2e: foreignRoot } });
  await assert.rejects(vendor.enrol(broken, vendor.directory('foreign')), { code: 'pki.untrusted' });
  const owner = (await vendor.keys('ms-acc-1')).e2e.signature;
  const forged = setInterval(() => {
    void admin.publishAsync(`${name}/enrolment/reply`, signContent(forgery, owner, Date.now()), {
      qos: 0,
    });
  }, 5);
  try {
    await vendor.enrol(text, vendor.directory('noisy'));
  } finally {
    clearInterval(forged);
  }
  rmSync(vendor.directory('noisy'), { recursive: true });
});
