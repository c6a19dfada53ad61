/** Who takes part: readers with their keys, originators whom they trust, and genuine messages between them. */
import { createPrivateKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { chainVerifier } from '../cms/chain.ts';
import { CmsError } from '../cms/errors.ts';
import { createOpener } from '../cms/open.ts';
import type { OpenedEnvelope, Opener } from '../cms/open.ts';
import { originatorsOf, pairCertificates } from '../cms/originator.ts';
import type { KeyAgreementKey } from '../cms/key-agreement-key.ts';
import type { RecipientKey } from '../cms/recipient.ts';
import type { SignatureKey } from '../cms/signer-info.ts';
import { certificatesFromPem, parseCertificate } from '../pki/certificate.ts';
import type { Certificate } from '../pki/certificate.ts';
import { readPrivateKey } from '../pki/private-key.ts';
import { hash } from 'node:crypto';

export const corpusFolder = path.resolve(import.meta.dirname, 'corpus');
const fixturesFolder = path.resolve(import.meta.dirname, '../../shared/fixtures');
const pkitsFolder = path.resolve(import.meta.dirname, '../../shared/data/pkits');
/** When all that was made for here is valid. */
export const atMs = Date.UTC(2026, 10, 20, 12, 0, 0);
/** So many of the large foreign sets are taken, evenly spread; all of ours. */
const foreignMessagesMax = 120;
const foreignCertificatesMax = 40;

/** A certified key in `identities.json`, both in base64 of DER. */
export interface StoredKey {
  readonly key: string;
  readonly certificate: string;
}
export interface StoredIdentity {
  readonly signature: StoredKey;
  /** One on each curve. */
  readonly keyAgreement: readonly StoredKey[];
  readonly kem?: StoredKey;
}
export interface StoredWorld {
  readonly authorities: readonly string[];
  readonly identities: Readonly<Record<string, StoredIdentity>>;
}

export interface Reader {
  readonly name: string;
  readonly recipient: KeyAgreementKey;
  readonly opener: Opener;
}

export interface Seed {
  readonly name: string;
  readonly octets: Buffer;
  /** Those who are addressed. */
  readonly readers: readonly Reader[];
}

export interface World {
  readonly readers: readonly Reader[];
  readonly envelopes: readonly Seed[];
  readonly certificates: readonly Buffer[];
  readonly crls: readonly Buffer[];
  readonly roots: readonly Certificate[];
  readonly signers: ReadonlyMap<string, SignatureKey & { readonly key: KeyObject }>;
  /** By `traceOf`: what every reader found in the messages as they were made. */
  readonly genuine: ReadonlySet<string>;
}

export function loadWorld(): World {
  const stored = JSON.parse(readFileSync(path.join(corpusFolder, 'identities.json'), 'utf8')) as StoredWorld;
  const authorities = stored.authorities.map((der) => parseCertificate(Buffer.from(der, 'base64')));
  const readers = [...ownReaders(stored, authorities), ...fixtureReaders()];
  const genuine = new Set<string>();
  const envelopes = [
    ...filesOf(corpusFolder, '.der', Infinity),
    ...filesOf(path.join(fixturesFolder, 'msg'), '', foreignMessagesMax),
  ].map(({ name, octets }) => ({ name, octets, readers: addressed(octets, readers, genuine) }));
  const own = Object.values(stored.identities);
  return {
    readers,
    envelopes,
    certificates: [
      ...stored.authorities.map((der) => Buffer.from(der, 'base64')),
      ...own.flatMap(({ signature, keyAgreement, kem }) =>
        [signature, ...keyAgreement, ...(kem === undefined ? [] : [kem])].map(({ certificate }) =>
          Buffer.from(certificate, 'base64'),
        ),
      ),
      ...filesOf(path.join(pkitsFolder, 'certs'), '.crt', foreignCertificatesMax).map(({ octets }) => octets),
    ],
    crls: [
      ...filesOf(corpusFolder, '.crl', Infinity),
      ...filesOf(path.join(pkitsFolder, 'crls'), '.crl', foreignCertificatesMax),
    ].map(({ octets }) => octets),
    roots: authorities.slice(0, 1),
    signers: new Map(
      Object.entries(stored.identities).map(([name, { signature }]) => [name, keyOf(signature)]),
    ),
    genuine,
  };
}

/** All that a reader believes of an envelope; what it can't tell from a genuine one must be one. */
export function traceOf({
  content,
  originator,
  topic,
  sequence,
  contentType,
  ...rest
}: OpenedEnvelope): string {
  return JSON.stringify([
    hash('sha256', content),
    originator.keyAgreement.sha256.toString('hex'),
    topic,
    sequence,
    contentType,
    rest.previousDigest?.toString('hex'),
    rest.signingTimeMs,
  ]);
}

function addressed(octets: Buffer, readers: readonly Reader[], genuine: Set<string>): readonly Reader[] {
  return readers.filter(({ opener }) => {
    try {
      genuine.add(traceOf(opener.open(octets)));
      return true;
    } catch (error) {
      if (!(error instanceof CmsError)) throw error;
      return !['cms.not_a_recipient', 'cms.malformed', 'cms.unsigned'].includes(error.code);
    }
  });
}

const lax = { allowUnsigned: true, kdfFlavours: ['rfc5753', 'bc'] } as const;

function ownReaders(stored: StoredWorld, authorities: readonly Certificate[]): readonly Reader[] {
  const [root] = authorities;
  if (root === undefined) throw new Error('no root in identities.json');
  const all = Object.values(stored.identities).flatMap(({ signature, keyAgreement }) =>
    [signature, ...keyAgreement].map((key) => keyOf(key).certificate),
  );
  const originators = originatorsOf(pairCertificates(all));
  const verifyChain = chainVerifier({ roots: [root], clock: () => atMs });
  return Object.entries(stored.identities).flatMap(([name, { keyAgreement, kem }]) =>
    keyAgreement.flatMap((own, index): Reader[] => {
      const recipient: RecipientKey = { ...keyOf(own), ...(kem === undefined ? {} : { kem: keyOf(kem) }) };
      const label = `${name} ${index}`;
      return [
        { name: label, recipient, opener: createOpener({ recipient, originators }) },
        { name: `${label} lax`, recipient, opener: createOpener({ recipient, originators, policy: lax }) },
        {
          name: `${label} chain`,
          recipient,
          opener: createOpener({ recipient, originators: originatorsOf([]), verifyChain, policy: lax }),
        },
      ];
    }),
  );
}

/** The readers of the messages that BouncyCastle and OpenSSL made. */
function fixtureReaders(): readonly Reader[] {
  const pem = (name: string) => readFileSync(path.join(fixturesFolder, 'pki', name));
  const certificate = (name: string) => certificatesFromPem(pem(name)).slice(0, 1);
  const names = readdirSync(path.join(fixturesFolder, 'pki'));
  const trusted = names.filter((name) => /^[^-]+-(other-)?orig\.crt\.pem$/.test(name)).flatMap(certificate);
  const originators = originatorsOf(pairCertificates(trusted));
  return names
    .filter((name) => /^[^-]+-rcpt\d\.key\.pem$/.test(name))
    .flatMap((name): Reader[] => {
      const [own] = certificate(name.replace('.key.', '.crt.'));
      if (own === undefined) return [];
      const recipient = { key: readPrivateKey(pem(name)), certificate: own };
      return [{ name, recipient, opener: createOpener({ recipient, originators, policy: lax }) }];
    });
}

function keyOf({ key, certificate }: StoredKey): SignatureKey & { readonly key: KeyObject } {
  return {
    key: createPrivateKey({ key: Buffer.from(key, 'base64'), format: 'der', type: 'pkcs8' }),
    certificate: parseCertificate(Buffer.from(certificate, 'base64')),
  };
}

function filesOf(folder: string, ending: string, max: number): { name: string; octets: Buffer }[] {
  const names = readdirSync(folder)
    .filter((name) => name.endsWith(ending))
    .toSorted();
  const step = Math.max(1, Math.ceil(names.length / max));
  return names
    .filter((_, index) => index % step === 0)
    .map((name) => ({ name, octets: readFileSync(path.join(folder, name)) }));
}
