import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import {
  basePointTimes,
  decodePoint,
  encodePoint,
  privateKeyOf,
  randomScalar,
  readScalar,
  writeScalar,
} from '../../cms/ecdh.ts';
import { agreementKey, createMqvRecipient, createMqvSender } from '../../cms/ecmqv.ts';
import type { AgreementKey } from '../../cms/ecmqv.ts';
import { portableEngine } from '../../cms/portable-engine.ts';
import { suiteOf } from '../../cms/suite.ts';
import type { Suite } from '../../cms/suite.ts';
import { wasmEngine } from '../../cms/wasm/wasm-engine.ts';
import { curveNames } from '../../pki/certificate.ts';
import type { CurveName } from '../../pki/certificate.ts';
import { rogueCertificate } from '../pki/rogue-authority.ts';
import { dataFolder } from './fixtures.ts';
import { makeIdentity } from './identities.ts';

const engines = [
  ['wasmEngine', wasmEngine],
  ['portableEngine', portableEngine],
] as const;

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
  for (const [name, make] of engines) {
    test(`${name}: NIST vector ${index}, ${vector.curve}`, () => {
      const suite = suiteOf(vector.curve as CurveName);
      const engine = make(suite);
      const ephemeral = pointOf(suite, vector.U_ephemeral_pub);
      const [sender, recipient] = [pointOf(suite, vector.U_static_pub), pointOf(suite, vector.V_static_pub)];
      const expected = octetsOf(suite, vector.Z);
      if (vector.V_static_priv !== null) {
        const receive = engine.receiver(octetsOf(suite, vector.V_static_priv), recipient);
        assert.deepEqual(receive(sender, ephemeral), expected);
      }
      if (vector.U_static_priv !== null && vector.U_ephemeral_priv !== null) {
        const [d, e] = [vector.U_static_priv, vector.U_ephemeral_priv].map((hex) => octetsOf(suite, hex));
        assert.ok(d && e);
        const sent = { ephemeralPoint: ephemeral, secrets: [expected] };
        assert.deepEqual(engine.send(d, e, [recipient]), sent);
      }
    });
  }
}

for (const [index, vector] of offCurve.entries()) {
  for (const [name, make] of engines) {
    test(`${name}: NIST vector ${index} with a public key that is off the curve, ${vector.curve}`, () => {
      assert.ok(vector.V_static_priv);
      const suite = suiteOf(vector.curve as CurveName);
      const recipient = pointOf(suite, vector.V_static_pub);
      const receive = make(suite).receiver(octetsOf(suite, vector.V_static_priv), recipient);
      const ephemeral = pointOf(suite, vector.U_ephemeral_pub);
      assert.equal(receive(pointOf(suite, vector.U_static_pub), ephemeral), undefined);
    });
  }
}

