import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';

const directory = mkdtempSync(join(tmpdir(), 'plombe-pki-command-'));
after(() => rmSync(directory, { recursive: true, force: true }));
const program = join(import.meta.dirname, '..', '..', 'cli', 'main.ts');

function plombe(...args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, 'pki', ...args], {
    cwd: directory,
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

function mustWork(...args: readonly string[]): string {
  const { status, stdout, stderr } = plombe(...args);
  assert.equal(status, 0, stderr);
  return stdout;
}

/** Refused with status 1 and one line. */
function mustFail(reason: RegExp, ...args: readonly string[]): void {
  const { status, stderr } = plombe(...args);
  assert.equal(status, 1, stderr);
  assert.match(stderr, reason);
  assert.equal(stderr.trimEnd().split('\n').length, 1, stderr);
}

test('plombe pki: an authority from its creation to a revocation', () => {
  writeFileSync(join(directory, 'passphrase'), 'secret\n');
  const dir = ['--dir', 'authority', '--passphrase-file', 'passphrase'];
  assert.match(
    mustWork('init', ...dir, '--curve', 'brainpoolP256r1'),
    /Plombe TLS root {2}SHA-256 [0-9a-f]{64}/,
  );
  mustFail(/authority is not empty/, 'init', ...dir);

  const device = 'ms-acc-1/acc-1/dev-1';
  assert.equal(
    mustWork('issue', ...dir, device, '--kind', 'tls,sig', '--days', '30', '--out', 'device'),
    `${device}: tls, sig in device\n`,
  );
  mustWork('issue', ...dir, '--host', 'broker.example', '--host', '192.0.2.1', 'ms-acc-1', '--kind', 'tls');
  mustFail(/no passphrase was given/, 'issue', '--dir', 'authority', device);
  mustFail(/a device cannot be a server/, 'issue', ...dir, device, '--host', 'localhost');

  const shown = mustWork('show', 'authority/identities/ms-acc-1/tls.crt.pem', 'authority/tls/crl.pem');
  assert.match(shown, /hosts +DNS:broker\.example, IP Address:192\.0\.2\.1/);
  assert.match(shown, /CA +yes, with 0 CAs below it/);
  assert.match(shown, /number +1/);
  mustFail(/neither certificates nor CRLs/, 'show', 'passphrase');
  mustFail(/cannot read nothing.pem/, 'show', 'nothing.pem');

  const tls = [
    'verify',
    '--root',
    'device/tls-root.crt.pem',
    '--crl',
    'authority/tls/crl.pem',
    'device/tls.chain.pem',
  ];
  assert.equal(mustWork(...tls), `${device} is a device, verified for tls-client\n`);
  mustFail(/expired at/, ...tls, '--at', '2999-01-01T00:00:00Z');
  mustFail(/is not for tls-server/, ...tls, '--purpose', 'tls-server');
  mustFail(/no pinned root/, 'verify', '--root', 'device/e2e-root.crt.pem', 'device/tls.chain.pem');

  assert.equal(
    mustWork('issue', ...dir, device, '--kind', 'kem', '--out', 'device'),
    `${device}: kem in device\n`,
  );
  assert.match(mustWork('show', 'device/kem.crt.pem'), /key +ML-KEM-768\n +use +keyEncipherment\n/);
  const kem = ['verify', '--root', 'device/e2e-root.crt.pem', 'device/kem.chain.pem', '--purpose'];
  assert.equal(
    mustWork(...kem, 'key-encapsulation'),
    `${device} is a device, verified for key-encapsulation\n`,
  );
  mustFail(/is not for key-agreement/, ...kem, 'key-agreement');

  const revoked = mustWork('revoke', ...dir, device, '--reason', 'keyCompromise');
  assert.equal(revoked.trimEnd().split('\n').length, 3);
  mustFail(/is revoked since .* \(keyCompromise\)/, ...tls);
  mustFail(/nothing to revoke/, 'revoke', ...dir, device);
  mustWork('crl', ...dir, '--days', '3');
  assert.match(
    mustWork('show', 'authority/tls/ca/ms-acc-1/acc-1/crl.pem'),
    /number +3[^]*since .*keyCompromise/,
  );
});

test('plombe pki: wrong use has status 2 and points at the help', () => {
  for (const args of [
    ['issue', '--dir', 'x'],
    ['issue', '--dir', 'x', 'a', '--kind', 'ca'],
    ['issue', '--dir', 'x', 'a', '--days', '0'],
    ['revoke', '--dir', 'x', 'a', '--kind', 'none'],
    ['verify', 'x'],
    ['verify', '--root', 'x', 'x', '--at', 'noon'],
    ['init', '--dir', 'x', '--curve', 'P-192'],
  ]) {
    const { status, stderr } = plombe(...args);
    assert.equal(status, 2, args.join(' '));
    assert.match(stderr, /--help/);
  }
});

for (const command of ['init', 'issue', 'request', 'sign', 'revoke', 'crl', 'show', 'verify']) {
  test(`plombe pki ${command}: has a help text`, () => {
    assert.match(mustWork(command, '--help'), new RegExp(`^Usage: plombe pki ${command} `));
  });
}
