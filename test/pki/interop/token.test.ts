/** An authority whose keys are on a PKCS #11 token, SoftHSM in place of a real one. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { createAuthority, openAuthority } from '../../../pki/authority/authority.ts';
import { updateFromBundle } from '../../../pki/crl-bundle.ts';
import { verifyPath } from '../../../pki/path.ts';
import { RevocationIndex } from '../../../pki/revocation.ts';
import { openTokenKey, parseTokenUri } from '../../../pki/token-key.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'plombe-softhsm-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const modulePath = '/usr/lib/softhsm/libsofthsm2.so';
const token = `pkcs11:token=our%20token?module-path=${modulePath}`;
const pin = '5678';

mkdirSync(path.join(folder, 'tokens'));
process.env['SOFTHSM2_CONF'] = path.join(folder, 'softhsm2.conf');
writeFileSync(
  process.env['SOFTHSM2_CONF'],
  `directories.tokendir = ${path.join(folder, 'tokens')}\nobjectstore.backend = file\nlog.level = ERROR\n`,
);
execFileSync(
  'softhsm2-util',
  ['--init-token', '--free', '--label', 'our token', '--so-pin', '1234', '--pin', pin],
  { stdio: 'ignore' },
);

test('Authority: signs with keys that never leave the token', async () => {
  const directory = path.join(folder, 'pki');
  createAuthority({ directory, token, passphrase: pin, curve: 'brainpoolP256r1' });
  const authority = openAuthority({ directory, passphrase: pin });
  const name = 'ms-acc-1/acc-1/dev-1';
  const { certificates } = await authority.issue({ path: name });
  const roots = [authority.roots.e2e];
  const question = { chain: certificates.sig?.chain ?? [], roots, purpose: 'signature' } as const;
  assert.equal(verifyPath({ ...question, atMs: Date.now() }).commonName, name);
  await authority.revoke({ target: { path: name } });
  const revocation = new RevocationIndex();
  updateFromBundle(revocation, readFileSync(path.join(directory, 'e2e', 'crl.pem')), roots);
  assert.throws(() => verifyPath({ ...question, atMs: Date.now(), revocation }), { code: 'pki.revoked' });
  const keys = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((file) =>
    /(root|ca)\.key\.pem$/.test(file),
  );
  assert.equal(keys.length, 8);
  for (const file of keys)
    assert.match(
      readFileSync(path.join(directory, file), 'utf8'),
      /^pkcs11:token=our%20token;id=(%[0-9a-f]{2}){16}\?/,
    );
});

test('Authority: a wrong PIN, a token that is not there and a library that is none are named', () => {
  const create = (uri: string, passphrase: string) => (): unknown =>
    createAuthority({ directory: path.join(folder, `pki-${Math.random()}`), token: uri, passphrase });
  const failure = (message: RegExp) => ({ code: 'pki.token', message });
  assert.throws(create(token, 'wrong'), failure(/CKR_PIN_INCORRECT/));
  assert.throws(create(token.replace('our', 'no'), pin), failure(/token "no token" refused/));
  assert.throws(create(`pkcs11:token=x?module-path=${folder}/nothing.so`, pin), failure(/refused/));
  assert.throws(create('pkcs11:token=x', pin), failure(/module-path/));
  assert.throws(create('file:x', pin), failure(/RFC 7512/));
  assert.throws(() => openTokenKey(token, pin), failure(/names no key/));
  const missing = token.replace('?', `;id=${'%00'.repeat(16)}?`);
  assert.deepEqual(parseTokenUri(missing).id, Buffer.alloc(16));
  assert.throws(() => openTokenKey(missing, pin), failure(/./));
});

test('openTokenKey: without OpenSC it says what is missing', () => {
  const { PATH } = process.env;
  process.env['PATH'] = folder;
  try {
    assert.throws(() => openTokenKey(token.replace('?', ';id=%01?'), pin), {
      message: /pkcs11-tool \(of OpenSC\)/,
    });
  } finally {
    process.env['PATH'] = PATH;
  }
});
