import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import {
  loadHeldIdentity,
  renewalDueMs,
  requireValid,
} from '../../../device-agent/key-slots/held-identity.ts';
import { readPlace, writePlace } from '../../../device-agent/key-slots/place.ts';
import {
  dropFormer,
  keepingDirectory,
  openSlot,
  readSlots,
  settleSlots,
  switchTo,
} from '../../../device-agent/key-slots/slots.ts';
import { loadIdentity } from '../../../pki/identity.ts';
import { Site } from '../site.ts';

const device = 'ms-acc-1/acc-1/dev-1';
const options = { nowMs: Date.now() };

/** @returns a directory with an identity, and one with another of the same name */
async function twoIdentities(context: TestContext): Promise<{ root: string; next: string }> {
  const site = new Site(context);
  const root = await site.issue(device);
  const next = path.join(site.folder, 'next');
  await site.authority.issue({ path: device, outputDirectory: next });
  return { root, next };
}

test('readSlots: a directory as it was issued is in use as it is', async (context) => {
  const { root } = await twoIdentities(context);
  assert.deepEqual(readSlots(root), { current: 'plain', former: undefined, spare: 'slot-a' });
});

test('switchTo: from then on the slot counts, and the other one is spare', async (context) => {
  const { root, next } = await twoIdentities(context);
  cpSync(next, openSlot(root, 'slot-a'), { recursive: true });
  switchTo(root, 'slot-a');
  assert.deepEqual(readSlots(root), { current: 'slot-a', former: 'plain', spare: 'slot-b' });
  dropFormer(root);
  assert.deepEqual(readSlots(root), { current: 'slot-a', former: undefined, spare: 'slot-b' });
  assert.deepEqual(readdirSync(root).toSorted(), ['current', 'slot-a']);
  cpSync(next, openSlot(root, 'slot-b'), { recursive: true });
  switchTo(root, 'slot-b');
  dropFormer(root);
  assert.deepEqual(readSlots(root), { current: 'slot-b', former: undefined, spare: 'slot-a' });
  assert.deepEqual(readdirSync(root).toSorted(), ['current', 'slot-b']);
});

test('settleSlots: what somebody issued into the directory again takes the place of the slots', async (context) => {
  const { root, next } = await twoIdentities(context);
  cpSync(next, openSlot(root, 'slot-a'), { recursive: true });
  switchTo(root, 'slot-a');
  // Right after the switch, what is there is the former.
  assert.equal(settleSlots(root, options).current, 'slot-a');
  dropFormer(root);
  cpSync(path.join(next, 'enc.chain.pem'), path.join(root, 'enc.chain.pem'));
  assert.equal(settleSlots(root, options).current, 'slot-a', 'half of an identity');
  cpSync(next, root, { recursive: true });
  assert.deepEqual(settleSlots(root, options), { current: 'plain', former: undefined, spare: 'slot-a' });
  assert.ok(!existsSync(path.join(root, 'slot-a')));
  assert.ok(!existsSync(path.join(root, 'current')));
});

test('readSlots: a file that was not written by us is said so', async (context) => {
  const { root } = await twoIdentities(context);
  for (const text of [
    '',
    'slot-c\n',
    'slot-a',
    'slot-a\nformer slot-a\n',
    '../elsewhere\n',
    'slot-a\nformer plain\nmore\n',
  ]) {
    writeFileSync(path.join(root, 'current'), text);
    assert.throws(() => readSlots(root), { code: 'slots.malformed' }, JSON.stringify(text));
  }
});

test('readPlace: what was written, and nothing else', async (context) => {
  const { root } = await twoIdentities(context);
  assert.equal(readPlace(root), undefined);
  const place = {
    from: 'ms-acc-1/acc-1/dev-9',
    broker: { host: 'broker.example', port: 8883, name: 'ms-acc-1' },
    requestId: '00000000-0000-4000-8000-000000000000',
    isConfirmed: false,
  };
  writePlace(root, place);
  assert.deepEqual(readPlace(root), place);
  for (const text of ['', '[]', '{"from":1}', JSON.stringify({ ...place, more: 1 })]) {
    writeFileSync(path.join(root, 'place.json'), text);
    assert.throws(() => readPlace(root), { code: 'slots.malformed' }, text);
  }
});

test('renewalDueMs: at the fraction of the lifetime, and up to a twentieth later', async (context) => {
  const { root } = await twoIdentities(context);
  const held = loadHeldIdentity(root, options);
  const { notBeforeMs, notAfterMs } = loadIdentity(root).tls.certificate;
  const lifetimeMs = notAfterMs - notBeforeMs;
  assert.equal(renewalDueMs(held, 0.5, 0), notBeforeMs + lifetimeMs * 0.5);
  assert.equal(renewalDueMs(held, 0.5, 1), notBeforeMs + lifetimeMs * 0.525);
  assert.ok(renewalDueMs(held, 0.9, 1) < notAfterMs);
});

test('loadHeldIdentity: an expired identity is loaded, and good for nothing but a request', async (context) => {
  const { root } = await twoIdentities(context);
  const { validUntilMs } = loadHeldIdentity(root, options);
  const late = loadHeldIdentity(root, { nowMs: validUntilMs + 1 });
  assert.equal(late.path, device);
  requireValid(late, validUntilMs);
  assert.throws(() => requireValid(late, validUntilMs + 1), { code: 'slots.expired' });
  assert.throws(() => loadHeldIdentity(root, { nowMs: 0 }), { code: 'pki.not_yet_valid' });
  mkdirSync(path.join(root, 'empty'));
  assert.throws(() => loadHeldIdentity(keepingDirectory(root, 'slot-b'), options), {
    code: 'pki.missing_file',
  });
});
