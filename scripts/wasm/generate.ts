/**
 * Writes the AssemblyScript of one curve's field arithmetic, every loop unrolled; `assembly/engine.ts` is built on it.
 *
 * A field element is `limbs` signed limbs of `width` bits, 32 bits of memory each, in Montgomery form ("Modular
 * multiplication without trial division", 1985) with R = 2^(limbs·width). Because limbs have signs, a difference is taken
 * limb by limb without a carry, and so is a negation. Elements are
 *
 * - reduced: what a product and a linear combination give. Every limb but the top one is from 0 to 2^width − 1, and the
 *   value is between −p and 2p;
 * - lazy: the sum or difference of two reduced ones, never stored but to be multiplied. A lazy limb is below
 *   2^(width+1), the sum of `limbs` products stays below 2^63, and R is 32 times p at least, so the product is reduced.
 *
 * No branch and no address depends on a value: all of it takes the same time for all values, as far as the processor
 * multiplies in constant time.
 */
import type { CurveParameters } from './parameters.ts';

interface Shape {
  readonly limbs: number;
  readonly width: number;
}

/** @returns the source of the module `curve` that `assembly/engine.ts` imports */
export function generateCurve(parameters: CurveParameters): string {
  const { p, n, bits } = parameters;
  const shape = bits === 256 ? { limbs: 9, width: 29 } : { limbs: Math.ceil((bits + 5) / 28), width: 28 };
  const constants = constantsOf(parameters, shape);
  return [
    `export const LIMBS: i32 = ${shape.limbs};`,
    `export const WIDTH: i32 = ${shape.width};`,
    `export const BITS: i32 = ${bits};`,
    `export const COORDINATE_BYTES: i32 = ${Math.ceil(bits / 8)};`,
    `const MASK: i64 = ${(1 << shape.width) - 1};`,
    ...Object.entries(constants).map(([name, value]) => staticLimbs(name, value, shape)),
    additionChain('INVERSION', p - 2n),
    multiplication('multiply', p, parameters.sparse, shape),
    squaring('square', p, parameters.sparse, shape),
    multiplication('multiplyScalars', n, undefined, shape),
    canonicalForm('canonical', p, shape),
    canonicalForm('canonicalScalar', n, shape),
    limbwise('add', '+', shape),
    limbwise('subtract', '-', shape),
    combination('nineLessEight', [9, -8], parameters, shape),
    combination('fourLess', [4, -1], parameters, shape),
    combination('threeLessEight', [3, -8], parameters, shape),
    combination('less', [1, -1], parameters, shape),
    combination('lessLessTwice', [1, -1, -2], parameters, shape),
    '',
  ].join('\n');
}

/** As `CurveParameters` says, the curve is computed with as y² = x³ − 3x + b·u⁶, where (x, y) is (x·u², y·u³). */
function constantsOf({ p, n, b, u }: CurveParameters, { limbs, width }: Shape): Record<string, bigint> {
  const r = 1n << BigInt(limbs * width);
  const uu = (u * u) % p;
  const inverse = power(u, p - 2n, p);
  const inverseSquare = (inverse * inverse) % p;
  return {
    MODULUS: p,
    ORDER: n,
    ONE: r % p,
    B: (b * uu * uu * uu * r) % p,
    IMPORT_X: (uu * r * r) % p,
    IMPORT_Y: (uu * u * r * r) % p,
    EXPORT_X: inverseSquare,
    EXPORT_Y: (inverseSquare * inverse) % p,
    IMPORT_SCALAR: (r * r) % n,
  };
}

function staticLimbs(name: string, value: bigint, shape: Shape): string {
  return `export const ${name}: usize = memory.data<i32>([${limbsOf(value, shape).join(', ')}], 16);`;
}

/**
 * How to raise to a power that is no secret, as a list of steps (from, squarings, by, to): slot[to] = slot[from] squared so
 * often · slot[by]. Slot 0 has the base, the last one the result. The exponent is taken run of ones by run of ones; the
 * power 2^length − 1 that a run takes is made of shorter ones.
 */
