/** Everything that depends on the curve, one row per curve. */
import { brainpoolP256r1, brainpoolP384r1, brainpoolP512r1 } from '@noble/curves/misc.js';
import { p256, p384, p521 } from '@noble/curves/nist.js';
import type { WeierstrassPoint, WeierstrassPointCons } from '@noble/curves/abstract/weierstrass.js';
import type { CurveName } from '../pki/certificate.ts';
import { derSequence } from '../pki/der-writer.ts';
import { derOid } from './der-writer.ts';
import { CmsError } from './errors.ts';
import { oids } from './oid.ts';

export type HashName = 'sha1' | 'sha224' | 'sha256' | 'sha384' | 'sha512';
export type CurvePoint = WeierstrassPoint<bigint>;

export interface Suite {
  readonly curve: CurveName;
  /** OpenSSL's name of the curve. */
  readonly nativeName: string;
  /** Content octets of the curve's object identifier. */
  readonly curveOid: Buffer;
  /** AlgorithmIdentifier of a public key on the curve (RFC 5480 §2.1.1). */
  readonly publicKeyAlgorithm: Buffer;
  readonly coordinateBytes: number;
  /** n, the order of the base point; the cofactor is 1 for all of ours. */
  readonly order: bigint;
  /** ⌈f/2⌉ with f the bit length of n: half the length of a scalar (SP 800-56A §5.7.2.2). */
  readonly halfBits: number;
  /** For signatures and for the key derivation when we seal: as strong as the curve (RFC 5753 §8, RFC 5754 §3.3). */
  readonly hash: 'sha256' | 'sha384' | 'sha512';
  readonly hashOid: Buffer;
  readonly ecdsaOid: Buffer;
  readonly Point: WeierstrassPointCons<bigint>;
  /** Whether OpenSSL has assembly for the curve; without, it is slower than our WebAssembly. */
  readonly hasNativeAssembly: boolean;
}

interface Strength {
  readonly hash: Suite['hash'];
  readonly hashOid: Buffer;
  readonly ecdsaOid: Buffer;
}

const strength: Readonly<Record<Suite['hash'], Strength>> = {
  sha256: { hash: 'sha256', hashOid: oids.sha256, ecdsaOid: oids.ecdsaWithSha256 },
  sha384: { hash: 'sha384', hashOid: oids.sha384, ecdsaOid: oids.ecdsaWithSha384 },
  sha512: { hash: 'sha512', hashOid: oids.sha512, ecdsaOid: oids.ecdsaWithSha512 },
};

const suites: Readonly<Record<CurveName, Suite>> = {
  'P-256': row('P-256', 'prime256v1', oids.p256, 32, strength.sha256, p256.Point),
  'P-384': row('P-384', 'secp384r1', oids.p384, 48, strength.sha384, p384.Point),
  'P-521': row('P-521', 'secp521r1', oids.p521, 66, strength.sha512, p521.Point),
  brainpoolP256r1: row(
    'brainpoolP256r1',
    'brainpoolP256r1',
    oids.brainpoolP256r1,
    32,
    strength.sha256,
    brainpoolP256r1.Point,
  ),
  brainpoolP384r1: row(
    'brainpoolP384r1',
    'brainpoolP384r1',
    oids.brainpoolP384r1,
    48,
    strength.sha384,
    brainpoolP384r1.Point,
  ),
  brainpoolP512r1: row(
    'brainpoolP512r1',
    'brainpoolP512r1',
    oids.brainpoolP512r1,
    64,
    strength.sha512,
    brainpoolP512r1.Point,
  ),
};

/** @throws CmsError `cms.unsupported` if the key is not on a curve of ours */
export function suiteOf(curve: CurveName | undefined): Suite {
  if (curve === undefined) throw new CmsError('cms.unsupported', 'the key is not on a supported curve');
  return suites[curve];
}

function row(
  curve: CurveName,
  nativeName: string,
  curveOid: Buffer,
  coordinateBytes: number,
  strengthOfCurve: Strength,
  Point: WeierstrassPointCons<bigint>,
): Suite {
  const order = Point.Fn.ORDER;
  const halfBits = Math.ceil(order.toString(2).length / 2);
  const hasNativeAssembly = curve === 'P-256';
  return {
    curve,
    nativeName,
    curveOid,
    publicKeyAlgorithm: derSequence(derOid(oids.ecPublicKey), derOid(curveOid)),
    coordinateBytes,
    order,
    halfBits,
    ...strengthOfCurve,
    Point,
    hasNativeAssembly,
  };
}
