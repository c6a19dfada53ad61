/**
 * Opens an AuthEnvelopedData whose key agreement is ephemeral-static ECDH (RFC 5753 §3.1), as OpenSSL makes it.
 *
 * It has no originator: anybody who knows the recipient's certificate can make one. So it is a function of its own,
 * which nothing but the command line calls, when it is told to.
 */
import { requireCurve } from './originator.ts';
import { agree, decodePoint, encodePoint, publicKeyOf } from './ecdh.ts';
import { readEnvelope, strictly } from './envelope.ts';
import type { EnvelopeBound } from './envelope.ts';
import { CmsError, rejected } from './errors.ts';
import { decrypt } from './gcm.ts';
import { requireKeyAgreementKey } from './key-agreement-key.ts';
import type { KeyAgreementKey } from './key-agreement-key.ts';
import { findAddressed, unwrapContentKey } from './recipient.ts';

/** @throws CmsError `cms.malformed`, `cms.unsupported`, `cms.not_a_recipient`, `cms.rejected` */
export function openAnonymous(
  bytes: Uint8Array,
  recipient: KeyAgreementKey,
  bound: EnvelopeBound = {},
): Buffer {
  const { suite, certificate } = requireKeyAgreementKey(recipient);
  const { authEnveloped, signedData } = readEnvelope(bytes, bound);
  const addressed = strictly(() => findAddressed(authEnveloped, { certificate }));
  const { originator } = addressed;
  const isEcdh = addressed.kind === 'agreement' && addressed.algorithm.scheme === 'ecdh';
  // RFC 5753 §3.1.1: the originator's key is the ephemeral one, so it comes without a certificate.
  if (!isEcdh || originator.kind !== 'publicKey' || signedData !== undefined) {
    throw new CmsError('cms.unsupported', 'not a bare envelope by ephemeral-static ECDH');
  }
  requireCurve(originator, suite);
  const point = encodePoint(suite, decodePoint(suite, originator.point));
  const secret = agree(recipient.key, publicKeyOf(suite, point));
  const { algorithm, sealed, associatedData } = authEnveloped;
  const { userKeyingMaterial } = addressed;
  const key = unwrapContentKey(addressed, secret, userKeyingMaterial, ['rfc5753'], algorithm.keyBytes);
  secret.fill(0);
  if (key === undefined) throw rejected();
  const content = decrypt(key, algorithm.nonce, sealed, associatedData);
  key.fill(0);
  if (content === undefined) throw rejected();
  return content;
}
