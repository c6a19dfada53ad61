/** Verifies the certificates of an originator up to pinned roots: both of them, as one identity. */
import type { Clock } from '../domain/clock.ts';
import { chainLengthMax } from '../domain/limits.ts';
import type { Certificate } from '../pki/certificate.ts';
import { PkiError } from '../pki/errors.ts';
import { verifyPath } from '../pki/path.ts';
import type { PathQuestion, Purpose } from '../pki/path.ts';
import type { Originator, VerifyChain } from './originator.ts';

export interface ChainSettings extends Pick<PathQuestion, 'roots' | 'revocation' | 'stalePolicy'> {
  readonly clock: Clock;
  /** Told why certificates were refused. */
  readonly onRefused?: (reason: PkiError) => void;
}

/** @returns what an opener asks about certificates that came with an envelope */
export function chainVerifier({ clock, onRefused, ...question }: ChainSettings): VerifyChain {
  return ({ keyAgreement, signature, all }) => {
    const atMs = clock();
    const nameOf = (leaf: Certificate, purpose: Purpose): string =>
      verifyPath({ ...question, chain: chainAbove(leaf, all), atMs, purpose }).commonName;
    try {
      const commonName = nameOf(keyAgreement, 'key-agreement');
      const originator: Originator = { commonName, keyAgreement };
      if (signature === undefined) return originator;
      return nameOf(signature, 'signature') === commonName ? { ...originator, signature } : undefined;
    } catch (error) {
      if (!(error instanceof PkiError)) throw error;
      onRefused?.(error);
      return undefined;
    }
  };
}

/** Puts certificates in the order that the verifier takes: the leaf, and each one's issuer after it. */
export function chainAbove(leaf: Certificate, pool: readonly Certificate[]): readonly Certificate[] {
  const chain = [leaf];
  for (let last = leaf; chain.length < chainLengthMax;) {
    const issuer = pool.find((candidate) => isIssuer(candidate, last));
    if (issuer === undefined || chain.includes(issuer)) break;
    chain.push(issuer);
    last = issuer;
  }
  return chain;
}

/** By name and key identifier; the verifier checks the signature. */
function isIssuer(candidate: Certificate, certificate: Certificate): boolean {
  const wanted = certificate.authorityKeyIdentifier;
  const found = candidate.subjectKeyIdentifier;
  return (
    candidate.isAuthority &&
    candidate.subjectDer.equals(certificate.issuerDer) &&
    (wanted === undefined || found === undefined || wanted.equals(found))
  );
}
