import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { createAuthority, openAuthority } from '../../pki/authority/authority.ts';
import type { Authority } from '../../pki/authority/authority.ts';
import { curveNames } from '../../pki/certificate.ts';
import { crlsFromPem } from '../../pki/crl.ts';
import { loadIdentity, loadTlsIdentity } from '../../pki/identity.ts';
import { readPrivateKey } from '../../pki/private-key.ts';

const base = mkdtempSync(join(tmpdir(), 'plombe-authority-'));
after(() => rmSync(base, { recursive: true, force: true }));
const nowMs = Date.now();
const dayMs = 86_400_000;
let count = 0;

function freshDirectory(): string {
  count += 1;
  return join(base, String(count));
}

function freshAuthority(options: { passphrase?: string; clock?: () => number } = {}): Authority {
  return createAuthority({ directory: freshDirectory(), clock: () => nowMs, ...options });
}

function text(...path: string[]): string {
  return readFileSync(join(...path), 'utf8');
}

/** What OpenSSL says to a certificate that we issued; its output if it refuses. */
function opensslVerify(authority: Authority, pki: 'tls' | 'e2e', identity: string, kind: string): string {
  const files = join(authority.directory, 'identities', identity, kind);
  const trust = [
    '-CAfile',
    join(authority.directory, pki, 'root.crt.pem'),
    '-untrusted',
    `${files}.chain.pem`,
  ];
  const crls = ['-crl_check_all', '-CRLfile', join(authority.directory, pki, 'crl.pem')];
  const purpose = kind === 'tls' ? ['-purpose', 'sslclient'] : [];
  const command = ['verify', '-x509_strict', ...purpose, ...trust, ...crls, `${files}.crt.pem`];
  try {
    return execFileSync('openssl', command, { stdio: 'pipe' }).toString();
  } catch (error) {
    return String((error as { stderr?: unknown }).stderr);
  }
}

for (const curve of curveNames) {
  test(`createAuthority: OpenSSL accepts the chains and CRLs of both PKIs on ${curve}, and refuses the revoked`, async () => {
    const authority = createAuthority({ directory: freshDirectory(), curve });
    const identities = ['ms-acc-1/acc-1/dev-1', 'ms-acc-1/acc-1', 'ms-acc-1', 'vendor-snapshot-service'];
    for (const path of identities) await authority.issue({ path });
    const kinds = [
      ['tls', 'tls'],
      ['e2e', 'sig'],
      ['e2e', 'enc'],
    ] as const;
    for (const path of identities) {
      for (const [pki, kind] of kinds) assert.match(opensslVerify(authority, pki, path, kind), /: OK\n$/);
    }
    await authority.revoke({ target: { path: 'ms-acc-1/acc-1/dev-1' }, reason: 'keyCompromise' });
    for (const path of identities) {
      const expected = path.endsWith('dev-1') ? /certificate revoked/ : /: OK\n$/;
      for (const [pki, kind] of kinds) assert.match(opensslVerify(authority, pki, path, kind), expected);
    }
    assert.equal(authority.roots.e2e.curve, curve);
    assert.match(authority.roots.tls.curve ?? '', /^P-/);
  });
}

test('createAuthority: the files that other programs rely on are there, and the keys are for the owner alone', async () => {
  const opened = openAuthority({ directory: freshAuthority().directory, clock: () => nowMs });
  await opened.issue({ path: 'ms-acc-1/acc-1/dev-1' });
  for (const pki of ['tls', 'e2e']) {
    for (const file of ['root.crt.pem', 'root.key.pem', 'issued.jsonl', 'crl.pem']) {
      assert.ok(existsSync(join(opened.directory, pki, file)), file);
    }
    for (const ca of ['vendor', 'ms-acc-1', 'ms-acc-1/acc-1']) {
      for (const file of ['ca.crt.pem', 'ca.key.pem', 'ca.chain.pem', 'crl.pem', 'crl-number']) {
        assert.ok(existsSync(join(opened.directory, pki, 'ca', ca, file)), `${ca} ${file}`);
      }
    }
    assert.equal(crlsFromPem(text(opened.directory, pki, 'crl.pem')).length, 4);
  }
  const identity = join(opened.directory, 'identities', 'ms-acc-1', 'acc-1', 'dev-1');
  const expected = ['tls', 'sig', 'enc'].flatMap((kind) =>
    ['key', 'crt', 'chain'].map((part) => `${kind}.${part}.pem`),
  );
  assert.deepEqual(
    readdirSync(identity).toSorted(),
    [...expected, 'tls-root.crt.pem', 'e2e-root.crt.pem'].toSorted(),
  );
  if (process.platform !== 'win32') {
    for (const file of readdirSync(opened.directory, { recursive: true, encoding: 'utf8' })) {
      if (file.endsWith('.key.pem'))
        assert.equal(statSync(join(opened.directory, file)).mode & 0o777, 0o600, file);
      assert.ok(!file.endsWith('.tmp'), file);
    }
  }
});

