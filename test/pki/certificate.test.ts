import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  certificatesFromPem,
  certificatesToPem,
  parseCertificate,
  parsePresentedLeaf,
} from '../../pki/certificate.ts';
import type { Certificate } from '../../pki/certificate.ts';
import { rogueCertificate } from './rogue-authority.ts';
import { privateKeyToPem, readPrivateKey } from '../../pki/private-key.ts';

const directory = mkdtempSync(join(tmpdir(), 'plombe-certificate-'));
test.after(() => rmSync(directory, { recursive: true, force: true }));

/** A self-signed certificate that OpenSSL made. */
function opensslCertificate(
  subject: string,
  options: { curve?: string; extensions?: string[] } = {},
): string {
  const key = join(directory, 'key.pem');
  const out = join(directory, 'crt.pem');
  const [newKey, encoding] = [
    `ec_paramgen_curve:${options.curve ?? 'prime256v1'}`,
    'ec_param_enc:named_curve',
  ];
  const base = `req -x509 -newkey ec -pkeyopt ${newKey} -pkeyopt ${encoding} -nodes -days 2 -utf8 -batch`;
  const extensions = (options.extensions ?? []).flatMap((extension) => ['-addext', extension]);
  const command = [...base.split(' '), '-keyout', key, '-out', out, '-subj', subject, ...extensions];
  execFileSync('openssl', command, { stdio: 'pipe' });
  return readFileSync(out, 'utf8');
}

const pem = opensslCertificate('/O=Plombe/CN=ms-acc-1', {
  extensions: [
    'keyUsage=critical,digitalSignature,keyCertSign,cRLSign',
    'extendedKeyUsage=clientAuth,1.2.3.4',
  ],
});

test('parseCertificate: reads what OpenSSL wrote', () => {
  const [certificate] = certificatesFromPem(pem);
  assert.ok(certificate);
  assert.equal(certificate.commonName, 'ms-acc-1');
  assert.equal(certificate.issuerCommonName, 'ms-acc-1');
  assert.deepEqual(certificate.issuerDer, certificate.subjectDer);
  assert.deepEqual(certificate.sha256, createHash('sha256').update(certificate.x509.raw).digest());
  assert.equal(certificate.isAuthority, true);
  assert.equal(certificate.pathLength, undefined);
  assert.deepEqual([...(certificate.keyUsage ?? [])], ['digitalSignature', 'keyCertSign', 'cRLSign']);
  assert.deepEqual(certificate.extendedKeyUsage, ['1.3.6.1.5.5.7.3.2', '1.2.3.4']);
  assert.equal(certificate.curve, 'P-256');
  assert.deepEqual(certificate.subjectKeyIdentifier, certificate.authorityKeyIdentifier);
  assert.equal(
    certificate.serialNumber.toString('hex').toUpperCase().replace(/^00/, ''),
    certificate.x509.serialNumber,
  );
  assert.equal(certificate.notBeforeMs, Date.parse(certificate.x509.validFrom));
  assert.equal(certificate.notAfterMs, Date.parse(certificate.x509.validTo));
  assert.equal(certificate.signatureAlgorithm, '1.2.840.10045.4.3.2');
  const jwk = certificate.publicKey.export({ format: 'jwk' });
  const point = Buffer.concat([
    Buffer.of(4),
    Buffer.from(jwk.x ?? '', 'base64url'),
    Buffer.from(jwk.y ?? '', 'base64url'),
  ]);
  assert.deepEqual(certificate.publicPoint, point);
});

for (const [curve, name] of [
  ['secp384r1', 'P-384'],
  ['secp521r1', 'P-521'],
  ['brainpoolP256r1', 'brainpoolP256r1'],
  ['brainpoolP384r1', 'brainpoolP384r1'],
  ['brainpoolP512r1', 'brainpoolP512r1'],
  ['secp256k1', undefined],
] as const) {
  test(`parseCertificate: the curve of a ${curve} key is ${name ?? 'none of ours'}`, () => {
    const [certificate] = certificatesFromPem(opensslCertificate('/CN=x', { curve }));
    assert.equal(certificate?.curve, name);
    assert.equal(certificate?.publicPoint === undefined, name === undefined);
  });
}

