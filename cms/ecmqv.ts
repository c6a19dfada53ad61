/**
 * One-pass ECMQV (SP 800-56A rev. 3 §6.2.1.4; X9.63; RFC 5753 §3.2) between certified keys.
 *
 * U, the sender, has a static key (d, Q) and draws an ephemeral one (e, E); V, the recipient, has a static key (d', Q')
 * alone, which stands for its ephemeral key too.
 */
import assert from 'node:assert/strict';
import type { KeyObject } from 'node:crypto';
import type { Certificate } from '../pki/certificate.ts';
import { randomScalar, scalarOf, uncompressed } from './ecdh.ts';
import { CmsError, rejected } from './errors.ts';
import type { MqvEngine } from './mqv-engine.ts';
import { portableEngine } from './portable-engine.ts';
import type { Random } from './random.ts';
import { suiteOf } from './suite.ts';
import type { Suite } from './suite.ts';
import { wasmEngine } from './wasm/wasm-engine.ts';

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
      const points = recipients.map(({ point }) => point);
      const sent = engineOf(suite).send(staticScalar, ephemeralScalar, points);
      ephemeralScalar.fill(0);
      // Certified points are on the curve, and one e in n cancels d: whoever draws that knows d.
      assert.ok(sent !== undefined, 'the ephemeral key cancels the static one');
      return sent;
    },
  };
}

/** @throws CmsError `cms.unsupported` if the private key is not on the certificate's curve */
export function createMqvRecipient({ suite, point }: AgreementKey, key: KeyObject): MqvRecipient {
  const receive = engineOf(suite).receiver(scalarOf(suite, key), point);
  return {
    agree(originator, ephemeralPoint) {
      const secret = receive(originator.point, uncompressed(suite, ephemeralPoint));
      if (secret === undefined) throw rejected();
      return secret;
    },
  };
}

const engines = new Map<Suite, MqvEngine>();

/** One a curve for all of the process, because it keeps tables for the points that it has seen. */
function engineOf(suite: Suite): MqvEngine {
  let engine = engines.get(suite);
  if (engine === undefined) {
    // Node has no WebAssembly under --jitless.
    engine = typeof WebAssembly === 'undefined' ? portableEngine(suite) : wasmEngine(suite);
    engines.set(suite, engine);
  }
  return engine;
}
