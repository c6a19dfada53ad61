/**
 * The key of a TLS connection as `node:tls` takes it: its octets, or its name on a PKCS #11 token. The token is opened by
 * OpenSSL's engine of libp11, in this process, because TLS signs there.
 */
import { existsSync } from 'node:fs';
import type { KeyObject } from 'node:crypto';
import path from 'node:path';
import { createSecureContext } from 'node:tls';
import { errorText } from '../domain/error-text.ts';
import { PkiError } from './errors.ts';
import { openTokenKey, parseTokenUri } from './token-key.ts';
import type { Token } from './token-key.ts';

/** Of a key that never leaves its token. */
export interface TokenTlsKey {
  readonly token: Token;
  readonly publicKey: KeyObject;
  /** For the engine; it has the PIN in it, so it is for no log. */
  readonly identifier: string;
}

/** What `tls.connect` and `tls.createServer` take. */
export type TlsKeyOptions =
  { readonly key: string } | { readonly privateKeyEngine: string; readonly privateKeyIdentifier: string };

const engineName = 'pkcs11';
const engineFolders = [
  '/usr/lib/x86_64-linux-gnu/engines-3',
  '/usr/lib/aarch64-linux-gnu/engines-3',
  '/usr/lib64/engines-3',
  '/usr/lib/engines-3',
];

export function tlsKeyOptions(identity: {
  readonly privateKeyPem: string;
  readonly tokenKey?: TokenTlsKey;
}): TlsKeyOptions {
  const { privateKeyPem, tokenKey } = identity;
  if (tokenKey === undefined) return { key: privateKeyPem };
  return { privateKeyEngine: engineName, privateKeyIdentifier: tokenKey.identifier };
}

/**
 * @param uri - as `TokenKey` has it
 * @throws PkiError `pki.token`, also without the engine, and for a wrong PIN
 */
export function openTokenTlsKey(uri: string, pin: string | undefined): TokenTlsKey {
  const { publicKey, uri: whole } = openTokenKey(uri, pin);
  const { label, modulePath } = parseTokenUri(uri);
  const given = process.env['OPENSSL_ENGINES'];
  const folder = (given === undefined ? engineFolders : [given]).find((candidate) =>
    existsSync(path.join(candidate, `${engineName}.so`)),
  );
  if (folder === undefined) {
    throw new PkiError(
      'pki.token',
      `TLS with a key on a token needs OpenSSL's engine ${engineName} (Debian: libengine-pkcs11-openssl)`,
    );
  }
  // Found by its name it is loaded once; by its path it would be each time, and the second time fails. It asks the
  // environment for the token's module, so that there is one for the process.
  process.env['OPENSSL_ENGINES'] ??= folder;
  process.env['PKCS11_MODULE_PATH'] ??= modulePath;
  const [name = ''] = whole.split('?');
  const login = pin === undefined ? '' : `;pin-value=${encodeURIComponent(pin)}`;
  const tokenKey = {
    token: { label, modulePath },
    publicKey,
    identifier: `${name};type=private${login}`,
  };
  try {
    createSecureContext(tlsKeyOptions({ privateKeyPem: '', tokenKey }));
  } catch (cause) {
    throw new PkiError(
      'pki.token',
      `token ${JSON.stringify(label)} refused to open a TLS key: ${errorText(cause)}`,
      {
        cause,
      },
    );
  }
  return tokenKey;
}
