/** OpenSSL, BouncyCastle and Mosquitto accept what we issue and refuse what is revoked, and we read what they make. */
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import type { TestContext } from 'node:test';
import { createAuthority } from '../../../pki/authority/authority.ts';
import { certificatesFromPem, certificatesToPem } from '../../../pki/certificate.ts';
import type { CurveName } from '../../../pki/certificate.ts';
import { updateFromBundle } from '../../../pki/crl-bundle.ts';
import { crlsFromPem } from '../../../pki/crl.ts';
import { verifyPath } from '../../../pki/path.ts';
import { RevocationIndex } from '../../../pki/revocation.ts';
import { freePort } from '../../../runtime/free-ports.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'plombe-paths-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const at = (...names: string[]): string => path.join(folder, ...names);
const device = 'ms-acc-1/acc-1/dev-1';

/** An authority with a device in force, one that is revoked, and one below a CA that is revoked. */
async function deployment(name: string, curve: CurveName) {
  const authority = createAuthority({ directory: at(name), curve });
  for (const one of [device, 'ms-acc-1/acc-1/dev-2', 'ms-acc-2/acc-1/dev-1'])
    await authority.issue({ path: one, outputDirectory: at(name, 'identities', one) });
  await authority.revoke({ target: { path: 'ms-acc-1/acc-1/dev-2' }, reason: 'keyCompromise' });
  await authority.revoke({ target: { path: 'ms-acc-2' }, kinds: ['ca'], reason: 'cACompromise' });
  return {
    authority,
    file: (one: string, of: string): string => at(name, 'identities', one, of),
    crls: (pki: 'tls' | 'e2e'): string => at(name, pki, 'crl.pem'),
  };
}

const nist = await deployment('nist', 'P-384');
const brainpool = await deployment('brainpool', 'brainpoolP512r1');

for (const [what, { file, crls }, pki, kind] of [
  ['P-384, TLS', nist, 'tls', 'tls'],
  ['P-384, E2E', nist, 'e2e', 'sig'],
  ['brainpoolP512r1, E2E', brainpool, 'e2e', 'enc'],
] as const) {
  const chains = [device, 'ms-acc-1/acc-1/dev-2', 'ms-acc-2/acc-1/dev-1'].map((one) =>
    file(one, `${kind}.chain.pem`),
  );
  const root = file(device, `${pki}-root.crt.pem`);

  test(`openssl verify -crl_check_all: ${what}`, () => {
    const answers = chains.map((chain) => {
      const found = spawnSync(
        'openssl',
        [
          'verify',
          '-x509_strict',
          '-crl_check_all',
          '-CAfile',
          root,
          '-CRLfile',
          crls(pki),
          '-untrusted',
          chain,
          chain,
        ],
        { encoding: 'utf8' },
      );
      return found.status === 0
        ? 'accepted'
        : (/error \d+ at \d+ depth lookup: ([\w ]+)/.exec(found.stderr)?.[1] ?? found.stderr);
    });
    assert.deepEqual(answers, ['accepted', 'certificate revoked', 'certificate revoked']);
  });

  test(`BouncyCastle's PKIX validator: ${what}`, () => {
    const answers = bouncyCastle('validate', root, crls(pki), ...chains)
      .trim()
      .split('\n');
    assert.equal(answers[0], 'accepted');
    for (const answer of answers.slice(1)) assert.match(answer, /^refused .*revo/i);
    assert.equal(answers.length, chains.length);
  });
}

test('BouncyCastle: its certificates and lists are read, and what it revoked is refused', () => {
  bouncyCastle('make', folder);
  const roots = certificatesFromPem(readFileSync(at('root.pem')));
  const chain = certificatesFromPem(readFileSync(at('chain.pem')));
  requireRevokedBy(roots, chain, at('before.pem'), at('after.pem'));
  // Without an authority key identifier the name finds the issuer.
  assert.equal(crlsFromPem(readFileSync(at('after.pem')))[1]?.authorityKeyIdentifier, undefined);
});

test('openssl: certificates and lists of its making are read, and what it revoked is refused', () => {
  writeFileSync(at('ca.cnf'), opensslConfiguration);
  writeFileSync(at('index.txt'), '');
  writeFileSync(at('crlnumber'), '01\n');
  const openssl = (...args: string[]): void =>
    void execFileSync('openssl', args, { cwd: folder, stdio: 'ignore' });
  const key = (name: string): string[] => [
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-keyout',
    `${name}.key`,
  ];
  openssl(
    'req',
    '-x509',
    ...key('ossl-root'),
    '-subj',
    '/CN=OpenSSL root',
    '-days',
    '2',
    '-config',
    'ca.cnf',
    '-extensions',
    'root',
    '-out',
    'ossl-root.pem',
  );
  openssl(
    'req',
    '-new',
    ...key('ossl-leaf'),
    '-subj',
    '/CN=vendor-broker',
    '-config',
    'ca.cnf',
    '-out',
    'ossl-leaf.csr',
  );
  openssl(
    'x509',
    '-req',
    '-in',
    'ossl-leaf.csr',
    '-CA',
    'ossl-root.pem',
    '-CAkey',
    'ossl-root.key',
    '-set_serial',
    '7',
    '-days',
    '1',
    '-extfile',
    'ca.cnf',
    '-extensions',
    'leaf',
    '-out',
    'ossl-leaf.pem',
  );
  const ca = ['ca', '-config', 'ca.cnf', '-cert', 'ossl-root.pem', '-keyfile', 'ossl-root.key'];
  openssl(...ca, '-gencrl', '-out', 'ossl-before.pem');
  openssl(...ca, '-revoke', 'ossl-leaf.pem', '-crl_reason', 'superseded');
  openssl(...ca, '-gencrl', '-out', 'ossl-after.pem');
  const [roots, chain] = ['ossl-root.pem', 'ossl-leaf.pem'].map((name) =>
    certificatesFromPem(readFileSync(at(name))),
  );
  requireRevokedBy(roots ?? [], chain ?? [], at('ossl-before.pem'), at('ossl-after.pem'));
});