function additionChain(name: string, exponent: bigint): string {
  const steps: number[] = [];
  const slots = new Map([[1, 0]]);
  const slotOf = (length: number): number => {
    const known = slots.get(length);
    if (known !== undefined) return known;
    // x to the 2^length − 1, from half of that twice, or from one less and x.
    const part = length % 2 === 0 ? length / 2 : 1;
    const [from, by] = [slotOf(length - part), slotOf(part)];
    const to = slots.size;
    slots.set(length, to);
    steps.push(from, part, by, to);
    return to;
  };
  const runs = [...exponent.toString(2).matchAll(/0*1+/g)].map(([run]) => ({
    zeros: run.indexOf('1'),
    ones: run.length - run.indexOf('1'),
  }));
  for (const { ones } of runs) slotOf(ones);
  const result = slots.size;
  const [first, ...rest] = runs;
  // Nothing before the first run: its power is the result so far.
  let from = slotOf(first?.ones ?? 1);
  for (const { zeros, ones } of rest) {
    steps.push(from, zeros + ones, slotOf(ones), result);
    from = result;
  }
  return [
    `export const ${name}_STEPS: i32 = ${steps.length / 4};`,
    `export const ${name}_SLOTS: i32 = ${result + 1};`,
    `export const ${name}: usize = memory.data<u16>([${steps.join(', ')}]);`,
  ].join('\n');
}

/** Columns of the product one after another (Comba, IBM Systems Journal 29, 1990), each reduced as soon as it is summed. */
function multiplication(
  name: string,
  modulus: bigint,
  sparse: CurveParameters['sparse'],
  shape: Shape,
): string {
  const column = (k: number): string[] =>
    range(shape.limbs)
      .filter((i) => k - i >= 0 && k - i < shape.limbs)
      .map((i) => `a${i} * b${k - i}`);
  return [
    `export function ${name}(out: usize, a: usize, b: usize): void {`,
    ...range(shape.limbs).map((i) => `  const a${i}: i64 = load<i32>(a, ${4 * i});`),
    ...range(shape.limbs).map((i) => `  const b${i}: i64 = load<i32>(b, ${4 * i});`),
    ...columns(column, modulus, sparse, shape),
    '}',
  ].join('\n');
}

function squaring(name: string, modulus: bigint, sparse: CurveParameters['sparse'], shape: Shape): string {
  const column = (k: number): string[] =>
    range(shape.limbs)
      .filter((i) => i <= k - i && k - i < shape.limbs)
      .map((i) => (i === k - i ? `a${i} * a${i}` : `twice${i} * a${k - i}`));
  return [
    `export function ${name}(out: usize, a: usize): void {`,
    ...range(shape.limbs).map((i) => `  const a${i}: i64 = load<i32>(a, ${4 * i});`),
    ...range(shape.limbs - 1).map((i) => `  const twice${i}: i64 = a${i} << 1;`),
    ...columns(column, modulus, sparse, shape),
    '}',
  ].join('\n');
}

function columns(
  column: (k: number) => string[],
  modulus: bigint,
  sparse: CurveParameters['sparse'],
  shape: Shape,
): string[] {
  const { limbs, width } = shape;
  const lines = ['  let sum: i64 = 0;'];
  const reduction = sparse === undefined ? denseReduction(modulus, shape) : sparseReduction(sparse, shape);
  for (let k = 0; k < 2 * limbs - 1; k++) {
    for (const term of [...column(k), ...reduction.terms(k)]) lines.push(`  sum += ${term};`);
    if (k < limbs) lines.push(...reduction.quotient(k));
    else lines.push(`  store<i32>(out, <i32>(sum & MASK), ${4 * (k - limbs)});`);
    lines.push(`  sum >>= ${width};`);
  }
  for (const term of reduction.terms(2 * limbs - 1)) lines.push(`  sum += ${term};`);
  lines.push(`  store<i32>(out, <i32>sum, ${4 * (limbs - 1)});`);
  return lines;
}

interface Reduction {
  /** What the multiples of the modulus chosen so far add to column k. */
  readonly terms: (k: number) => string[];
  /** Chooses the multiple that makes column k divisible by 2^width. */
  readonly quotient: (k: number) => string[];
}

function denseReduction(modulus: bigint, shape: Shape): Reduction {
  const digits = limbsOf(modulus, shape);
  const base = 1n << BigInt(shape.width);
  const factor = base - power(modulus % base, base / 2n - 1n, base);
  return {
    terms: (k) =>
      range(shape.limbs)
        .filter((i) => i < k && k - i < shape.limbs && digits[k - i] !== 0n)
        .map((i) => `q${i} * ${digits[k - i]}`),
    quotient: (k) => [`  const q${k}: i64 = (sum * ${factor}) & MASK;`, `  sum += q${k} * ${digits[0]};`],
  };
}

