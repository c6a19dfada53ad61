/** Points and scalars of one curve, and OpenSSL's multiplication of the one by the other. */
import { createECDH, createPrivateKey, createPublicKey, diffieHellman } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { DerReader, derTag, readOnly } from '../pki/der.ts';
import { derBitString, derInteger, derOctetString, derSequence } from '../pki/der-writer.ts';
import { derExplicit, derOid } from './der-writer.ts';
import { CmsError, rejected } from './errors.ts';
import type { AffinePoint } from './jacobian.ts';
import { oids } from './oid.ts';
import type { CurvePoint, Suite } from './suite.ts';

/** Fills as many octets as asked with random ones. */
export type Random = (bytes: number) => Buffer;

// The chance of one draw being refused is below 1/2 on every curve of ours.
const scalarDrawsMax = 128;

/**
 * Reads a point from outside.
 *
 * @param octets - SEC 1 §2.3.4, compressed or uncompressed
 * @throws CmsError `cms.rejected` if it is not on the curve, is infinity, has a coordinate that is not reduced, or
 *   is in the hybrid form (which RFC 5480 §2.2 forbids)
 */
export function decodePoint(suite: Suite, octets: Uint8Array): CurvePoint {
  const isUncompressed = octets[0] === 4 && octets.length === 1 + 2 * suite.coordinateBytes;
  const isCompressed = (octets[0] === 2 || octets[0] === 3) && octets.length === 1 + suite.coordinateBytes;
  if (!isUncompressed && !isCompressed) throw rejected();
  try {
    // Checks the curve equation; the cofactor is 1, so every point but infinity has the order n.
    return suite.Point.fromBytes(octets);
  } catch {
    throw rejected();
  }
}

/** @returns SEC 1 uncompressed */
export function encodePoint(suite: Suite, { x, y }: AffinePoint): Buffer {
  return Buffer.concat([Buffer.of(4), writeScalar(suite, x), writeScalar(suite, y)]);
}

/** A uniform scalar from 1 to n − 1, by drawing again (FIPS 186-5 A.2.2). */
export function randomScalar(suite: Suite, random: Random): bigint {
  const excessBits = BigInt(8 * suite.coordinateBytes - suite.order.toString(2).length);
  for (let draw = 0; draw < scalarDrawsMax; draw++) {
    const octets = random(suite.coordinateBytes);
    const scalar = readScalar(octets) >> excessBits;
    octets.fill(0);
    if (scalar > 0n && scalar < suite.order) return scalar;
  }
  throw new Error(`the random source gave no scalar for ${suite.curve} in ${scalarDrawsMax} draws`);
}

/** @returns scalar · G, SEC 1 uncompressed */
export function basePointTimes(suite: Suite, scalar: bigint): Buffer {
  const exchange = createECDH(suite.nativeName);
  const octets = writeScalar(suite, scalar);
  exchange.setPrivateKey(octets);
  octets.fill(0);
  return exchange.getPublicKey();
}

/** @param point - SEC 1 uncompressed; OpenSSL checks that it is on the curve */
export function publicKeyOf(suite: Suite, point: Uint8Array): KeyObject {
  const algorithm = derSequence(derOid(oids.ecPublicKey), derOid(suite.curveOid));
  return createPublicKey(pemOf('PUBLIC KEY', derSequence(algorithm, derBitString(point))));
}

/**
 * The PEM is a string, which nobody can erase; but so is `scalar`, and whoever finds either in memory has the same.
 *
 * @param scalar - from 1 to n − 1
 */
export function privateKeyOf(suite: Suite, scalar: bigint): KeyObject {
  const octets = writeScalar(suite, scalar);
  // RFC 5915 §3, without the public key: OpenSSL computes it.
  const der = derSequence(derInteger(1), derOctetString(octets), derExplicit(0, derOid(suite.curveOid)));
  try {
    return createPrivateKey(pemOf('EC PRIVATE KEY', der));
  } finally {
    for (const secret of [octets, der]) secret.fill(0);
  }
}

/** @throws CmsError `cms.unsupported` if the key is not a private key on the suite's curve */
export function scalarOf(suite: Suite, key: KeyObject): bigint {
  if (key.type !== 'private' || key.asymmetricKeyDetails?.namedCurve !== suite.nativeName) {
    throw new CmsError(
      'cms.unsupported',
      `the private key is not on ${suite.curve}, as its certificate says`,
    );
  }
  const der = key.export({ type: 'sec1', format: 'der' });
  try {
    const fields = new DerReader(readOnly(der, derTag.sequence, 'private key').content);
    fields.take(derTag.integer, 'version');
    return readScalar(fields.take(derTag.octetString, 'private key').content);
  } finally {
    der.fill(0);
  }
}

/** @returns the x coordinate of scalar · point, as long as the field (SEC 1 §3.3.1) */
export function agree(scalar: KeyObject, point: KeyObject): Buffer {
  return diffieHellman({ privateKey: scalar, publicKey: point });
}

export function readScalar(octets: Uint8Array): bigint {
  return BigInt(`0x${asBuffer(octets).toString('hex')}`);
}

export function writeScalar(suite: Suite, scalar: bigint): Buffer {
  return Buffer.from(scalar.toString(16).padStart(2 * suite.coordinateBytes, '0'), 'hex');
}

/** Of all that Node takes as a key, a PEM string is the fastest: 15 µs a public key, 20 a private one; as DER, 37 and 53. */
function pemOf(label: string, der: Buffer): string {
  return `-----BEGIN ${label}-----\n${der.toString('base64')}\n-----END ${label}-----\n`;
}

function asBuffer(octets: Uint8Array): Buffer {
  return Buffer.from(octets.buffer, octets.byteOffset, octets.length);
}
