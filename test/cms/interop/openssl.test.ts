/** Envelopes that OpenSSL's command makes, and what it says to ours. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test, { after } from 'node:test';
import { readEnvelope } from '../../../cms/envelope.ts';
import { CmsError } from '../../../cms/errors.ts';
import { openAnonymous } from '../../../cms/open-anonymous.ts';
import { createSealer } from '../../../cms/seal.ts';
import type { SealFormat } from '../../../cms/seal-format.ts';
import { addSignature } from '../../../cms/sign.ts';
import { certificatesToPem, curveNames } from '../../../pki/certificate.ts';

import { privateKeyToPem } from '../../../pki/private-key.ts';
import { authority, contextOf, makeIdentity, signingTimeMs } from '../identities.ts';

const directory = mkdtempSync(path.join(os.tmpdir(), 'plombe-openssl-'));
after(() => rmSync(directory, { recursive: true, force: true }));

const content = Buffer.from('fuel.temperature 21.5 Cel');

function openssl(args: readonly string[], input: Buffer): Buffer {
  const { status, stdout, stderr } = spawnSync('openssl', args, { input });
  assert.equal(status, 0, `openssl ${args.join(' ')}: ${stderr.toString()}`);
  return stdout;
}

function written(name: string, octets: Buffer | string): string {
  const file = path.join(directory, name);
  writeFileSync(file, octets);
  return file;
}

const root = written('root.crt', certificatesToPem([authority.certificate]));

for (const curve of curveNames) {
  const readers = ['vendor-snapshot-service', 'ms-acc-1', 'ms-acc-1/acc-1'].map((name) =>
    makeIdentity(name, curve),
  );
  const files = readers.map(({ recipient }, index) =>
    written(`${curve}-${index}.crt`, certificatesToPem([recipient.certificate])),
  );
  for (const hash of ['sha1', 'sha224', 'sha256', 'sha384', 'sha512']) {
    for (const count of [1, 3]) {
      test(`openAnonymous: from OpenSSL, ${curve}, ${hash}, ${count} recipients`, () => {
        const recipients = files
          .slice(0, count)
          .flatMap((file) => ['-recip', file, '-keyopt', `ecdh_kdf_md:${hash}`]);
        const args = ['cms', '-encrypt', '-aes-256-gcm', '-binary', '-outform', 'DER', ...recipients];
        const envelope = openssl(args, content);
        for (const { recipient } of readers.slice(0, count)) {
          assert.deepEqual(openAnonymous(envelope, recipient), content);
        }
      });
    }
  }
}

for (const [name, cipher, bytes] of [
  ['AES-128', '-aes-128-gcm', 0],
  ['AES-192', '-aes-192-gcm', 1],
  ['AES-256', '-aes-256-gcm', 1],
  ['AES-256', '-aes-256-gcm', 100_000],
] as const) {
  test(`openAnonymous: from OpenSSL, ${name}, ${bytes} octets, recipient by key identifier`, () => {
    const { recipient } = makeIdentity('vendor-snapshot-service');
    const file = written('by-key-identifier.crt', certificatesToPem([recipient.certificate]));
    const args = ['cms', '-encrypt', cipher, '-binary', '-keyid', '-outform', 'DER', '-recip', file];
    const sent = Buffer.alloc(bytes, 'plombe');
    assert.deepEqual(openAnonymous(openssl(args, sent), recipient), sent);
  });
}

test('openAnonymous: refuses what OpenSSL refuses', () => {
  const { recipient } = makeIdentity('vendor-snapshot-service');
  const certificate = written('reader.crt', certificatesToPem([recipient.certificate]));
  const key = written('reader.key', privateKeyToPem(recipient.key));
  const envelope = openssl(
    ['cms', '-encrypt', '-aes-256-gcm', '-binary', '-outform', 'DER', '-recip', certificate],
    content,
  );
  const decrypt = ['cms', '-decrypt', '-binary', '-inform', 'DER', '-recip', certificate, '-inkey', key];
  assert.deepEqual(openssl(decrypt, envelope), content);
  let refused = 0;
  for (let at = 0; at < envelope.length; at += 5) {
    const changed = Buffer.from(envelope);
    changed.writeUInt8(changed.readUInt8(at) ^ (1 << (at % 8)), at);
    const { status, stdout } = spawnSync('openssl', decrypt, { input: changed });
    if (status === 0) {
      // A name of the recipient, for one, is covered by nothing; then we may open it or not, but to nothing else.
      assert.deepEqual(stdout, content, `octet ${at}`);
      continue;
    }
    refused++;
    assert.throws(() => openAnonymous(changed, recipient), CmsError, `octet ${at}`);
  }
  assert.ok(refused > envelope.length / 10);
});

const formats: Readonly<Record<string, SealFormat>> = {
  default: {},
  'for BouncyCastle': { kdfFlavour: 'bc', originator: 'publicKey', attributes: 'plain', compress: false },
  'by issuer and serial number': { originator: 'issuerAndSerial', recipient: 'issuerAndSerial' },
  'AES-128': { contentKeyBytes: 16, keyWrapBytes: 16 },
};

for (const curve of curveNames) {
  const device = makeIdentity('ms-acc-1/acc-1/dev-1', curve);
  const auditor = makeIdentity('ms-acc-1');
  const readers = ['vendor-snapshot-service', 'ms-acc-1'].map((name) => makeIdentity(name, curve));
  const recipients = readers.map(({ recipient }) => recipient.certificate);

  for (const [name, format] of Object.entries(formats)) {
    test(`seal: OpenSSL parses what we make on ${curve}, ${name}`, () => {
      const isPlain = format.attributes === 'plain';
      const { keyAgreement } = device.sealKeys;
      const keys = isPlain ? { keyAgreement } : device.sealKeys;
      const sealer = createSealer(keys, { format });
      for (const embedChain of [undefined, [authority.certificate]]) {
        const context = contextOf(embedChain === undefined ? {} : { embedChain });
        const { envelope } = sealer.seal(content, recipients, context);
        const listing = openssl(['asn1parse', '-inform', 'DER'], envelope).toString();
        // The AuthEnvelopedData of a signed one is octets to that listing.
        openssl(['asn1parse', '-inform', 'DER'], readEnvelope(envelope).encoded);
        assert.match(listing, isPlain ? /id-smime-ct-authEnvelopedData/ : /pkcs7-signedData/);
        // Its reader of CMS wants attributes of AuthEnvelopedData under [2], where RFC 5083 §2.1 has [1]; BouncyCastle's
        // are as foreign to it.
        if (isPlain) continue;
        openssl(['cms', '-cmsout', '-print', '-noout', '-inform', 'DER'], envelope);
      }
    });
  }

  test(`seal: OpenSSL verifies our signatures on ${curve}, the originator's and one that was added`, () => {
    const signed = createSealer(device.sealKeys).seal(content, recipients, contextOf()).envelope;
    const released = addSignature(signed, auditor.signatureKey, signingTimeMs + 1000);
    const signers = written(
      'signers.crt',
      certificatesToPem([device.signatureKey.certificate, auditor.signatureKey.certificate]),
    );
    // The certificates are of the tests' authority, and not for mail, which OpenSSL takes CMS to be for.
    const args = [
      'cms',
      '-verify',
      '-binary',
      '-inform',
      'DER',
      '-certfile',
      signers,
      '-CAfile',
      root,
      '-purpose',
      'any',
    ];
    for (const envelope of [signed, released]) {
      assert.deepEqual(openssl(args, envelope), readEnvelope(envelope).encoded);
      const changed = Buffer.from(envelope);
      const at = changed.indexOf(readEnvelope(envelope).encoded) + 100;
      changed.writeUInt8(changed.readUInt8(at) ^ 1, at);
      assert.notEqual(spawnSync('openssl', args, { input: changed }).status, 0);
    }
  });
}
