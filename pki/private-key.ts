/** Reads and writes private keys in PEM: PKCS #8 (RFC 5958), encrypted or not, and SEC 1 (RFC 5915) for reading. */
import { createPrivateKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { derTag, readOnly } from './der.ts';
import { PkiError } from './errors.ts';
import { pemBlocks } from './pem.ts';

const label = /-----BEGIN ((?:ENCRYPTED |EC |RSA )?PRIVATE KEY)-----/;
const isEncryptedPem = /-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m;

/**
 * @param pem - one private key; text before it (such as `EC PARAMETERS`) is ignored
 * @param passphrase - ignored if the key is not encrypted
 * @throws PkiError `pki.wrong_passphrase` (also when one is needed and none is given), `pki.malformed_key`
 */
export function readPrivateKey(pem: string | Uint8Array, passphrase?: string): KeyObject {
  const text = typeof pem === 'string' ? pem : Buffer.from(pem).toString('latin1');
  if (!label.test(text))
    throw new PkiError('pki.malformed_key', 'cannot read a private key: no PEM PRIVATE KEY block');
  const isEncrypted = isEncryptedPem.test(text);
  if (isEncrypted && passphrase === undefined) {
    throw new PkiError(
      'pki.wrong_passphrase',
      'cannot read a private key: it is encrypted and no passphrase was given',
    );
  }
  try {
    return createPrivateKey({ key: text, format: 'pem', ...(isEncrypted ? { passphrase } : {}) });
  } catch (cause) {
    if (isEncrypted && isWellFormedEncryption(text)) {
      throw new PkiError(
        'pki.wrong_passphrase',
        'cannot read a private key: the passphrase does not open it',
        { cause },
      );
    }
    throw new PkiError(
      'pki.malformed_key',
      'cannot read a private key: it is damaged or of an unknown kind',
      { cause },
    );
  }
}

/** @returns PKCS #8 PEM, encrypted with AES-256 if there is a passphrase */
export function privateKeyToPem(key: KeyObject, passphrase?: string): string {
  return key
    .export(
      passphrase === undefined
        ? { type: 'pkcs8', format: 'pem' }
        : { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase },
    )
    .toString();
}

/**
 * Whether a failure means a wrong passphrase and not a damaged file. One wrong passphrase in some hundred yields
 * valid padding, and OpenSSL then reports what it reports for a damaged file; so the outer structure decides.
 *
 * `EncryptedPrivateKeyInfo ::= SEQUENCE { encryptionAlgorithm, encryptedData OCTET STRING }` (RFC 5958 §3)
 */
function isWellFormedEncryption(text: string): boolean {
  if (!text.includes('ENCRYPTED PRIVATE KEY')) return true; // SEC 1 with RFC 1421 headers: no structure to see
  const [der] = pemBlocks(text, 'ENCRYPTED PRIVATE KEY', 1) ?? [];
  if (der === undefined) return false;
  try {
    const fields = readOnly(der, derTag.sequence, 'encrypted key').inside();
    fields.take(derTag.sequence, 'encryption algorithm');
    fields.take(derTag.octetString, 'encrypted data');
    return fields.done;
  } catch {
    return false;
  }
}
