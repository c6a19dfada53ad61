/** Encryption by passphrase: PBES2 (RFC 8018 §6.2) with PBKDF2 and AES-CBC, as PKCS #8 and PKCS #12 have it. */
import { createCipheriv, createDecipheriv, hash, pbkdf2Sync, randomBytes } from 'node:crypto';
import { derInteger, derNull, derObjectIdentifier, derOctetString, derSequence } from './der-writer.ts';
import { DerFault, derTag, readObjectIdentifier, readOnly, readSmallInteger } from './der.ts';
import type { DerReader } from './der.ts';
import { PkiError } from './errors.ts';

/** OWASP's Password Storage Cheat Sheet for PBKDF2-HMAC-SHA-256, 2023: about an eighth of a second. */
export const iterations = 600_000;
/** What a file may ask of us: about two seconds. */
export const iterationsMax = 10_000_000;
const saltBytes = 16;
const saltBytesMax = 1024;
const blockBytes = 16;

const oid = {
  pbes2: '1.2.840.113549.1.5.13',
  pbkdf2: '1.2.840.113549.1.5.12',
  hmacWithSha256: '1.2.840.113549.2.9',
  aes256Cbc: '2.16.840.1.101.3.4.1.42',
} as const;
/** RFC 8018 §B.1.2; a missing one means the first. */
const hashes: ReadonlyMap<string, string> = new Map([
  ['1.2.840.113549.2.7', 'sha1'],
  [oid.hmacWithSha256, 'sha256'],
  ['1.2.840.113549.2.10', 'sha384'],
  ['1.2.840.113549.2.11', 'sha512'],
]);
const ciphers: ReadonlyMap<string, { readonly name: string; readonly keyBytes: number }> = new Map([
  ['2.16.840.1.101.3.4.1.2', { name: 'aes-128-cbc', keyBytes: 16 }],
  ['2.16.840.1.101.3.4.1.22', { name: 'aes-192-cbc', keyBytes: 24 }],
  [oid.aes256Cbc, { name: 'aes-256-cbc', keyBytes: 32 }],
]);
/** What is no longer safe, by the name under which people find it. */
const legacy: ReadonlyMap<string, string> = new Map([
  ['1.2.840.113549.1.12.1.1', '128-bit RC4'],
  ['1.2.840.113549.1.12.1.2', '40-bit RC4'],
  ['1.2.840.113549.1.12.1.3', 'Triple DES'],
  ['1.2.840.113549.1.12.1.4', 'two-key Triple DES'],
  ['1.2.840.113549.1.12.1.5', '128-bit RC2'],
  ['1.2.840.113549.1.12.1.6', '40-bit RC2'],
  ['1.2.840.113549.3.7', 'Triple DES'],
]);

export interface Encrypted {
  /** AlgorithmIdentifier, DER. */
  readonly algorithm: Buffer;
  readonly ciphertext: Buffer;
}

/** With AES-256 and today's number of iterations. @param passphrase - as UTF-8 */
export function encryptByPassphrase(plaintext: Uint8Array, passphrase: string): Encrypted {
  const salt = saltFor(passphrase);
  const nonce = randomBytes(blockBytes);
  const key = derive(passphrase, { salt, iterations, hash: 'sha256', keyBytes: 32 });
  const cipher = createCipheriv('aes-256-cbc', key, nonce);
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()]);
  const prf = derSequence(derObjectIdentifier(oid.hmacWithSha256), derNull());
  const parameters = derSequence(derOctetString(salt), derInteger(iterations), prf);
  const algorithm = derSequence(
    derObjectIdentifier(oid.pbes2),
    derSequence(
      derSequence(derObjectIdentifier(oid.pbkdf2), parameters),
      derSequence(derObjectIdentifier(oid.aes256Cbc), derOctetString(nonce)),
    ),
  );
  return { algorithm, ciphertext };
}

/**
 * @returns undefined if the passphrase does not open it; a wrong one passes as right once in some 256 times, so look at
 *   what comes out
 * @throws PkiError `pki.unsupported_algorithm`, also for more iterations than `iterationsMax`
 * @throws DerFault if the algorithm is malformed
 */
export function decryptByPassphrase(
  { algorithm, ciphertext }: Encrypted,
  passphrase: string,
): Buffer | undefined {
  const { cipher, nonce, ...derivation } = readAlgorithm(algorithm);
  const key = derive(passphrase, { ...derivation, keyBytes: cipher.keyBytes });
  const decipher = createDecipheriv(cipher.name, key, nonce);
  try {
    return Buffer.concat([decipher.update(ciphertext), decipher.final()]);
  } catch {
    return undefined;
  }
}

interface Derivation {
  readonly salt: Buffer;
  readonly iterations: number;
  readonly hash: string;
  readonly keyBytes: number;
}

/**
 * `AlgorithmIdentifier { id-PBES2, SEQUENCE { keyDerivationFunc AlgorithmIdentifier, encryptionScheme AlgorithmIdentifier }}`
 * (RFC 8018 §A.4)
 */
