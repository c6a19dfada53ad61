/**
 * Arithmetic of points on y² = x³ + ax + b over a prime field, in Jacobian coordinates: (x/z², y/z³), z = 0 at infinity.
 *
 * Two to three times as fast as the complete formulas of @noble/curves, at the price of cases: each is handled where it
 * arises. Not constant in time: public values only. A product is reduced and a sum is not, so a coordinate may be
 * negative, and is less than p in size. The formulas are from Bernstein and Lange's Explicit-Formulas Database,
 * https://hyperelliptic.org/EFD/g1p/auto-shortw-jacobian.html, under the names given below.
 */
import assert from 'node:assert/strict';
import { invert, mod } from '@noble/curves/abstract/modular.js';

export interface AffinePoint {
  readonly x: bigint;
  readonly y: bigint;
}

export interface JacobianPoint extends AffinePoint {
  readonly z: bigint;
}

/** Of which all points but infinity have one odd prime order. */
export interface Curve {
  readonly p: bigint;
  /** From 0 to p − 1. */
  readonly a: bigint;
}

export const infinity: JacobianPoint = { x: 1n, y: 1n, z: 0n };

/** dbl-1998-cmo-2, with α as in dbl-2001-b where a = −3; infinity stays infinity, and nothing else becomes it. */
export function double({ p, a }: Curve, { x, y, z }: JacobianPoint): JacobianPoint {
  const yy = (y * y) % p;
  const zz = (z * z) % p;
  const beta = (4n * x * yy) % p;
  const alpha = (a === p - 3n ? 3n * (x - zz) * (x + zz) : 3n * x * x + a * ((zz * zz) % p)) % p;
  const doubledX = (alpha * alpha - 2n * beta) % p;
  return {
    x: doubledX,
    y: (alpha * (beta - doubledX) - 8n * yy * yy) % p,
    z: (2n * y * z) % p,
  };
}

/** madd-2004-hmv */
export function addAffine(curve: Curve, left: JacobianPoint, right: AffinePoint): JacobianPoint {
  const { p } = curve;
  const { x, y, z } = left;
  if (z === 0n) return { ...right, z: 1n };
  const zz = (z * z) % p;
  const h = ((right.x * zz) % p) - x;
  const r = ((((right.y * z) % p) * zz) % p) - y;
  const sumZ = (z * h) % p;
  // The same x: the same point, or its opposite.
  if (sumZ === 0n) return r % p === 0n ? double(curve, left) : infinity;
  const hh = (h * h) % p;
  const hhh = (h * hh) % p;
  const v = (x * hh) % p;
  const sumX = (r * r - hhh - 2n * v) % p;
  return { x: sumX, y: (r * (v - sumX) - y * hhh) % p, z: sumZ };
}

/** @returns coordinates from 0 to p − 1; undefined for infinity */
export function toAffine(curve: Curve, point: JacobianPoint): AffinePoint | undefined {
  return point.z === 0n ? undefined : scaled(curve, point, invert(point.z, curve.p));
}

/** The same for many, none of which is infinity, with one inversion in all. */
export function allToAffine(curve: Curve, points: readonly JacobianPoint[]): readonly AffinePoint[] {
  return withInverses(curve, points, ({ z }) => z).map(({ item, inverse }) => scaled(curve, item, inverse));
}

/**
 * Difference and sum of every one of `points` and `other`, in affine coordinates with one inversion in all.
 *
 * @param points - of which none is `other`, or its opposite
 * @returns point − other, point + other, for one point after the other
 */
export function differencesAndSums(
  curve: Curve,
  points: readonly AffinePoint[],
  other: AffinePoint,
): readonly AffinePoint[] {
  const { p } = curve;
  return withInverses(curve, points, ({ x }) => x - other.x).flatMap(({ item: { x, y }, inverse }) =>
    [-other.y, other.y].map((otherY) => {
      const slope = ((y - otherY) * inverse) % p;
      const sumX = mod(slope * slope - x - other.x, p);
      return { x: sumX, y: mod(slope * (x - sumX) - y, p) };
    }),
  );
}

function scaled({ p }: Curve, { x, y }: JacobianPoint, inverseZ: bigint): AffinePoint {
  const squared = (inverseZ * inverseZ) % p;
  return { x: mod(x * squared, p), y: mod(y * ((squared * inverseZ) % p), p) };
}

/** Montgomery's trick: the inverse of the product, and from it, going back, that of each factor. */
function withInverses<Item>(
  { p }: Curve,
  items: readonly Item[],
  valueOf: (item: Item) => bigint,
): readonly { readonly item: Item; readonly inverse: bigint }[] {
  let product = 1n;
  const factors = items.map((item) => {
    const [value, before] = [valueOf(item), product];
    product = (product * value) % p;
    return { item, value, before };
  });
  assert.notEqual(product, 0n, 'a point that has no inverse');
  let rest = invert(product, p);
  const inverted = factors.toReversed().map(({ item, value, before }) => {
    const inverse = (rest * before) % p;
    rest = (rest * value) % p;
    return { item, inverse };
  });
  return inverted.toReversed();
}