test('issue: what it wrote is what the programs load', async () => {
  const authority = freshAuthority();
  const outputDirectory = join(base, 'device keys');
  const issued = await authority.issue({
    path: 'ms-acc-1/acc-1/dev-1',
    outputDirectory,
    passphrase: 'secret',
  });
  assert.equal(issued.directory, outputDirectory);
  const passphraseFile = join(base, 'passphrase');
  writeFileSync(passphraseFile, 'secret\n');
  const { tls, e2e } = loadIdentity(outputDirectory, { passphraseFile, nowMs });
  assert.equal(tls.commonName, 'ms-acc-1/acc-1/dev-1');
  assert.equal(e2e.commonName, 'ms-acc-1/acc-1/dev-1');
  assert.ok(tls.roots[0]?.der.equals(authority.roots.tls.der));
  assert.ok(e2e.roots[0]?.der.equals(authority.roots.e2e.der));
  assert.throws(() => loadTlsIdentity(outputDirectory, { nowMs }), { code: 'pki.wrong_passphrase' });
  const keys = [tls.certificate, e2e.signature.certificate, e2e.keyAgreement.certificate].map(
    ({ publicPoint }) => publicPoint?.toString('hex'),
  );
  assert.equal(new Set(keys).size, 3);
});

test('issue: two years at most as long as the issuer, from a little before now, and the serial is 17 bytes', async () => {
  const authority = freshAuthority();
  const { certificates } = await authority.issue({
    path: 'ms-acc-1',
    kinds: ['tls'],
    lifetimeMs: 10 * dayMs,
  });
  const certificate = certificates.tls?.chain[0];
  assert.ok(certificate);
  assert.equal(certificate.notAfterMs, Math.floor((nowMs + 10 * dayMs) / 1000) * 1000);
  assert.equal(certificate.notBeforeMs, Math.floor((nowMs - 3_600_000) / 1000) * 1000);
  assert.equal(certificate.serialNumber.length, 17);
  assert.deepEqual(Object.keys(certificates), ['tls']);

  const late = openAuthority({ directory: authority.directory, clock: () => nowMs + 9.9 * 365 * dayMs });
  const shortened = (await late.issue({ path: 'ms-acc-1', kinds: ['tls'] })).certificates.tls?.chain;
  assert.ok(shortened);
  assert.equal(shortened[0]?.notAfterMs, shortened[1]?.notAfterMs);
});

test("issue: a broker's certificate has its hosts", async () => {
  const authority = freshAuthority();
  const hosts = ['broker.example', '192.0.2.1', '::1', '2001:db8::ff', '::ffff:192.0.2.7', '1:2:3:4:5:6:7:8'];
  const { certificates } = await authority.issue({ path: 'ms-acc-1', kinds: ['tls'], hosts });
  const certificate = certificates.tls?.chain[0];
  for (const host of hosts.slice(1)) assert.equal(certificate?.x509.checkIP(host), host);
  assert.equal(certificate?.x509.checkHost('broker.example'), 'broker.example');
  assert.equal(certificate?.x509.checkHost('other.example'), undefined);
});

test('issue: nonsense is a malformed request', async () => {
  const authority = freshAuthority();
  for (const path of [
    '',
    'vendor',
    'Vendor-broker',
    'a/b/c/d',
    'a//b',
    '../a',
    'a/ca.key.pem',
    'a/crl-number',
    'é',
  ]) {
    await assert.rejects(authority.issue({ path }), { code: 'pki.malformed_request' }, path);
  }
  for (const hosts of [['*.example'], ['a b'], ['1.2.3'], ['-a'], Array.from({ length: 65 }, () => 'a')]) {
    await assert.rejects(authority.issue({ path: 'ms-acc-1', hosts }), { code: 'pki.malformed_request' });
  }
  await assert.rejects(authority.issue({ path: 'ms-acc-1', kinds: [] }), { code: 'pki.malformed_request' });
  const noTls = { path: 'ms-acc-1', kinds: ['sig'], hosts: ['a'] } as const;
  await assert.rejects(authority.issue(noTls), { code: 'pki.malformed_request' });
});

