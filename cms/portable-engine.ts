/**
 * ECMQV by @noble/curves, as SP 800-56A writes it: for where there is no WebAssembly, for the exceptional cases of the fast
 * formulas, and for tests as the other opinion. Its multiplication by a secret hides which additions are made, but the big
 * integers of JavaScript do not take constant time.
 */
import { encodePoint, readScalar, writeScalar } from './ecdh.ts';
import type { MqvEngine } from './mqv-engine.ts';
import type { CurvePoint, Suite } from './suite.ts';

export function portableEngine(suite: Suite): MqvEngine {
  const { Point } = suite;
  const { Fn } = Point;
  return {
    send(staticScalar, ephemeralScalar, recipients) {
      const e = readScalar(ephemeralScalar);
      const ephemeral = Point.BASE.multiply(e);
      const scalar = Fn.create(e + associateValue(suite, ephemeral) * readScalar(staticScalar));
      const points = recipients.map((octets) => pointOf(suite, octets));
      const secrets = points.map((point) => point && xOf(suite, implicit(suite, point, point), scalar));
      const found = secrets.filter((secret) => secret !== undefined);
      if (scalar === 0n || found.length < secrets.length) return undefined;
      return { ephemeralPoint: encodePoint(suite, ephemeral.toAffine()), secrets: found };
    },
    receiver(staticScalar, ownPoint) {
      const own = Point.fromBytes(ownPoint);
      const scalar = Fn.create(readScalar(staticScalar) * (1n + associateValue(suite, own)));
      return (originatorPoint, ephemeralPoint) => {
        const [originator, ephemeral] = [pointOf(suite, originatorPoint), pointOf(suite, ephemeralPoint)];
        if (originator === undefined || ephemeral === undefined) return undefined;
        return xOf(suite, implicit(suite, ephemeral, originator), scalar);
      };
    },
  };
}

/** The lower half of the x coordinate, with the bit above it set (SP 800-56A §5.7.2.2). */
function associateValue(suite: Suite, point: CurvePoint): bigint {
  const top = 1n << BigInt(suite.halfBits);
  return (point.toAffine().x & (top - 1n)) | top;
}

/** ephemeral + avf(ephemeral) · fixed */
function implicit(suite: Suite, ephemeral: CurvePoint, fixed: CurvePoint): CurvePoint {
  return ephemeral.add(fixed.multiplyUnsafe(associateValue(suite, ephemeral)));
}

function xOf(suite: Suite, point: CurvePoint, scalar: bigint): Buffer | undefined {
  // SP 800-56A §5.7.2.3 step 3: infinity is an error. A scalar other than 0 is prime to n, so the point decides.
  if (point.is0() || scalar === 0n) return undefined;
  return writeScalar(suite, point.multiply(scalar).toAffine().x);
}

function pointOf(suite: Suite, octets: Uint8Array): CurvePoint | undefined {
  try {
    return suite.Point.fromBytes(octets);
  } catch {
    return undefined;
  }
}
