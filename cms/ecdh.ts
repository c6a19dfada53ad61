/** Points and scalars of one curve, and OpenSSL's multiplication of the one by the other. */
import assert from 'node:assert/strict';
import { createECDH, createPrivateKey, createPublicKey, diffieHellman } from 'node:crypto';
import type { ECDH, KeyObject } from 'node:crypto';
import { derTag, readOnly } from '../pki/der.ts';
import { derBitString, derInteger, derOctetString, derSequence } from '../pki/der-writer.ts';
import { derExplicit, derOid } from './der-writer.ts';
import { CmsError, rejected } from './errors.ts';
import type { Random } from './random.ts';
import type { CurvePoint, Suite } from './suite.ts';

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
export function encodePoint(suite: Suite, { x, y }: { readonly x: bigint; readonly y: bigint }): Buffer {
  return Buffer.concat([Buffer.of(4), writeScalar(suite, x), writeScalar(suite, y)]);
}

/**
 * A point from outside in the form that we compute with.
 *
 * @param octets - SEC 1, compressed or uncompressed; one that is uncompressed is not checked any further
 * @throws CmsError `cms.rejected` as `decodePoint` does
 */
export function uncompressed(suite: Suite, octets: Uint8Array): Uint8Array {
  return octets[0] === 4 ? octets : encodePoint(suite, decodePoint(suite, octets));
}

/** A uniform scalar from 1 to n − 1, by drawing again (FIPS 186-5 A.2.2); the caller erases it. */
export function randomScalar(suite: Suite, random: Random): Buffer {
  const bits = suite.order.toString(2).length;
  const order = writeScalar(suite, suite.order);
  for (let draw = 0; draw < scalarDrawsMax; draw++) {
    const octets = random(suite.coordinateBytes);
    const excessBits = 8 * suite.coordinateBytes - bits;
    octets.writeUInt8(octets.readUInt8(0) & (0xff >> excessBits), 0);
    if (isBelow(octets, order) && !octets.every((octet) => octet === 0)) return octets;
  }
  throw new Error(`the random source gave no scalar for ${suite.curve} in ${scalarDrawsMax} draws`);
}

/** Compares big-endian integers of one length, looking at every octet. */
function isBelow(left: Buffer, right: Buffer): boolean {
  let borrow = 0;
  for (let at = left.length - 1; at >= 0; at--) {
    borrow = (left.readUInt8(at) - right.readUInt8(at) + borrow) >> 8;
  }
  return borrow < 0;
}

/**
 * @param scalar - big-endian, as long as a coordinate
 * @returns scalar · G, SEC 1 uncompressed
 */
export function basePointTimes(suite: Suite, scalar: Uint8Array): Buffer {
  let exchange = exchanges.get(suite);
  if (exchange === undefined) {
    exchange = createECDH(suite.nativeName);
    exchanges.set(suite, exchange);
  }
  exchange.setPrivateKey(scalar);
  return exchange.getPublicKey();
}

// One a curve, so that of all scalars only the last stays in memory that nobody can erase.
const exchanges = new Map<Suite, ECDH>();

/** @param point - SEC 1 uncompressed; OpenSSL checks that it is on the curve */
export function publicKeyOf(suite: Suite, point: Uint8Array): KeyObject {
  return createPublicKey(pemOf('PUBLIC KEY', derSequence(suite.publicKeyAlgorithm, derBitString(point))));
}

/** @param scalar - big-endian, as long as a coordinate, from 1 to n − 1 */
export function privateKeyOf(suite: Suite, scalar: Uint8Array): KeyObject {
  // RFC 5915 §3, without the public key: OpenSSL computes it.
  const der = derSequence(derInteger(1), derOctetString(scalar), derExplicit(0, derOid(suite.curveOid)));
  try {
    return createPrivateKey({ key: der, format: 'der', type: 'sec1' });
  } finally {
    der.fill(0);
  }
}

/**
 * @returns big-endian, as long as a coordinate
 * @throws CmsError `cms.unsupported` if the key is not a private key on the suite's curve
 */
export function scalarOf(suite: Suite, key: KeyObject): Buffer {
  if (key.type !== 'private' || key.asymmetricKeyDetails?.namedCurve !== suite.nativeName) {
    throw new CmsError(
      'cms.unsupported',
      `the private key is not on ${suite.curve}, as its certificate says`,
    );
  }
  const der = key.export({ type: 'sec1', format: 'der' });
  try {
    const fields = readOnly(der, derTag.sequence, 'private key').inside();
    fields.take(derTag.integer, 'version');
    const { content } = fields.take(derTag.octetString, 'private key');
    // RFC 5915 §3: as long as the order, which is as long as a coordinate.
    assert.equal(content.length, suite.coordinateBytes);
    return Buffer.from(content);
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

/** Of all that Node takes as a public key, a PEM string is the fastest: 15 µs; as DER, 37. */
function pemOf(label: string, der: Buffer): string {
  return `-----BEGIN ${label}-----\n${der.toString('base64')}\n-----END ${label}-----\n`;
}

function asBuffer(octets: Uint8Array): Buffer {
  return Buffer.from(octets.buffer, octets.byteOffset, octets.length);
}