test('issue: the lint refuses a serving device and a life beyond the issuer, and nothing is recorded as intended', async () => {
  const authority = freshAuthority();
  await authority.issue({ path: 'ms-acc-1/acc-1', kinds: ['tls'] });
  const before = authority.ledger('tls').length;
  const device = 'ms-acc-1/acc-1/dev-1';
  await assert.rejects(authority.issue({ path: device, hosts: ['localhost'] }), {
    code: 'pki.lint',
    message: /server/,
  });
  const lifetimeMs = 11 * 365 * dayMs;
  await assert.rejects(authority.issue({ path: device, lifetimeMs }), {
    code: 'pki.lint',
    message: /longer than its issuer/,
  });
  await assert.rejects(authority.issue({ path: device, lifetimeMs: -dayMs }), {
    code: 'pki.lint',
    message: /never be valid/,
  });
  assert.equal(authority.ledger('tls').length, before);
  assert.ok(!existsSync(join(authority.directory, 'identities', device)));
});

test('issue: an expired CA issues nothing', async () => {
  const authority = freshAuthority();
  await authority.issue({ path: 'ms-acc-1', kinds: ['tls'] });
  const late = openAuthority({ directory: authority.directory, clock: () => nowMs + 11 * 365 * dayMs });
  await assert.rejects(late.issue({ path: 'ms-acc-1', kinds: ['tls'] }), {
    code: 'pki.lint',
    message: /issuer has expired/,
  });
});

test('ledger: everything is intended, issued and, later, revoked', async () => {
  const authority = freshAuthority();
  const { certificates } = await authority.issue({ path: 'vendor-broker', kinds: ['sig'] });
  const certificate = certificates.sig?.chain[0];
  assert.ok(certificate);
  const serial = certificate.serialNumber.toString('hex');
  await authority.revoke({ target: { serials: [serial.toUpperCase()] }, reason: 'superseded' });
  const lines = text(authority.directory, 'e2e', 'issued.jsonl').trimEnd().split('\n');
  const entries = lines.map((line) => JSON.parse(line)).filter((entry) => entry.serial === serial);
  const notAfter = new Date(certificate.notAfterMs).toISOString();
  const at = new Date(nowMs).toISOString();
  const facts = { at, serial, subject: 'vendor-broker', issuer: 'vendor', kind: 'sig', pki: 'e2e', notAfter };
  assert.deepEqual(entries, [
    { event: 'intended', ...facts },
    { event: 'issued', ...facts, sha256: certificate.sha256.toString('hex') },
    { event: 'revoked', ...facts, reason: 'superseded' },
  ]);
  assert.deepEqual(authority.ledger('e2e').at(-1), entries[2]);
});

test('ledger: half a line that a crash left is cut off when the authority is opened', async () => {
  const authority = freshAuthority();
  const before = authority.ledger('tls');
  const path = join(authority.directory, 'tls', 'issued.jsonl');
  appendFileSync(path, '{"event":"intended","at":"20');
  assert.deepEqual(authority.ledger('tls'), before);
  const opened = openAuthority({ directory: authority.directory, clock: () => nowMs });
  await opened.issue({ path: 'ms-acc-1', kinds: ['tls'] });
  assert.equal(opened.ledger('tls').length, before.length + 4);
  for (const damage of ['nonsense\n', '{"event":1}\n', 'null\n']) {
    const good = readFileSync(path);
    appendFileSync(path, damage);
    assert.throws(() => opened.ledger('tls'), {
      code: 'pki.authority_missing',
      message: /line \d+ is damaged/,
    });
    writeFileSync(path, good);
  }
});

