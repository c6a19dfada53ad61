/** Who may read what leaves: certificates from files, verified up to the pinned root. */
import { readFileSync } from 'node:fs';
import type { Certificate } from '../pki/certificate.ts';
import { certificatesFromPem } from '../pki/certificate.ts';
import { PkiError } from '../pki/errors.ts';
import { verifyPath } from '../pki/path.ts';
import { describeSystemError } from '../runtime/config.ts';

/**
 * @param files - PEM, each an ENC certificate and its CAs, leaf first
 * @throws PkiError with the file's name
 */
export function loadAllowedRecipients(
  files: readonly string[],
  roots: readonly Certificate[],
  nowMs: number,
): Certificate[] {
  return files.map((file) => {
    try {
      const chain = certificatesFromPem(readFileSync(file));
      return verifyPath({ chain, roots, atMs: nowMs, purpose: 'key-agreement' }).certificate;
    } catch (cause) {
      if (cause instanceof PkiError) throw new PkiError(cause.code, `${file}: ${cause.message}`, { cause });
      throw new PkiError('pki.missing_file', `${file}: cannot read it: ${describeSystemError(cause)}`, {
        cause,
      });
    }
  });
}
