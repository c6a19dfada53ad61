import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import * as fc from 'fast-check';
import { envelopeDigest, writeContentInfo } from '../../cms/envelope.ts';
import { CmsError } from '../../cms/errors.ts';
import { oids } from '../../cms/oid.ts';
import {
  countersignContent,
  readSignedContent,
  signContent,
  signedContentBytesMax,
} from '../../cms/signed-content.ts';
import { writeSignedData } from '../../cms/signed-data.ts';
import { makeSignerInfo } from '../../cms/signer-info.ts';
import { certificatesToPem, curveNames } from '../../pki/certificate.ts';
import type { CurveName } from '../../pki/certificate.ts';
import { privateKeyToPem } from '../../pki/private-key.ts';
import { rogueCertificate } from '../pki/rogue-authority.ts';

const directory = mkdtempSync(path.join(tmpdir(), 'plombe-signed-content-'));
after(() => rmSync(directory, { recursive: true, force: true }));

const signingTimeMs = Date.UTC(2026, 10, 20, 12, 0, 0);
const root = rogueCertificate({ commonName: 'root', ca: { pathLength: 2 } });
const master = rogueCertificate({ issuer: root, commonName: 'ms-acc-1', ca: { pathLength: 1 } });
const content = Buffer.from('content');

function signerOf(commonName: string, curve: CurveName = 'P-256') {
  const { certificate, key } = rogueCertificate({ issuer: master, commonName, curve });
  return { certificate, key, chain: [certificate, master.certificate] };
}

function openssl(...args: readonly string[]): Buffer {
  return execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] });
}

function write(name: string, bytes: string | Buffer): string {
  const file = path.join(directory, name);
  writeFileSync(file, bytes);
  return file;
}

const owner = signerOf('ms-acc-1');
const other = signerOf('ms-acc-1/acc-1', 'P-384');
const message = signContent(content, owner, signingTimeMs);

test('readSignedContent: what signContent wrote, on every curve, with the chain and the time', () => {
  for (const curve of curveNames) {
    const signer = signerOf('ms-acc-1', curve);
    const read = readSignedContent(signContent(content, signer, signingTimeMs));
    assert.deepEqual(read.content, content);
    assert.deepEqual(
      read.signatures.map(({ chain, signingTimeMs: at }) => [chain.map(({ der }) => der), at]),
      [[signer.chain.map(({ der }) => der), signingTimeMs]],
    );
  }
});

test('countersignContent: any number of signatures over one content; a second one by the same key replaces the first', () => {
  const twice = countersignContent(message, other, signingTimeMs + 1000);
  const names = (bytes: Buffer): unknown[] =>
    readSignedContent(bytes)
      .signatures.map(({ chain: [leaf], signingTimeMs: at }) => `${leaf.commonName} ${at - signingTimeMs}`)
      .toSorted();
  assert.deepEqual(names(twice), ['ms-acc-1 0', 'ms-acc-1/acc-1 1000']);
  assert.deepEqual(names(countersignContent(twice, owner, signingTimeMs + 2000)), [
    'ms-acc-1 2000',
    'ms-acc-1/acc-1 1000',
  ]);
});

test('signContent: OpenSSL verifies it, and a second signature too', () => {
  const file = write('ours.der', countersignContent(message, other, signingTimeMs));
  const trust = write('root.pem', certificatesToPem([root.certificate]));
  assert.deepEqual(
    openssl('cms', '-verify', '-inform', 'DER', '-in', file, '-CAfile', trust, '-purpose', 'any', '-binary'),
    content,
  );
});