test('revoke: by path those in force, by serial one, and never twice', async () => {
  let clockMs = nowMs;
  const authority = freshAuthority({ clock: () => clockMs });
  const path = 'ms-acc-1/acc-1/dev-1';
  const first = await authority.issue({ path, lifetimeMs: dayMs });
  clockMs += 2 * dayMs;
  await authority.issue({ path });
  const revoked = await authority.revoke({ target: { path } });
  assert.deepEqual(
    revoked.map(({ kind }) => kind),
    ['tls', 'sig', 'enc'],
  );
  await assert.rejects(authority.revoke({ target: { path } }), { code: 'pki.unknown_certificate' });
  const serial = first.certificates.tls?.chain[0]?.serialNumber.toString('hex') ?? '';
  assert.equal((await authority.revoke({ target: { serials: [serial] } })).length, 1);
  await assert.rejects(authority.revoke({ target: { serials: [serial] } }), {
    code: 'pki.unknown_certificate',
  });
  await assert.rejects(authority.revoke({ target: { serials: ['00'] } }), {
    code: 'pki.unknown_certificate',
  });
  const root = authority.roots.tls.serialNumber.toString('hex');
  await assert.rejects(authority.revoke({ target: { serials: [root] } }), { code: 'pki.malformed_request' });
});

test('revoke: a revoked CA issues nothing more, and OpenSSL refuses what it issued', async () => {
  const authority = freshAuthority();
  await authority.issue({ path: 'ms-acc-1/acc-1/dev-1' });
  await authority.revoke({ target: { path: 'ms-acc-1' }, kinds: ['ca'], reason: 'cACompromise' });
  await assert.rejects(authority.issue({ path: 'ms-acc-1/acc-1/dev-2' }), { code: 'pki.revoked' });
  assert.match(opensslVerify(authority, 'tls', 'ms-acc-1/acc-1/dev-1', 'tls'), /certificate revoked/);
});

test('issue: a CA that took the place of a revoked one issues, also by whoever knew the one before', async () => {
  const authority = freshAuthority();
  const path = 'ms-acc-1/acc-1/dev-1';
  await authority.issue({ path });
  await authority.revoke({ target: { path: 'ms-acc-1/acc-1' }, kinds: ['ca'], reason: 'cACompromise' });
  for (const pki of ['tls', 'e2e'])
    rmSync(join(authority.directory, pki, 'ca/ms-acc-1/acc-1'), { recursive: true });
  await openAuthority({ directory: authority.directory }).issue({ path: 'ms-acc-1/acc-1/dev-2' });
  await authority.issue({ path });
  assert.match(opensslVerify(authority, 'tls', path, 'tls'), /OK/);
  assert.match(opensslVerify(authority, 'e2e', path, 'sig'), /OK/);
});

test('issueCrl: every list gets the next number and a new date; long expired entries go', async () => {
  let clockMs = nowMs;
  const authority = freshAuthority({ clock: () => clockMs });
  await authority.issue({ path: 'ms-acc-1', kinds: ['tls'], lifetimeMs: dayMs });
  await authority.revoke({ target: { path: 'ms-acc-1' } });
  const lists = () => crlsFromPem(text(authority.directory, 'tls', 'crl.pem'));
  const before = lists();
  const entriesOf = () => lists().map((crl) => `${crl.issuerCommonName} ${crl.revoked.size}`);
  assert.deepEqual(entriesOf(), ['Plombe TLS root 0', 'ms-acc-1 1', 'vendor 0']);
  clockMs += 20 * dayMs;
  await authority.issueCrl({ lifetimeMs: 3 * dayMs });
  assert.deepEqual(
    lists().map(({ number }) => number),
    before.map(({ number }) => number + 1),
  );
  for (const { thisUpdateMs, nextUpdateMs } of lists()) {
    assert.equal(thisUpdateMs, Math.floor(clockMs / 1000) * 1000);
    assert.equal(nextUpdateMs - thisUpdateMs, 3 * dayMs);
  }
  assert.deepEqual(entriesOf(), ['Plombe TLS root 0', 'ms-acc-1 1', 'vendor 0']);
  clockMs += 20 * dayMs;
  await authority.issueCrl();
  assert.deepEqual(
    entriesOf(),
    ['Plombe TLS root 0', 'ms-acc-1 1', 'vendor 0'],
    'on one list beyond the expiry',
  );
  await authority.issueCrl();
  assert.deepEqual(entriesOf(), ['Plombe TLS root 0', 'ms-acc-1 0', 'vendor 0']);
});

