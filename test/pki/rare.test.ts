/** What no ordinary certificate, list or machine brings about. */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import type { X509Certificate } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { createAuthority } from '../../pki/authority/authority.ts';
import { encodeCrlToBeSigned, encodeToBeSigned, signToBeSigned } from '../../pki/authority/encode.ts';
import { secretMode, writeFileAtomic } from '../../pki/authority/files.ts';
import { appendToLedger, readLedger, repairLedger } from '../../pki/authority/ledger.ts';
import { lint } from '../../pki/authority/lint.ts';
import type { LintQuestion } from '../../pki/authority/lint.ts';
import { withLock } from '../../pki/authority/lock.ts';
import { profiles } from '../../pki/authority/profiles.ts';
import {
  authorityFiles,
  authorityNames,
  ledgerPath,
  loadAuthority,
  readCrl,
  saveAuthority,
} from '../../pki/authority/store.ts';
import { certificatesToPem, parseCertificate } from '../../pki/certificate.ts';
import type { Certificate } from '../../pki/certificate.ts';
import { updateFromBundle } from '../../pki/crl-bundle.ts';
import { crlToPem, parseCrl, requireIssuedBy } from '../../pki/crl.ts';
import { DerReader } from '../../pki/der.ts';
import { derBitString, derElement, derInteger, derSequence, derTime } from '../../pki/der-writer.ts';
import { PkiError } from '../../pki/errors.ts';
import { requireAuthorityBelow, verifyPath } from '../../pki/path.ts';
import { peerChain } from '../../pki/peer-chain.ts';
import { RevocationIndex } from '../../pki/revocation.ts';
import { isSignedBy, signatureAlgorithmFor } from '../../pki/signature.ts';
import { rogueCertificate, rogueCrl } from './rogue-authority.ts';

const directory = mkdtempSync(path.join(tmpdir(), 'plombe-rare-'));
after(() => rmSync(directory, { recursive: true, force: true }));
const root = rogueCertificate({ commonName: 'root', ca: { pathLength: 2 } });
const master = rogueCertificate({ issuer: root, commonName: 'ms-acc-1', ca: { pathLength: 1 } });
const nameless = Buffer.from('3000', 'hex');
const atMs = Date.now();
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });

test('writeFileAtomic: what cannot be put in its place leaves nothing behind', () => {
  const occupied = path.join(directory, 'occupied');
  mkdirSync(path.join(occupied, 'file', 'inside'), { recursive: true });
  assert.throws(() => writeFileAtomic(path.join(occupied, 'file'), 'x', secretMode));
  assert.deepEqual(readdirSync(occupied), ['file']);
});

test('readLedger, repairLedger, readCrl, authorityNames: what is not there yet is empty', () => {
  const missing = path.join(directory, 'missing');
  assert.deepEqual(readLedger(missing), []);
  repairLedger(missing);
  assert.equal(readCrl(missing, 'e2e', 'root'), undefined);
  assert.deepEqual(authorityNames(missing, 'e2e'), []);
});

test('loadAuthority: a directory whose name no CA can have', () => {
  const name = 'a/b/c';
  const chain = [root.certificate];
  const stored = { pki: 'e2e', name, position: { position: 'root' }, ...master, chain } as const;
  assert.ok(authorityFiles(directory, 'e2e', name).certificate.startsWith(directory));
  saveAuthority(directory, stored, undefined);
  assert.throws(() => loadAuthority(directory, 'e2e', name, undefined), { code: 'pki.path_discipline' });
});

test('Authority: a serial number may be written with colons, in capitals, and without its leading zero', async () => {
  const authority = createAuthority({ directory: path.join(directory, 'pki') });
  await authority.issue({ path: 'ms-acc-1/acc-1/dev-1' });
  const serials = authority.ledger('e2e').map(({ serial }) => serial);
  const [serial = ''] = serials.slice(-1);
  const written = serial
    .toUpperCase()
    .replace(/^0/, '')
    .replaceAll(/(..)(?=.)/g, '$1:');
  assert.equal((await authority.revoke({ target: { serials: [written] } })).length, 1);
  await assert.rejects(authority.revoke({ target: { serials: ['abc'] } }), {
    code: 'pki.unknown_certificate',
  });
});

