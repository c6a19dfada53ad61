/**
 * `node bin/run.cjs fuzz/make-corpus.ts` writes `corpus/`: test keys that protect nothing, and a message of every form
 * that we write. Only for when the format changes; what is there is kept, so that findings stay repeatable.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { KeyObject } from 'node:crypto';
import { createSealer } from '../cms/seal.ts';
import type { Recipient, SealContext, SealKeys } from '../cms/seal.ts';
import type { SealFormat } from '../cms/seal-format.ts';
import { addSignature } from '../cms/sign.ts';
import { curveNames } from '../pki/certificate.ts';
import type { Certificate } from '../pki/certificate.ts';
import { makeKem } from '../test/cms/identities.ts';
import { rogueCertificate, rogueCrl } from '../test/pki/rogue-authority.ts';
import type { Rogue } from '../test/pki/rogue-authority.ts';
import { Generator } from './generator.ts';
import { readForest, writeForest } from './tlv.ts';
import type { Tlv } from './tlv.ts';
import { atMs, corpusFolder } from './world.ts';
import type { StoredKey, StoredWorld } from './world.ts';

const root = rogueCertificate({ commonName: 'Fuzz E2E root', ca: { pathLength: 2 } });
const master = rogueCertificate({ issuer: root, commonName: 'ms-acc-1', ca: { pathLength: 1 } });
const account = rogueCertificate({ issuer: master, commonName: 'ms-acc-1/acc-1', ca: { pathLength: 0 } });

function identity(commonName: string, issuer: Rogue) {
  return {
    signature: rogueCertificate({ issuer, commonName }),
    keyAgreement: curveNames.map((curve) =>
      rogueCertificate({ issuer, commonName, curve, keyUsage: ['keyAgreement'] }),
    ),
    kem: makeKem(commonName, issuer),
  };
}
const device = identity('ms-acc-1/acc-1/dev-1', account);
const backend = identity('vendor-snapshot-service', root);
const auditor = identity('ms-acc-1', master);

const [deviceP256, ...deviceOthers] = device.keyAgreement;
const [backendP256, ...backendOthers] = backend.keyAgreement;
const [auditorP256] = auditor.keyAgreement;
if (!deviceP256 || !backendP256 || !auditorP256) throw new Error('no key on the first curve');

const content = Buffer.from(
  JSON.stringify(Array.from({ length: 12 }, (_, v) => ({ n: 'fuel.temperature', u: 'Cel', v }))),
);
const context: SealContext = {
  topic: 'ms-acc-1/acc-1/dev-1/snapshots',
  sequence: 7,
  previousDigest: undefined,
  contentType: 'senml+json',
  signingTimeMs: atMs,
};
const readers: readonly Recipient[] = [backendP256.certificate, auditorP256.certificate];
let sequence = 0;

function seal(
  keys: SealKeys,
  recipients: readonly Recipient[],
  format: SealFormat = {},
  more: Partial<SealContext> = {},
  octets: Uint8Array = content,
): Buffer {
  sequence += 1;
  return createSealer(keys, { format }).seal(octets, recipients, { ...context, sequence, ...more }).envelope;
}

const signed: SealKeys = { signature: device.signature, keyAgreement: deviceP256 };
const bare: SealKeys = { keyAgreement: deviceP256 };
const embedChain: readonly Certificate[] = [account.certificate, master.certificate];
const hybrid = { keyAgreement: backendP256.certificate, kem: backend.kem.certificate };
const plain: SealFormat = { attributes: 'plain', compress: false };
const weak: SealFormat = { contentKeyBytes: 16, keyWrapBytes: 16, kdfHash: 'sha512' };
const named: SealFormat = { originator: 'issuerAndSerial', recipient: 'issuerAndSerial' };

const envelopes: Readonly<Record<string, Buffer>> = {
  signed: seal(signed, readers),
  'signed-small': seal(signed, readers, {}, { contentType: 'octets' }, Buffer.from('21.5')),
  'signed-previous': seal(signed, readers, {}, { previousDigest: Buffer.alloc(32, 3) }),
  'signed-released': addSignature(seal(signed, readers), auditor.signature, atMs),
  'signed-chain': seal(signed, readers, {}, { embedChain }),
  'signed-named': seal(signed, readers, named),
  'signed-key': seal(signed, readers, { ...weak, originator: 'publicKey' }, { embedChain }),
  'signed-hybrid': seal(signed, [hybrid, auditorP256.certificate]),
  'signed-curves': seal(
    { signature: device.signature, keyAgreement: device.keyAgreement },
    backend.keyAgreement.map(({ certificate }) => certificate),
  ),
  'signed-long': seal(signed, readers, {}, {}, new Generator(1).octets(5000)),
  bare: seal(bare, readers),
  'bare-chain': seal(bare, readers, {}, { embedChain }),
  'bare-plain': seal(bare, readers, plain),
  'bare-bc': seal(bare, readers, { ...plain, kdfFlavour: 'bc', originator: 'publicKey' }),
  'bare-hybrid': seal(bare, [hybrid], named),
  ...Object.fromEntries(
    deviceOthers.map((own, index) => {
      const reader = backendOthers[index];
      if (reader === undefined) throw new Error('no reader on that curve');
      const keys = { signature: device.signature, keyAgreement: own };
      return [`signed-${own.certificate.curve}`, seal(keys, [reader.certificate])];
    }),
  ),
};

/** As BouncyCastle writes it: indefinite lengths outside, long octets in segments. */
function asBer(octets: Buffer): Buffer {
  const forest = readForest(octets) ?? [];
  const outer = (node: Tlv | undefined, path: readonly number[]): void => {
    if (node?.children === undefined) return;
    node.length = 'indefinite';
    const [next, ...rest] = path;
    if (next !== undefined) outer(node.children.at(next), rest);
  };
  // ContentInfo, [0], SignedData and the first two levels of its encapContentInfo.
  outer(forest[0], [1, 0, 2, 1]);
  return writeForest(forest);
}

function stored({ key, certificate }: { key: KeyObject; certificate: Certificate }): StoredKey {
  return {
    key: key.export({ type: 'pkcs8', format: 'der' }).toString('base64'),
    certificate: certificate.der.toString('base64'),
  };
}

mkdirSync(corpusFolder, { recursive: true });
for (const [name, octets] of Object.entries(envelopes)) {
  writeFileSync(path.join(corpusFolder, `${name}.der`), octets);
}
writeFileSync(path.join(corpusFolder, 'signed-ber.der'), asBer(envelopes['signed'] ?? Buffer.alloc(0)));
const revoked = { serialNumber: Buffer.of(5), revokedAtMs: atMs, reason: 'keyCompromise' } as const;
writeFileSync(path.join(corpusFolder, 'empty.crl'), rogueCrl({ issuer: root, number: 1 }).der);
writeFileSync(
  path.join(corpusFolder, 'revoked.crl'),
  rogueCrl({ issuer: account, number: 2, entries: [revoked] }).der,
);
const world: StoredWorld = {
  authorities: [root, master, account].map(({ certificate }) => certificate.der.toString('base64')),
  identities: Object.fromEntries(
    Object.entries({ device, backend, auditor }).map(([name, { signature, keyAgreement, kem }]) => [
      name,
      { signature: stored(signature), keyAgreement: keyAgreement.map(stored), kem: stored(kem) },
    ]),
  ),
};
writeFileSync(path.join(corpusFolder, 'identities.json'), `${JSON.stringify(world, undefined, 2)}\n`);
