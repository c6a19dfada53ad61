import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { combTimesPlus, makeComb } from '../../cms/comb.ts';
import {
  basePointTimes,
  decodePoint,
  encodePoint,
  privateKeyOf,
  randomScalar,
  scalarOf,
  writeScalar,
} from '../../cms/ecdh.ts';
import { agreementKey, associateValue, createMqvRecipient, createMqvSender } from '../../cms/ecmqv.ts';
import type { AgreementKey } from '../../cms/ecmqv.ts';
import { suiteOf } from '../../cms/suite.ts';
import type { Suite } from '../../cms/suite.ts';
import { curveNames } from '../../pki/certificate.ts';
import type { CurveName } from '../../pki/certificate.ts';
import { rogueCertificate } from '../pki/rogue-authority.ts';
import { dataFolder } from './fixtures.ts';
import { makeIdentity } from './identities.ts';

interface Vector {
  readonly source: string;
  readonly curve: string;
  readonly U_static_priv: string | null;
  readonly U_static_pub: readonly [string, string];
  readonly U_ephemeral_priv: string | null;
  readonly U_ephemeral_pub: readonly [string, string];
  readonly V_static_priv: string | null;
  readonly V_static_pub: readonly [string, string];
  readonly Z: string;
  readonly result: string;
  /** What is known to hold, also of a vector whose MAC or derived key was changed afterwards. */
  readonly self_check: Readonly<Record<string, boolean | string | null>>;
}

const { vectors } = JSON.parse(
  readFileSync(path.join(dataFolder, 'mqv/onepassmqv_vectors.json'), 'utf8'),
) as { vectors: readonly Vector[] };
// P-224 is no curve of ours.
const ours = vectors.filter(({ curve }) => curve !== 'P-224');
const agreed = ours.filter(({ self_check: check }) => check['Z_iut'] === true || check['Z_V'] === true);
const offCurve = ours.filter(({ self_check: check }) => check['QsCAVS_on'] === false);

test('ecmqv: there are NIST vectors for the three NIST curves', () => {
  assert.deepEqual(new Set(agreed.map(({ curve }) => curve)), new Set(['P-256', 'P-384', 'P-521']));
  assert.ok(offCurve.length > 0);
});

for (const [index, vector] of agreed.entries()) {
  test(`ecmqv: NIST vector ${index}, ${vector.curve}`, () => {
    const suite = suiteOf(vector.curve as CurveName);
    const ephemeral = pointOf(suite, vector.U_ephemeral_pub);
    const sender = keyOf(suite, pointOf(suite, vector.U_static_pub));
    const recipient = keyOf(suite, pointOf(suite, vector.V_static_pub));
    const expected = writeScalar(suite, BigInt(`0x${vector.Z}`));
    if (vector.V_static_priv !== null) {
      const mqv = createMqvRecipient(recipient, privateKeyOf(suite, BigInt(`0x${vector.V_static_priv}`)));
      assert.deepEqual(mqv.agree(sender, ephemeral), expected);
    }
    if (vector.U_static_priv !== null && vector.U_ephemeral_priv !== null) {
      const [d, e] = [BigInt(`0x${vector.U_static_priv}`), BigInt(`0x${vector.U_ephemeral_priv}`)];
      const mqv = createMqvSender(sender, privateKeyOf(suite, d));
      assert.deepEqual(mqv.agree([recipient], drawing(suite, e)), {
        ephemeralPoint: ephemeral,
        secrets: [expected],
      });
    }
  });
}

for (const [index, vector] of offCurve.entries()) {
  test(`ecmqv: NIST vector ${index} with a public key that is off the curve, ${vector.curve}`, () => {
    assert.ok(vector.V_static_priv);
    const suite = suiteOf(vector.curve as CurveName);
    const recipient = keyOf(suite, pointOf(suite, vector.V_static_pub));
    const mqv = createMqvRecipient(recipient, privateKeyOf(suite, BigInt(`0x${vector.V_static_priv}`)));
    const sender = keyOf(suite, pointOf(suite, vector.U_static_pub));
    const ephemeral = pointOf(suite, vector.U_ephemeral_pub);
    assert.throws(() => mqv.agree(sender, ephemeral), { code: 'cms.rejected' });
  });
}