test('Authority: a revocation in the ledger that says no reason is listed as unspecified', async () => {
  const home = path.join(directory, 'no reason');
  const authority = createAuthority({ directory: home });
  await authority.issue({ path: 'ms-acc-1/acc-1/dev-1' });
  const entry = authority.ledger('e2e').findLast(({ event }) => event === 'issued');
  assert.ok(entry);
  appendToLedger(ledgerPath(home, 'e2e'), [{ ...entry, event: 'revoked' }]);
  await authority.issueCrl();
  const { revoked } = readCrl(home, 'e2e', 'ms-acc-1/acc-1') ?? {};
  assert.equal(revoked?.get(entry.serial)?.reason, 'unspecified');
});

test('parseCrl: more than a million entries are refused', () => {
  const octets = (count: number) => {
    const entry = derSequence(derElement(0x02, Buffer.alloc(4)), derTime(atMs));
    const entries = Buffer.alloc(count * entry.length, entry);
    for (let index = 0; index < count; index++) {
      entries.writeUInt32BE(0x01000000 + index, index * entry.length + 4);
    }
    const number = derSequence(
      derElement(0x06, Buffer.from('551d14', 'hex')),
      derElement(0x04, derInteger(1)),
    );
    const algorithm = derSequence(derElement(0x06, Buffer.from('2a8648ce3d040302', 'hex')));
    const toBeSigned = derSequence(
      derInteger(1),
      algorithm,
      root.certificate.subjectDer,
      derTime(atMs),
      derTime(atMs + 1000),
      derElement(0x30, entries),
      derElement(0xa0, derSequence(number)),
    );
    return derSequence(toBeSigned, algorithm, derBitString(Buffer.of(0)));
  };
  assert.equal(parseCrl(octets(1_000)).revoked.size, 1_000);
  assert.throws(() => parseCrl(octets(1_000_001)), {
    code: 'pki.malformed_crl',
    message: /above 1000000 entries/,
  });
});

test('encode: a certificate without extensions, a list of an issuer without a key identifier', () => {
  const template = {
    serialNumber: Buffer.alloc(16, 1),
    issuerDer: root.certificate.subjectDer,
    subjectDer: nameless,
    notBeforeMs: atMs - 1000,
    notAfterMs: atMs + 1000,
    publicKey: master.certificate.publicKey,
    extensions: [],
  };
  const certificate = parseCertificate(signToBeSigned(encodeToBeSigned(template, root.key), root.key));
  assert.deepEqual([certificate.subjectKeyIdentifier, certificate.commonName], [undefined, undefined]);
  const { subjectDer } = root.certificate;
  const list = {
    issuer: { subjectDer, subjectKeyIdentifier: undefined },
    number: 1,
    thisUpdateMs: atMs,
    nextUpdateMs: atMs + 1000,
    entries: [],
  };
  const crl = parseCrl(signToBeSigned(encodeCrlToBeSigned(list, root.key), root.key));
  assert.equal(crl.authorityKeyIdentifier, undefined);
});

test('lint: a certificate and an issuer without a common name are named as such', () => {
  const issuer = rogueCertificate({ issuer: root, subjectDer: nameless, ca: { pathLength: 1 } });
  const draft = rogueCertificate({ issuer, subjectDer: nameless }).certificate;
  const question = {
    draft,
    profile: profiles.sig,
    issuer: { certificate: issuer.certificate, position: { position: 'root' } as const },
    atMs,
  };
  assert.throws(() => lint(question), {
    code: 'pki.lint',
    message: /"no common name": .*its issuer may not/,
  });
});

test('updateFromBundle: the list of a CA without a name, whose certificate is not there', () => {
  const issuer = rogueCertificate({ issuer: root, subjectDer: nameless, ca: {} });
  const pem = crlToPem(rogueCrl({ issuer, number: 1 }));
  assert.throws(() => updateFromBundle(new RevocationIndex(), pem, [root.certificate]), {
    code: 'pki.untrusted',
    message: /a CA without a common name/,
  });
});

test('updateFromBundle: the CA of a list is two below the root, and the one between is missing', () => {
  const account = rogueCertificate({ issuer: master, commonName: 'ms-acc-1/acc-1', ca: { pathLength: 0 } });
  const pem = certificatesToPem([account.certificate]) + crlToPem(rogueCrl({ issuer: account, number: 1 }));
  const roots = [root.certificate];
  assert.throws(() => updateFromBundle(new RevocationIndex(), pem, roots), { code: 'pki.untrusted' });
  requireAuthorityBelow(account.certificate, [master.certificate], roots);
});

