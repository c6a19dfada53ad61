/** Where an authority's keys, certificates, CRLs and records are on the disk. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { certificatesFromPem, certificatesToPem } from '../certificate.ts';
import type { Certificate } from '../certificate.ts';
import { crlsFromPem, crlToPem } from '../crl.ts';
import type { Crl } from '../crl.ts';
import { authorityBelow, rootPosition } from '../discipline.ts';
import type { AuthorityPosition } from '../discipline.ts';
import { PkiError } from '../errors.ts';
import { publicKeyOf } from '../signing-key.ts';
import type { SigningKey } from '../signing-key.ts';
import { authorityKeyText, readAuthorityKey } from './authority-key.ts';
import { publicMode, secretMode, writeFileAtomic } from './files.ts';
import type { PkiName } from './profiles.ts';

/** The name of a root in the store and in the ledger; as a common name no root has it. */
export const rootName = 'root';

/** A CA with its key: able to sign. */
export interface CertificateAuthority {
  readonly pki: PkiName;
  /** `root`, or its common name. */
  readonly name: string;
  readonly position: AuthorityPosition;
  readonly certificate: Certificate;
  readonly key: SigningKey;
  /** From this CA up, without the root; what follows a leaf in its chain. */
  readonly chain: readonly Certificate[];
}

interface AuthorityFiles {
  readonly certificate: string;
  readonly key: string;
  readonly chain: string;
  readonly crl: string;
  readonly crlNumber: string;
}

export function pkiDirectory(directory: string, pki: PkiName): string {
  return join(directory, pki);
}

export function ledgerPath(directory: string, pki: PkiName): string {
  return join(directory, pki, 'issued.jsonl');
}

export function bundlePath(directory: string, pki: PkiName): string {
  return join(directory, pki, 'crl.pem');
}

export function authorityFiles(directory: string, pki: PkiName, name: string): AuthorityFiles {
  const base = pkiDirectory(directory, pki);
  const inside = (file: string): string =>
    name === rootName ? join(base, `root.${file}`) : join(base, 'ca', ...name.split('/'), file);
  const prefix = name === rootName ? '' : 'ca.';
  return {
    certificate: inside(`${prefix}crt.pem`),
    key: inside(`${prefix}key.pem`),
    chain: inside(`${prefix}chain.pem`),
    crl: inside('crl.pem'),
    crlNumber: inside('crl-number'),
  };
}

export function hasAuthority(directory: string, pki: PkiName, name: string): boolean {
  // The certificate is written last, so its presence says that the rest is there.
  return existsSync(authorityFiles(directory, pki, name).certificate);
}

export function saveAuthority(
  directory: string,
  authority: CertificateAuthority,
  passphrase: string | undefined,
): void {
  const files = authorityFiles(directory, authority.pki, authority.name);
  writeFileAtomic(files.key, authorityKeyText(authority.key, passphrase), secretMode);
  if (authority.name !== rootName)
    writeFileAtomic(files.chain, certificatesToPem(authority.chain), publicMode);
  writeFileAtomic(files.certificate, certificatesToPem([authority.certificate]), publicMode);
}

/** Whether a CA can sign here. The key of a root, or of any CA, may be kept elsewhere until it is needed. */
export function hasKey(directory: string, pki: PkiName, name: string): boolean {
  return existsSync(authorityFiles(directory, pki, name).key);
}

/** @throws PkiError `pki.authority_missing`, `pki.key_offline`, `pki.wrong_passphrase`, and what damaged files give */
export function loadAuthority(
  directory: string,
  pki: PkiName,
  name: string,
  passphrase: string | undefined,
): CertificateAuthority {
  const files = authorityFiles(directory, pki, name);
  const certificate = readAuthorityCertificate(directory, pki, name);
  if (!hasKey(directory, pki, name)) {
    throw new PkiError(
      'pki.key_offline',
      `the key of ${JSON.stringify(certificate.commonName)} is not here: bring ${files.key} back`,
    );
  }
  const key = readAuthorityKey(readText(files.key), passphrase);
  if (!certificate.publicKey.equals(publicKeyOf(key))) {
    throw new PkiError('pki.authority_missing', `${files.key} is not the key of ${files.certificate}`);
  }
  const chain = name === rootName ? [] : certificatesFromPem(readText(files.chain));
  return { pki, name, position: positionOf(name), certificate, key, chain };
}

export function readAuthorityCertificate(directory: string, pki: PkiName, name: string): Certificate {
  const { certificate: path } = authorityFiles(directory, pki, name);
  const [certificate] = certificatesFromPem(readText(path));
  if (certificate === undefined) throw new PkiError('pki.authority_missing', `${path} holds no certificate`);
  return certificate;
}

/** @returns undefined if the CA has not issued one yet */
export function readCrl(directory: string, pki: PkiName, name: string): Crl | undefined {
  if (!hasCrl(directory, pki, name)) return undefined;
  return crlsFromPem(readText(authorityFiles(directory, pki, name).crl))[0];
}

export function hasCrl(directory: string, pki: PkiName, name: string): boolean {
  return existsSync(authorityFiles(directory, pki, name).crl);
}

export function saveCrl(directory: string, pki: PkiName, name: string, crl: Crl): void {
  writeFileAtomic(authorityFiles(directory, pki, name).crl, crlToPem(crl), publicMode);
}

/** Takes the next CRL number. It is on the disk before a list bears it, so that no two lists ever bear one number. */
export function takeCrlNumber(directory: string, pki: PkiName, name: string): number {
  const { crlNumber } = authorityFiles(directory, pki, name);
  const last = existsSync(crlNumber) ? Number(readText(crlNumber).trim()) : 0;
  if (!Number.isSafeInteger(last) || last < 0)
    throw new PkiError('pki.authority_missing', `${crlNumber} is damaged`);
  writeFileAtomic(crlNumber, `${last + 1}\n`, publicMode);
  return last + 1;
}

/** The names of every CA of a PKI, the root first and then in order. */
export function authorityNames(directory: string, pki: PkiName): string[] {
  return [rootName, ...namesBelow(join(pkiDirectory(directory, pki), 'ca'), '')].filter((name) =>
    hasAuthority(directory, pki, name),
  );
}

/** Two levels of directories at most: a master account and its accounts. */
function namesBelow(directory: string, prefix: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .toSorted()
    .flatMap((name) => {
      const deeper = prefix === '' ? namesBelow(join(directory, name), `${name}/`) : [];
      return [`${prefix}${name}`, ...deeper];
    });
}

function positionOf(name: string): AuthorityPosition {
  if (name === rootName) return rootPosition;
  const [masterAccount = ''] = name.split('/');
  const below = authorityBelow(rootPosition, masterAccount);
  const position = below !== undefined && name !== masterAccount ? authorityBelow(below, name) : below;
  if (position === undefined)
    throw new PkiError('pki.path_discipline', `${JSON.stringify(name)} cannot be a CA`);
  return position;
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new PkiError('pki.authority_missing', `cannot read ${path}`, { cause });
  }
}
