import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import {
  addAffine,
  allToAffine,
  differencesAndSums,
  double,
  infinity,
  toAffine,
} from '../../cms/jacobian.ts';
import type { Curve, JacobianPoint } from '../../cms/jacobian.ts';
import { suiteOf } from '../../cms/suite.ts';
import type { CurvePoint, Suite } from '../../cms/suite.ts';
import { curveNames } from '../../pki/certificate.ts';

for (const curveName of curveNames) {
  const suite = suiteOf(curveName);
  const { p, a } = suite.Point.CURVE();
  const curve: Curve = { p, a };
  const scalar = fc.bigInt(1n, suite.order - 1n);
  // Any z stands for the same point, and a coordinate may be negative.
  const factor = fc.bigInt(1n - p, p - 1n).filter((z) => z !== 0n);

  test(`jacobian: double and addAffine equal noble's, ${curveName}`, () => {
    fc.assert(
      fc.property(scalar, scalar, factor, (left, right, z) => {
        const [one, other] = [times(suite, left), times(suite, right)];
        const scaled = jacobianOf(curve, one, z);
        assert.deepEqual(toAffine(curve, double(curve, scaled)), affineOf(one.double()));
        assert.deepEqual(
          toAffine(curve, addAffine(curve, scaled, other.toAffine())),
          affineOf(one.add(other)),
        );
      }),
      { numRuns: 20 },
    );
  });

  test(`jacobian: a point and itself, its opposite, and infinity, ${curveName}`, () => {
    fc.assert(
      fc.property(scalar, factor, (multiple, z) => {
        const point = times(suite, multiple);
        const scaled = jacobianOf(curve, point, z);
        const doubled = addAffine(curve, scaled, point.toAffine());
        assert.deepEqual(toAffine(curve, doubled), affineOf(point.double()));
        const cancelled = addAffine(curve, scaled, point.negate().toAffine());
        assert.equal(toAffine(curve, cancelled), undefined);
        assert.equal(toAffine(curve, double(curve, cancelled)), undefined);
        for (const zero of [infinity, cancelled, double(curve, cancelled)]) {
          assert.deepEqual(toAffine(curve, addAffine(curve, zero, point.toAffine())), point.toAffine());
        }
      }),
      { numRuns: 20 },
    );
  });

  test(`jacobian: many points at once equal one after the other, ${curveName}`, () => {
    const multiples = [2n, 3n, 5n, suite.order - 7n];
    const points = multiples.map((multiple) => times(suite, multiple));
    const scaled = points.map((point, index) => jacobianOf(curve, point, BigInt(index) - 9n));
    const affine = points.map((point) => point.toAffine());
    assert.deepEqual(allToAffine(curve, scaled), affine);
    const other = times(suite, 11n);
    assert.deepEqual(
      differencesAndSums(curve, affine, other.toAffine()),
      points.flatMap((point) => [point.subtract(other).toAffine(), point.add(other).toAffine()]),
    );
    // What has no inverse would spoil the others.
    assert.throws(() => differencesAndSums(curve, affine, times(suite, 3n).toAffine()), {
      code: 'ERR_ASSERTION',
    });
    assert.throws(() => allToAffine(curve, [...scaled, infinity]), { code: 'ERR_ASSERTION' });
  });
}

function times(suite: Suite, scalar: bigint): CurvePoint {
  return suite.Point.BASE.multiply(scalar);
}

function affineOf(point: CurvePoint): { x: bigint; y: bigint } | undefined {
  return point.is0() ? undefined : point.toAffine();
}

function jacobianOf({ p }: Curve, point: CurvePoint, z: bigint): JacobianPoint {
  const { x, y } = point.toAffine();
  return { x: (x * z * z) % p, y: (y * z * z * z) % p, z };
}