test('commonName: two names, a multi-valued RDN and no name are undefined', () => {
  for (const subject of ['/CN=a/CN=b', '/CN=a+O=b', '/O=b+CN=a', '/O=a']) {
    assert.equal(certificatesFromPem(opensslCertificate(subject))[0]?.commonName, undefined, subject);
  }
});

test('certificatesToPem: certificatesFromPem reads it back, in order, whatever text is around', () => {
  const two = [...certificatesFromPem(pem), ...certificatesFromPem(opensslCertificate('/CN=second'))];
  const text = `Bag Attributes\n${certificatesToPem(two)}trailer\n`.replaceAll('\n', '\r\n');
  assert.deepEqual(
    certificatesFromPem(Buffer.from(text)).map(({ commonName }) => commonName),
    ['ms-acc-1', 'second'],
  );
  assert.equal(certificatesToPem(certificatesFromPem(pem)), pem);
});

test('certificatesFromPem: no block, half a block and bad base64 are malformed', () => {
  const half = pem.slice(0, pem.length - 20);
  for (const text of ['', 'hello', half, pem + half, pem.replace('MII', 'M*I'), pem.replace('MII', 'MIIA')]) {
    assert.throws(() => certificatesFromPem(text), { code: 'pki.malformed_certificate' });
  }
});

test('parseCertificate: every truncation and every longer input is malformed', () => {
  const [certificate] = certificatesFromPem(pem);
  assert.ok(certificate);
  for (let length = 0; length < certificate.der.length; length++) {
    assert.throws(() => parseCertificate(certificate.der.subarray(0, length)), {
      code: 'pki.malformed_certificate',
    });
  }
  assert.throws(() => parseCertificate(Buffer.concat([certificate.der, Buffer.of(0)])), {
    code: 'pki.malformed_certificate',
  });
  assert.throws(() => parseCertificate(Buffer.alloc(65 * 1024)), { code: 'pki.malformed_certificate' });
});

test('parseCertificate: a flipped bit is malformed, or shows, or breaks the signature', () => {
  const [certificate] = certificatesFromPem(pem);
  assert.ok(certificate);
  fc.assert(
    fc.property(fc.nat(certificate.der.length * 8 - 1), (bit) => {
      const der = Buffer.from(certificate.der);
      der.writeUInt8(der.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      let parsed;
      try {
        parsed = parseCertificate(der);
      } catch (error) {
        assert.equal((error as { code?: unknown }).code, 'pki.malformed_certificate');
        return;
      }
      assert.notDeepEqual(parsed.sha256, certificate.sha256);
      assert.equal(parsed.x509.verify(certificate.publicKey), false);
    }),
    { numRuns: 400 },
  );
});

test('parseCertificate: a certificate with the PEM of another one inside is malformed', () => {
  // Node's X509Certificate finds the PEM and reads the inner one: its signature is good, the outer name is anything.
  const root = rogueCertificate({ commonName: 'root', ca: {} });
  const inner = rogueCertificate({ issuer: root, commonName: 'ms-acc-1' });
  const value = Buffer.from(`\n${certificatesToPem([inner.certificate])}`);
  const outer = {
    issuer: { certificate: root.certificate, key: inner.key },
    commonName: 'MRO-Admin',
    extensions: [{ oid: '1.2.3.4', isCritical: false, value }],
  };
  assert.throws(() => rogueCertificate(outer), {
    code: 'pki.malformed_certificate',
    message: /another certificate/,
  });
});

test('parsePresentedLeaf: every flipped bit is refused as by parseCertificate, now or when OpenSSL is asked, or read the same', () => {
  const [certificate] = certificatesFromPem(pem);
  assert.ok(certificate);
  const everything = ({ publicKey, x509, ...facts }: Certificate): unknown => {
    return { ...facts, publicKey: publicKey.export({ format: 'der', type: 'spki' }), x509: x509.raw };
  };
  const outcome = (parse: (der: Buffer) => Certificate, der: Buffer): unknown => {
    try {
      return everything(parse(der));
    } catch (error) {
      return (error as { code?: unknown }).code;
    }
  };
  assert.deepEqual(outcome(parsePresentedLeaf, certificate.der), everything(certificate));
  const { der: original } = certificate;
  for (let bit = 0; bit < original.length * 8; bit++) {
    const der = Buffer.from(original);
    der.writeUInt8(der.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
    assert.deepEqual(outcome(parsePresentedLeaf, der), outcome(parseCertificate, der), `bit ${bit}`);
  }
});

test('parsePresentedLeaf: a point that is not on the curve and the PEM of another certificate show when asked for', () => {
  const root = rogueCertificate({ commonName: 'root', ca: {} });
  const { der, publicPoint } = root.certificate;
  assert.ok(publicPoint);
  const off = Buffer.from(der);
  off.fill(0xff, off.indexOf(publicPoint) + 1, off.indexOf(publicPoint) + publicPoint.length);
  const leaf = parsePresentedLeaf(off);
  assert.equal(leaf.commonName, 'root');
  assert.throws(() => leaf.publicKey, { code: 'pki.malformed_certificate' });
  const extension = {
    oid: '1.2.3.4',
    isCritical: false,
    value: Buffer.alloc(root.certificate.der.length * 2),
  };
  const roomy = rogueCertificate({ commonName: 'a', issuer: root, extensions: [extension] }).certificate.der;
  const inner = Buffer.from(`\n${certificatesToPem([root.certificate])}`);
  const nested = Buffer.from(roomy);
  inner.copy(nested, nested.indexOf(Buffer.alloc(inner.length)));
  assert.equal(parsePresentedLeaf(nested).commonName, 'a');
  assert.throws(() => parsePresentedLeaf(nested).x509, {
    code: 'pki.malformed_certificate',
    message: /another certificate/,
  });
});

test('parseCertificate: arbitrary bytes are malformed, never another error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      assert.throws(() => parseCertificate(bytes), { name: 'PkiError', code: 'pki.malformed_certificate' });
    }),
  );
});

