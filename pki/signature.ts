/** The signature algorithms that certificates and CRLs may bear: ECDSA with SHA-2 (RFC 5758 §3.2), and no other. */
import { verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import type { Certificate } from './certificate.ts';

interface SignatureAlgorithm {
  readonly oid: string;
  readonly hash: 'sha256' | 'sha384' | 'sha512';
}

const sha256: SignatureAlgorithm = { oid: '1.2.840.10045.4.3.2', hash: 'sha256' };
const sha384: SignatureAlgorithm = { oid: '1.2.840.10045.4.3.3', hash: 'sha384' };
const sha512: SignatureAlgorithm = { oid: '1.2.840.10045.4.3.4', hash: 'sha512' };
const byOid: ReadonlyMap<string, SignatureAlgorithm> = new Map(
  [sha256, sha384, sha512].map((algorithm) => [algorithm.oid, algorithm]),
);

/** By OpenSSL's name of the curve, as `asymmetricKeyDetails` has it: a hash about as strong as the curve. */
const byCurve: ReadonlyMap<string, SignatureAlgorithm> = new Map([
  ['prime256v1', sha256],
  ['brainpoolP256r1', sha256],
  ['secp384r1', sha384],
  ['brainpoolP384r1', sha384],
  ['secp521r1', sha512],
  ['brainpoolP512r1', sha512],
]);

/**
 * The algorithm that a key of ours signs with.
 *
 * @throws RangeError if it is on no curve of ours, which is a fault of the program and not of a peer
 */
export function signatureAlgorithmFor(key: KeyObject): SignatureAlgorithm {
  const curve = key.asymmetricKeyDetails?.namedCurve;
  const algorithm = curve === undefined ? undefined : byCurve.get(curve);
  if (algorithm === undefined)
    throw new RangeError(`no signature algorithm for a key on curve ${curve ?? 'none'}`);
  return algorithm;
}

/** Which signatures count on certificates and CRLs. */
export interface SignatureRules {
  /** @param oid - of the algorithm; the issuer's key must fit it */
  isSupported(oid: string, issuer: Certificate): boolean;
  /** Whether the issuer's key made the signature; false also for an algorithm that is not supported. */
  isSignedBy(signed: Signed, issuer: Certificate): boolean;
}

export interface Signed {
  /** With tag and length. */
  readonly toBeSigned: Buffer;
  readonly signatureAlgorithm: string;
  readonly signature: Buffer;
}

export function isSignatureAlgorithm(oid: string): boolean {
  return byOid.has(oid);
}

/** Those of every program. What a test validates beyond them, it brings its own rules for. */
export const ecdsaSignatures: SignatureRules = {
  isSupported: (oid, issuer) => isSignatureAlgorithm(oid) && issuer.curve !== undefined,
  isSignedBy,
};

/**
 * Whether `issuer`'s key made the signature.
 *
 * @returns false also for an algorithm or a key that is not ours
 */
export function isSignedBy(signed: Signed, issuer: Pick<Certificate, 'curve' | 'publicKey'>): boolean {
  const algorithm = byOid.get(signed.signatureAlgorithm);
  if (algorithm === undefined || issuer.curve === undefined) return false;
  return verify(algorithm.hash, signed.toBeSigned, issuer.publicKey, signed.signature);
}
