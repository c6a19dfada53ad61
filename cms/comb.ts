/**
 * Multiplies one fixed point by many short public scalars: Lim and Lee's comb ("More flexible exponentiation with
 * precomputation", CRYPTO '94).
 *
 * The scalar's bits are laid out in rows of equal length, one row per tooth, and the rows are cut into blocks. For each
 * block a table holds the sum of every subset of the rows' base points, so each column of a block costs one doubling,
 * and one addition per block. Not constant in time: public values only. Points are added with the complete formulas of
 * @noble/curves, so no sum of two points is exceptional.
 */
import { normalizeZ } from '@noble/curves/abstract/curve.js';
import type { CurvePoint, Suite } from './suite.ts';

// On P-256: 126 points, about 20 KiB, made in 1.3 ms; 0.16 ms for a product, against 0.78 ms without a table.
const teeth = 6;
const blocks = 2;

export interface Comb {
  readonly suite: Suite;
  /** Per block. */
  readonly columns: number;
  /** Per block, the lowest first: at index `rows` (a bit per tooth) the sum of those teeth's base points. */
  readonly tables: readonly (readonly CurvePoint[])[];
}

/** @param bits - the length of the longest scalar */
export function makeComb(suite: Suite, point: CurvePoint, bits: number): Comb {
  const columns = Math.ceil(bits / (teeth * blocks));
  const tables: CurvePoint[][] = Array.from({ length: blocks }, () => [suite.Point.ZERO]);
  let base = point;
  for (let tooth = 0; tooth < teeth; tooth++) {
    for (const table of tables) {
      for (const sum of table.slice()) table.push(sum.add(base));
      for (let column = 0; column < columns; column++) base = base.double();
    }
  }
  return { suite, columns, tables: tables.map((table) => normalizeZ(suite.Point, table)) };
}

/** @returns scalar · point, for a scalar of at most the comb's bits */
export function combTimes(comb: Comb, scalar: bigint): CurvePoint {
  const { columns, tables, suite } = comb;
  const rowBits = columns * blocks;
  const digits = scalar.toString(2).padStart(teeth * rowBits, '0');
  if (digits.length > teeth * rowBits) throw new RangeError(`a scalar of more than ${teeth * rowBits} bits`);
  let product = suite.Point.ZERO;
  for (let column = columns - 1; column >= 0; column--) {
    product = product.double();
    for (let block = 0; block < blocks; block++) {
      const sum = tables[block]?.[rowsAt(digits, rowBits, block * columns + column)];
      if (sum !== undefined) product = product.add(sum);
    }
  }
  return product;
}

/** @returns the bits at `position` (0 the lowest) of every row, the highest row's first */
function rowsAt(digits: string, rowBits: number, position: number): number {
  let rows = 0;
  for (let row = 1; row <= teeth; row++)
    rows = (rows << 1) | (digits.charCodeAt(row * rowBits - 1 - position) - 48);
  return rows;
}