test('readSignedContent: reads what OpenSSL signs', () => {
  const key = write('key.pem', privateKeyToPem(owner.key));
  const certificate = write('certificate.pem', certificatesToPem([owner.certificate]));
  const chain = write('chain.pem', certificatesToPem([master.certificate]));
  const file = write('content', content);
  const out = path.join(directory, 'theirs.der');
  const form = ['-binary', '-nodetach', '-keyid', '-md', 'sha256', '-outform', 'DER'];
  const signer = ['-signer', certificate, '-inkey', key, '-certfile', chain];
  openssl('cms', '-sign', ...form, ...signer, '-in', file, '-out', out);
  const read = readSignedContent(readFileSync(out));
  assert.deepEqual(read.content, content);
  assert.deepEqual(
    read.signatures.map(({ chain: [leaf] }) => leaf.commonName),
    ['ms-acc-1'],
  );
});

test('readSignedContent: any one flipped bit is noticed, or changes no more than a certificate that came along', () => {
  fc.assert(
    fc.property(fc.nat(message.length * 8 - 1), (bit) => {
      const flipped = Buffer.from(message);
      flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      try {
        const read = readSignedContent(flipped);
        assert.deepEqual(read.content, content);
        assert.equal(read.signatures[0]?.signingTimeMs, signingTimeMs);
        // The verifier of paths is who notices this.
        assert.notDeepEqual(
          read.signatures[0]?.chain.map(({ der }) => der),
          owner.chain.map(({ der }) => der),
        );
      } catch (error) {
        if (!(error instanceof CmsError)) throw error;
      }
    }),
    { numRuns: 500 },
  );
});

test('readSignedContent: every truncation and anything behind it is malformed', () => {
  for (let length = 0; length < message.length; length++) {
    assert.throws(() => readSignedContent(message.subarray(0, length)), { code: 'cms.malformed' });
  }
  assert.throws(() => readSignedContent(Buffer.concat([message, Buffer.of(0)])), { code: 'cms.malformed' });
  assert.throws(() => readSignedContent(Buffer.alloc(signedContentBytesMax + 1)), { code: 'cms.malformed' });
});

test('readSignedContent: no signer, one without certificate, and a signature over other content are refused', () => {
  const of = (signers: ReturnType<typeof makeSignerInfo>[], certificates: readonly Buffer[]): Buffer =>
    writeContentInfo(oids.signedData, writeSignedData({ content, certificates, signers }, oids.data));
  const info = (bytes: Buffer, at: number | undefined = signingTimeMs) =>
    makeSignerInfo(bytes, owner, at, undefined, oids.data);
  const certificates = owner.chain.map(({ der }) => der);
  assert.deepEqual(readSignedContent(of([info(content)], certificates)).content, content);
  for (const [bytes, code] of [
    [of([], certificates), 'cms.malformed'],
    [of([info(content), info(content, signingTimeMs + 1000)], certificates), 'cms.malformed'],
    [of([info(content)], []), 'cms.untrusted_originator'],
    [of([info(Buffer.from('another'))], certificates), 'cms.rejected'],
    [of([makeSignerInfo(content, owner, undefined, undefined, oids.data)], certificates), 'cms.rejected'],
    [of([makeSignerInfo(content, owner, signingTimeMs)], certificates), 'cms.malformed'],
    [of([info(content)], [Buffer.of(0x30, 0)]), 'cms.malformed'],
  ] as const) {
    assert.throws(() => readSignedContent(bytes), { code });
  }
});

test('an envelope and signed content are never taken for each other', () => {
  assert.throws(() => envelopeDigest(message), { code: 'cms.unsupported' });
  const envelope = writeContentInfo(
    oids.signedData,
    writeSignedData({ content, certificates: [], signers: [makeSignerInfo(content, owner, signingTimeMs)] }),
  );
  assert.throws(() => readSignedContent(envelope), { code: 'cms.unsupported' });
  assert.throws(() => readSignedContent(writeContentInfo(oids.data, content)), { code: 'cms.malformed' });
});

test("signContent: a key that is not the certificate's, and too much content, are refused", () => {
  assert.throws(() => signContent(content, { ...owner, key: other.key }, signingTimeMs), {
    code: 'cms.unsupported',
  });
  assert.throws(() => signContent(Buffer.alloc(signedContentBytesMax), owner, signingTimeMs), {
    code: 'cms.unsupported',
  });
});