test('issueCrl: a device that may still be renewed, or heard of, after its expiry stays on the lists for as long', async () => {
  let clockMs = nowMs;
  const authority = freshAuthority({ clock: () => clockMs });
  const path = 'ms-acc-1/acc-1/dev-1';
  await authority.issue({ path, lifetimeMs: dayMs });
  await authority.revoke({ target: { path } });
  const entries = (pki: 'tls' | 'e2e'): number[] =>
    crlsFromPem(text(authority.directory, pki, 'crl.pem')).map(({ revoked }) => revoked.size);
  const issueTwice = async (): Promise<void> => {
    await authority.issueCrl();
    await authority.issueCrl();
  };
  clockMs += 366 * dayMs;
  await issueTwice();
  assert.deepEqual(
    [entries('tls'), entries('e2e')],
    [
      [0, 0, 1, 0],
      [0, 0, 2, 0],
    ],
  );
  clockMs += 3 * dayMs;
  await issueTwice();
  assert.deepEqual(
    [entries('tls'), entries('e2e')],
    [
      [0, 0, 0, 0],
      [0, 0, 0, 0],
    ],
  );
});

test('issueCrl: only the lists that are due, only of the CAs that are named', async () => {
  let clockMs = nowMs;
  const authority = freshAuthority({ clock: () => clockMs });
  clockMs += 5 * dayMs;
  await authority.issue({ path: 'ms-acc-1', kinds: ['tls'] });
  const issued = async (request?: Parameters<Authority['issueCrl']>[0]): Promise<number> =>
    (await authority.issueCrl(request)).issued;
  assert.equal(await issued({ dueWithinMs: dayMs }), 0);
  assert.equal(await issued({ dueWithinMs: 3 * dayMs }), 4, 'the roots and the vendor CAs');
  assert.equal(await issued({ dueWithinMs: 3 * dayMs }), 0);
  assert.equal(await issued(), 5);
  assert.equal(await issued({ authorities: ['ms-acc-1', 'nobody'] }), 1);
});

test('openAuthority: needs the passphrase, and every CA key is encrypted with it', async () => {
  const authority = freshAuthority({ passphrase: 'secret' });
  const { directory } = authority;
  assert.throws(() => openAuthority({ directory }), { code: 'pki.wrong_passphrase' });
  assert.throws(() => openAuthority({ directory, passphrase: 'wrong' }), { code: 'pki.wrong_passphrase' });
  const opened = openAuthority({ directory, passphrase: 'secret' });
  await opened.issue({ path: 'ms-acc-1/acc-1/dev-1' });
  const keys = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((file) =>
    /(root|ca)\.key\.pem$/.test(file),
  );
  assert.equal(keys.length, 8);
  for (const file of keys) {
    assert.match(text(directory, file), /BEGIN ENCRYPTED PRIVATE KEY/);
    assert.ok(readPrivateKey(text(directory, file), 'secret'));
  }
});

test('openAuthority: an empty, incomplete or muddled directory is named', async () => {
  assert.throws(() => openAuthority({ directory: join(base, 'nowhere') }), { code: 'pki.authority_missing' });
  const { directory } = freshAuthority();
  const root = join(directory, 'tls', 'root.key.pem');
  const key = readFileSync(root);
  writeFileSync(root, readFileSync(join(directory, 'e2e', 'root.key.pem')));
  assert.throws(() => openAuthority({ directory }), {
    code: 'pki.authority_missing',
    message: /is not the key/,
  });
  writeFileSync(root, key);
  const certificate = join(directory, 'e2e', 'ca', 'vendor', 'ca.crt.pem');
  renameSync(certificate, `${certificate}.gone`);
  assert.throws(() => openAuthority({ directory }), {
    code: 'pki.authority_missing',
    message: /holds no authority/,
  });
  renameSync(`${certificate}.gone`, certificate);
  const opened = openAuthority({ directory });
  writeFileSync(join(directory, 'tls', 'ca', 'vendor', 'crl-number'), 'x');
  await assert.rejects(opened.issueCrl(), {
    code: 'pki.authority_missing',
    message: /crl-number is damaged/,
  });
});

test('createAuthority: leaves a directory alone that is not empty', () => {
  const { directory } = freshAuthority();
  assert.throws(() => createAuthority({ directory }), { code: 'pki.authority_exists' });
  const other = freshDirectory();
  mkdirSync(other);
  createAuthority({ directory: other });
  assert.ok(existsSync(join(other, 'tls', 'root.crt.pem')));
});
