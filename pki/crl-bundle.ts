/** The lists of every CA of one PKI in one PEM file, each after the certificate of its CA: what `vendor/crl/…` carries. */
import { gunzipSync, gzipSync } from 'node:zlib';
import { certificatesFromPem, certificatesToPem } from './certificate.ts';
import type { Certificate } from './certificate.ts';
import { crlsFromPem, crlToPem } from './crl.ts';
import type { Crl } from './crl.ts';
import { PkiError } from './errors.ts';
import { requireAuthorityBelow } from './path.ts';
import type { IssuedCrl, RevocationIndex } from './revocation.ts';

export interface BundleReport {
  /** Lists that were newer than those held. */
  readonly updated: number;
  readonly unchanged: number;
}

export function crlBundleToPem(lists: Iterable<IssuedCrl>): string {
  return Array.from(lists, ({ authority, crl }) => certificatesToPem([authority]) + crlToPem(crl)).join('');
}

/** Up to here a bundle is published as it is, for people and other programs to read. */
const plainBytesMax = 64 * 1024;
/** Of what a bundle unpacks to; a million entries. */
const unpackedBytesMax = 96 * 1024 * 1024;
const gzipMagic = Buffer.of(0x1f, 0x8b); // RFC 1952 §2.3.1

/** @returns a bundle as it is published: one that is large in gzip, which makes 10,000 entries 210 KiB of 660 */
export function packBundle(pem: Buffer): Buffer {
  return pem.length <= plainBytesMax ? pem : gzipSync(pem);
}

/**
 * Takes over every list of a bundle, or none: a bundle with one fault leaves the index as it was.
 *
 * @param bundle - as `packBundle` has it: CRLs, and the certificates of the CAs that issued them (the roots' may be missing), in any order
 * @param roots - pinned
 * @throws PkiError `pki.malformed_crl`, `pki.malformed_certificate`, `pki.crl_rollback`, `pki.untrusted` (a list whose CA
 *   is not in the bundle, or not below a root), and whatever else is wrong with a list or the path of its CA
 */
export function updateFromBundle(
  index: RevocationIndex,
  bundle: string | Uint8Array,
  roots: readonly Certificate[],
): BundleReport {
  const pem = unpack(bundle);
  const next = index.copy();
  const certificates = [...roots, ...certificatesIn(pem)];
  const report = addLists(next, pem, certificates, (authority) =>
    requireAuthorityBelow(authority, certificates, roots),
  );
  index.replaceWith(next);
  return report;
}

/**
 * Fills an index with what `crlBundleToPem` once wrote of one. The CAs are not looked at again: a list is asked for
 * in the name of a CA whose own path was verified, so that of any other is of no effect.
 *
 * @throws PkiError if it is not whole
 */
export function restoreFromBundle(index: RevocationIndex, pem: string | Uint8Array): void {
  addLists(index, pem, certificatesIn(pem), () => undefined);
}

function unpack(bundle: string | Uint8Array): string | Uint8Array {
  if (typeof bundle === 'string' || !gzipMagic.equals(bundle.subarray(0, gzipMagic.length))) return bundle;
  try {
    return gunzipSync(bundle, { maxOutputLength: unpackedBytesMax });
  } catch (cause) {
    throw new PkiError('pki.malformed_crl', 'cannot read CRLs: not well-formed gzip, or too large', {
      cause,
    });
  }
}

function addLists(
  index: RevocationIndex,
  pem: string | Uint8Array,
  authorities: readonly Certificate[],
  check: (authority: Certificate) => void,
): BundleReport {
  const crls = crlsFromPem(pem);
  const bySubject = Map.groupBy(authorities, ({ subjectDer }) => subjectDer.toString('base64'));
  let updated = 0;
  for (const crl of crls) {
    const authority = issuerOf(crl, bySubject.get(crl.issuerDer.toString('base64')) ?? []);
    if (index.crlOf(authority)?.der.equals(crl.der) === true) continue;
    check(authority);
    if (index.add(crl, authority)) updated += 1;
  }
  return { updated, unchanged: crls.length - updated };
}

/** Two CAs may have one name (after a change of keys, or because one of them lies): the key identifier tells them apart. */
function issuerOf(crl: Crl, named: readonly Certificate[]): Certificate {
  const wanted = crl.authorityKeyIdentifier;
  const found = named.find(
    ({ subjectKeyIdentifier }) => wanted === undefined || subjectKeyIdentifier?.equals(wanted) === true,
  );
  if (found !== undefined) return found;
  throw new PkiError(
    'pki.untrusted',
    `cannot accept the CRL of ${crl.issuerCommonName ?? 'a CA without a common name'}: the CA's certificate is not there`,
  );
}

function certificatesIn(pem: string | Uint8Array): Certificate[] {
  const text = typeof pem === 'string' ? pem : Buffer.from(pem).toString('latin1');
  return text.includes('-----BEGIN CERTIFICATE-----') ? certificatesFromPem(text) : [];
}
