/** Messages of an enrolment, signed: who said it, verified up to the pinned root. */
import { hash } from 'node:crypto';
import { readSignedContent } from '../cms/signed-content.ts';
import { isBootstrap, verifyPath } from '../pki/path.ts';
import type { PathQuestion, VerifiedIdentity } from '../pki/path.ts';
import { EnrolmentError } from './errors.ts';

/** Of the E2E PKI. */
export type SignatureTrust = Pick<
  PathQuestion,
  'roots' | 'atMs' | 'revocation' | 'stalePolicy' | 'expiredGraceMs'
>;

export interface VerifiedMessage {
  readonly content: Buffer;
  /** SHA-256 of the content: the same however often it is signed. */
  readonly digest: Buffer;
  readonly signers: readonly VerifiedIdentity[];
}

/**
 * Verifies every signature and every signer's path.
 *
 * @throws CmsError as `readSignedContent`, PkiError as `verifyPath`
 */
export function verifyMessage(message: Uint8Array, trust: SignatureTrust): VerifiedMessage {
  const { content, signatures } = readSignedContent(message);
  const signers = signatures.map(({ chain }) => {
    const purpose = isBootstrap(chain[0]) ? 'enrolment-signature' : 'signature';
    return verifyPath({ ...trust, chain, purpose });
  });
  return { content, digest: hash('sha256', content, 'buffer'), signers };
}

/** The one signer of a message. @throws EnrolmentError `enrolment.untrusted` if there are several */
export function onlySigner({ signers }: VerifiedMessage): VerifiedIdentity {
  const [signer, another] = signers;
  if (signer === undefined || another !== undefined) {
    throw new EnrolmentError('enrolment.untrusted', `a message with ${signers.length} signatures, not one`);
  }
  return signer;
}
