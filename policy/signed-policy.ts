/** A policy with its owner's signature (CMS SignedData, RFC 5652 §5), as it is published and kept. */
import { hash } from 'node:crypto';
import { readSignedContent, signContent } from '../cms/signed-content.ts';
import { decodePolicy, encodePolicy } from '../domain/policy.ts';
import type { Policy } from '../domain/policy.ts';
import type { E2eIdentity } from '../pki/identity.ts';
import { verifyPath } from '../pki/path.ts';
import type { PathQuestion, VerifiedIdentity } from '../pki/path.ts';
import { PolicyRefusal } from './errors.ts';

export interface SignedPolicy {
  readonly policy: Policy;
  /** SHA-256 of what is signed: the same policy has the same, whenever it was signed. */
  readonly digest: Buffer;
  readonly signer: VerifiedIdentity;
  /** By the signer's clock. */
  readonly signedAtMs: number;
}

/**
 * @param identity - the issuer's
 * @returns ContentInfo, DER, with the issuer's chain
 * @throws PolicyError; PolicyRefusal `policy.unsigned_by_owner` for another identity than the issuer's; CmsError if it
 *   gets too large
 */
export function signPolicy(policy: Policy, { commonName, signature }: E2eIdentity, nowMs: number): Buffer {
  if (policy.issuer !== commonName) {
    throw new PolicyRefusal(
      'policy.unsigned_by_owner',
      `the policy is issued by ${policy.issuer}, and the identity is ${commonName}`,
    );
  }
  return signContent(encodePolicy(policy), signature, nowMs);
}

/**
 * Verifies the one signature, its path, and that whoever signed may speak for the path of the policy. Whether the policy is
 * the newest, and the certificate revoked, is for whoever keeps it to ask.
 *
 * @throws CmsError, PkiError, PolicyError; PolicyRefusal `policy.unsigned_by_owner`
 */
export function readSignedPolicy(
  message: Uint8Array,
  { roots, atMs }: Pick<PathQuestion, 'roots' | 'atMs'>,
): SignedPolicy {
  const { content, signatures } = readSignedContent(message);
  const [signature, another] = signatures;
  if (signature === undefined || another !== undefined) {
    throw new PolicyRefusal('policy.unsigned_by_owner', `${signatures.length} signatures; wanted is one`);
  }
  const signer = verifyPath({ chain: signature.chain, roots, atMs, purpose: 'signature' });
  const isOwner = signer.kind === 'account' || signer.kind === 'master-account';
  const policy = decodePolicy(content);
  // That the issuer stands above the path is part of what a policy is, and so a customer speaks for its own devices alone.
  if (!isOwner || signer.scope !== 'full' || signer.commonName !== policy.issuer) {
    throw new PolicyRefusal(
      'policy.unsigned_by_owner',
      `issued by ${policy.issuer}, and signed by ${signer.commonName}`,
    );
  }
  return {
    policy,
    digest: hash('sha256', content, 'buffer'),
    signer,
    signedAtMs: signature.signingTimeMs,
  };
}
