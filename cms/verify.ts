/** Verifies the signatures of an envelope, which takes no recipient's key (RFC 5652 §5.6). */
import type { Certificate } from '../pki/certificate.ts';
import { rejected } from './errors.ts';
import { identifies } from './identifier.ts';
import type { CertificateIdentifier } from './identifier.ts';
import { findSigner } from './originator.ts';
import type { Originator, Originators } from './originator.ts';
import type { SignedData } from './signed-data.ts';
import { isSignedBy } from './signer-info.ts';

/** One whose signature is verified. */
export interface Signer {
  readonly commonName: string;
  readonly certificate: Certificate;
  /** By the signer's clock, the originator's from the content; undefined if it did not say. */
  readonly signingTimeMs: number | undefined;
}

/** What was signed. */
export interface Signed {
  readonly data: SignedData;
  /** SHA-256 of its content. */
  readonly digest: Buffer;
  /** By the originator's clock, among what its signature covers. */
  readonly sealedAtMs: number | undefined;
}

/**
 * @param originator - who must have signed
 * @param others - where further signers, such as an auditor, are looked up; one who is not found is passed over
 * @param cosigners - SIG certificates of those who are no originators
 * @returns the originator first
 * @throws CmsError `cms.rejected` if the originator did not sign, or the signature of anyone who is known does not verify
 */
export function verifySigners(
  { data, digest, sealedAtMs }: Signed,
  originator: Originator,
  others: Originators,
  cosigners: readonly Certificate[] = [],
): readonly [Signer, ...Signer[]] {
  const { signature } = originator;
  let own: Signer | undefined;
  const further: Signer[] = [];
  for (const info of data.signers) {
    const isOwn = signature !== undefined && identifies(info.identifier, signature);
    const identity = isOwn ? originator : findFurther(info.identifier, others, cosigners);
    const certificate = identity?.signature;
    if (identity === undefined || certificate === undefined) continue;
    const isName = certificate.commonName === identity.commonName;
    if (!isName || !isSignedBy(data.content, info, certificate, digest)) {
      throw rejected();
    }
    const signingTimeMs = info.signingTimeMs ?? (isOwn ? sealedAtMs : undefined);
    const signer = { commonName: identity.commonName, certificate, signingTimeMs };
    if (isOwn) own = signer;
    else further.push(signer);
  }
  if (own === undefined) throw rejected();
  return [own, ...further];
}

function findFurther(
  identifier: CertificateIdentifier,
  others: Originators,
  cosigners: readonly Certificate[],
): Pick<Originator, 'commonName' | 'signature'> | undefined {
  const cosigner = cosigners.find((certificate) => identifies(identifier, certificate));
  if (cosigner?.commonName === undefined) return findSigner(others, identifier);
  return { commonName: cosigner.commonName, signature: cosigner };
}