for (const curve of curveNames) {
  test(`ecmqv: both sides of OpenSSL agree with the textbook formula by noble, ${curve}`, () => {
    const suite = suiteOf(curve);
    const [sender, recipient] = [makeIdentity('sender', curve), makeIdentity('recipient', curve)];
    const senderKey = agreementKey(sender.recipient.certificate);
    const recipientKey = agreementKey(recipient.recipient.certificate);
    const d = scalarOf(suite, sender.recipient.key);
    const mqv = createMqvRecipient(recipientKey, recipient.recipient.key);
    const rounds = suite.coordinateBytes === 32 ? 60 : 10;
    for (let round = 0; round < rounds; round++) {
      const e = randomScalar(suite, randomBytes);
      const ephemeral = basePointTimes(suite, e);
      const expected = textbook(suite, d, e, ephemeral, recipientKey.point);
      const sealing = createMqvSender(senderKey, sender.recipient.key);
      assert.deepEqual(sealing.agree([recipientKey], drawing(suite, e)).secrets, [expected]);
      assert.deepEqual(mqv.agree(senderKey, ephemeral), expected);
    }
  });

  test(`ecmqv: an ephemeral key that is a small multiple of the originator's agrees too, ${curve}`, () => {
    const suite = suiteOf(curve);
    const recipient = makeIdentity('recipient', curve);
    const recipientKey = agreementKey(recipient.recipient.certificate);
    const mqv = createMqvRecipient(recipientKey, recipient.recipient.key);
    for (const multiple of [1n, 2n, 3n, suite.order - 1n, suite.order - 2n]) {
      const sender = makeIdentity('sender', curve);
      const senderKey = agreementKey(sender.recipient.certificate);
      const d = scalarOf(suite, sender.recipient.key);
      const e = (multiple * d) % suite.order;
      const ephemeral = basePointTimes(suite, e);
      const expected = textbook(suite, d, e, ephemeral, recipientKey.point);
      assert.deepEqual(mqv.agree(senderKey, ephemeral), expected);
    }
  });

  test(`ecmqv: a shared point at infinity is refused, ${curve}`, () => {
    const suite = suiteOf(curve);
    const recipient = makeIdentity('recipient', curve);
    const mqv = createMqvRecipient(agreementKey(recipient.recipient.certificate), recipient.recipient.key);
    // Whoever chooses E first can have a static key that cancels it: d = -e / avf(E).
    const e = randomScalar(suite, randomBytes);
    const ephemeral = basePointTimes(suite, e);
    const { Fn } = suite.Point;
    const d = Fn.mul(Fn.neg(e), Fn.inv(associateValue(suite, ephemeral)));
    const sender = keyOf(suite, basePointTimes(suite, d));
    const sealing = createMqvSender(sender, privateKeyOf(suite, d));
    assert.throws(() => sealing.agree([sender], drawing(suite, e)), /cancels/);
    assert.throws(() => mqv.agree(sender, ephemeral), { code: 'cms.rejected' });
  });

  test(`comb: equals noble's multiplication and addition, ${curve}`, () => {
    const suite = suiteOf(curve);
    const point = suite.Point.BASE.multiply(randomScalar(suite, randomBytes));
    const bits = suite.halfBits + 1;
    const comb = makeComb(suite, point.toAffine(), bits);
    const top = 1n << BigInt(bits);
    const scalars = [0n, 1n, 2n, 3n, top - 1n, top - 2n, top >> 1n, (top >> 1n) + 1n, top / 3n];
    for (let round = 0; round < 20; round++) scalars.push(randomScalar(suite, randomBytes) % top);
    for (const scalar of scalars) {
      const addend = suite.Point.BASE.multiply(randomScalar(suite, randomBytes));
      const expected = point.multiplyUnsafe(scalar).add(addend).toAffine();
      assert.deepEqual(combTimesPlus(comb, scalar, addend.toAffine()), expected, scalar.toString(16));
    }
    assert.throws(() => combTimesPlus(comb, suite.order, point.toAffine()), RangeError);
  });

  test(`comb: an addend that is a multiple of the same point, up to infinity, ${curve}`, () => {
    const suite = suiteOf(curve);
    const { Fn } = suite.Point;
    const point = suite.Point.BASE.multiply(randomScalar(suite, randomBytes));
    const bits = suite.halfBits + 1;
    const comb = makeComb(suite, point.toAffine(), bits);
    const scalar = associateValue(suite, point.toBytes(false));
    for (const times of [scalar, 1n, 5n]) {
      // Of the same point: doubled. Of its opposite: infinity. Next to those: neither.
      for (const multiple of [times, times + 1n, 2n * times, 1n, 2n, -times, -times - 1n, -2n * times, -1n]) {
        const addend = point.multiply(Fn.create(multiple));
        const expected = point.multiplyUnsafe(times).add(addend);
        const found = combTimesPlus(comb, times, addend.toAffine());
        assert.deepEqual(found, expected.is0() ? undefined : expected.toAffine(), `${times} and ${multiple}`);
      }
    }
  });

  test(`decodePoint: takes compressed points, and none that is off the curve, ${curve}`, () => {
    const suite = suiteOf(curve);
    const point = basePointTimes(suite, 5n);
    assert.deepEqual(encodePoint(suite, decodePoint(suite, point)), point);
    assert.deepEqual(encodePoint(suite, decodePoint(suite, decodePoint(suite, point).toBytes(true))), point);
    const offCurve = Buffer.from(point);
    offCurve.writeUInt8(offCurve.readUInt8(offCurve.length - 1) ^ 1, offCurve.length - 1);
    const { p } = suite.Point.CURVE();
    const unreduced = Buffer.concat([Buffer.of(2), writeScalar(suite, p)]);
    const hybrid = Buffer.from(point);
    hybrid.writeUInt8(6 + (point.readUInt8(point.length - 1) & 1), 0);
    for (const bad of [offCurve, unreduced, hybrid, Buffer.of(0), Buffer.alloc(0), point.subarray(0, -1)]) {
      assert.throws(() => decodePoint(suite, bad), { code: 'cms.rejected' });
    }
  });
}

