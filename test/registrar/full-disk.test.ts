import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import type { MqttClient } from 'mqtt';
import { readSignedContent } from '../../cms/signed-content.ts';
import { decodeEnrolmentReply } from '../../domain/enrolment.ts';
import type { EnrolmentReply } from '../../domain/enrolment.ts';
import { FullDisk } from '../runtime/full-disk.ts';
import { openVendor, requestOf, tokenSigner } from './fixture.ts';
import type { Vendor } from './fixture.ts';

const dayMs = 86_400_000;
let vendor: Vendor;
let admin: MqttClient;
let journalDisk: FullDisk;
let authorityDisk: FullDisk;
let nowMs = Date.now();
const replies = new Map<string, EnrolmentReply>();
const waking = new Set<() => void>();
before(async () => {
  vendor = await openVendor(() => nowMs);
  const { data, authority } = await vendor.config();
  journalDisk = new FullDisk(data);
  authorityDisk = new FullDisk(authority);
  admin = await vendor.site.connect(vendor.broker, 'MRO-Admin');
  admin.on('message', (_topic, payload) => {
    if (payload.length === 0) return;
    const reply = decodeEnrolmentReply(readSignedContent(payload).content);
    replies.set(reply.id, reply);
    for (const wake of waking) wake();
    waking.clear();
  });
  await admin.subscribeAsync('+/+/+/enrolment/reply', { qos: 1 });
});
beforeEach(() => {
  journalDisk.empty();
  authorityDisk.empty();
});
after(async () => {
  journalDisk.remove();
  authorityDisk.remove();
  await vendor.remove();
});

async function replyTo(id: string): Promise<EnrolmentReply> {
  for (;;) {
    const found = replies.get(id);
    if (found !== undefined) return found;
    await new Promise<void>((resolve) => waking.add(resolve));
  }
}

async function ask(device: string, token?: string): Promise<string> {
  const signer = tokenSigner(token ?? (await vendor.token(device)));
  const { request, message } = requestOf(signer, device, { kind: 'enrol' });
  await admin.publishAsync(`${device}/enrolment`, message, { qos: 1 });
  return request.id;
}

/** Events of the ledger about the keys of a device, but not of its invitation. */
function recorded(device: string): string[] {
  return vendor.site.authority
    .ledger('e2e')
    .filter(({ subject, scope }) => subject === device && scope === undefined)
    .map(({ event, kind }) => `${event} ${kind}`);
}

const once = ['intended sig', 'intended enc', 'issued sig', 'issued enc'];

test('registrar: what the disk takes not is not acknowledged, and answered when there is room', async () => {
  const device = 'ms-acc-1/acc-1/dev-1';
  const first = await vendor.startRegistrar({ observe: { host: '127.0.0.1', port: 0 } });
  await first.journal.until('registrar.subscribed');
  journalDisk.fill();
  const id = await ask(device);
  const { detail } = await first.journal.until('journal.failed');
  assert.match(String(detail), /cannot write the journal: database or disk is full/);
  const observed = `http://127.0.0.1:${first.registrar.observePort}`;
  assert.equal((await fetch(`${observed}/healthz`)).status, 503);
  assert.match(
    await (await fetch(`${observed}/metrics`)).text(),
    /^plombe_registrar_storage_faults_total [1-9]/m,
  );
  await vendor.stop(first.registrar); // so it comes again, to the next one
  assert.deepEqual([replies.has(id), recorded(device)], [false, []]);
  assert.equal(first.journal.find('request.taken'), undefined);

  journalDisk.fill(1); // it is opened
  const second = await vendor.startRegistrar();
  await second.journal.until('journal.failed');
  const later = await ask('ms-acc-1/acc-1/dev-2');
  journalDisk.empty();
  assert.deepEqual(
    [(await replyTo(id)).outcome, (await replyTo(later)).outcome, recorded(device)],
    ['issued', 'issued', once],
  );
  assert.equal(second.registrar.state().journalFault, undefined);
  await vendor.stop(second.registrar);
});

test('registrar: what was signed when the disk was full is not signed once more', async () => {
  const device = 'ms-acc-1/acc-1/dev-3';
  const { registrar, journal } = await vendor.startRegistrar();
  const token = await vendor.token(device);
  journalDisk.fill(1); // the request
  const id = await ask(device, token);
  await journal.until('journal.failed');
  assert.equal(replies.has(id), false);
  journalDisk.empty();
  assert.equal((await replyTo(id)).outcome, 'issued');
  assert.deepEqual(recorded(device), once);
  journalDisk.fill(1); // a request comes with its refusal, or not at all
  const refused = await ask(device, token);
  const { outcome, detail } = await replyTo(refused);
  assert.deepEqual([outcome, detail], ['refused', 'this invitation was used for another request']);
  await vendor.stop(registrar);
});

test('registrar: while the authority takes nothing, requests wait, lists stay, and nothing is signed', async () => {
  const device = 'ms-acc-1/acc-1/dev-4';
  const token = await vendor.token(device);
  nowMs += 4 * dayMs; // lists are due
  authorityDisk.fill();
  const { registrar, journal } = await vendor.startRegistrar();
  const { reason, detail } = await journal.until('crl.not_renewed');
  assert.equal(reason, 'pki.storage');
  assert.match(String(detail), /no space left/);
  const id = await ask(device, token);
  await journal.until('certification.delayed', { reason: 'pki.storage' });
  assert.deepEqual([replies.has(id), recorded(device)], [false, []]);
  authorityDisk.empty();
  assert.equal((await replyTo(id)).outcome, 'issued');
  assert.deepEqual(recorded(device), once);
  await vendor.stop(registrar);
  const next = await vendor.startRegistrar();
  await next.journal.until('crl.renewed');
  await vendor.stop(next.registrar);
});

test('Authority.revoke: what was revoked on a full disk, and is on no list, is listed by the next', async () => {
  const { authority } = vendor.site;
  const device = 'ms-acc-1/acc-1/dev-5';
  await authority.issue({
    path: device,
    kinds: ['sig'],
    outputDirectory: path.join(vendor.site.directory, 'five'),
  });
  const ledger = (): string[] =>
    authority.ledger('e2e').flatMap(({ subject, event }) => (subject === device ? [event] : []));
  const revoke = () => authority.revoke({ target: { path: device } });
  // Nothing; the line in the ledger; a number for the list; a number and the list, but not the bundle.
  for (const [round, writes] of [0, 1, 1, 2].entries()) {
    authorityDisk.fill(writes);
    await assert.rejects(revoke(), { code: 'pki.storage' });
    assert.deepEqual(ledger(), ['intended', 'issued', ...(round === 0 ? [] : ['revoked'])]);
  }
  authorityDisk.empty();
  assert.equal((await revoke()).length, 1);
  assert.deepEqual(ledger(), ['intended', 'issued', 'revoked']);
  await assert.rejects(revoke(), { code: 'pki.unknown_certificate' });
});
