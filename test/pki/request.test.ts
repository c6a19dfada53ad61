import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import * as fc from 'fast-check';
import { encodeName, signToBeSigned } from '../../pki/authority/encode.ts';
import { curveNames } from '../../pki/certificate.ts';
import type { CurveName } from '../../pki/certificate.ts';
import { derTag, readOnly } from '../../pki/der.ts';
import { derElement, derInteger, derSequence } from '../../pki/der-writer.ts';
import { PkiError } from '../../pki/errors.ts';
import { createRequest, parseRequest, requestFromPem, requestToPem } from '../../pki/request.ts';

const directory = mkdtempSync(join(tmpdir(), 'plombe-request-'));
after(() => rmSync(directory, { recursive: true, force: true }));

const path = 'ms-acc-1/acc-1/dev-1';
const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const opensslNames: Readonly<Record<CurveName, string>> = {
  'P-256': 'prime256v1',
  'P-384': 'secp384r1',
  'P-521': 'secp521r1',
  brainpoolP256r1: 'brainpoolP256r1',
  brainpoolP384r1: 'brainpoolP384r1',
  brainpoolP512r1: 'brainpoolP512r1',
};

function openssl(...args: readonly string[]): string {
  return execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** A request whose every part can be another one. */
function requestOf({
  version = derInteger(0),
  subject = encodeName(path),
  attributes = [derElement(derTag.context0)],
}: {
  version?: Buffer;
  subject?: Buffer;
  attributes?: readonly Buffer[];
}): Buffer {
  const spki = keys.publicKey.export({ type: 'spki', format: 'der' });
  return signToBeSigned(derSequence(version, subject, spki, ...attributes), keys.privateKey);
}

for (const curve of curveNames) {
  test(`parseRequest: reads what OpenSSL makes on ${curve}, extensions asked for and all`, () => {
    const [key, file] = [join(directory, `${curve}.key`), join(directory, `${curve}.csr`)];
    openssl('ecparam', '-name', opensslNames[curve], '-genkey', '-noout', '-out', key);
    const subject = `/CN=${path.replaceAll('/', '\\/')}`;
    const extensions = ['subjectAltName=DNS:a.example', 'basicConstraints=critical,CA:TRUE'];
    const asked = extensions.flatMap((extension) => ['-addext', extension]);
    const hash = curve.includes('521') ? '-sha512' : '-sha256';
    openssl('req', '-new', '-key', key, hash, '-subj', subject, ...asked, '-out', file);
    const request = requestFromPem(readFileSync(file));
    assert.equal(request.commonName, path);
    assert.equal(request.curve, curve);
    assert.deepEqual(
      request.publicKey.export({ type: 'spki', format: 'pem' }),
      createPublicKey(readFileSync(key)).export({ type: 'spki', format: 'pem' }),
    );
  });

  test(`createRequest: OpenSSL verifies what we make on ${curve}`, () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: curve });
    const der = createRequest(path, privateKey);
    const file = join(directory, `${curve}.ours.csr`);
    writeFileSync(file, requestToPem({ der }));
    const text = openssl('req', '-in', file, '-verify', '-noout', '-subject', '-nameopt', 'RFC2253');
    assert.equal(text.trim(), `subject=CN=${path}`);
    assert.equal(parseRequest(der).curve, curve);
  });
}

test('parseRequest: reads back any name', () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1, maxLength: 64, unit: 'grapheme' }), (name) => {
      fc.pre(name.isWellFormed());
      const request = parseRequest(createRequest(name, keys.privateKey));
      assert.equal(request.commonName, name);
      assert(request.publicKey.equals(keys.publicKey));
    }),
    { numRuns: 50 },
  );
});

const genuine = createRequest(path, keys.privateKey);

test('parseRequest: any one flipped bit is a fault or a broken proof', () => {
  fc.assert(
    fc.property(fc.nat(genuine.length * 8 - 1), (bit) => {
      const flipped = Buffer.from(genuine);
      flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      assert.throws(() => parseRequest(flipped), PkiError);
    }),
    { numRuns: 500 },
  );
});

test('parseRequest: every truncation is a fault, and so is anything behind it', () => {
  for (let length = 0; length < genuine.length; length++) {
    assert.throws(() => parseRequest(genuine.subarray(0, length)), { code: 'pki.malformed_request' });
  }
  assert.throws(() => parseRequest(Buffer.concat([genuine, Buffer.of(0)])), {
    code: 'pki.malformed_request',
  });
});

test('parseRequest: a subject that is anything but one common name is refused', () => {
  const [name, another] = ['ms-acc-1/acc-1/dev-1', 'ms-acc-1'].map((text) =>
    encodeName(text).subarray(2),
  ) as [Buffer, Buffer];
  const organisation = encodeName('x').subarray(2);
  organisation[organisation.indexOf(Buffer.from('550403', 'hex')) + 2] = 10;
  for (const subject of [
    derSequence(),
    derSequence(name, another),
    derSequence(name, organisation),
    derSequence(organisation, name),
    derSequence(derElement(derTag.set, name.subarray(2), organisation.subarray(2))),
  ]) {
    assert.throws(() => parseRequest(requestOf({ subject })), { code: 'pki.malformed_request' });
  }
  assert.equal(parseRequest(requestOf({})).commonName, path);
});

test('parseRequest: another version, missing or doubled attributes, and too many bytes are refused', () => {
  const none = derElement(derTag.context0);
  for (const parts of [
    { version: derInteger(1) },
    { attributes: [] },
    { attributes: [none, none] },
    { attributes: [derElement(derTag.context0, Buffer.alloc(8 * 1024))] },
  ]) {
    assert.throws(() => parseRequest(requestOf(parts)), { code: 'pki.malformed_request' });
  }
});

test('parseRequest: a key of another kind or curve, and the signature of another key, are refused', () => {
  const rsa = join(directory, 'rsa.key');
  const csr = join(directory, 'rsa.csr');
  openssl('req', '-new', '-newkey', 'rsa:2048', '-nodes', '-keyout', rsa, '-subj', '/CN=a', '-out', csr);
  assert.throws(() => requestFromPem(readFileSync(csr)), /a key on no curve of ours/);
  openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', rsa);
  openssl('req', '-new', '-key', rsa, '-sha1', '-subj', '/CN=a', '-out', csr);
  assert.throws(() => requestFromPem(readFileSync(csr)), {
    code: 'pki.unsupported_algorithm',
    message: /signed with algorithm 1\.2\.840\.10045\.4\.1/,
  });
  openssl('ecparam', '-name', 'secp256k1', '-genkey', '-noout', '-out', rsa);
  openssl('req', '-new', '-key', rsa, '-subj', '/CN=a', '-out', csr);
  assert.throws(() => requestFromPem(readFileSync(csr)), { code: 'pki.unsupported_algorithm' });
  const toBeSigned = readOnly(genuine, derTag.sequence, 'test').inside().next().der;
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  assert.throws(() => parseRequest(signToBeSigned(toBeSigned, other.privateKey)), {
    code: 'pki.bad_signature',
  });
});

test('requestFromPem: what is not exactly one block is refused', () => {
  const pem = requestToPem({ der: genuine });
  for (const text of ['', pem + pem, pem.replaceAll('CERTIFICATE REQUEST', 'CERTIFICATE')]) {
    assert.throws(() => requestFromPem(text), { code: 'pki.malformed_request' });
  }
});
