/** A program's own keys: one directory, as `plombe pki issue` writes it. */
import { createPublicKey, KeyObject } from 'node:crypto';
import path from 'node:path';
import type { Certificate } from './certificate.ts';
import { certificatesFromPem } from './certificate.ts';
import { PkiError } from './errors.ts';
import { inFile, readTextFile } from './pem-file.ts';
import { readPrivateKey } from './private-key.ts';
import { openTokenTlsKey } from './tls-key.ts';
import type { TokenTlsKey } from './tls-key.ts';
import { publicKeyOf } from './signing-key.ts';
import type { SigningKey } from './signing-key.ts';
import { isTokenUri, openTokenKey } from './token-key.ts';

export interface TlsIdentity {
  readonly commonName: string;
  /** Empty of a key on a token: `tlsKeyOptions` has what TLS takes. */
  readonly privateKeyPem: string;
  readonly tokenKey?: TokenTlsKey;
  /** Leaf first, without the root. */
  readonly chainPem: string;
  readonly rootsPem: string;
  readonly certificate: Certificate;
  readonly roots: readonly Certificate[];
}

export interface KeyPair {
  readonly key: KeyObject;
  readonly certificate: Certificate;
  /** Leaf first, without the root. */
  readonly chain: readonly Certificate[];
}

/** Its key may be on a token. */
export interface SigningKeyPair extends Omit<KeyPair, 'key'> {
  readonly key: SigningKey;
}

export interface E2eIdentity {
  readonly commonName: string;
  readonly signature: SigningKeyPair;
  readonly keyAgreement: KeyPair;
  readonly roots: readonly Certificate[];
}

/** One name in both PKIs. */
export interface Identity {
  readonly commonName: string;
  readonly tls: TlsIdentity;
  readonly e2e: E2eIdentity;
}

export interface LoadIdentityOptions {
  /** Its first line decrypts the keys. */
  readonly passphraseFile?: string | undefined;
  readonly nowMs?: number;
}

/**
 * @param directory - holds what `loadTlsIdentity` and `loadE2eIdentity` read
 * @throws PkiError as they do, and if TLS and E2E certificates are of different identities
 */
export function loadIdentity(directory: string, options: LoadIdentityOptions = {}): Identity {
  const tls = loadTlsIdentity(directory, options);
  const e2e = loadE2eIdentity(directory, options);
  if (tls.commonName !== e2e.commonName) {
    const names = `${tls.commonName} (TLS) and ${e2e.commonName} (E2E)`;
    throw new PkiError('pki.path_discipline', `${directory}: keys of two identities: ${names}`);
  }
  return { commonName: e2e.commonName, tls, e2e };
}

/**
 * @param directory - holds `tls.key.pem`, `tls.chain.pem` and `tls-root.crt.pem`
 * @throws PkiError in one clear line: a missing file, a wrong passphrase, an expired certificate, a key of another one
 */
export function loadTlsIdentity(directory: string, options: LoadIdentityOptions = {}): TlsIdentity {
  const keyFile = path.join(directory, 'tls.key.pem');
  const keyText = readTextFile(keyFile);
  const passphrase = readPassphrase(options.passphraseFile);
  const key = inFile(keyFile, () =>
    isTokenUri(keyText) ? openTokenTlsKey(keyText, passphrase) : readPrivateKey(keyText, passphrase),
  );
  const { certificate } = loadCertified(directory, 'tls', publicKeyIn(key), options);
  const rootsPem = readTextFile(path.join(directory, 'tls-root.crt.pem'));
  return {
    commonName: requireCommonName(certificate, directory),
    // Unencrypted in memory alone: TLS takes the key, not the passphrase.
    privateKeyPem: key instanceof KeyObject ? key.export({ type: 'pkcs8', format: 'pem' }).toString() : '',
    ...(key instanceof KeyObject ? {} : { tokenKey: key }),
    chainPem: readTextFile(path.join(directory, 'tls.chain.pem')),
    rootsPem,
    certificate,
    roots: certificatesFromPem(rootsPem),
  };
}

