/** A device follows a transfer: it delivers what it has in its old place, works in the new one, and says so. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { createOpener } from '../../../cms/open.ts';
import { OriginatorDirectory } from '../../../cms/originator-directory.ts';
import { keyTimes } from '../../../device-agent/key-slots/bearer.ts';
import { writePlace } from '../../../device-agent/key-slots/place.ts';
import { loadIdentity } from '../../../pki/identity.ts';
import type { Journal } from '../../broker/fixture.ts';
import { openVendor } from '../../registrar/fixture.ts';
import type { Vendor } from '../../registrar/fixture.ts';
import { plombe } from '../../system/process.ts';
import { agentSettings, currentOf, openReader, readerName, startFieldAgent, valueOf } from './field.ts';
import { offerTransfer } from './transfer.ts';

const from = 'ms-acc-1/acc-1/dev-1';
const to = 'ms-acc-2/acc-1/dev-7';
let vendor: Vendor;
let registrar: Journal;
before(async () => {
  vendor = await openVendor();
  ({ journal: registrar } = await vendor.startRegistrar());
});
after(() => vendor.remove());

test('hand-over: the device works in its new place, and its former owner reads nothing of it', async () => {
  const root = await vendor.keyDirectory(from);
  const reader = await openReader(vendor);
  const plain = await agentSettings(vendor, root);
  const formerOwner = path.join(await vendor.keyDirectory('ms-acc-1'), 'enc.chain.pem');
  const settings = { ...plain, recipients: [...(plain['recipients'] as string[]), formerOwner] };
  const { agent, journal, metrics } = await startFieldAgent(settings);
  await reader.until(() => reader.of(from).length > 3);
  await offerTransfer(vendor, from, to, root);
  await journal.until('hand_over.done');
  await registrar.until('transfer.done', { from, to });
  await journal.until('recipient.of_former_owner', { recipient: 'ms-acc-1' });
  await reader.until(() => reader.of(to).length > 3);
  assert.equal(currentOf(root), 'slot-a');
  assert.equal(await valueOf(metrics, 'plombe_agent_hand_overs_total', 'done'), 1);
  assert.equal(agent.state().devices[0]?.path, to);
  assert.equal(journal.find('hand_over.left_behind'), undefined);
  const { broker } = JSON.parse(readFileSync(path.join(root, 'slot-a', 'place.json'), 'utf8'));
  assert.deepEqual(broker, { host: 'localhost', port: vendor.broker.port, name: 'vendor-broker' });
  await agent.stop();
  // The configuration says what it said; the directory knows better.
  const again = await startFieldAgent({ ...settings, broker: '127.0.0.1:1' });
  const count = reader.of(to).length;
  await reader.until(() => reader.of(to).length > count + 3);
  await again.agent.stop();
  reader.requireWhole(from);
  reader.requireWhole(to);
  assert.ok(reader.of(from).every(({ recipients }) => recipients.length === 2));
  assert.ok(reader.of(to).every(({ recipients }) => recipients.length === 1));
});

test('hand-over: what its former broker does not take is told, and can be taken out of the outbox for its owner', async () => {
  const [former, next] = ['ms-acc-1/acc-1/dev-2', 'ms-acc-2/acc-1/dev-8'];
  const root = await vendor.keyDirectory(former);
  const { signature, keyAgreement } = loadIdentity(root).e2e;
  const reader = await openReader(vendor);
  const file = vendor.file('rows.csv', `level\n${Array.from({ length: 120 }, (_, row) => row).join('\n')}\n`);
  const settings: Record<string, unknown> = {
    ...(await agentSettings(vendor, root)),
    devices: [{ identity: root, collector: { kind: 'csv', file } }],
    broker: '127.0.0.1:1', // the former one: nobody listens there any more
    drainSeconds: 0,
  };
  const offline = await startFieldAgent(settings);
  await offline.agent.collected();
  await offline.agent.stop();
  // As if it had been switched off right after it had proven the keys of its new place.
  const slot = path.join(root, 'slot-a');
  await vendor.site.authority.issue({ path: next, outputDirectory: slot });
  const broker = { host: 'localhost', port: vendor.broker.port, name: 'vendor-broker' };
  writePlace(slot, { from: former, broker, requestId: randomUUID(), isConfirmed: false });
  writeFileSync(path.join(root, 'current'), 'slot-a\nformer plain\n');

  const { agent, journal } = await startFieldAgent(settings, {
    times: { ...keyTimes, deliveryMs: 100 },
  });
  const { from: told, envelopes } = await journal.until('hand_over.left_behind');
  assert.deepEqual([told, envelopes], [former, 120]);
  await journal.until('hand_over.done');
  assert.equal(agent.state().devices[0]?.path, next);
  const data = String(settings['data']);
  assert.match((await plombe('device', 'outbox', '--data', data)).stderr, /another process has it open/);
  await agent.stop();

  const list = await plombe('device', 'outbox', '--data', data);
  assert.match(list.stdout, /^ms-acc-1\/acc-1\/dev-2 {2}120$/m);
  const out = vendor.directory('left-behind');
  const write = ['device', 'outbox', '--data', data, '--of', former, '--out', out, '--remove'];
  assert.match((await plombe(...write)).stdout, /120 envelopes written/);
  const names = readdirSync(path.join(out, former)).toSorted();
  assert.equal(names.length, 120);
  assert.equal(names[0], '0000000001.snapshot.der');
  const { e2e } = await vendor.keys(readerName);
  const originators = new OriginatorDirectory(e2e.roots);
  originators.publish(
    former,
    {
      signature: signature.chain.map(({ der }) => der),
      keyAgreement: keyAgreement.chain.map(({ der }) => der),
    },
    Date.now(),
  );
  const opener = createOpener({ recipient: e2e.keyAgreement, originators });
  for (const [index, name] of names.entries()) {
    const opened = opener.open(readFileSync(path.join(out, former, name)), {
      expectedTopic: `${former}/snapshots`,
    });
    assert.equal(opened.sequence, index + 1);
  }
  assert.match((await plombe(...write)).stdout, /0 envelopes written/);
  for (const wrong of [
    ['--data', out],
    ['--data', data, '--of', former],
    ['--data', data, '--remove'],
    ['--data', data, '--of', 'ms-acc-9/acc-1/dev-1', '--out', out],
  ])
    assert.equal((await plombe('device', 'outbox', ...wrong)).status, 1, wrong.join(' '));
  assert.equal(reader.of(former).length, 0);
});

test('hand-over: new keys prove nothing at a broker whose certificate is revoked', async () => {
  const [former, next] = ['ms-acc-1/acc-1/dev-3', 'ms-acc-3/acc-1/dev-9'];
  const root = await vendor.keyDirectory(former);
  const { broker: thief } = await vendor.site.start({
    identity: await vendor.site.identity('ms-acc-3', ['127.0.0.1']),
    data: path.join(vendor.site.directory, 'thief'),
  });
  await vendor.site.authority.revoke({ target: { path: 'ms-acc-3' }, kinds: ['tls'] });
  const settings = await agentSettings(vendor, root);
  const { agent, journal } = await startFieldAgent(settings, {
    times: { ...keyTimes, trialMs: 500, retry: { firstMs: 60_000, maxMs: 60_000 } },
  });
  await journal.until('crl.applied', { pki: 'tls' });
  await offerTransfer(vendor, former, next, root, { host: '127.0.0.1', port: thief.port, name: 'ms-acc-3' });
  const { reason } = await journal.until('link.connect_failed', { broker: `127.0.0.1:${thief.port}` });
  assert.match(String(reason), /is revoked/);
  await journal.until('hand_over.failed', { reason: 'slots.unproven' });
  assert.equal(agent.state().devices[0]?.path, former);
  await agent.stop();
});
