import assert from 'node:assert/strict';
import { test } from 'node:test';
import { enrolmentPurpose } from '../../pki/extensions.ts';
import { isBootstrap, purposeNames, verifyPath } from '../../pki/path.ts';
import type { Purpose } from '../../pki/path.ts';
import { clientAuth, rogueCertificate, serverAuth } from './rogue-authority.ts';
import type { Rogue } from './rogue-authority.ts';

const dayMs = 86_400_000;
const nowMs = Date.now();
const root = rogueCertificate({ commonName: 'root', ca: { pathLength: 2 } });
const master = rogueCertificate({ issuer: root, commonName: 'ms-acc-1', ca: { pathLength: 1 } });
const account = rogueCertificate({ issuer: master, commonName: 'ms-acc-1/acc-1', ca: { pathLength: 0 } });
const vendor = rogueCertificate({ issuer: root, commonName: 'vendor', ca: { pathLength: 0 } });
const above = [account.certificate, master.certificate];
const device = 'ms-acc-1/acc-1/dev-1';

function ask(leaf: Rogue, purpose: Purpose, expiredGraceMs?: number, chain = above) {
  return verifyPath({
    chain: [leaf.certificate, ...chain],
    roots: [root.certificate],
    atMs: nowMs,
    purpose,
    ...(expiredGraceMs === undefined ? {} : { expiredGraceMs }),
  });
}

test('verifyPath: a bootstrap certificate serves the one purpose that it names, and no other', () => {
  for (const [purposes, only] of [
    [[clientAuth, enrolmentPurpose], 'enrolment-client'],
    [[enrolmentPurpose], 'enrolment-signature'],
  ] as const) {
    const leaf = rogueCertificate({ issuer: account, commonName: device, extendedKeyUsage: [...purposes] });
    assert(isBootstrap(leaf.certificate));
    assert.equal(ask(leaf, only).scope, 'enrolment');
    for (const purpose of purposeNames) {
      if (purpose === only) continue;
      assert.throws(() => ask(leaf, purpose, 400 * dayMs), { code: 'pki.key_usage' }, purpose);
    }
  }
});

test('verifyPath: an ordinary certificate is none for enrolment, and a serving one none at all with that purpose', () => {
  const client = rogueCertificate({ issuer: account, commonName: device, extendedKeyUsage: [clientAuth] });
  assert(!isBootstrap(client.certificate));
  assert.equal(ask(client, 'tls-client').scope, 'full');
  assert.throws(() => ask(client, 'enrolment-client'), { code: 'pki.key_usage' });
  const signing = rogueCertificate({ issuer: account, commonName: device });
  assert.equal(ask(signing, 'signature').scope, 'full');
  assert.throws(() => ask(signing, 'enrolment-signature'), { code: 'pki.key_usage' });
  const serving = rogueCertificate({
    issuer: account,
    commonName: device,
    extendedKeyUsage: [serverAuth, enrolmentPurpose],
  });
  assert.throws(() => ask(serving, 'tls-server'), { code: 'pki.key_usage' });
});

test('verifyPath: only devices and factory names have a bootstrap certificate', () => {
  const extendedKeyUsage = [clientAuth, enrolmentPurpose];
  const factory = rogueCertificate({ issuer: vendor, commonName: 'vendor-factory-1', extendedKeyUsage });
  assert.equal(ask(factory, 'enrolment-client', 0, [vendor.certificate]).scope, 'enrolment');
  const service = rogueCertificate({ issuer: vendor, commonName: 'vendor-crl-service', extendedKeyUsage });
  assert.throws(() => ask(service, 'enrolment-client', 0, [vendor.certificate]), {
    code: 'pki.path_discipline',
  });
  const owner = rogueCertificate({ issuer: account, commonName: 'ms-acc-1/acc-1', extendedKeyUsage });
  assert.throws(() => ask(owner, 'enrolment-client'), { code: 'pki.path_discipline' });
});

test('verifyPath: a device that expired within the grace is there to be enrolled, an owner or a CA is not', () => {
  const times = { notBeforeMs: nowMs - 90 * dayMs, notAfterMs: nowMs - 30 * dayMs };
  const late = rogueCertificate({
    issuer: account,
    commonName: device,
    extendedKeyUsage: [clientAuth],
    ...times,
  });
  assert.equal(ask(late, 'tls-client', 31 * dayMs).scope, 'enrolment');
  assert.throws(() => ask(late, 'tls-client', 29 * dayMs), { code: 'pki.expired' });
  assert.throws(() => ask(late, 'tls-client'), { code: 'pki.expired' });
  const owner = { issuer: account, commonName: 'ms-acc-1/acc-1', extendedKeyUsage: [clientAuth], ...times };
  assert.throws(() => ask(rogueCertificate(owner), 'tls-client', 31 * dayMs), { code: 'pki.expired' });
  const bootstrap = { ...owner, commonName: device, extendedKeyUsage: [clientAuth, enrolmentPurpose] };
  assert.throws(() => ask(rogueCertificate(bootstrap), 'enrolment-client', 31 * dayMs), {
    code: 'pki.expired',
  });
  const lateAccount = rogueCertificate({
    issuer: master,
    commonName: 'ms-acc-1/acc-1',
    ca: { pathLength: 0 },
    ...times,
  });
  const below = rogueCertificate({ issuer: lateAccount, commonName: device, extendedKeyUsage: [clientAuth] });
  assert.throws(() => ask(below, 'tls-client', 31 * dayMs, [lateAccount.certificate, master.certificate]), {
    code: 'pki.expired',
  });
});