test('verifyPath: of two roots with one name and no key identifier, neither signed it', () => {
  const [one, other] = [0, 1].map(() => {
    const { certificate } = rogueCertificate({ commonName: 'root', ca: {} });
    return { ...certificate, subjectKeyIdentifier: undefined };
  });
  assert.ok(one && other);
  const chain = [rogueCertificate({ issuer: root, commonName: 'ms-acc-1' }).certificate];
  assert.throws(() => verifyPath({ chain, roots: [one, other], atMs, purpose: 'signature' }), {
    code: 'pki.bad_signature',
  });
});

test('verifyPath: a leaf for nothing, and one whose issuer has no name', () => {
  const roots = [root.certificate];
  const useless = rogueCertificate({ issuer: root, commonName: 'ms-acc-1', keyUsage: [] });
  const nothing = { ...useless.certificate, extendedKeyUsage: undefined };
  assert.throws(() => verifyPath({ chain: [nothing], roots, atMs, purpose: 'signature' }), {
    code: 'pki.key_usage',
    message: /it is for nothing$/,
  });
  const issuer = rogueCertificate({ issuer: root, subjectDer: nameless, ca: { pathLength: 1 } });
  const leaf = rogueCertificate({ issuer, commonName: 'ms-acc-1' });
  const chain = [leaf.certificate, issuer.certificate];
  assert.throws(() => verifyPath({ chain, roots, atMs, purpose: 'signature' }), {
    code: 'pki.path_discipline',
  });
  const nobody = rogueCertificate({ subjectDer: nameless, ca: {} });
  const below = rogueCertificate({ issuer: nobody, commonName: 'ms-acc-1/acc-1' });
  assert.throws(
    () => verifyPath({ chain: [below.certificate], roots: [nobody.certificate], atMs, purpose: 'signature' }),
    { code: 'pki.path_discipline', message: /an issuer without one common name/ },
  );
});

test('RevocationIndex: a CA without a name is named as such when it goes back', () => {
  const issuer = rogueCertificate({ subjectDer: nameless, ca: {} });
  const index = new RevocationIndex();
  index.add(rogueCrl({ issuer, number: 2 }), issuer.certificate);
  assert.throws(() => index.add(rogueCrl({ issuer, number: 1 }), issuer.certificate), {
    code: 'pki.crl_rollback',
    message: /a CA without a common name/,
  });
});

test('withLock: a directory that nothing can be written to is not taken for a busy one', () => {
  assert.throws(() => withLock('/proc', () => assert.fail('worked')), { code: 'pki.storage' });
});

test('lint: a CA without a path length is below none, and may be above any', () => {
  const free = rogueCertificate({ issuer: root, commonName: 'ms-acc-1', ca: {} });
  const position = { position: 'namespace', path: 'ms-acc-1' } as const;
  for (const [issuer, length, refusal] of [
    [free, { pathLength: 0 }, undefined],
    [master, {}, /its path length is not below/],
    [free, {}, /its path length is not below/],
  ] as const) {
    const draft = rogueCertificate({ issuer, commonName: 'ms-acc-1/acc-1', ca: length }).certificate;
    const profile = profiles['account-authority'];
    const faults = faultsOf({ draft, profile, issuer: { certificate: issuer.certificate, position }, atMs });
    if (refusal === undefined) assert.doesNotMatch(faults, /path length/);
    else assert.match(faults, refusal);
  }
});

function faultsOf(question: LintQuestion): string {
  try {
    lint(question);
    return '';
  } catch (error) {
    assert.ok(error instanceof PkiError);
    return error.message;
  }
}

test('RevocationIndex: a CA whose key is on no curve of ours has lists like any other', () => {
  const index = new RevocationIndex();
  const odd = rogueCertificate({ commonName: 'root', keyPair: rsa, issuer: root }).certificate;
  assert.equal(odd.publicPoint, undefined);
  assert.equal(index.crlOf(odd), undefined);
});

