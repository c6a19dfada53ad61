/** A device follows a transfer: it delivers what it has in its old place, works in the new one, and says so. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Journal } from '../../broker/fixture.ts';
import { openVendor } from '../../registrar/fixture.ts';
import type { Vendor } from '../../registrar/fixture.ts';
import { agentSettings, currentOf, openReader, startFieldAgent, valueOf } from './field.ts';
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
