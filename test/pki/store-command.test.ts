import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { createAuthority } from '../../pki/authority/authority.ts';
import { loadIdentity } from '../../pki/identity.ts';
import { writePkcs12 } from '../../pki/pkcs12.ts';
import { stolenAuthority } from './rogue-authority.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'plombe-store-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const at = (...names: string[]): string => path.join(folder, ...names);
const program = path.join(import.meta.dirname, '..', '..', 'cli', 'main.ts');

function plombe(...args: readonly string[]) {
  return spawnSync(process.execPath, [program, 'pki', ...args], { cwd: folder, encoding: 'utf8' });
}

function mustFail(reason: RegExp, ...args: readonly string[]): void {
  const { status, stderr } = plombe(...args);
  assert.equal(status, 1, stderr);
  assert.match(stderr, reason);
}

const authority = createAuthority({ directory: at('pki') });
writeFileSync(at('transport'), 'correct horse\n');
writeFileSync(at('rest'), 'battery staple\n');
writeFileSync(at('empty'), '\n');
const transport = ['--passphrase-file', 'transport'];

test('plombe pki export-p12, import-p12: an identity moves, and its keys are encrypted on the way and at rest', async () => {
  // Of an account: its certificate and that of its CA have one name.
  await authority.issue({ path: 'ms-acc-1', outputDirectory: at('owner') });
  mkdirSync(at('moved'));
  for (const kind of ['tls', 'sig', 'enc']) {
    const exported = plombe('export-p12', 'owner', '--kind', kind, '--out', `${kind}.p12`, ...transport);
    assert.equal(exported.stdout, `${kind} key of ms-acc-1 is in ${kind}.p12\n`, exported.stderr);
    assert.equal(statSync(at(`${kind}.p12`)).mode & 0o777, 0o600);
    const imported = plombe(
      'import-p12',
      `${kind}.p12`,
      '--out',
      'moved',
      '--key-passphrase-file',
      'rest',
      ...transport,
    );
    assert.equal(imported.stdout, `${kind} key of ms-acc-1 is in moved\n`, imported.stderr);
    assert.match(readFileSync(at('moved', `${kind}.key.pem`), 'utf8'), /ENCRYPTED/);
    assert.deepEqual(
      readFileSync(at('moved', `${kind}.chain.pem`)),
      readFileSync(at('owner', `${kind}.chain.pem`)),
    );
  }
  for (const root of ['tls-root.crt.pem', 'e2e-root.crt.pem'])
    writeFileSync(at('moved', root), readFileSync(at('owner', root)));
  assert.equal(loadIdentity(at('moved'), { passphraseFile: at('rest') }).commonName, 'ms-acc-1');
  mustFail(/tls\.key\.pem is there already/, 'import-p12', 'tls.p12', '--out', 'moved', ...transport);
  writeFileSync(at('wrong'), 'wrong\n');
  mustFail(/tls\.p12: .*passphrase/, 'import-p12', 'tls.p12', '--out', 'new', '--passphrase-file', 'wrong');
});

test('plombe pki export-p12, import-p12: what makes no sense is refused', async () => {
  await authority.issue({ path: 'ms-acc-2', outputDirectory: at('other') });
  writeFileSync(at('other', 'tls.key.pem'), readFileSync(at('other', 'sig.key.pem')));
  mustFail(/is not the key of/, 'export-p12', 'other', '--out', 'x.p12', ...transport);
  mustFail(/first line is empty/, 'export-p12', 'owner', '--out', 'x.p12', '--passphrase-file', 'empty');
  mustFail(/cannot read it/, 'import-p12', 'nothing.p12', '--out', 'new', ...transport);
  const ca = stolenAuthority(authority, 'tls', 'ms-acc-2');
  writeFileSync(at('ca.p12'), writePkcs12({ key: ca.key, chain: [ca.certificate] }, 'correct horse'));
  mustFail(/for none of tls, sig, enc/, 'import-p12', 'ca.p12', '--out', 'new', ...transport);
});
