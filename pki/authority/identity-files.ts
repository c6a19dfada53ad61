/** The directory of key material that an identity's program reads. */
import { join } from 'node:path';
import type { KeyObject } from 'node:crypto';
import { certificatesToPem } from '../certificate.ts';
import type { Certificate } from '../certificate.ts';
import { privateKeyToPem } from '../private-key.ts';
import { publicMode, secretMode, writeFileAtomic } from './files.ts';
import type { CertificateKind, PkiName } from './profiles.ts';

export interface IssuedCertificate {
  readonly key: KeyObject;
  /** Leaf first, without the root. */
  readonly chain: readonly Certificate[];
}

export interface IdentityFiles {
  readonly directory: string;
  readonly passphrase: string | undefined;
  readonly certificates: Partial<Readonly<Record<CertificateKind, IssuedCertificate>>>;
  readonly roots: Readonly<Record<PkiName, Certificate>>;
}

/** Writes both roots, and `<kind>.key.pem`, `.crt.pem` and `.chain.pem` for each kind; the last chain says that all is there. */
export function writeIdentity({ directory, passphrase, certificates, roots }: IdentityFiles): void {
  for (const [pki, root] of Object.entries(roots)) {
    writeFileAtomic(join(directory, `${pki}-root.crt.pem`), certificatesToPem([root]), publicMode);
  }
  for (const [kind, { key, chain }] of Object.entries(certificates)) {
    writeFileAtomic(join(directory, `${kind}.key.pem`), privateKeyToPem(key, passphrase), secretMode);
    writeFileAtomic(join(directory, `${kind}.crt.pem`), certificatesToPem(chain.slice(0, 1)), publicMode);
    writeFileAtomic(join(directory, `${kind}.chain.pem`), certificatesToPem(chain), publicMode);
  }
}
