import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { suiteOf } from '../../../cms/suite.ts';
import { curveNames } from '../../../pki/certificate.ts';
import type { CurveName } from '../../../pki/certificate.ts';
import { compileCurve } from '../../../scripts/wasm/compile.ts';

// The field arithmetic alone, with an area for three operands and the result.
const entry = `
  export { multiply, square, multiplyScalars, canonical, canonicalScalar, add, subtract,
    nineLessEight, fourLess, threeLessEight, less, lessLessTwice, LIMBS, WIDTH } from './curve';
  export const area: usize = memory.data(4096, 16);
`;

type Operation = (out: number, ...operands: number[]) => void;
type Operations = Readonly<Record<OperationName, Operation>>;
type OperationName =
  | 'multiply'
  | 'square'
  | 'multiplyScalars'
  | 'canonical'
  | 'canonicalScalar'
  | 'nineLessEight'
  | 'fourLess'
  | 'threeLessEight'
  | 'less'
  | 'lessLessTwice';
interface FieldModule extends Operations {
  readonly memory: WebAssembly.Memory;
  readonly area: WebAssembly.Global<'i32'>;
  readonly LIMBS: WebAssembly.Global<'i32'>;
  readonly WIDTH: WebAssembly.Global<'i32'>;
}
type Limbs = readonly number[];

class Field {
  readonly #module: FieldModule;
  readonly limbs: number;
  readonly width: number;

  constructor(module: FieldModule) {
    this.#module = module;
    this.limbs = module.LIMBS.value;
    this.width = module.WIDTH.value;
  }

  run(name: OperationName, ...operands: readonly Limbs[]): Limbs {
    const { memory, area } = this.#module;
    const view = new Int32Array(memory.buffer, area.value, 4 * 32);
    for (const [index, operand] of operands.entries()) view.set(operand, 32 * (index + 1));
    const addresses = operands.map((_, index) => area.value + 128 * (index + 1));
    this.#module[name](area.value, ...addresses);
    return [...view.subarray(0, this.limbs)];
  }

  valueOf(limbs: Limbs): bigint {
    return limbs.reduceRight((sum, limb) => (sum << BigInt(this.width)) + BigInt(limb), 0n);
  }

  /** The limbs of a value that is not below −2^bits: all but the highest are not negative. */
  limbsOf(value: bigint): Limbs {
    return Array.from({ length: this.limbs }, (_, index) => {
      const rest = value >> BigInt(index * this.width);
      return Number(index === this.limbs - 1 ? rest : BigInt.asUintN(this.width, rest));
    });
  }
}

async function fieldOf(curve: CurveName): Promise<Field> {
  const { binary } = await compileCurve(curve, entry);
  const { instance } = await WebAssembly.instantiate(binary as Uint8Array<ArrayBuffer>);
  return new Field(instance.exports as unknown as FieldModule);
}