test('parseCertificate: the caller may reuse its buffer', () => {
  const [original] = certificatesFromPem(pem);
  assert.ok(original);
  const buffer = Buffer.from(original.der);
  const parsed = parseCertificate(buffer);
  buffer.fill(0);
  assert.deepEqual(parsed.der, original.der);
  assert.deepEqual(parsed.subjectDer, original.subjectDer);
});

test('readPrivateKey: reads PKCS #8, encrypted or not, and SEC 1', () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'brainpoolP384r1' });
  const sec1 = privateKey.export({ type: 'sec1', format: 'pem' });
  for (const [text, passphrase] of [
    [privateKeyToPem(privateKey), undefined],
    [privateKeyToPem(privateKey), 'not needed'],
    [privateKeyToPem(privateKey, 'secret'), 'secret'],
    [sec1, undefined],
  ] as const) {
    assert.ok(readPrivateKey(text, passphrase).equals(privateKey));
  }
});

test('readPrivateKey: a wrong or missing passphrase is told from a damaged key', () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const encrypted = privateKeyToPem(privateKey, 'secret');
  const sec1 = privateKey.export({
    type: 'sec1',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase: 'secret',
  });
  for (const text of [encrypted, sec1]) {
    assert.throws(() => readPrivateKey(text), { code: 'pki.wrong_passphrase' });
    assert.throws(() => readPrivateKey(text, 'Secret'), { code: 'pki.wrong_passphrase' });
  }
  const plain = privateKeyToPem(privateKey);
  for (const text of [
    encrypted.replace('MI', 'AA'),
    encrypted.slice(0, 150),
    plain.replace('MI', 'AA'),
    pem,
    '',
  ]) {
    assert.throws(() => readPrivateKey(text, 'secret'), { code: 'pki.malformed_key' });
  }
});

test('readPrivateKey: a thousand wrong passphrases are all called wrong', () => {
  // About one in 250 decrypts to valid padding by chance. Few iterations, as OpenSSL makes by itself, are still read.
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const encrypted = privateKey.export({
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase: 'secret',
  });
  for (let index = 0; index < 1000; index++) {
    assert.throws(() => readPrivateKey(encrypted, `wrong ${index}`), { code: 'pki.wrong_passphrase' });
  }
});
