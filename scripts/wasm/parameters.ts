/** What the WebAssembly of a curve is made from, with noble's constants as the source. */
import type { Suite } from '../../cms/suite.ts';

/**
 * A curve y² = x³ + ax + b whose cofactor is 1.
 *
 * Doubling is cheaper with a = −3, which the NIST curves have. Each of the brainpool "r1" curves has a twist that does
 * (RFC 5639 §3, "t1"), onto which (x, y) goes as (x·u², y·u³), so that a·u⁴ = −3.
 */
export interface CurveParameters {
  readonly p: bigint;
  readonly n: bigint;
  /** Of p, and of n. */
  readonly bits: number;
  readonly b: bigint;
  /** 1 if a is −3 already. */
  readonly u: bigint;
  /** p as a sum of signed powers of two, if it is a short one whose lowest term is −1: signs and exponents. */
  readonly sparse: readonly (readonly [1 | -1, number])[] | undefined;
}

/** FIPS 186-4 D.1.2: each prime was chosen for this form. */
const sparsePrimes: Readonly<Record<string, CurveParameters['sparse']>> = {
  'P-256': [
    [1, 256],
    [-1, 224],
    [1, 192],
    [1, 96],
    [-1, 0],
  ],
  'P-384': [
    [1, 384],
    [-1, 128],
    [-1, 96],
    [1, 32],
    [-1, 0],
  ],
  'P-521': [
    [1, 521],
    [-1, 0],
  ],
};

export function parametersOf({ curve, Point }: Suite): CurveParameters {
  const { p, n, a, b } = Point.CURVE();
  const { Fp } = Point;
  // A square root of a square root of −3/a; of the two square roots, the one that is a square itself.
  const minusThree = Fp.neg(3n);
  const square = Fp.sqrt(Fp.div(minusThree, a));
  const u = a === minusThree ? 1n : Fp.sqrt(isSquare(square, p) ? square : Fp.neg(square));
  return { p, n, bits: p.toString(2).length, b, u, sparse: sparsePrimes[curve] };
}

function isSquare(value: bigint, p: bigint): boolean {
  // Euler's criterion. All primes of ours are 3 modulo 4, so of a number and its opposite one is a square.
  let [result, base] = [1n, value];
  for (let rest = (p - 1n) / 2n; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = (result * base) % p;
    base = (base * base) % p;
  }
  return result === 1n;
}
