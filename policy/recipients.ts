/** From the readers that a policy names to certificates that may be sealed for. */
import type { PolicyRecipient } from '../domain/policy.ts';
import type { Certificate } from '../pki/certificate.ts';
import { parseCertificate } from '../pki/certificate.ts';
import type { VerifiedIdentity, VerifiedPath } from '../pki/path.ts';
import { verifyPath } from '../pki/path.ts';
import { PolicyRefusal } from './errors.ts';

export interface NamedReader {
  /** As the policy calls it. */
  readonly name: string;
  readonly certificate: Certificate;
  /** What revocation lists are asked about; undefined: pinned by the owner, who withdraws it by another policy. */
  readonly verified: VerifiedPath | undefined;
}

export interface RecipientTrust {
  /** Verified already. */
  readonly configured: readonly VerifiedIdentity[];
  /** Of the E2E PKI. */
  readonly roots: readonly Certificate[];
  readonly atMs: number;
}

/**
 * @returns more than one only if the configuration has several certificates of that name
 * @throws PolicyRefusal `policy.unknown_recipient`; PkiError
 */
export function readersOf(
  { name, trust, certificates }: PolicyRecipient,
  { configured, roots, atMs }: RecipientTrust,
): readonly NamedReader[] {
  switch (trust) {
    case 'configured':
      return configuredReaders(name, configured);
    case 'chain': {
      const chain = certificates.map((der) => parseCertificate(Buffer.from(der)));
      const verified = verifyPath({ chain, roots, atMs, purpose: 'key-agreement' });
      if (verified.commonName !== name) {
        throw new PolicyRefusal(
          'policy.unknown_recipient',
          `the certificate of ${name} is that of ${verified.commonName}`,
        );
      }
      return [{ name, certificate: verified.certificate, verified }];
    }
    case 'pinned':
      return [{ name, certificate: requirePinned(name, certificates[0], atMs), verified: undefined }];
    default:
      throw new TypeError(`no such trust: ${JSON.stringify(trust)}`);
  }
}

function configuredReaders(name: string, configured: readonly VerifiedIdentity[]): readonly NamedReader[] {
  const known = configured.filter(({ commonName }) => commonName === name);
  if (known.length === 0) {
    throw new PolicyRefusal('policy.unknown_recipient', `nobody of the name ${name} is configured`);
  }
  return known.map((verified) => ({ name, certificate: verified.certificate, verified }));
}

/** Nobody but the owner vouches for it: all that can be asked is that its key is one to seal for, and its time. */
function requirePinned(name: string, der: Uint8Array | undefined, atMs: number): Certificate {
  const certificate = parseCertificate(Buffer.from(der ?? []));
  const { isAuthority, keyUsage, notBeforeMs, notAfterMs } = certificate;
  const isForAgreement = !isAuthority && keyUsage?.size === 1 && keyUsage.has('keyAgreement');
  if (!isForAgreement) {
    throw new PolicyRefusal(
      'policy.unknown_recipient',
      `the certificate of ${name} is not for key agreement`,
    );
  }
  if (atMs < notBeforeMs || atMs > notAfterMs) {
    throw new PolicyRefusal('policy.unknown_recipient', `the certificate of ${name} is not valid now`);
  }
  return certificate;
}
