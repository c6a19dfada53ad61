import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import test from 'node:test';
import { basePointTimes, encodePoint, randomScalar, readScalar, writeScalar } from '../../cms/ecdh.ts';
import { portableEngine } from '../../cms/portable-engine.ts';
import { suiteOf } from '../../cms/suite.ts';
import type { Suite } from '../../cms/suite.ts';
import { wasmEngine } from '../../cms/wasm/wasm-engine.ts';
import { curveNames } from '../../pki/certificate.ts';
import type { CurveName } from '../../pki/certificate.ts';

// A million a night (PLOMBE_NIGHTLY=1), thousands otherwise; one input is one agreement on both sides by both engines.
const isNightly = process.env['PLOMBE_NIGHTLY'] === '1';
const randomRounds: Readonly<Record<CurveName, number>> = {
  'P-256': 1_200,
  'P-384': 300,
  'P-521': 150,
  brainpoolP256r1: 300,
  brainpoolP384r1: 150,
  brainpoolP512r1: 100,
};

for (const curve of curveNames) {
  const suite = suiteOf(curve);
  const [fast, portable] = [wasmEngine(suite), portableEngine(suite)];
  const { Fn, BASE } = suite.Point;

  test(`wasmEngine: agrees with the portable one on random keys, ${curve}`, () => {
    let [d, v] = [randomScalar(suite, randomBytes), randomScalar(suite, randomBytes)];
    for (let round = 0; round < (isNightly ? 166_667 : randomRounds[curve]); round++) {
      // Static keys stay for a while, as they do in the field, so that tables are used more than once.
      if (round % 10 === 0) [d, v] = [randomScalar(suite, randomBytes), randomScalar(suite, randomBytes)];
      requireAgreement(d, randomScalar(suite, randomBytes), v);
    }
  });

  test(`wasmEngine: agrees with the portable one on edge cases, ${curve}`, () => {
    const half = 1n << BigInt(suite.halfBits);
    const scalars = [1n, 2n, 3n, 31n, 32n, 33n, half - 1n, half, half + 1n]
      .flatMap((scalar) => [scalar, suite.order - scalar])
      .map((scalar) => writeScalar(suite, scalar));
    const [d, v] = [randomScalar(suite, randomBytes), randomScalar(suite, randomBytes)];
    for (const scalar of scalars) {
      requireAgreement(scalar, randomScalar(suite, randomBytes), v);
      requireAgreement(d, scalar, v);
      requireAgreement(d, randomScalar(suite, randomBytes), scalar);
      requireAgreement(scalar, scalar, scalar);
    }
  });

  test(`wasmEngine: an ephemeral key that is a multiple of a static one, exceptions of the formulas, ${curve}`, () => {
    const [d, v] = [randomScalar(suite, randomBytes), randomScalar(suite, randomBytes)];
    const multiples = [1n, 2n, 3n, 4n, 5n, 8n, 15n, 16n, 17n, 31n, 32n].flatMap((multiple) => [
      multiple,
      -multiple,
    ]);
    for (const multiple of multiples) {
      for (const base of [d, v]) {
        const e = writeScalar(suite, Fn.create(multiple * readScalar(base)));
        requireAgreement(d, e, v);
        requireAgreement(d, e, d);
      }
    }
    // E = m·Q, where the sum of E and avf(E)·Q doubles, cancels, or comes next to that: Q = E/m.
    const e = randomScalar(suite, randomBytes);
    const x = readScalar(basePointTimes(suite, e).subarray(1, 1 + suite.coordinateBytes));
    const top = 1n << BigInt(suite.halfBits);
    const avf = (x & (top - 1n)) | top;
    for (const m of [avf, avf + 1n, avf - 1n, 2n * avf].flatMap((multiple) => [multiple, -multiple])) {
      const near = Fn.mul(readScalar(e), Fn.inv(Fn.create(m)));
      requireAgreement(writeScalar(suite, near), e, v);
    }
  });

  test(`wasmEngine: a hundred recipients at once, the same table twice, ${curve}`, () => {
    const [d, e] = [randomScalar(suite, randomBytes), randomScalar(suite, randomBytes)];
    const base = BASE.multiply(readScalar(randomScalar(suite, randomBytes)));
    const points: Buffer[] = [];
    for (let point = base; points.length < 99; point = point.add(BASE)) {
      points.push(encodePoint(suite, point.toAffine()));
    }
    points.push(points[0] ?? Buffer.alloc(0));
    const sent = fast.send(d, e, points);
    assert.equal(sent?.secrets.length, 100);
    const chosen = [0, 1, 47, 48, 49, 98, 99];
    const expected = portable.send(
      d,
      e,
      chosen.map((index) => points[index] ?? Buffer.alloc(0)),
    );
    assert.deepEqual(
      chosen.map((index) => sent?.secrets[index]),
      expected?.secrets,
    );
    assert.deepEqual(sent?.secrets[99], sent?.secrets[0]);
  });

  /** Both sides by both engines: one result. */
  function requireAgreement(d: Buffer, e: Buffer, v: Buffer): void {
    const label = [d, e, v].map((scalar) => scalar.toString('hex')).join(' ');
    const recipient = basePointTimes(suite, v);
    const expected = portable.send(d, e, [recipient]);
    const sent = fast.send(d, e, [recipient]);
    assert.deepEqual(sent, expected, label);
    if (sent === undefined) return;
    const received = fast.receiver(v, recipient)(basePointTimes(suite, d), sent.ephemeralPoint);
    assert.deepEqual(received, sent.secrets[0], label);
  }
}

test('wasmEngine: more recipients and originators than are kept give way to each other', () => {
  const suite: Suite = suiteOf('P-256');
  const engine = wasmEngine(suite);
  const [d, v] = [randomScalar(suite, randomBytes), randomScalar(suite, randomBytes)];
  const own = basePointTimes(suite, v);
  let point = suite.Point.BASE.multiply(readScalar(d));
  const points: Buffer[] = [];
  for (let count = 0; count < 1100; count++) {
    points.push(encodePoint(suite, point.toAffine()));
    point = point.add(suite.Point.BASE);
  }
  const e = randomScalar(suite, randomBytes);
  const first = engine.send(v, e, points.slice(0, 1));
  for (let from = 0; from < points.length; from += 100) engine.send(v, e, points.slice(from, from + 100));
  assert.deepEqual(engine.send(v, e, points.slice(0, 1)), first);
  assert.deepEqual(
    engine.receiver(d, points[0] ?? own)(own, first?.ephemeralPoint ?? own),
    first?.secrets[0],
  );
});
