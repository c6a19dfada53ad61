/**
 * One-pass ECMQV (SP 800-56A rev. 3 §6.2.1.4; X9.63; RFC 5753 §3.2), with the multiplications arranged so that
 * OpenSSL does the secret one.
 *
 * U, the sender, has the static key (d, Q) and the ephemeral key (e, E); V, the recipient, has the static key (d', Q')
 * alone, which stands for its ephemeral key too. The shared point is
 *
 *     (e + avf(E)·d) · (1 + avf(Q'))·Q'  =  d'·(1 + avf(Q')) · (E + avf(E)·Q)
 *
 * On the left, the point depends on the recipient only and is kept, and one scalar serves all recipients. On the right,
 * the scalar depends on the recipient only and is kept, and what remains, E + avf(E)·Q, is half as long and public.
 */
import assert from 'node:assert/strict';
import type { KeyObject } from 'node:crypto';
import type { Certificate } from '../pki/certificate.ts';
import { combTimesPlus, makeComb } from './comb.ts';
import type { Comb } from './comb.ts';
import {
  agree,
  basePointTimes,
  decodePoint,
  encodePoint,
  privateKeyOf,
  publicKeyOf,
  randomScalar,
  readScalar,
  scalarOf,
} from './ecdh.ts';
import type { Random } from './ecdh.ts';
import { CmsError, rejected } from './errors.ts';
import type { AffinePoint } from './jacobian.ts';
import { Recent } from './recent.ts';
import { suiteOf } from './suite.ts';
import type { Suite } from './suite.ts';

/** A recipient costs about 1 KiB. */
const recipientsKept = 4096;
/** An originator costs 37 KiB on P-256 and 57 KiB on P-521 (see `comb.ts`), so all of them at most 114 MiB. */
const originatorsKept = 2048;

// Both hold public values only, by certificate, so all sealers and openers of a process share them.
const recipientPoints = new Recent<KeyObject>(recipientsKept);
const originatorCombs = new Recent<Comb>(originatorsKept);

/** A certified key for key agreement. */
export interface AgreementKey {
  readonly suite: Suite;
  readonly point: Buffer;
  readonly certificate: Certificate;
}

/** @throws CmsError `cms.unsupported` if the certificate's key is not for key agreement on a curve of ours */
export function agreementKey(certificate: Certificate): AgreementKey {
  const suite = suiteOf(certificate.curve);
  // RFC 5280 §4.2.1.3; DESIGN §3: one key never does two jobs.
  const mayAgree = certificate.keyUsage === undefined || certificate.keyUsage.has('keyAgreement');
  if (certificate.publicPoint === undefined || !mayAgree) {
    throw new CmsError(
      'cms.unsupported',
      `the certificate of ${certificate.commonName} is not for key agreement`,
    );
  }
  return { suite, point: certificate.publicPoint, certificate };
}

/**
 * The associate value function (SP 800-56A §5.7.2.2).
 *
 * @param point - SEC 1 uncompressed
 * @returns the lower half of the x coordinate, with the bit above it set
 */
export function associateValue(suite: Suite, point: Uint8Array): bigint {
  const x = readScalar(point.subarray(1, 1 + suite.coordinateBytes));
  const top = 1n << BigInt(suite.halfBits);
  return (x & (top - 1n)) | top;
}

/** Party U of SP 800-56A: it draws one ephemeral key, and agrees with any number of recipients by it. */
export interface MqvSender {
  /**
   * @param recipients - on the sender's curve
   * @param random - gives the ephemeral key
   * @returns E, SEC 1 uncompressed, and Z for each recipient, as long as the field; the caller erases them
   */
  agree(
    recipients: readonly AgreementKey[],
    random: Random,
  ): { readonly ephemeralPoint: Buffer; readonly secrets: readonly Buffer[] };
}

/** Party V, which has a static key alone. */
export interface MqvRecipient {
  /**
   * @param originator - on the recipient's curve
   * @param ephemeralPoint - E, as it came
   * @returns Z, as long as the field; the caller erases it
   * @throws CmsError `cms.rejected` if E is no point of the curve, or the shared point is infinity
   */
  agree(originator: AgreementKey, ephemeralPoint: Uint8Array): Buffer;
}

/** @throws CmsError `cms.unsupported` if the private key is not on the certificate's curve */
export function createMqvSender({ suite }: AgreementKey, key: KeyObject): MqvSender {
  const staticScalar = scalarOf(suite, key);
  return {
    agree(recipients, random) {
      const ephemeralScalar = randomScalar(suite, random);
      const ephemeralPoint = basePointTimes(suite, ephemeralScalar);
      const scalar = senderScalar(suite, staticScalar, ephemeralScalar, ephemeralPoint);
      // One chance in n, so whoever sees it has a broken random source or knows the static key.
      assert.ok(scalar !== undefined, 'the ephemeral key cancels the static one');
      return {
        ephemeralPoint,
        secrets: recipients.map((recipient) => agree(scalar, recipientPoint(recipient))),
      };
    },
  };
}

/** @throws CmsError `cms.unsupported` if the private key is not on the certificate's curve */
export function createMqvRecipient({ suite, point }: AgreementKey, key: KeyObject): MqvRecipient {
  // d'·(1 + avf(Q')) mod n: avf is shorter than n by far, so neither factor is 0 modulo n, nor is their product.
  const product = scalarOf(suite, key) * (1n + associateValue(suite, point));
  const scalar = privateKeyOf(suite, product % suite.order);
  return {
    agree(originator, ephemeralPoint) {
      const sum = implicitPoint(originator, decodePoint(suite, ephemeralPoint).toAffine());
      // SP 800-56A §5.7.2.3 step 3: infinity is an error. The secret scalar is prime to n, so it shows here already.
      if (sum === undefined) throw rejected();
      return agree(scalar, publicKeyOf(suite, encodePoint(suite, sum)));
    },
  };
}

/** (e + avf(E)·d) mod n, or undefined if it is 0. */
function senderScalar(
  suite: Suite,
  staticScalar: bigint,
  ephemeralScalar: bigint,
  ephemeralPoint: Uint8Array,
): KeyObject | undefined {
  const scalar = (ephemeralScalar + associateValue(suite, ephemeralPoint) * staticScalar) % suite.order;
  return scalar === 0n ? undefined : privateKeyOf(suite, scalar);
}

/** E + avf(E)·Q, or undefined if that is infinity. */
function implicitPoint(originator: AgreementKey, ephemeral: AffinePoint): AffinePoint | undefined {
  const { suite, point, certificate } = originator;
  const comb = originatorCombs.get(certificate.sha256.toString('latin1'), () =>
    makeComb(suite, decodePoint(suite, point).toAffine(), suite.halfBits + 1),
  );
  return combTimesPlus(comb, associateValue(suite, encodePoint(suite, ephemeral)), ephemeral);
}

/** (1 + avf(Q'))·Q' */
function recipientPoint(recipient: AgreementKey): KeyObject {
  const { suite, point, certificate } = recipient;
  return recipientPoints.get(certificate.sha256.toString('latin1'), () => {
    const product = decodePoint(suite, point).multiplyUnsafe(1n + associateValue(suite, point));
    return publicKeyOf(suite, encodePoint(suite, product.toAffine()));
  });
}