test('isSignedBy, signatureAlgorithmFor: other algorithms and other keys', () => {
  const { certificate } = master;
  assert.ok(isSignedBy(certificate, root.certificate));
  assert.ok(!isSignedBy({ ...certificate, signatureAlgorithm: '1.2.840.113549.1.1.11' }, root.certificate));
  assert.ok(!isSignedBy(certificate, { ...root.certificate, curve: undefined }));
  assert.throws(() => signatureAlgorithmFor(rsa.privateKey), /on curve none$/);
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'secp256k1' });
  assert.throws(() => signatureAlgorithmFor(privateKey), /on curve secp256k1$/);
});

test('parseCertificate, parseCrl: no bit of what is signed, nor of the signature, may be another', () => {
  // Only at the end of an even signature could one be said to be unused.
  const even = <Signed extends { readonly signature: Buffer }>(make: () => Signed): Signed => {
    for (;;) {
      const made = make();
      if ((made.signature.at(-1) ?? 1) % 2 === 0) return made;
    }
  };
  const leaf = even(() => rogueCertificate({ issuer: root, commonName: 'vendor-crl-service' }).certificate);
  const list = even(() => rogueCrl({ issuer: root, number: 1 }));
  for (const [der, read] of [
    [
      leaf.der,
      (octets: Buffer) =>
        verifyPath({
          chain: [parseCertificate(octets)],
          roots: [root.certificate],
          atMs,
          purpose: 'signature',
        }),
    ],
    [list.der, (octets: Buffer) => requireIssuedBy(parseCrl(octets), root.certificate)],
  ] as const) {
    read(der);
    for (let bit = 0; bit < 8 * der.length; bit++) {
      const flipped = Buffer.from(der);
      flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      assert.throws(() => read(flipped), { name: 'PkiError' }, `bit ${bit}`);
    }
  }
});

test('DerReader: reads any Uint8Array, and a part of one', () => {
  const octets = Uint8Array.of(9, 4, 2, 1, 2, 9);
  const part = octets.subarray(1, 5);
  assert.deepEqual(new DerReader(part).next().content, Buffer.of(1, 2));
  assert.deepEqual(new DerReader(octets, 1, 5).next().content, Buffer.of(1, 2));
  const reader = new DerReader(octets, 1, 4);
  assert.throws(() => reader.next(), /truncated content/);
});

/** What a TLS connection shows of its peer: each certificate with its issuer's. */
function socketOf(chain: readonly Certificate[], isRootItsOwnIssuer: boolean): TLSSocket {
  type Shown = { readonly raw: Buffer; issuerCertificate: unknown };
  const shown = chain.map(({ der }): Shown => ({ raw: der, issuerCertificate: undefined }));
  shown.forEach((one, index) => {
    one.issuerCertificate = shown[index + 1] ?? (isRootItsOwnIssuer ? one : undefined);
  });
  const leaf = shown[0] as unknown as X509Certificate;
  return { getPeerX509Certificate: () => leaf } as TLSSocket;
}

test('peerChain: four certificates are taken and five are not, whether or not the last is its own issuer', () => {
  const chain = [master, master, root, master, root].map(({ certificate }) => certificate);
  for (const isRootItsOwnIssuer of [true, false]) {
    const taken = peerChain(socketOf(chain.slice(1), isRootItsOwnIssuer));
    assert.deepEqual(
      taken.map(({ der }) => der),
      chain.slice(1).map(({ der }) => der),
    );
    assert.throws(() => peerChain(socketOf([root.certificate, ...chain.slice(1)], isRootItsOwnIssuer)), {
      code: 'pki.path_length',
    });
  }
  assert.throws(() => peerChain({ getPeerX509Certificate: () => undefined } as unknown as TLSSocket), {
    code: 'pki.untrusted',
  });
});

test('peerChain: a thousand CAs are kept, and the oldest gives way to the next', () => {
  const keyPair = { privateKey: root.key, publicKey: root.certificate.publicKey };
  const authorities = Array.from(
    { length: 1001 },
    (_, index) => rogueCertificate({ issuer: root, commonName: `ca-${index}`, keyPair, ca: {} }).certificate,
  );
  const parsed = (authority: Certificate) => peerChain(socketOf([master.certificate, authority], true))[1];
  const [first, second, ...others] = authorities;
  assert.ok(first && second);
  const kept = parsed(first);
  assert.equal(parsed(first), kept);
  for (const authority of [second, ...others]) parsed(authority);
  const again = parsed(first);
  assert.notEqual(again, kept);
  assert.deepEqual(again?.der, first.der);
  assert.equal(parsed(first), again);
});
