import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { createAuthority } from '../../pki/authority/authority.ts';
import { loadTrustedIdentity } from '../../pki/trusted-file.ts';

const base = mkdtempSync(join(tmpdir(), 'plombe-trusted-'));
after(() => rmSync(base, { recursive: true, force: true }));
const atMs = Date.now();
const authority = createAuthority({ directory: join(base, 'pki'), clock: () => atMs });
const other = createAuthority({ directory: join(base, 'other'), clock: () => atMs });
const { directory } = await authority.issue({
  path: 'vendor-snapshot-service',
  outputDirectory: join(base, 'keys'),
});
const file = join(directory, 'enc.chain.pem');
const trust = { roots: [authority.roots.e2e], atMs, purpose: 'key-agreement' } as const;

test('loadTrustedIdentity: the leaf of a chain that leads to a pinned root', () => {
  assert.equal(loadTrustedIdentity(file, trust).commonName, 'vendor-snapshot-service');
});

test('loadTrustedIdentity: every refusal names the file', () => {
  const nonsense = join(base, 'nonsense.pem');
  writeFileSync(nonsense, 'nonsense');
  const missing = join(base, 'none.pem');
  const refused = (name: string, code: string, over: object = {}): void =>
    assert.throws(
      () => loadTrustedIdentity(name, { ...trust, ...over }),
      (error: Error & { code?: string }) => error.code === code && error.message.startsWith(`${name}: `),
    );
  refused(file, 'pki.untrusted', { roots: [other.roots.e2e] });
  refused(file, 'pki.key_usage', { purpose: 'signature' });
  refused(nonsense, 'pki.malformed_certificate');
  refused(missing, 'pki.missing_file');
});
