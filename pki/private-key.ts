/** Reads and writes private keys in PEM: PKCS #8 (RFC 5958), encrypted or not, and SEC 1 (RFC 5915) for reading. */
import { createPrivateKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { derOctetString, derSequence } from './der-writer.ts';
import { derTag, readOnly } from './der.ts';
import { PkiError } from './errors.ts';
import { decryptByPassphrase, encryptByPassphrase, keepSaltOf } from './pbes2.ts';
import type { Encrypted } from './pbes2.ts';
import { pemBlocks, pemOf } from './pem.ts';

const label = /-----BEGIN ((?:ENCRYPTED |EC |RSA )?PRIVATE KEY)-----/;
const encryptedLabel = 'ENCRYPTED PRIVATE KEY';
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
  const encrypted = isEncrypted ? readEncryption(text) : undefined;
  try {
    return (
      (encrypted && decryptOurs(encrypted, passphrase ?? '')) ??
      createPrivateKey({ key: text, format: 'pem', ...(isEncrypted ? { passphrase } : {}) })
    );
  } catch (cause) {
    // One wrong passphrase in some hundred yields valid padding, and OpenSSL then reports what it reports for a damaged
    // file; so the outer structure decides. SEC 1 with RFC 1421 headers has no structure to see.
    if (isEncrypted && (encrypted !== undefined || !text.includes(encryptedLabel))) {
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
  if (passphrase === undefined) return key.export({ type: 'pkcs8', format: 'pem' }).toString();
  // Node's own encryption has OpenSSL's 2,048 iterations, and no option for more.
  return pemOf(encryptedLabel, encryptPrivateKey(key, passphrase));
}

/** `EncryptedPrivateKeyInfo ::= SEQUENCE { encryptionAlgorithm, encryptedData OCTET STRING }` (RFC 5958 §3) */
export function encryptPrivateKey(key: KeyObject, passphrase: string): Buffer {
  const { algorithm, ciphertext } = encryptByPassphrase(
    key.export({ type: 'pkcs8', format: 'der' }),
    passphrase,
  );
  return derSequence(algorithm, derOctetString(ciphertext));
}

/** @returns undefined if it is not by PBKDF2 and AES, which OpenSSL may know all the same */
function decryptOurs(encrypted: Encrypted, passphrase: string): KeyObject | undefined {
  let der: Buffer | undefined;
  try {
    der = decryptByPassphrase(encrypted, passphrase);
  } catch {
    return undefined; // OpenSSL says what is wrong with it, if anything is
  }
  if (der === undefined) throw new Error('wrong padding');
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  keepSaltOf(encrypted.algorithm, passphrase);
  return key;
}

/** @returns undefined if it has not the structure of PKCS #8 */
function readEncryption(text: string): Encrypted | undefined {
  const [der] = pemBlocks(text, encryptedLabel, 1) ?? [];
  if (der === undefined) return undefined;
  try {
    const fields = readOnly(der, derTag.sequence, 'encrypted key').inside();
    const algorithm = fields.take(derTag.sequence, 'encryption algorithm').der;
    const ciphertext = fields.take(derTag.octetString, 'encrypted data').content;
    fields.end('encrypted key');
    return { algorithm, ciphertext };
  } catch {
    return undefined;
  }
}
