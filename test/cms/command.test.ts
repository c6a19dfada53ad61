/** `plombe seal`, `plombe open` and `plombe inspect`, as processes. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { hash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test, { after } from 'node:test';
import { certificatesToPem } from '../../pki/certificate.ts';
import { privateKeyToPem } from '../../pki/private-key.ts';
import { rogueCertificate } from '../pki/rogue-authority.ts';
import { fixtures, fixturesFolder, readFixture } from './fixtures.ts';
import { authority, makeIdentity, makeKem } from './identities.ts';
import type { Identity } from './identities.ts';

const directory = mkdtempSync(path.join(os.tmpdir(), 'plombe-seal-'));
after(() => rmSync(directory, { recursive: true, force: true }));

const outputBytesMax = 8 * 1024 * 1024;
const plombe = path.resolve(import.meta.dirname, '../../bin/plombe.cjs');

function run(args: readonly string[], input: Buffer) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [plombe, ...args], {
    input,
    maxBuffer: outputBytesMax,
  });
  return { status, stdout, stderr: stderr.toString() };
}

function written(name: string, text: string): string {
  const file = path.join(directory, name);
  writeFileSync(file, text);
  return file;
}

function keyFiles(name: string, { signatureKey, recipient }: Identity) {
  return {
    sigKey: written(`${name}.sig.key`, privateKeyToPem(signatureKey.key)),
    sigCert: written(
      `${name}.sig.crt`,
      certificatesToPem([signatureKey.certificate, account.certificate, master.certificate]),
    ),
    encKey: written(`${name}.enc.key`, privateKeyToPem(recipient.key)),
    encCert: written(`${name}.enc.crt`, certificatesToPem([recipient.certificate])),
  };
}

const master = rogueCertificate({ issuer: authority, commonName: 'ms-acc-1', ca: { pathLength: 1 } });
const account = rogueCertificate({ issuer: master, commonName: 'ms-acc-1/acc-1', ca: { pathLength: 0 } });
const device = keyFiles('device', makeIdentity('ms-acc-1/acc-1/dev-1', 'P-256', account));
const identities = { backend: makeIdentity('vendor-snapshot-service') };
const backend = keyFiles('backend', identities.backend);
const auditor = keyFiles('auditor', makeIdentity('ms-acc-1'));
const root = written('root.crt', certificatesToPem([authority.certificate]));
const sealArgs = [
  'seal',
  '--sig-key',
  device.sigKey,
  '--sig-cert',
  device.sigCert,
  '--enc-key',
  device.encKey,
];
const toBoth = ['--enc-cert', device.encCert, '--to', backend.encCert, '--to', auditor.encCert];
const openArgs = (reader: typeof device) => [
  'open',
  '--enc-key',
  reader.encKey,
  '--enc-cert',
  reader.encCert,
];
const content = Buffer.from('fuel.temperature 21.5 Cel');

function fixturePath(file: string): string {
  return path.join(fixturesFolder, file);
}

test('plombe: what was sealed opens for both recipients, with pinned certificates or by the chain inside', () => {
  const plain = run([...sealArgs, ...toBoth], content);
  assert.equal(plain.status, 0, plain.stderr);
  const pinned = ['--originator', device.encCert, device.sigCert];
  const embedded = run([...sealArgs, ...toBoth, '--embed-chain', '--sequence', '9'], content);
  for (const reader of [backend, auditor]) {
    assert.deepEqual(run([...openArgs(reader), ...pinned], plain.stdout).stdout, content);
    const opened = run([...openArgs(reader), '--trust', root], embedded.stdout);
    assert.deepEqual([opened.status, opened.stdout, opened.stderr], [0, content, '']);
  }
  const refused = run([...openArgs(backend), '--trust', root], plain.stdout);
  assert.equal(refused.status, 5);
  assert.match(refused.stderr, /^plombe open: cms\.untrusted_originator: [^\n]+\n$/);
  const elsewhere = [...openArgs(backend), ...pinned, '--topic', 'ms-acc-1/acc-1/dev-2/snapshots'];
  assert.equal(run(elsewhere, plain.stdout).status, 5);

  const shown = run(['inspect', '--json'], embedded.stdout);
  const summary: unknown = JSON.parse(shown.stdout.toString());
  assert.ok(typeof summary === 'object' && summary !== null && 'info' in summary);
  assert.deepEqual((summary.info as Record<string, unknown>)['topic'], 'ms-acc-1/acc-1/dev-1/snapshots');
  assert.match(run(['inspect'], embedded.stdout).stdout.toString(), /sequence +9\n/);
  assert.equal(run(['inspect'], content).status, 3);
});

test('plombe open: a bare envelope only when told so', () => {
  const bare = run([...sealArgs, ...toBoth, '--unsigned'], content).stdout;
  const args = [...openArgs(backend), '--originator', device.encCert];
  assert.equal(run(args, bare).status, 5);
  assert.deepEqual(run([...args, '--allow-unsigned'], bare).stdout, content);
});

test('plombe open: a key that is encrypted opens with its passphrase', () => {
  const { recipient } = identities.backend;
  const encKey = written('encrypted.key', privateKeyToPem(recipient.key, 'a passphrase'));
  const passphraseFile = written('passphrase', 'a passphrase\n');
  const envelope = run([...sealArgs, ...toBoth], content).stdout;
  const args = [...openArgs({ ...backend, encKey }), '--originator', device.encCert, device.sigCert];
  assert.equal(run(args, envelope).status, 1);
  assert.deepEqual(run([...args, '--key-passphrase-file', passphraseFile], envelope).stdout, content);
});

test('plombe seal: several keys, and every choice of format', () => {
  const [name, curve] = ['ms-acc-1/acc-1/dev-1', 'P-384'] as const;
  const second = keyFiles('device-p384', makeIdentity(name, curve, account));
  const reader = keyFiles('reader-p384', makeIdentity('ms-acc-1', curve));
  const keys = ['--enc-key', second.encKey, '--enc-cert', device.encCert, '--enc-cert', second.encCert];
  const envelope = run([...sealArgs, ...keys, '--to', backend.encCert, reader.encCert], content);
  assert.equal(envelope.status, 0, envelope.stderr);
  const originator = ['--originator', device.encCert, second.encCert, device.sigCert];
  for (const one of [backend, reader]) {
    assert.deepEqual(run([...openArgs(one), ...originator], envelope.stdout).stdout, content);
  }
  const format =
    '--kdf-flavour bc --kdf-hash sha512 --content-key-bits 128 --key-wrap-bits 192 --originator-by public-key ' +
    '--recipient-by issuer-and-serial --unsigned';
  const bare = run([...sealArgs, ...toBoth, ...format.split(' '), '--plain'], content).stdout;
  const summary = run(['inspect'], bare).stdout.toString();
  for (const pattern of [
    /AES-128-GCM/,
    /public key 04.* by mqvSha512, aes192Wrap/,
    /recipient +serial number/,
  ]) {
    assert.match(summary, pattern);
  }
  assert.doesNotMatch(summary, /sequence/);
  const opened = run([...openArgs(backend), ...originator, '--allow-unsigned'], bare);
  assert.deepEqual(opened.stdout, content, opened.stderr);
  const repetitive = Buffer.alloc(1000, 7);
  const whole = run([...sealArgs, ...toBoth, '--no-compress'], repetitive).stdout;
  assert.match(run(['inspect'], whole).stdout.toString(), /octets, identity/);
  for (const wrong of [['--plain'], ['--enc-key', second.encKey], ['--kdf-hash', 'sha1']]) {
    assert.equal(run([...sealArgs, ...toBoth, ...wrong], content).status, 2, wrong.join(' '));
  }
});

test('plombe: a recipient with an ML-KEM key opens with both of its keys', () => {
  const kem = makeKem('vendor-snapshot-service');
  const kemKey = written('backend.kem.key', privateKeyToPem(kem.key, 'a passphrase'));
  const kemCert = written('backend.kem.crt', certificatesToPem([kem.certificate]));
  const envelope = run([...sealArgs, ...toBoth, '--to-kem', kemCert], content);
  assert.equal(envelope.status, 0, envelope.stderr);
  const originator = ['--originator', device.encCert, device.sigCert];
  const passphrase = ['--key-passphrase-file', written('kem-passphrase', 'a passphrase\n')];
  const opening = [...openArgs(backend), ...originator, ...passphrase];
  const opened = run([...opening, '--kem-key', kemKey, '--kem-cert', kemCert], envelope.stdout);
  assert.deepEqual(opened.stdout, content, opened.stderr);
  assert.equal(run(opening, envelope.stdout).status, 4);
  assert.deepEqual(run([...openArgs(auditor), ...originator], envelope.stdout).stdout, content);
  const shown = run(['inspect'], envelope.stdout).stdout.toString();
  assert.match(
    shown,
    /by hybridMlKem768, aes256Wrap\nrecipient +key [0-9a-f]{40} and, by ML-KEM, key [0-9a-f]{40}\n/,
  );
  assert.equal(run([...opening, '--kem-key', kemKey], envelope.stdout).status, 2);
  const nobodys = written('nobody.kem.crt', certificatesToPem([makeKem('nobody').certificate]));
  assert.equal(run([...sealArgs, ...toBoth, '--to-kem', nobodys], content).status, 1);
});

test('plombe: an envelope larger than a broker carries is for files', () => {
  const noise = Buffer.concat(
    Array.from({ length: 2 ** 15 }, (_, index) => hash('sha256', String(index), 'buffer')),
  );
  const envelope = run([...sealArgs, ...toBoth], noise).stdout;
  assert.ok(envelope.length > 1024 * 1024);
  const opened = run([...openArgs(backend), '--originator', device.encCert, device.sigCert], envelope);
  assert.ok(opened.stdout.equals(noise), opened.stderr);
});

test('plombe: wrong use is status 2, a missing file 1', () => {
  assert.equal(run(['seal', '--enc-key', device.encKey, ...toBoth], content).status, 2);
  assert.equal(run([...sealArgs, ...toBoth, '--sequence', '-1'], content).status, 2);
  assert.equal(
    run(['open', '--enc-key', path.join(directory, 'none'), '--enc-cert', device.encCert], content).status,
    1,
  );
});

/** One of each kind; the library's test has them all. */
const statuses: Readonly<Record<string, number>> = {
  'form-p256-der': 0,
  'form-p256-rfc-min': 0,
  'bp-brainpoolp512r1-3r': 0,
  'neg-p256-trunc-half': 3,
  'neg-p256-content-alg-cbc': 3,
  'neg-p256-many-reks-3000': 3,
  'neg-p256-not-recipient': 4,
  'neg-p256-tamper-ct': 5,
  'neg-p256-tag-truncated-4': 5,
  'neg-p256-rogue-originator': 5,
  'openssl-ecdh-p256-sha256kdf': 3,
};
for (const [id, status] of Object.entries(statuses)) {
  test(`plombe open: fixture ${id} gives status ${status}`, () => {
    const fixture = fixtures.find((candidate) => candidate.id === id);
    const recipient = fixture?.recipients[0];
    assert.ok(fixture && recipient);
    const originators = fixture.trustedOriginators.flatMap((file) => ['--originator', fixturePath(file)]);
    const args = [
      'open',
      '--enc-key',
      fixturePath(recipient.key),
      '--enc-cert',
      fixturePath(recipient.cert),
      '--allow-unsigned',
    ];
    const result = run([...args, ...originators], readFixture(fixture.file));
    assert.equal(result.status, status, result.stderr);
    assert.deepEqual(result.stdout, status === 0 ? readFixture(fixture.plaintextFile) : Buffer.alloc(0));
    if (fixture.group !== 'openssl') return;
    const anonymous = run([...args, ...originators, '--allow-anonymous'], readFixture(fixture.file));
    assert.deepEqual(anonymous.stdout, readFixture(fixture.plaintextFile));
  });
}