function readAlgorithm(der: Buffer) {
  const algorithm = readOnly(der, derTag.sequence, 'encryption algorithm').inside();
  const scheme = readObjectIdentifier(algorithm.next(), 'encryption algorithm');
  if (scheme !== oid.pbes2) throw unsupported(scheme);
  const parameters = algorithm.take(derTag.sequence, 'PBES2 parameters').inside();
  const derivation = readDerivation(parameters.take(derTag.sequence, 'key derivation').inside());
  const encryption = parameters.take(derTag.sequence, 'encryption scheme').inside();
  const cipherOid = readObjectIdentifier(encryption.next(), 'encryption scheme');
  const cipher = ciphers.get(cipherOid);
  if (cipher === undefined) throw unsupported(cipherOid);
  const nonce = encryption.take(derTag.octetString, 'initialization vector').content;
  if (nonce.length !== blockBytes) throw new DerFault('initialization vector: not of one block');
  return { ...derivation, cipher, nonce };
}

/** `PBKDF2-params ::= SEQUENCE { salt OCTET STRING, iterationCount, keyLength OPTIONAL, prf DEFAULT hmacWithSHA1 }` (RFC 8018 §A.2) */
function readDerivation(derivation: DerReader): Omit<Derivation, 'keyBytes'> {
  const name = readObjectIdentifier(derivation.next(), 'key derivation');
  if (name !== oid.pbkdf2) throw unsupported(name);
  const parameters = derivation.take(derTag.sequence, 'PBKDF2 parameters').inside();
  const salt = parameters.take(derTag.octetString, 'salt').content;
  const count = readSmallInteger(parameters.take(derTag.integer, 'iteration count'), 'iteration count');
  parameters.takeOptional(derTag.integer); // keyLength: the cipher says it
  const prf = parameters.takeOptional(derTag.sequence)?.inside();
  parameters.end('PBKDF2 parameters');
  const prfOid = prf === undefined ? '1.2.840.113549.2.7' : readObjectIdentifier(prf.next(), 'PRF');
  const found = hashes.get(prfOid);
  if (found === undefined) throw unsupported(prfOid);
  if (salt.length > saltBytesMax) throw new DerFault('salt: too long');
  requireIterations(count);
  return { salt, iterations: count, hash: found };
}

/** @throws PkiError `pki.unsupported_algorithm`: a file shall not decide how long we are busy */
export function requireIterations(count: number): void {
  if (count >= 1 && count <= iterationsMax) return;
  throw new PkiError(
    'pki.unsupported_algorithm',
    `a key derivation of ${count} iterations; from 1 to ${iterationsMax} are possible`,
  );
}

function unsupported(found: string): PkiError {
  const name = legacy.get(found);
  const what = name === undefined ? `algorithm ${found}` : `${name}, which is not safe any more`;
  return new PkiError(
    'pki.unsupported_algorithm',
    `encrypted with ${what}: encrypt it again with AES-256 (PBES2)`,
  );
}

/** Of the latest passphrases; what they open is in memory anyway. */
const derived = new Map<string, Buffer>();
const salts = new Map<string, Buffer>();
const rememberedMax = 8;

/**
 * Derives once for the same passphrase and salt: the keys of an authority have one of both, and opening a thousand CAs
 * would take minutes.
 */
function derive(passphrase: string, { salt, iterations: count, hash: prf, keyBytes }: Derivation): Buffer {
  const place = `${idOf(passphrase)} ${salt.toString('hex')} ${count} ${prf} ${keyBytes}`;
  let key = derived.get(place);
  if (key === undefined) {
    key = pbkdf2Sync(passphrase, salt, count, keyBytes, prf);
    remember(derived, place, key);
  }
  return key;
}

/**
 * Goes on with the salt of a key file that is ours; one from a stranger's file might be chosen.
 *
 * @param algorithm - of what `passphrase` has opened
 */
export function keepSaltOf(algorithm: Buffer, passphrase: string): void {
  const { salt, iterations: count } = readAlgorithm(algorithm);
  if (salt.length >= saltBytes && count === iterations) remember(salts, idOf(passphrase), salt);
}

/**
 * One salt for one passphrase, within a process and along the key files that it opens (see `derive`). A salt keeps one
 * attempt from serving for several passphrases (RFC 8018 §4.1), and these are one; the initialization vectors differ.
 */
function saltFor(passphrase: string): Buffer {
  const known = salts.get(idOf(passphrase));
  if (known !== undefined) return known;
  const salt = randomBytes(saltBytes);
  remember(salts, idOf(passphrase), salt);
  return salt;
}

function idOf(passphrase: string): string {
  return hash('sha256', passphrase, 'base64');
}

function remember(map: Map<string, Buffer>, key: string, value: Buffer): void {
  const [oldest] = map.keys();
  if (map.size >= rememberedMax && oldest !== undefined) map.delete(oldest);
  map.set(key, Buffer.from(value));
}
