/** What seldom happens to an authority's files, and what seldom is asked of it. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { createAuthority, openAuthority } from '../../pki/authority/authority.ts';
import type { Authority } from '../../pki/authority/authority.ts';
import { lint } from '../../pki/authority/lint.ts';
import { withLock } from '../../pki/authority/lock.ts';
import { profiles } from '../../pki/authority/profiles.ts';
import { crlsFromPem } from '../../pki/crl.ts';
import { derNull } from '../../pki/der-writer.ts';
import { derTag, readOnly, requireTag } from '../../pki/der.ts';
import { enrolmentPurpose } from '../../pki/extensions.ts';
import { readPkcs12, writePkcs12 } from '../../pki/pkcs12.ts';
import { rogueCertificate } from './rogue-authority.ts';

const base = mkdtempSync(join(tmpdir(), 'plombe-rare-authority-'));
after(() => rmSync(base, { recursive: true, force: true }));
const dayMs = 86_400_000;
let count = 0;

async function withDevice(): Promise<{ authority: Authority; file: (...names: string[]) => string }> {
  const directory = join(base, String((count += 1)));
  const authority = createAuthority({ directory });
  await authority.issue({ path: 'ms-acc-1/acc-1/dev-1', kinds: ['tls'] });
  return { authority, file: (...names) => join(directory, 'tls', 'ca', 'ms-acc-1', 'acc-1', ...names) };
}

test('invite: for as long, and on the curve, that is asked for', async () => {
  const { authority } = await withDevice();
  const { tls } = await authority.invite({ path: 'ms-acc-1/acc-1/dev-2', lifetimeMs: dayMs, curve: 'P-384' });
  const [leaf] = tls.chain;
  assert.equal(leaf?.curve, 'P-384');
  assert.ok((leaf?.notAfterMs ?? 0) <= Date.now() + dayMs);
});

test('revoke: a list that is damaged, or gone, is followed by a good one', async () => {
  const { authority, file } = await withDevice();
  writeFileSync(file('crl.pem'), 'damaged');
  await authority.revoke({ target: { path: 'ms-acc-1/acc-1/dev-1' } });
  const [list] = crlsFromPem(readFileSync(file('crl.pem')));
  assert.equal(list?.revoked.size, 1);
  rmSync(file('crl.pem'));
  assert.deepEqual(await authority.issueCrl({ dueWithinMs: 0 }), { issued: 1, offline: [] });
});

test('issue: a CA whose chain is gone is named', async () => {
  const { authority, file } = await withDevice();
  rmSync(file('ca.chain.pem'));
  const again = openAuthority({ directory: authority.directory });
  await assert.rejects(again.issue({ path: 'ms-acc-1/acc-1/dev-2', kinds: ['tls'] }), {
    code: 'pki.authority_missing',
    message: /cannot read .*ca\.chain\.pem/,
  });
});

test('lint: a certificate for enrolment that names nobody is refused', () => {
  const draft = rogueCertificate({
    subjectDer: Buffer.from('3000', 'hex'),
    extendedKeyUsage: [enrolmentPurpose],
  });
  const issuer = rogueCertificate({ commonName: 'ms-acc-1', ca: {} });
  const question = {
    draft: draft.certificate,
    profile: profiles['sig-bootstrap'],
    issuer: {
      certificate: issuer.certificate,
      position: { position: 'namespace', path: 'ms-acc-1' } as const,
    },
    atMs: Date.now(),
  };
  assert.throws(() => lint(question), { code: 'pki.lint', message: /nobody is enrolled but devices/ });
});

test('withLock: a file that is no lock is not taken for a busy one', () => {
  const directory = mkdtempSync(join(base, 'lock-'));
  writeFileSync(join(directory, 'lock.sqlite'), 'x'.repeat(4096));
  assert.throws(() => withLock(directory, () => assert.fail('worked')), { code: 'pki.storage' });
});

test('requireTag: another tag is a fault', () => {
  const element = readOnly(derNull(), derTag.null, 'null');
  assert.equal(requireTag(element, derTag.null, 'null'), element);
  assert.throws(() => requireTag(element, derTag.integer, 'number'), /number: expected tag/);
});

test('writePkcs12: a certificate without a common name has a name all the same', () => {
  const { certificate, key } = rogueCertificate({ subjectDer: Buffer.from('3000', 'hex') });
  const { chain } = readPkcs12(writePkcs12({ key, chain: [certificate] }, 'secret'), 'secret');
  assert.equal(chain.length, 1);
});
