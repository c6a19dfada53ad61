/** Issues the CRLs of an authority's CAs from its ledger, and the bundle of them all. */
import { existsSync, readFileSync } from 'node:fs';
import { expiredGraceDaysMax } from '../../domain/limits.ts';
import { parseDevicePath } from '../../domain/namespace.ts';
import { crlsFromPem, parseCrl, requireIssuedBy } from '../crl.ts';
import type { Crl } from '../crl.ts';
import { PkiError } from '../errors.ts';
import { encodeCrlToBeSigned, signToBeSigned } from './encode.ts';
import type { RevokedEntry } from './encode.ts';
import { publicMode, writeFileAtomic } from './files.ts';
import type { LedgerEntry } from './ledger.ts';
import type { PkiName } from './profiles.ts';
import {
  authorityFiles,
  authorityNames,
  bundlePath,
  hasCrl,
  readCrl,
  saveCrl,
  takeCrlNumber,
} from './store.ts';
import type { CertificateAuthority } from './store.ts';

const dayMs = 24 * 60 * 60 * 1000;
export const crlLifetimeMs = 7 * dayMs;
/** For slow clocks. */
const expiredEntryMs = 30 * dayMs;
/**
 * A device may ask for a renewal after its certificate has expired, and an envelope may still come (`in-force.ts` of
 * `cms/`); not from one that was stolen.
 */
const lateEntryMs = (expiredGraceDaysMax + 1) * dayMs;

export interface CrlTime {
  readonly nowMs: number;
  /** Default: a week. */
  readonly lifetimeMs?: (previous: Crl | undefined) => number;
}

/** @param entries - the ledger of the CA's PKI */
export function issueCrlOf(
  directory: string,
  authority: CertificateAuthority,
  entries: readonly LedgerEntry[],
  { nowMs, lifetimeMs = () => crlLifetimeMs }: CrlTime,
): Crl {
  const previous = previousOf(directory, authority);
  const template = {
    issuer: authority.certificate,
    number: takeCrlNumber(directory, authority.pki, authority.name),
    thisUpdateMs: nowMs,
    nextUpdateMs: nowMs + lifetimeMs(previous),
    entries: revokedBy(authority.name, entries, previous, nowMs),
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

/** The lists of the bundle that was written last; none if it is damaged. */
export function readBundle(directory: string, pki: PkiName): readonly Crl[] {
  const file = bundlePath(directory, pki);
  return (existsSync(file) ? unlessDamaged(() => crlsFromPem(readFileSync(file))) : undefined) ?? [];
}

/** A list that is damaged takes no entry away. */
function previousOf(directory: string, { pki, name }: CertificateAuthority): Crl | undefined {
  return unlessDamaged(() => readCrl(directory, pki, name));
}

function unlessDamaged<Result>(read: () => Result): Result | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof PkiError) return undefined;
    throw error;
  }
}

function revokedBy(
  name: string,
  entries: readonly LedgerEntry[],
  previous: Crl | undefined,
  nowMs: number,
): RevokedEntry[] {
  return entries
    .filter((entry) => {
      const { event, issuer, serial } = entry;
      if (event !== 'revoked' || issuer !== name) return false;
      const neededUntilMs = lastNeededMs(entry);
      // RFC 5280 §3.3: an entry stays until it has been on one list that was issued after its certificate's expiry.
      const wasOnLast =
        previous !== undefined && previous.thisUpdateMs > neededUntilMs && previous.revoked.has(serial);
      return nowMs <= neededUntilMs || !wasOnLast;
    })
    .map(({ serial, at, reason }) => ({
      serialNumber: Buffer.from(serial, 'hex'),
      revokedAtMs: Date.parse(at),
      reason: reason ?? 'unspecified',
    }));
}

function lastNeededMs({ subject, pki, scope, notAfter }: LedgerEntry): number {
  const mayComeLate = scope === undefined && (pki === 'e2e' || parseDevicePath(subject) !== undefined);
  return Date.parse(notAfter) + (mayComeLate ? lateEntryMs : expiredEntryMs);
}
