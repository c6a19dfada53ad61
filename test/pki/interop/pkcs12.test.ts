/** Key files across OpenSSL, Java's keytool and NSS, which is what Firefox uses: each reads ours, and we read theirs. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { createAuthority } from '../../../pki/authority/authority.ts';
import { certificatesFromPem } from '../../../pki/certificate.ts';
import { readPkcs12, writePkcs12 } from '../../../pki/pkcs12.ts';
import { privateKeyToPem, readPrivateKey } from '../../../pki/private-key.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'plombe-pkcs12-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => path.join(folder, name);
const passphrase = 'correct horse';

const authority = createAuthority({ directory: at('pki') });
const name = 'ms-acc-1/acc-1/dev-1';
const { certificates } = await authority.issue({ path: name, kinds: ['tls'], outputDirectory: at('device') });
const { tls } = certificates;
assert.ok(tls);
const [leaf, account, master] = tls.chain;
assert.ok(leaf && account && master);
writeFileSync(at('ours.p12'), writePkcs12({ key: tls.key, chain: tls.chain }, passphrase));

function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

function requireOurs(file: string): void {
  const { key, chain } = readPkcs12(readFileSync(at(file)), passphrase);
  assert.ok(tls && key.equals(tls.key));
  assert.deepEqual(
    chain.map(({ commonName }) => commonName),
    [name, 'ms-acc-1/acc-1', 'ms-acc-1'],
  );
}

test('openssl: reads our file, key and chain', () => {
  const text = run('openssl', 'pkcs12', '-in', at('ours.p12'), '-passin', `pass:${passphrase}`, '-nodes');
  assert.ok(readPrivateKey(text).equals(tls.key));
  assert.deepEqual(
    certificatesFromPem(text).map(({ sha256 }) => sha256),
    tls.chain.map(({ sha256 }) => sha256),
  );
});

test('openssl: what it writes is read, and what it writes with -legacy is refused with the reason', () => {
  writeFileSync(at('key.pem'), privateKeyToPem(tls.key));
  const files = ['-inkey', at('key.pem'), '-in', at('device/tls.chain.pem')];
  const write = (out: string, ...how: string[]): string =>
    run('openssl', 'pkcs12', '-export', ...files, '-out', at(out), '-passout', `pass:${passphrase}`, ...how);
  write('openssl.p12');
  requireOurs('openssl.p12');
  write('legacy.p12', '-legacy');
  write('half-legacy.p12', '-certpbe', 'PBE-SHA1-3DES', '-macalg', 'sha256');
  const read = (file: string) => (): unknown => readPkcs12(readFileSync(at(file)), passphrase);
  assert.throws(read('legacy.p12'), { code: 'pki.unsupported_algorithm', message: /SHA-1/ });
  assert.throws(read('half-legacy.p12'), { code: 'pki.unsupported_algorithm', message: /Triple DES/ });
});

test('keytool: reads our file, and what it writes is read', () => {
  const list = run(
    'keytool',
    '-list',
    '-v',
    '-keystore',
    at('ours.p12'),
    '-storetype',
    'PKCS12',
    '-storepass',
    passphrase,
  );
  assert.match(list, /PrivateKeyEntry/);
  assert.match(list, /chain length: 3/);
  run(
    'keytool',
    '-importkeystore',
    '-noprompt',
    '-srckeystore',
    at('ours.p12'),
    '-srcstoretype',
    'PKCS12',
    '-srcstorepass',
    passphrase,
    '-destkeystore',
    at('java.p12'),
    '-deststoretype',
    'PKCS12',
    '-deststorepass',
    passphrase,
  );
  requireOurs('java.p12');
});

test('NSS: reads our file, and what it writes is read', () => {
  mkdirSync(at('nss'));
  run('certutil', '-N', '-d', `sql:${at('nss')}`, '--empty-password');
  run('pk12util', '-i', at('ours.p12'), '-d', `sql:${at('nss')}`, '-W', passphrase, '-K', '');
  run('pk12util', '-o', at('nss.p12'), '-n', name, '-d', `sql:${at('nss')}`, '-W', passphrase, '-K', '');
  requireOurs('nss.p12');
});

test('openssl: reads our encrypted key files, of today’s cost, and we read older ones', () => {
  writeFileSync(at('encrypted.pem'), privateKeyToPem(tls.key, passphrase));
  const text = run('openssl', 'pkey', '-in', at('encrypted.pem'), '-passin', `pass:${passphrase}`);
  assert.ok(readPrivateKey(text).equals(tls.key));
  assert.match(run('openssl', 'asn1parse', '-in', at('encrypted.pem')), /INTEGER +:0927C0\n/); // 600,000
  const convert = (out: string, ...how: string[]): string =>
    run(
      'openssl',
      'pkcs8',
      '-topk8',
      '-in',
      at('encrypted.pem'),
      '-passin',
      `pass:${passphrase}`,
      '-out',
      at(out),
      '-passout',
      `pass:${passphrase}`,
      ...how,
    );
  for (const [out, how] of [
    ['default.pem', []],
    ['scrypt.pem', ['-scrypt']],
    ['triple-des.pem', ['-v2', 'des3']],
  ] as const) {
    convert(out, ...how);
    assert.ok(readPrivateKey(readFileSync(at(out)), passphrase).equals(tls.key), out);
    assert.throws(() => readPrivateKey(readFileSync(at(out)), 'wrong'), { code: 'pki.wrong_passphrase' });
  }
});
