/** Whom a device seals for: certificates from files, verified up to its pinned root. */
import type { Certificate } from '../pki/certificate.ts';
import { PkiError } from '../pki/errors.ts';
import type { VerifiedIdentity } from '../pki/path.ts';
import { loadTrustedIdentity } from '../pki/trusted-file.ts';

/**
 * Reads the ENC certificates that snapshots are sealed for.
 *
 * @param files - PEM, leaf first
 * @throws PkiError with the file's name, also if a certificate is on another curve than the device's
 */
export function loadRecipients(
  files: readonly string[],
  own: Certificate,
  roots: readonly Certificate[],
  nowMs: number,
): VerifiedIdentity[] {
  return files.map((file) => {
    const identity = loadTrustedIdentity(file, { roots, atMs: nowMs, purpose: 'key-agreement' });
    const { certificate } = identity;
    if (certificate.curve !== own.curve) {
      const curves = `${certificate.curve ?? 'an unknown curve'}, the device's on ${own.curve ?? 'another'}`;
      throw new PkiError('pki.unsupported_algorithm', `${file}: the recipient's key is on ${curves}`);
    }
    return identity;
  });
}
