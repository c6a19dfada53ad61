/** Whether the certificates behind an envelope were in force: valid when it was signed, and not revoked by its arrival. */
import { expiredGraceDaysMax } from '../domain/limits.ts';
import { PkiError } from '../pki/errors.ts';
import type { RevocationLists } from '../pki/revocation-lists.ts';
import type { OpenedEnvelope } from './open.ts';
import type { Originator } from './originator.ts';

/** Who knows what is revoked. */
export type Revocations = Pick<RevocationLists, 'requireUnrevoked'>;

/**
 * How long after the expiry of its certificate an envelope may still come. An entry leaves the lists after that, and whoever
 * has a key that was revoked can write a time at which it was valid.
 */
const lateMsMax = expiredGraceDaysMax * 24 * 60 * 60 * 1000;

/**
 * @param receivedMs - when the envelope reached this reader
 * @throws PkiError `pki.not_yet_valid`, `pki.expired`, `pki.revoked`, `pki.stale_crl`
 */
export function requireInForce(
  { originator, signers, signingTimeMs }: Pick<OpenedEnvelope, 'originator' | 'signers' | 'signingTimeMs'>,
  receivedMs: number,
  lists: Revocations,
): void {
  // It was verified when it was published; what counts now is that it was valid when this was signed.
  const { notBeforeMs, notAfterMs } = signers[0]?.certificate ?? originator.keyAgreement;
  if (signingTimeMs === undefined || signingTimeMs < notBeforeMs) {
    throw new PkiError('pki.not_yet_valid', 'it was signed before its certificate became valid');
  }
  if (signingTimeMs > notAfterMs) {
    throw new PkiError('pki.expired', 'it was signed after its certificate expired');
  }
  if (receivedMs > notAfterMs + lateMsMax) {
    throw new PkiError(
      'pki.expired',
      `it came more than ${expiredGraceDaysMax} days after its certificate expired`,
    );
  }
  requireUnrevoked(originator, receivedMs, lists);
}

/**
 * Both certificates, up to the root: of a stolen device both keys are stolen.
 *
 * @param atMs - the time of receipt, by our own clock. Whoever has a stolen key writes any signing time, so what arrives
 *   from the date of the revocation on is refused, also if it may have been made before.
 * @throws PkiError `pki.revoked`, `pki.stale_crl`
 */
export function requireUnrevoked({ commonName, paths }: Originator, atMs: number, lists: Revocations): void {
  if (paths === undefined) throw new TypeError(`it was not kept how ${commonName} was verified`);
  for (const path of paths) lists.requireUnrevoked(path, atMs);
}
