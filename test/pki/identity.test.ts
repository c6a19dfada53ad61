import assert from 'node:assert/strict';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { createAuthority } from '../../pki/authority/authority.ts';
import { certificatesToPem } from '../../pki/certificate.ts';
import { loadE2eIdentity, loadIdentity, loadTlsIdentity, readPassphrase } from '../../pki/identity.ts';
import { privateKeyToPem } from '../../pki/private-key.ts';
import { rogueCertificate } from './rogue-authority.ts';

const base = mkdtempSync(join(tmpdir(), 'plombe-identity-'));
after(() => rmSync(base, { recursive: true, force: true }));
const nowMs = Date.now();
const dayMs = 86_400_000;
const authority = createAuthority({ directory: join(base, 'pki'), clock: () => nowMs });

async function issue(path: string): Promise<string> {
  return (await authority.issue({ path, lifetimeMs: dayMs, outputDirectory: mkdtempSync(join(base, 'id-')) }))
    .directory;
}

test('loadTlsIdentity: an expired and a not yet valid certificate are named with their file', async () => {
  const directory = await issue('ms-acc-1');
  assert.equal(loadTlsIdentity(directory).commonName, 'ms-acc-1');
  const late = { nowMs: nowMs + 2 * dayMs };
  assert.throws(() => loadTlsIdentity(directory, late), {
    code: 'pki.expired',
    message: /tls\.chain\.pem: /,
  });
  const early = { nowMs: nowMs - dayMs };
  assert.throws(() => loadE2eIdentity(directory, early), {
    code: 'pki.not_yet_valid',
    message: /check this machine's clock/,
  });
});

test('loadTlsIdentity: a missing and a damaged file are named', async () => {
  const directory = await issue('ms-acc-1');
  writeFileSync(join(directory, 'tls.chain.pem'), 'nonsense');
  assert.throws(() => loadTlsIdentity(directory), {
    code: 'pki.malformed_certificate',
    message: /tls\.chain\.pem: /,
  });
  rmSync(join(directory, 'tls.chain.pem'));
  assert.throws(() => loadTlsIdentity(directory), {
    code: 'pki.missing_file',
    message: /tls\.chain\.pem: cannot read/,
  });
});

test('loadTlsIdentity: the key of another certificate is refused', async () => {
  const directory = await issue('ms-acc-1');
  copyFileSync(join(directory, 'sig.key.pem'), join(directory, 'tls.key.pem'));
  assert.throws(() => loadTlsIdentity(directory), { code: 'pki.malformed_key' });
});

test('loadE2eIdentity: two certificates of different identities are refused', async () => {
  const [directory, other] = [await issue('ms-acc-1'), await issue('ms-acc-2')];
  for (const file of ['enc.key.pem', 'enc.chain.pem']) copyFileSync(join(other, file), join(directory, file));
  assert.throws(() => loadE2eIdentity(directory), {
    code: 'pki.malformed_certificate',
    message: /different identities/,
  });
});

test('loadTlsIdentity: a certificate without one common name is refused', async () => {
  const directory = await issue('ms-acc-1');
  const { certificate, key } = rogueCertificate({ subjectDer: Buffer.of(0x30, 0) });
  writeFileSync(join(directory, 'tls.chain.pem'), certificatesToPem([certificate]));
  writeFileSync(join(directory, 'tls.key.pem'), privateKeyToPem(key));
  assert.throws(() => loadTlsIdentity(directory), { code: 'pki.path_discipline' });
});

test('readPassphrase: the first line of the file, without its end', () => {
  const file = join(base, 'passphrase');
  writeFileSync(file, 'secret words\r\nrest\n');
  assert.equal(readPassphrase(file), 'secret words');
  assert.equal(readPassphrase(undefined), undefined);
  assert.throws(() => readPassphrase(join(base, 'none')), { code: 'pki.missing_file' });
});

test('loadIdentity: TLS and E2E keys of different identities are refused', async () => {
  const [directory, other] = [await issue('ms-acc-1'), await issue('ms-acc-2')];
  assert.equal(loadIdentity(directory).commonName, 'ms-acc-1');
  for (const file of ['tls.key.pem', 'tls.chain.pem']) copyFileSync(join(other, file), join(directory, file));
  assert.throws(() => loadIdentity(directory), {
    code: 'pki.path_discipline',
    message: /keys of two identities: ms-acc-2 \(TLS\) and ms-acc-1 \(E2E\)$/,
  });
});
