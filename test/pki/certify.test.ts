import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { createAuthority } from '../../pki/authority/authority.ts';
import type { Authority } from '../../pki/authority/authority.ts';
import { certificatesFromPem } from '../../pki/certificate.ts';
import { verifyPath } from '../../pki/path.ts';

const base = mkdtempSync(join(tmpdir(), 'plombe-certify-'));
after(() => rmSync(base, { recursive: true, force: true }));
const nowMs = Date.now();
const dayMs = 86_400_000;
let count = 0;

function freshAuthority(): Authority {
  count += 1;
  return createAuthority({ directory: join(base, String(count)), clock: () => nowMs });
}

function text(...path: string[]): string {
  return readFileSync(join(...path), 'utf8');
}

test('certify: signs for a key that it never sees', async () => {
  const authority = freshAuthority();
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const [chain = []] = await authority.certify([{ path: 'ms-acc-1/acc-1/dev-1', kind: 'sig', publicKey }]);
  const question = { chain, roots: [authority.roots.e2e], atMs: nowMs, purpose: 'signature' } as const;
  assert.equal(verifyPath(question).commonName, 'ms-acc-1/acc-1/dev-1');
  assert.ok(chain[0]?.publicKey.equals(publicKey));
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey;
  await assert.rejects(authority.certify([{ path: 'ms-acc-1', kind: 'sig', publicKey: rsa }]), {
    code: 'pki.lint',
  });
  const [issuer] = certificatesFromPem(text(authority.directory, 'e2e', 'ca', 'ms-acc-1', 'ca.crt.pem'));
  assert.ok(issuer);
  const stolen = createPublicKey(issuer.publicKey.export({ format: 'pem', type: 'spki' }));
  const again = { path: 'ms-acc-1', kind: 'sig', publicKey: stolen } as const;
  await assert.rejects(authority.certify([again]), { code: 'pki.lint', message: /key is its issuer's/ });
  await assert.rejects(authority.certify([{ ...again, path: 'vendor' }]), { code: 'pki.malformed_request' });
});

test('certify: all of several, or none', async () => {
  const authority = freshAuthority();
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey;
  const path = 'ms-acc-1/acc-1/dev-1';
  const good = [
    { path, kind: 'enc', publicKey },
    { path, kind: 'tls', publicKey },
  ] as const;
  await assert.rejects(authority.certify([...good, { path, kind: 'sig', publicKey: rsa }]), {
    code: 'pki.lint',
  });
  const ofDevice = (): string[] =>
    (['tls', 'e2e'] as const).flatMap((pki) =>
      authority
        .ledger(pki)
        .flatMap(({ subject, event, kind }) => (subject === path ? [`${event} ${kind}`] : [])),
    );
  assert.deepEqual(ofDevice(), []);
  const chains = await authority.certify(good);
  assert.deepEqual(
    chains.map(([leaf]) => [...(leaf?.keyUsage ?? [])].join()),
    ['keyAgreement', 'digitalSignature'],
  );
  assert.deepEqual(ofDevice(), ['intended tls', 'issued tls', 'intended enc', 'issued enc']);
});

test('invite: keys for enrolment alone, of devices and factory names and nobody else', async () => {
  const authority = freshAuthority();
  for (const path of ['ms-acc-1/acc-1/dev-1', 'vendor-factory-4711']) {
    const { tls, sig } = await authority.invite({ path });
    for (const [{ chain, key }, root, purpose, other] of [
      [tls, authority.roots.tls, 'enrolment-client', 'tls-client'],
      [sig, authority.roots.e2e, 'enrolment-signature', 'signature'],
    ] as const) {
      const question = { chain, roots: [root], atMs: nowMs };
      const verified = verifyPath({ ...question, purpose });
      assert.deepEqual([verified.commonName, verified.scope], [path, 'enrolment']);
      assert.ok(chain[0]?.x509.checkPrivateKey(key));
      assert.throws(() => verifyPath({ ...question, purpose: other }), { code: 'pki.key_usage' });
      assert.equal(verified.certificate.notAfterMs, Math.floor((nowMs + 14 * dayMs) / 1000) * 1000);
    }
  }
  for (const path of ['ms-acc-1', 'ms-acc-1/acc-1', 'vendor-snapshot-service', 'vendor-factory-']) {
    await assert.rejects(authority.invite({ path }), { code: 'pki.lint' }, path);
  }
  await assert.rejects(authority.invite({ path: 'nobody in particular' }), { code: 'pki.malformed_request' });
  assert.deepEqual(
    new Set(authority.ledger('tls').map(({ scope }) => scope)),
    new Set([undefined, 'enrolment']),
  );
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  await assert.rejects(
    authority.certify([{ path: 'ms-acc-1/acc-1/dev-1', kind: 'enc', publicKey, scope: 'enrolment' }]),
    {
      code: 'pki.malformed_request',
    },
  );
});