for (const curve of curveNames) {
  const suite = suiteOf(curve);

  test(`createMqvSender, createMqvRecipient: both sides agree, ${curve}`, () => {
    const [sender, recipient] = [makeIdentity('sender', curve), makeIdentity('recipient', curve)];
    const senderKey = agreementKey(sender.recipient.certificate);
    const recipientKey = agreementKey(recipient.recipient.certificate);
    const sending = createMqvSender(senderKey, sender.recipient.key);
    const receiving = createMqvRecipient(recipientKey, recipient.recipient.key);
    const { ephemeralPoint, secrets } = sending.agree([recipientKey, senderKey], randomBytes);
    assert.deepEqual(receiving.agree(senderKey, ephemeralPoint), secrets[0]);
    const compressed = suite.Point.fromBytes(ephemeralPoint).toBytes(true);
    assert.deepEqual(receiving.agree(senderKey, compressed), secrets[0]);
    assert.notDeepEqual(secrets[1], secrets[0]);
  });

  test(`createMqvSender, createMqvRecipient: a shared point at infinity is refused, ${curve}`, () => {
    const recipient = makeIdentity('recipient', curve);
    const receiving = createMqvRecipient(
      agreementKey(recipient.recipient.certificate),
      recipient.recipient.key,
    );
    // Whoever chooses E first can have a static key that cancels it: d = -e / avf(E).
    const e = randomScalar(suite, randomBytes);
    const ephemeral = basePointTimes(suite, e);
    const top = 1n << BigInt(suite.halfBits);
    const { Fn } = suite.Point;
    const x = readScalar(ephemeral.subarray(1, 1 + suite.coordinateBytes));
    const d = writeScalar(suite, Fn.mul(Fn.neg(readScalar(e)), Fn.inv((x & (top - 1n)) | top)));
    const sender = keyOf(suite, basePointTimes(suite, d));
    const sending = createMqvSender(sender, privateKeyOf(suite, d));
    assert.throws(() => sending.agree([sender], () => Buffer.from(e)), /cancels/);
    assert.throws(() => receiving.agree(sender, ephemeral), { code: 'cms.rejected' });
  });

  test(`createMqvRecipient: no point that is off the curve, in any place, ${curve}`, () => {
    const recipient = makeIdentity('recipient', curve);
    const own = agreementKey(recipient.recipient.certificate);
    const receiving = createMqvRecipient(own, recipient.recipient.key);
    const good = basePointTimes(suite, randomScalar(suite, randomBytes));
    for (const bad of badPoints(suite)) {
      assert.throws(() => receiving.agree(own, bad), { code: 'cms.rejected' }, bad.toString('hex'));
      assert.throws(() => receiving.agree(keyOf(suite, bad), good), { code: 'cms.rejected' });
      const sending = createMqvSender(own, recipient.recipient.key);
      assert.throws(() => sending.agree([keyOf(suite, bad)], randomBytes));
    }
    assert.equal(receiving.agree(own, good).length, suite.coordinateBytes);
  });

  test(`decodePoint: takes compressed points, and none that is off the curve, ${curve}`, () => {
    const point = basePointTimes(suite, writeScalar(suite, 5n));
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
  for (const curve of curveNames) {
    const suite = suiteOf(curve);
    const good = writeScalar(suite, suite.order - 1n);
    const draws = [
      Buffer.alloc(suite.coordinateBytes),
      writeScalar(suite, suite.order),
      Buffer.alloc(suite.coordinateBytes, 0xff),
      good,
    ];
    assert.deepEqual(
      randomScalar(suite, () => draws.shift() ?? Buffer.alloc(0)),
      good,
    );
    assert.throws(() => randomScalar(suite, (bytes) => Buffer.alloc(bytes)), /no scalar/);
  }
});

/** Off the curve, of another curve, not reduced, infinity in both spellings, hybrid, cut, extended, empty. */
function badPoints(suite: Suite): Buffer[] {
  const { p } = suite.Point.CURVE();
  const good = basePointTimes(suite, writeScalar(suite, 5n));
  const [x, y] = [good.subarray(1, 1 + suite.coordinateBytes), good.subarray(1 + suite.coordinateBytes)];
  const offCurve = Buffer.from(good);
  offCurve.writeUInt8(offCurve.readUInt8(offCurve.length - 1) ^ 1, offCurve.length - 1);
  const others = curveNames.map(suiteOf).filter((other) => other !== suite);
  const hybrid = Buffer.concat([Buffer.of(6 + (good.readUInt8(good.length - 1) & 1)), x, y]);
  const bits = suite.order.toString(2).length;
  // x + p fits only where the field leaves room in its octets.
  const larger = readScalar(x) + p;
  const unreduced =
    larger >> BigInt(8 * suite.coordinateBytes) === 0n && bits % 8 !== 0
      ? [Buffer.concat([Buffer.of(4), writeScalar(suite, larger), y])]
      : [Buffer.concat([Buffer.of(4), writeScalar(suite, p), writeScalar(suite, p)])];
  return [
    offCurve,
    ...unreduced,
    ...others.map((other) => basePointTimes(other, writeScalar(other, 5n))),
    Buffer.of(0),
    Buffer.alloc(good.length),
    Buffer.concat([Buffer.of(4), Buffer.alloc(2 * suite.coordinateBytes)]),
    hybrid,
    good.subarray(0, -1),
    Buffer.concat([good, Buffer.of(0)]),
    Buffer.alloc(0),
  ];
}

function pointOf(suite: Suite, coordinates: readonly [string, string]): Buffer {
  return Buffer.concat([Buffer.of(4), ...coordinates.map((hex) => octetsOf(suite, hex))]);
}

function octetsOf(suite: Suite, hex: string): Buffer {
  return writeScalar(suite, BigInt(`0x${hex}`));
}

/** A key with that public point; the certificate only tells it from others. */
function keyOf(suite: Suite, point: Buffer): AgreementKey {
  const { certificate } = rogueCertificate({ curve: suite.curve, keyUsage: ['keyAgreement'] });
  return { suite, point, certificate };
}