function requireRevokedBy(
  roots: ReturnType<typeof certificatesFromPem>,
  chain: typeof roots,
  before: string,
  afterwards: string,
): void {
  const revocation = new RevocationIndex();
  const verify = (): unknown =>
    verifyPath({ chain, roots, atMs: Date.now(), purpose: 'signature', revocation });
  updateFromBundle(revocation, readFileSync(before), roots);
  verify();
  updateFromBundle(revocation, readFileSync(afterwards), roots);
  assert.throws(verify, { code: 'pki.revoked' });
  assert.throws(() => updateFromBundle(revocation, readFileSync(before), roots), {
    code: 'pki.crl_rollback',
  });
}

test('mosquitto: serves with our certificate, takes our clients, and refuses those on our list', async (context) => {
  const { authority, file, crls } = nist;
  await authority.issue({
    path: 'vendor-broker',
    hosts: ['127.0.0.1'],
    outputDirectory: at('mosquitto'),
    kinds: ['tls'],
  });
  // Mosquitto looks CAs up among those that it was given.
  const authorities = certificatesFromPem(readFileSync(file(device, 'tls.chain.pem'))).slice(1);
  writeFileSync(at('ca.pem'), certificatesToPem([authority.roots.tls, ...authorities]));
  const port = await startMosquitto(context, crls('tls'));
  const careless = await startMosquitto(context);
  const publish = (one: string, to = port) =>
    spawnSync(
      'mosquitto_pub',
      [
        '-h',
        '127.0.0.1',
        '-p',
        String(to),
        '--cafile',
        file(device, 'tls-root.crt.pem'),

        '--cert',
        file(one, 'tls.chain.pem'),
        '--key',
        file(one, 'tls.key.pem'),
        '--tls-version',
        'tlsv1.2',
        '-t',
        'x',
        '-m',
        'y',
        '-q',
        '1',
      ],
      { encoding: 'utf8' },
    );
  const accepted = publish(device);
  assert.equal(accepted.status, 0, accepted.stderr);
  const refused = publish('ms-acc-1/acc-1/dev-2');
  assert.notEqual(refused.status, 0);
  const { status, stderr } = publish('ms-acc-1/acc-1/dev-2', careless);
  assert.equal(status, 0, stderr); // so it was the list
});

async function startMosquitto(context: TestContext, crls?: string): Promise<number> {
  const port = await freePort();
  const identity = (name: string): string => at('mosquitto', `tls.${name}.pem`);
  const lines = [
    `listener ${port} 127.0.0.1`,
    `cafile ${at('ca.pem')}`,
    `certfile ${identity('chain')}`,
    `keyfile ${identity('key')}`,
    ...(crls === undefined ? [] : [`crlfile ${crls}`]),
    'require_certificate true',
    'use_identity_as_username true',
  ];
  if (process.getuid?.() === 0) lines.push('user root'); // the keys are readable for this user alone
  writeFileSync(at('mosquitto.conf'), `${lines.join('\n')}\n`);
  const server = spawn('/usr/sbin/mosquitto', ['-c', at('mosquitto.conf')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  context.after(() => server.kill());
  let said = '';
  for await (const chunk of server.stderr) {
    said += String(chunk);
    if (said.includes(' running')) break;
  }
  assert.match(said, /mosquitto version [\d.]+ running/);
  return port;
}

function bouncyCastle(...args: string[]): string {
  const jars = ['bcpkix', 'bcprov', 'bcutil'].map((name) => `/usr/share/java/${name}.jar`).join(':');
  const source = path.join(import.meta.dirname, 'java', 'Paths.java');
  return execFileSync('java', ['-cp', jars, source, ...args], { encoding: 'utf8' });
}

const opensslConfiguration = `
[req]
distinguished_name = name
[name]
[root]
basicConstraints = critical, CA:true, pathlen:2
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[ca]
default_ca = here
[here]
database = index.txt
crlnumber = crlnumber
default_md = sha256
default_crl_days = 7
crl_extensions = list
[list]
authorityKeyIdentifier = keyid
`;
