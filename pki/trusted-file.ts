/** The certificate of somebody else that a configuration names: a file, verified up to the pinned roots. */
import type { Certificate } from './certificate.ts';
import { certificatesFromPem } from './certificate.ts';
import type { Purpose, VerifiedIdentity } from './path.ts';
import { verifyPath } from './path.ts';
import { inFile, readTextFile } from './pem-file.ts';

export interface Trust {
  readonly roots: readonly Certificate[];
  readonly atMs: number;
  readonly purpose: Purpose;
}

/**
 * @param file - PEM: the certificate and its CAs, leaf first
 * @throws PkiError with the file's name: it cannot be read, or its certificate is not to be trusted for that purpose
 */
export function loadTrustedIdentity(file: string, trust: Trust): VerifiedIdentity {
  return inFile(file, () => {
    const chain = certificatesFromPem(readTextFile(file));
    return verifyPath({ chain, ...trust });
  });
}