/** The lowest term of the modulus is −1, so the multiple is the low limb itself, and subtracting it is the shift alone. */
function sparseReduction(sparse: NonNullable<CurveParameters['sparse']>, { limbs, width }: Shape): Reduction {
  const high = sparse.filter(([, exponent]) => exponent > 0);
  return {
    terms: (k) =>
      high.flatMap(([sign, exponent]) => {
        const i = k - Math.floor(exponent / width);
        if (i < 0 || i >= limbs) return [];
        const shifted = `(q${i} << ${exponent % width})`;
        return [sign > 0 ? shifted : `-${shifted}`];
      }),
    quotient: (k) => [`  const q${k}: i64 = sum & MASK;`],
  };
}

/** From 0 to the modulus − 1, for values from −modulus to 2·modulus. */
function canonicalForm(name: string, modulus: bigint, shape: Shape): string {
  const { limbs, width } = shape;
  const digits = limbsOf(modulus, shape);
  const pass = (variable: string, term: (i: number) => string): string[] =>
    range(limbs).flatMap((i) => [
      `  carry += ${term(i)};`,
      i < limbs - 1 ? `  ${variable}${i} = carry & MASK;` : `  ${variable}${i} = carry;`,
      `  carry >>= ${i < limbs - 1 ? width : 63};`,
    ]);
  return [
    `export function ${name}(out: usize, a: usize): void {`,
    '  let carry: i64 = 0;',
    ...range(limbs).map((i) => `  let v${i}: i64 = 0;`),
    ...range(limbs).map((i) => `  let w${i}: i64 = 0;`),
    ...pass('v', (i) => `<i64>load<i32>(a, ${4 * i}) + ${digits[i]}`),
    ...range(2).flatMap(() => [
      '  carry = 0;',
      ...pass('w', (i) => `v${i} - ${digits[i]}`),
      // All ones if the subtraction went below zero: then what was before is kept.
      ...range(limbs).map((i) => `  v${i} = (v${i} & carry) | (w${i} & ~carry);`),
    ]),
    ...range(limbs).map((i) => `  store<i32>(out, <i32>v${i}, ${4 * i});`),
    '}',
  ].join('\n');
}

function limbwise(name: string, operator: '+' | '-', { limbs }: Shape): string {
  return [
    `export function ${name}(out: usize, a: usize, b: usize): void {`,
    ...range(limbs).map(
      (i) => `  store<i32>(out, load<i32>(a, ${4 * i}) ${operator} load<i32>(b, ${4 * i}), ${4 * i});`,
    ),
    '}',
  ].join('\n');
}

/**
 * A sum with small factors, reduced: the top limb tells how often the modulus is to be taken off, to within one. It is
 * multiplied by the reciprocal of the modulus, of which 50 binary places are enough for a top limb of 32 bits.
 */
function combination(name: string, factors: readonly number[], { p }: CurveParameters, shape: Shape): string {
  const { limbs, width } = shape;
  const operands = factors.map((_, index) => String.fromCodePoint(97 + index));
  const digits = limbsOf(p, shape);
  const top = limbs - 1;
  const sumAt = (i: number): string =>
    factors.map((factor, index) => `${factor} * <i64>load<i32>(${operands[index]}, ${4 * i})`).join(' + ');
  return [
    `export function ${name}(out: usize, ${operands.map((operand) => `${operand}: usize`).join(', ')}): void {`,
    `  let high: i64 = ${sumAt(top)};`,
    `  const times: i64 = (high * ${(1n << BigInt(width * top + 50)) / p}) >> 50;`,
    '  let carry: i64 = 0;',
    ...range(top).flatMap((i) => [
      `  carry += ${sumAt(i)}${digits[i] === 0n ? '' : ` - times * ${digits[i]}`};`,
      `  store<i32>(out, <i32>(carry & MASK), ${4 * i});`,
      `  carry >>= ${width};`,
    ]),
    `  high += carry - times * ${digits[top]};`,
    `  store<i32>(out, <i32>high, ${4 * top});`,
    '}',
  ].join('\n');
}

function limbsOf(value: bigint, { limbs, width }: Shape): bigint[] {
  return range(limbs).map((i) => BigInt.asUintN(width, value >> BigInt(i * width)));
}

function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let [result, square] = [1n, base % modulus];
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = (result * square) % modulus;
    square = (square * square) % modulus;
  }
  return result;
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}
