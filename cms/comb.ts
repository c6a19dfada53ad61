/**
 * Multiplies one fixed point by many short public scalars: Lim and Lee's comb ("More flexible exponentiation with
 * precomputation", CRYPTO '94).
 *
 * The scalar's bits are laid out in rows of equal length, one row per tooth. A table holds the sum of every subset of
 * the rows' base points, so each column costs one doubling and one addition. Not constant in time: public values only.
 * Points are added with the complete formulas of @noble/curves, so no sum of two points is exceptional.
 */
import { normalizeZ } from '@noble/curves/abstract/curve.js';
import type { CurvePoint, Suite } from './suite.ts';

/** 63 points: about 10 KiB and 1.3 ms to make on P-256, paid back by the second multiplication. */
const teeth = 6;

export interface Comb {
  readonly suite: Suite;
  readonly columns: number;
  /** At index `rows` (a bit per tooth) the sum of those teeth's base points; at 0 infinity. */
  readonly sums: readonly CurvePoint[];
}

/** @param bits - the length of the longest scalar */
export function makeComb(suite: Suite, point: CurvePoint, bits: number): Comb {
  const columns = Math.ceil(bits / teeth);
  const sums = [suite.Point.ZERO];
  let base = point;
  for (let tooth = 0; tooth < teeth; tooth++) {
    for (const sum of sums.slice()) sums.push(sum.add(base));
    if (tooth + 1 < teeth) for (let column = 0; column < columns; column++) base = base.double();
  }
  return { suite, columns, sums: normalizeZ(suite.Point, sums) };
}

/** @returns scalar · point, for a scalar of at most the comb's bits */
export function combTimes(comb: Comb, scalar: bigint): CurvePoint {
  const { columns, sums } = comb;
  const digits = scalar.toString(2).padStart(teeth * columns, '0');
  let product = comb.suite.Point.ZERO;
  for (let column = 0; column < columns; column++) {
    product = product.double();
    let rows = 0;
    for (let row = 0; row < teeth; row++) {
      rows = (rows << 1) | (digits.charCodeAt(row * columns + column) - 48);
    }
    const sum = sums[rows];
    if (sum === undefined) throw new RangeError(`a scalar of more than ${teeth * columns} bits`);
    if (rows !== 0) product = product.add(sum);
  }
  return product;
}