for (const curve of curveNames) {
  test(`field: what is multiplied may be a sum or a difference, and the product is reduced, ${curve}`, async () => {
    const field = await fieldOf(curve);
    const { p } = suiteOf(curve).Point.CURVE();
    const r = 1n << BigInt(field.limbs * field.width);
    const reduced = reducedElements(field, p);
    const check = (name: 'multiply' | 'square', left: Limbs, right: Limbs): void => {
      const operands = name === 'square' ? [left] : [left, right];
      const product = field.run(name, ...operands);
      assert.equal(
        modulo(field.valueOf(product) * r, p),
        modulo(field.valueOf(left) * field.valueOf(right), p),
      );
      requireReduced(field, product, p);
    };
    fc.assert(
      fc.property(reduced, reduced, reduced, reduced, (a, b, c, d) => {
        const [difference, sum] = [combine(a, b, -1), combine(a, b, 1)];
        // As in `double` and `addAffine`: (x − δ)·(x + δ), 2y·z, r², r·(v − x), and negated table entries.
        check('multiply', difference, sum);
        check('multiply', combine(a, a, 1), c);
        check('multiply', difference, combine(c, d, -1));
        check(
          'multiply',
          a,
          c.map((limb) => -limb),
        );
        check('square', difference, difference);
        check('square', a, a);
      }),
      { numRuns: 300 },
    );
  });

  test(`field: linear combinations are reduced, ${curve}`, async () => {
    const field = await fieldOf(curve);
    const { p } = suiteOf(curve).Point.CURVE();
    const reduced = reducedElements(field, p);
    const combinations: readonly (readonly [OperationName, readonly bigint[]])[] = [
      ['nineLessEight', [9n, -8n]],
      ['fourLess', [4n, -1n]],
      ['threeLessEight', [3n, -8n]],
      ['less', [1n, -1n]],
      ['lessLessTwice', [1n, -1n, -2n]],
    ];
    fc.assert(
      fc.property(fc.tuple(reduced, reduced, reduced), (operands) => {
        for (const [name, factors] of combinations) {
          const taken = operands.slice(0, factors.length);
          const expected = taken.reduce(
            (sum, operand, index) => sum + field.valueOf(operand) * (factors[index] ?? 0n),
            0n,
          );
          const found = field.run(name, ...taken);
          assert.equal(modulo(field.valueOf(found), p), modulo(expected, p), name);
          requireReduced(field, found, p);
        }
        const canonical = field.run('canonical', operands[0]);
        assert.equal(field.valueOf(canonical), modulo(field.valueOf(operands[0]), p));
        assert.deepEqual(canonical, field.limbsOf(modulo(field.valueOf(operands[0]), p)));
      }),
      { numRuns: 300 },
    );
  });

  test(`field: scalars are multiplied and made canonical modulo n, ${curve}`, async () => {
    const field = await fieldOf(curve);
    const { order } = suiteOf(curve);
    const r = 1n << BigInt(field.limbs * field.width);
    const scalar = fc.oneof(
      fc.bigInt(0n, order - 1n),
      fc.constantFrom(0n, 1n, order - 1n, order >> 1n, (order >> 1n) + 1n),
    );
    fc.assert(
      fc.property(scalar, scalar, (a, b) => {
        const product = field.run('multiplyScalars', field.limbsOf(a), field.limbsOf(b));
        assert.equal(modulo(field.valueOf(product) * r, order), modulo(a * b, order));
        assert.equal(
          field.valueOf(field.run('canonicalScalar', product)),
          modulo(field.valueOf(product), order),
        );
        const sum = combine(field.limbsOf(a), field.limbsOf(b), 1);
        assert.equal(field.valueOf(field.run('canonicalScalar', sum)), (a + b) % order);
      }),
      { numRuns: 300 },
    );
  });
}

/** Any limbs that a reduced element may have, with the largest and the smallest often. */
function reducedElements(field: Field, p: bigint): fc.Arbitrary<Limbs> {
  const limb = fc.oneof(fc.constantFrom(0, 2 ** field.width - 1), fc.nat(2 ** field.width - 1));
  const pattern = fc.array(limb, { minLength: field.limbs - 1, maxLength: field.limbs - 1 }).chain((low) => {
    const lowest = field.valueOf([...low, 0]);
    const unit = 1n << BigInt(field.width * (field.limbs - 1));
    const tops = [-p, 2n * p].map((bound) => Number((bound - lowest) / unit));
    return fc.integer({ min: (tops[0] ?? 0) + 1, max: (tops[1] ?? 0) - 1 }).map((top) => [...low, top]);
  });
  const edge = fc
    .constantFrom(0n, 1n, p - 1n, p, p + 1n, 2n * p - 1n, -1n, 1n - p)
    .map((value) => field.limbsOf(value));
  return fc.oneof({ weight: 4, arbitrary: pattern }, { weight: 1, arbitrary: edge });
}

function requireReduced(field: Field, limbs: Limbs, p: bigint): void {
  const value = field.valueOf(limbs);
  assert.ok(value > -p && value < 2n * p, `${value}`);
  for (const limb of limbs.slice(0, -1)) assert.ok(limb >= 0 && limb < 2 ** field.width, `limb ${limb}`);
}

function combine(left: Limbs, right: Limbs, factor: 1 | -1): Limbs {
  return left.map((limb, index) => limb + factor * (right[index] ?? 0));
}

function modulo(value: bigint, modulus: bigint): bigint {
  const rest = value % modulus;
  return rest < 0n ? rest + modulus : rest;
}
