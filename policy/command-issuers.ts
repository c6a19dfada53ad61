/** Who may command a device: certificates from files, verified up to the pinned root. */
import path from 'node:path';
import type { Originator } from '../cms/originator.ts';
import { isServiceName, isWithin } from '../domain/namespace.ts';
import type { Certificate } from '../pki/certificate.ts';
import { PkiError } from '../pki/errors.ts';
import type { VerifiedIdentity } from '../pki/path.ts';
import { loadTrustedIdentity } from '../pki/trusted-file.ts';

/**
 * Reads the identities whose commands are executed.
 *
 * @param directories - each with `sig.chain.pem` and `enc.chain.pem`
 * @throws PkiError with the file's name
 */
export function loadCommandIssuers(
  directories: readonly string[],
  roots: readonly Certificate[],
  nowMs: number,
): Originator[] {
  return directories.map((directory) => {
    const trusted = (name: string, purpose: 'signature' | 'key-agreement'): VerifiedIdentity =>
      loadTrustedIdentity(path.join(directory, name), { roots, atMs: nowMs, purpose });
    const signature = trusted('sig.chain.pem', 'signature');
    const keyAgreement = trusted('enc.chain.pem', 'key-agreement');
    const { commonName } = signature;
    if (commonName !== keyAgreement.commonName) {
      throw new PkiError(
        'pki.path_discipline',
        `${directory}: the two certificates are of different identities`,
      );
    }
    return {
      commonName,
      signature: signature.certificate,
      keyAgreement: keyAgreement.certificate,
      paths: [signature, keyAgreement],
    };
  });
}

/** The vendor's command service, or whoever owns the device: its account or its master account. */
export function mayCommand(issuer: string, device: string): boolean {
  if (isServiceName(issuer)) return issuer === 'vendor-command-service';
  return issuer !== device && isWithin(device, issuer);
}
