import assert from 'node:assert/strict';
import path from 'node:path';
import test from 'node:test';
import type { TestContext } from 'node:test';
import { requireInForce, requireUnrevoked } from '../../cms/in-force.ts';
import { OriginatorDirectory } from '../../cms/originator-directory.ts';
import { createAuthority } from '../../pki/authority/authority.ts';
import type { Authority } from '../../pki/authority/authority.ts';
import type { Certificate } from '../../pki/certificate.ts';
import { bundleOf, freshLists, temporaryDirectory } from '../pki/lists.ts';
import { makeIdentity } from './identities.ts';

const device = 'ms-acc-1/acc-1/dev-1';

interface Chains {
  readonly signature: readonly Buffer[];
  readonly keyAgreement: readonly Buffer[];
}

function authorityFor(context: TestContext): Authority {
  return createAuthority({ directory: path.join(temporaryDirectory(context), 'pki') });
}

async function issue(authority: Authority, name = device): Promise<Chains> {
  const { certificates } = await authority.issue({ path: name, kinds: ['sig', 'enc'] });
  const ders = (chain: readonly Certificate[] = []): Buffer[] => chain.map(({ der }) => der);
  return { signature: ders(certificates.sig?.chain), keyAgreement: ders(certificates.enc?.chain) };
}

test('OriginatorDirectory: a device is found by whatever an envelope may name', async (context) => {
  const authority = authorityFor(context);
  const directory = new OriginatorDirectory([authority.roots.e2e]);
  const chains = await issue(authority);
  assert.equal(directory.publish(device, chains, Date.now()), true);
  assert.equal(directory.publish(device, chains, Date.now()), false);
  assert.deepEqual([directory.size, directory.generation, directory.has(device)], [1, 1, true]);
  const newest = directory.newestOf(device);
  assert.ok(newest?.signature);
  for (const { subjectKeyIdentifier, issuerDer, serialNumber, curve, publicPoint } of [
    newest.signature,
    newest.keyAgreement,
  ]) {
    assert.ok(subjectKeyIdentifier && curve && publicPoint);
    assert.equal(directory.byKeyIdentifier(subjectKeyIdentifier), newest);
    assert.equal(directory.byIssuerAndSerial(issuerDer, serialNumber), newest);
    assert.equal(directory.byPublicPoint(curve, publicPoint), newest);
  }
});

test('OriginatorDirectory: another name, no device, and another root are refused', async (context) => {
  const authority = authorityFor(context);
  const directory = new OriginatorDirectory([authority.roots.e2e]);
  const refused = (name: string, chains: Chains, code: string): void =>
    assert.throws(() => directory.publish(name, chains, Date.now()), { code });
  refused('ms-acc-1/acc-1/dev-2', await issue(authority), 'pki.path_discipline');
  refused('ms-acc-1/acc-1', await issue(authority, 'ms-acc-1/acc-1'), 'pki.path_discipline');
  refused(device, { signature: [], keyAgreement: [] }, 'pki.path_discipline');
  refused(device, await issue(authorityFor(context)), 'pki.untrusted');
  assert.equal(directory.size, 0);
});

test('OriginatorDirectory: of many renewals the newest are found, and the rest are forgotten', async (context) => {
  const authority = authorityFor(context);
  const directory = new OriginatorDirectory([authority.roots.e2e]);
  const keyIdentifiers: Buffer[] = [];
  for (let renewal = 0; renewal < 18; renewal++) {
    directory.publish(device, await issue(authority), Date.now());
    keyIdentifiers.push(directory.newestOf(device)?.keyAgreement.subjectKeyIdentifier ?? Buffer.alloc(0));
  }
  assert.deepEqual(
    keyIdentifiers.map((keyIdentifier) => directory.byKeyIdentifier(keyIdentifier) !== undefined),
    keyIdentifiers.map((_, index) => index >= 2),
  );
});

test('requireInForce: valid when it was signed, and not revoked when it came', async (context) => {
  const authority = authorityFor(context);
  const directory = new OriginatorDirectory([authority.roots.e2e]);
  directory.publish(device, await issue(authority), Date.now());
  const originator = directory.newestOf(device);
  assert.ok(originator);
  const { lists } = freshLists(context, [authority.roots.e2e]);
  const nowMs = Date.now();
  const check = (signingTimeMs: number | undefined, receivedMs = nowMs): void =>
    requireInForce({ originator, signers: [], signingTimeMs }, receivedMs, lists);
  check(nowMs);
  assert.throws(() => check(undefined), { code: 'pki.not_yet_valid' });
  assert.throws(() => check(originator.keyAgreement.notBeforeMs - 1), { code: 'pki.not_yet_valid' });
  assert.throws(() => check(originator.keyAgreement.notAfterMs + 1), { code: 'pki.expired' });
  const { notAfterMs } = originator.keyAgreement;
  check(notAfterMs, notAfterMs + 366 * 86_400_000);
  // By then the lists may have forgotten it.
  assert.throws(() => check(notAfterMs, notAfterMs + 366 * 86_400_000 + 1), { code: 'pki.expired' });
  await authority.revoke({ target: { path: device }, kinds: ['enc'] });
  lists.take(bundleOf(authority));
  // Whoever stole the key can write any signing time.
  assert.throws(() => check(originator.keyAgreement.notBeforeMs, Date.now()), { code: 'pki.revoked' });
  check(nowMs, nowMs - 5000); // it was here before
});

test('requireUnrevoked: an originator of whom it is not known how it was verified is our own fault', (context) => {
  const { lists } = freshLists(context, []);
  assert.throws(() => requireUnrevoked(makeIdentity(device).originator, 0, lists), TypeError);
});
