/** The keys of CAs: encrypted in files, or on a PKCS #11 token, and then the file holds the key's URI. */
import { generateKeyPairSync, KeyObject } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CurveName } from '../certificate.ts';
import { privateKeyToPem, readPrivateKey } from '../private-key.ts';
import type { SigningKey } from '../signing-key.ts';
import { createTokenKey, isTokenUri, openTokenKey, parseTokenUri } from '../token-key.ts';
import { secretMode, writeFileAtomic } from './files.ts';

const tokenFile = 'token.uri';

/** From now on, CAs of this directory get their keys on the token. @throws PkiError `pki.token` */
export function useToken(directory: string, uri: string): void {
  parseTokenUri(uri);
  writeFileAtomic(join(directory, tokenFile), `${uri}\n`, secretMode);
}

/**
 * @param pin - of the token, if the directory has one
 * @param label - under which people find it on the token
 * @throws PkiError `pki.token`
 */
export function makeAuthorityKey(
  directory: string,
  pin: string | undefined,
  curve: CurveName,
  label: string,
): SigningKey {
  const file = join(directory, tokenFile);
  if (!existsSync(file)) return generateKeyPairSync('ec', { namedCurve: curve }).privateKey;
  return createTokenKey(parseTokenUri(readFileSync(file, 'utf8')), pin, curve, label);
}

/** What the CA's key file holds. */
export function authorityKeyText(key: SigningKey, passphrase: string | undefined): string {
  return key instanceof KeyObject ? privateKeyToPem(key, passphrase) : `${key.uri}\n`;
}

/** @param passphrase - of the file, or the PIN of the token @throws PkiError */
export function readAuthorityKey(text: string, passphrase: string | undefined): SigningKey {
  return isTokenUri(text) ? openTokenKey(text, passphrase) : readPrivateKey(text, passphrase);
}