test('randomScalar: draws again until the scalar is from 1 to n - 1', () => {
  const suite = suiteOf('P-256');
  const draws = [
    Buffer.alloc(32),
    writeScalar(suite, suite.order),
    Buffer.alloc(32, 0xff),
    writeScalar(suite, 5n),
  ];
  assert.equal(
    randomScalar(suite, () => draws.shift() ?? Buffer.alloc(32)),
    5n,
  );
  assert.throws(() => randomScalar(suite, (bytes) => Buffer.alloc(bytes)), /no scalar/);
});

/** A random source that gives the octets of one scalar (P-521's are drawn with 7 bits that are thrown away). */
function drawing(suite: Suite, scalar: bigint): (bytes: number) => Buffer {
  const excess = BigInt(8 * suite.coordinateBytes - suite.order.toString(2).length);
  return () => writeScalar(suite, scalar << excess);
}

/** (e + avf(E)·d)·(Q' + avf(Q')·Q'), all of it by noble. */
function textbook(suite: Suite, d: bigint, e: bigint, ephemeral: Buffer, recipientPoint: Buffer): Buffer {
  const q = suite.Point.fromBytes(recipientPoint);
  const scalar = suite.Point.Fn.create(e + associateValue(suite, ephemeral) * d);
  const shared = q.add(q.multiply(associateValue(suite, recipientPoint))).multiply(scalar);
  return writeScalar(suite, shared.toAffine().x);
}

function pointOf(suite: Suite, [x, y]: readonly [string, string]): Buffer {
  const [xOctets, yOctets] = [x, y].map((hex) => writeScalar(suite, BigInt(`0x${hex}`)));
  assert.ok(xOctets && yOctets);
  return Buffer.concat([Buffer.of(4), xOctets, yOctets]);
}

/** A key with that public point; the certificate only tells it from others. */
function keyOf(suite: Suite, point: Buffer): AgreementKey {
  const { certificate } = rogueCertificate({ curve: suite.curve, keyUsage: ['keyAgreement'] });
  return { suite, point, certificate };
}
