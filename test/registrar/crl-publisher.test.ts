import assert from 'node:assert/strict';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { crlsFromPem } from '../../pki/crl.ts';
import { plombe } from '../system/process.ts';
import { openVendor } from './fixture.ts';
import type { Vendor } from './fixture.ts';

const dayMs = 86_400_000;
let vendor: Vendor;
let nowMs = Date.now();
before(async () => (vendor = await openVendor(() => nowMs)));
after(() => vendor.remove());

function bundle(pki: 'tls' | 'e2e'): string {
  return path.join(vendor.site.authority.directory, pki, 'crl.pem');
}

test('CrlPublisher: plombe pki revoke ends the live session of a device behind a customer broker', async () => {
  const { registrar, journal } = await vendor.startRegistrar();
  await journal.until('crl.published', { pki: 'tls' });
  const { broker: customer, journal: customerLog } = await vendor.site.start({
    name: 'customer',
    identity: await vendor.site.identity('ms-acc-1', ['127.0.0.1']),
    data: path.join(vendor.site.directory, 'customer'),
    cascade: { upstream: `127.0.0.1:${vendor.broker.port}`, brokerName: 'vendor-broker' },
  });
  await customerLog.until('crl.applied');
  const device = 'ms-acc-1/acc-1/dev-1';
  const client = await vendor.site.connect(customer, device);
  const ended = new Promise<void>((resolve) => client.once('close', () => resolve()));
  const { authority } = vendor.site;
  const { status, stderr } = await plombe(
    'pki',
    'revoke',
    '--dir',
    authority.directory,
    device,
    '--reason',
    'keyCompromise',
  );
  assert.deepEqual([status, stderr], [0, '']);
  await ended;
  await customerLog.until('connection.refused', { identity: device, reason: 'pki.revoked' });
  await assert.rejects(vendor.site.connect(customer, device));
  await vendor.stop(registrar);
});

test('CrlPublisher: both bundles are published retained, again to a broker that has lost them', async () => {
  const { registrar, journal } = await vendor.startRegistrar();
  await journal.until('crl.published', { pki: 'e2e' });
  const reader = await vendor.site.connect(vendor.broker, 'ms-acc-9');
  await reader.subscribeAsync(['vendor/crl/tls', 'vendor/crl/e2e'], { qos: 1 });
  const texts = await vendor.site.received(reader).count(2);
  for (const pki of ['tls', 'e2e'] as const) {
    assert(texts.includes(`vendor/crl/${pki}=${readFileSync(bundle(pki), 'utf8')}`));
  }
  await vendor.stop(registrar);
});

test('CrlPublisher: a damaged, an older and a missing bundle change nothing, and are said', async () => {
  const { registrar, journal } = await vendor.startRegistrar();
  await journal.until('crl.published', { pki: 'tls' });
  const good = readFileSync(bundle('tls'));
  journal.lines.length = 0;
  await vendor.site.authority.issueCrl();
  const newer = readFileSync(bundle('tls'));
  await journal.until('crl.published', { pki: 'tls' });
  for (const [bytes, detail] of [
    [newer.subarray(0, -100), /CRL|PEM/],
    [good, /number/],
  ] as const) {
    journal.lines.length = 0;
    writeFileSync(bundle('tls'), bytes);
    assert.match(String((await journal.until('crl.not_published', { pki: 'tls' }))['detail']), detail);
    assert.match(registrar.state().crlFault ?? '', detail);
  }
  journal.lines.length = 0;
  rmSync(bundle('tls'));
  assert.match(String((await journal.until('crl.not_published', { pki: 'tls' }))['detail']), /no such file/);
  writeFileSync(bundle('tls'), newer);
  await vendor.site.authority.issueCrl();
  await journal.until('crl.published', { pki: 'tls' });
  assert.equal(registrar.state().crlFault, undefined);
  await vendor.stop(registrar);
});

test('CrlPublisher: lists are renewed when half of their time is over, and not before', async () => {
  const numbers = (): number[] => crlsFromPem(readFileSync(bundle('tls'))).map(({ number }) => number);
  await vendor.site.authority.issueCrl();
  const before = numbers();
  nowMs += 3 * dayMs;
  const first = await vendor.startRegistrar();
  await first.journal.until('crl.published', { pki: 'tls' });
  assert.deepEqual(numbers(), before);
  await vendor.stop(first.registrar);
  nowMs += dayMs;
  const second = await vendor.startRegistrar();
  await second.journal.until('crl.renewed');
  assert.deepEqual(
    numbers(),
    before.map((number) => number + 1),
  );
  await vendor.stop(second.registrar);
});

test('CrlPublisher: a list that is due and whose key is elsewhere is said once, and published when the key is back', async () => {
  const key = path.join(vendor.site.authority.directory, 'tls', 'root.key.pem');
  renameSync(key, `${key}.elsewhere`);
  nowMs += 4 * dayMs;
  const { registrar, journal } = await vendor.startRegistrar();
  const { authorities } = await journal.until('crl.key_offline');
  assert.deepEqual(authorities, ['tls root']);
  await journal.until('crl.published', { pki: 'tls' });
  renameSync(`${key}.elsewhere`, key);
  journal.lines.length = 0;
  await vendor.site.authority.issueCrl({ authorities: ['root'] });
  await journal.until('crl.published', { pki: 'tls' });
  await vendor.stop(registrar);
});