/**
 * @param directory - holds `sig.key.pem`, `sig.chain.pem`, `enc.key.pem`, `enc.chain.pem` and `e2e-root.crt.pem`
 * @throws PkiError as `loadTlsIdentity` does, and if the two certificates are of different identities
 */
export function loadE2eIdentity(directory: string, options: LoadIdentityOptions = {}): E2eIdentity {
  const signature = loadSigningKeyPair(directory, options);
  const keyAgreement = loadKeyPair(directory, options);
  const commonName = requireCommonName(signature.certificate, directory);
  if (keyAgreement.certificate.commonName !== commonName) {
    throw new PkiError(
      'pki.malformed_certificate',
      `${directory}: sig and enc certificates name different identities`,
    );
  }
  return {
    commonName,
    signature,
    keyAgreement,
    roots: certificatesFromPem(readTextFile(path.join(directory, 'e2e-root.crt.pem'))),
  };
}

/** @returns the first line of a passphrase file, or undefined without a file */
export function readPassphrase(file: string | undefined): string | undefined {
  return file === undefined ? undefined : readTextFile(file).split(/\r?\n/, 1)[0];
}

function loadSigningKeyPair(directory: string, options: LoadIdentityOptions): SigningKeyPair {
  const keyFile = path.join(directory, 'sig.key.pem');
  const text = readTextFile(keyFile);
  const passphrase = readPassphrase(options.passphraseFile);
  const key = inFile(keyFile, () =>
    isTokenUri(text) ? openTokenKey(text, passphrase) : readPrivateKey(text, passphrase),
  );
  return { key, ...loadCertified(directory, 'sig', publicKeyOf(key), options) };
}

function loadKeyPair(directory: string, options: LoadIdentityOptions): KeyPair {
  const keyFile = path.join(directory, 'enc.key.pem');
  const text = readTextFile(keyFile);
  if (isTokenUri(text)) {
    throw new PkiError('pki.token', `${keyFile}: a key for key agreement cannot be on a token`);
  }
  const key = inFile(keyFile, () => readPrivateKey(text, readPassphrase(options.passphraseFile)));
  return { key, ...loadCertified(directory, 'enc', createPublicKey(key), options) };
}

function loadCertified(
  directory: string,
  use: 'tls' | 'sig' | 'enc',
  publicKey: KeyObject,
  options: LoadIdentityOptions,
): Omit<KeyPair, 'key'> {
  const chainFile = path.join(directory, `${use}.chain.pem`);
  const chain = inFile(chainFile, () => certificatesFromPem(readTextFile(chainFile)));
  const certificate = chain[0];
  if (!certificate) throw new PkiError('pki.malformed_certificate', `${chainFile}: no certificate in it`);
  if (!publicKey.equals(certificate.publicKey)) {
    const keyFile = path.join(directory, `${use}.key.pem`);
    throw new PkiError('pki.malformed_key', `${keyFile}: the key is not the one that ${chainFile} certifies`);
  }
  requireValidity(chainFile, certificate, options.nowMs ?? Date.now());
  return { certificate, chain };
}

function publicKeyIn(key: KeyObject | TokenTlsKey): KeyObject {
  return key instanceof KeyObject ? createPublicKey(key) : key.publicKey;
}

function requireValidity(file: string, certificate: Certificate, nowMs: number): void {
  const { notBeforeMs, notAfterMs } = certificate;
  if (nowMs > notAfterMs) {
    throw new PkiError(
      'pki.expired',
      `${file}: the certificate expired on ${new Date(notAfterMs).toISOString()}`,
    );
  }
  if (nowMs < notBeforeMs) {
    throw new PkiError(
      'pki.not_yet_valid',
      `${file}: the certificate is valid from ${new Date(notBeforeMs).toISOString()}; check this machine's clock`,
    );
  }
}

function requireCommonName(certificate: Certificate, directory: string): string {
  if (certificate.commonName === undefined) {
    throw new PkiError('pki.path_discipline', `${directory}: the certificate has no single common name`);
  }
  return certificate.commonName;
}
