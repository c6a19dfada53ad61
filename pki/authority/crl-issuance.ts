/** Issues the CRLs of an authority's CAs from its ledger, and the bundle of them all. */
import { readFileSync } from 'node:fs';
import { parseCrl, requireIssuedBy } from '../crl.ts';
import type { Crl } from '../crl.ts';
import { encodeCrlToBeSigned, signToBeSigned } from './encode.ts';
import type { RevokedEntry } from './encode.ts';
import { publicMode, writeFileAtomic } from './files.ts';
import type { LedgerEntry } from './ledger.ts';
import type { PkiName } from './profiles.ts';
import { authorityFiles, authorityNames, bundlePath, hasCrl, saveCrl, takeCrlNumber } from './store.ts';
import type { CertificateAuthority } from './store.ts';

const dayMs = 24 * 60 * 60 * 1000;
export const crlLifetimeMs = 7 * dayMs;
/** RFC 5280 §3.3: an entry stays until after its certificate has expired; this much longer, for slow clocks. */
const expiredEntryMs = 30 * dayMs;

/** @param entries - the ledger of the CA's PKI */
export function issueCrlOf(
  directory: string,
  authority: CertificateAuthority,
  entries: readonly LedgerEntry[],
  { nowMs, lifetimeMs }: { nowMs: number; lifetimeMs: number },
): Crl {
  const template = {
    issuer: authority.certificate,
    number: takeCrlNumber(directory, authority.pki, authority.name),
    thisUpdateMs: nowMs,
    nextUpdateMs: nowMs + lifetimeMs,
    entries: revokedBy(authority.name, entries, nowMs),
  };
  const crl = parseCrl(signToBeSigned(encodeCrlToBeSigned(template, authority.key), authority.key));
  requireIssuedBy(crl, authority.certificate);
  saveCrl(directory, authority.pki, authority.name, crl);
  return crl;
}

/** Writes the bundle (see `crl-bundle.ts`) from what every CA last issued. */
export function writeBundle(directory: string, pki: PkiName): void {
  const parts = authorityNames(directory, pki)
    .filter((name) => hasCrl(directory, pki, name))
    .flatMap((name) => {
      const { certificate, crl } = authorityFiles(directory, pki, name);
      return [certificate, crl].map((path) => readFileSync(path, 'utf8'));
    });
  writeFileAtomic(bundlePath(directory, pki), parts.join(''), publicMode);
}

function revokedBy(name: string, entries: readonly LedgerEntry[], nowMs: number): RevokedEntry[] {
  return entries
    .filter(({ event, issuer, notAfter }) => {
      return event === 'revoked' && issuer === name && Date.parse(notAfter) + expiredEntryMs > nowMs;
    })
    .map(({ serial, at, reason }) => ({
      serialNumber: Buffer.from(serial, 'hex'),
      revokedAtMs: Date.parse(at),
      reason: reason ?? 'unspecified',
    }));
}
