/**
 * The part of RFC 5280 §6 that holds for any tree: signatures, names, validity, basic constraints, key usage, critical
 * extensions. What it does not process (policies, name constraints) it refuses when critical, as §4.2 demands.
 */
import type { Certificate } from './certificate.ts';
import { PkiError } from './errors.ts';
import type { SignatureRules } from './signature.ts';

export interface PathInput {
  /** Leaf first, its issuers behind it in any order; others beside them are ignored (RFC 8446 §4.4.2). */
  readonly chain: readonly Certificate[];
  /** Pinned; at least one. */
  readonly roots: readonly Certificate[];
  /** Undefined: whether they are valid by now does not matter. */
  readonly atMs: number | undefined;
  /** How long the leaf may have been expired. Default 0. */
  readonly leafGraceMs?: number;
  /** Certificates below the root, the leaf included. */
  readonly certificatesMax: number;
  readonly signatures: SignatureRules;
}

export interface Path {
  readonly leaf: Certificate;
  /** The leaf's issuer first, the root last. */
  readonly authorities: readonly Certificate[];
  readonly all: readonly Certificate[];
  readonly root: Certificate;
}

/**
 * @throws PkiError `pki.untrusted`, `pki.bad_signature`, `pki.unsupported_algorithm`, `pki.not_yet_valid`,
 *   `pki.expired`, `pki.not_an_authority`, `pki.path_length`, `pki.unknown_critical_extension`
 */
export function validatePath(input: PathInput): Path {
  const path = buildPath(input);
  const { atMs, leafGraceMs = 0 } = input;
  if (atMs !== undefined) {
    for (const certificate of path.all)
      requireValid(certificate, atMs, certificate === path.leaf ? leafGraceMs : 0);
  }
  path.authorities.forEach((authority, index) => requireAuthority(authority, index));
  for (const certificate of path.all) requireUnderstood(certificate);
  return path;
}

/**
 * Chains by name and signature up to a root. Nothing in a certificate is believed before its signature verified. Each
 * issuer is looked for once, and the first that has its name and key identifier is the one: nothing is tried twice.
 */
function buildPath({ chain, roots, certificatesMax, signatures }: PathInput): Path {
  const [leaf] = chain;
  if (leaf === undefined) throw new PkiError('pki.untrusted', 'cannot verify an empty chain');
  const below = [leaf];
  let current = leaf;
  let root = issuingRoot(current, roots, signatures);
  while (root === undefined) {
    const issued = current;
    const next = chain.find((candidate) => !below.includes(candidate) && isNamedIssuer(candidate, issued));
    if (next === undefined) {
      const wanted = current.issuerCommonName ?? 'its issuer';
      throw new PkiError(
        'pki.untrusted',
        `${label(current)} leads to no pinned root: ${wanted} is not in the chain`,
      );
    }
    if (below.length === certificatesMax) {
      throw new PkiError(
        'pki.path_length',
        `${label(leaf)} has more than ${certificatesMax - 1} CAs below the root`,
      );
    }
    requireSignature(current, next, signatures);
    below.push(next);
    current = next;
    root = issuingRoot(current, roots, signatures);
  }
  requireSignature(current, root, signatures);
  const all = [...below, root];
  return { leaf, authorities: all.slice(1), all, root };
}

/** After a change of keys two roots may have one name; then the key identifier and the signature decide. */
function issuingRoot(
  certificate: Certificate,
  roots: readonly Certificate[],
  signatures: SignatureRules,
): Certificate | undefined {
  const named = roots.filter((root) => isNamedIssuer(root, certificate));
  return named.length < 2
    ? named[0]
    : (named.find((root) => signatures.isSignedBy(certificate, root)) ?? named[0]);
}

/** RFC 5280 §6.1.3 (a)(4); bytes are compared, so one name in two encodings is two names. */
export function isNamedIssuer(issuer: Certificate, certificate: Certificate): boolean {
  if (!issuer.subjectDer.equals(certificate.issuerDer)) return false;
  const wanted = certificate.authorityKeyIdentifier;
  const found = issuer.subjectKeyIdentifier;
  return wanted === undefined || found === undefined || wanted.equals(found);
}

/**
 * Who was found to have signed a CA's certificate. Neither of the two ever changes, a whole fleet stands below a handful
 * of CAs, and each signature would cost every handshake about 100 µs.
 */
const provenIssuers = new WeakMap<Certificate, Certificate>();

function requireSignature(certificate: Certificate, issuer: Certificate, signatures: SignatureRules): void {
  if (!signatures.isSupported(certificate.signatureAlgorithm, issuer)) {
    throw new PkiError(
      'pki.unsupported_algorithm',
      `${label(certificate)} is signed with algorithm ${certificate.signatureAlgorithm} on curve ${issuer.curve ?? 'unknown'}`,
    );
  }
  if (provenIssuers.get(certificate) === issuer) return;
  if (!signatures.isSignedBy(certificate, issuer)) {
    throw new PkiError('pki.bad_signature', `${label(certificate)} was not signed by ${label(issuer)}`);
  }
  if (certificate.isAuthority) provenIssuers.set(certificate, issuer);
}

function requireValid(certificate: Certificate, atMs: number, graceMs: number): void {
  if (atMs < certificate.notBeforeMs) {
    throw new PkiError(
      'pki.not_yet_valid',
      `${label(certificate)} is valid from ${iso(certificate.notBeforeMs)} on`,
    );
  }
  if (atMs > certificate.notAfterMs + graceMs) throw expired(certificate);
}

export function expired(certificate: Certificate): PkiError {
  return new PkiError('pki.expired', `${label(certificate)} expired at ${iso(certificate.notAfterMs)}`);
}

/** @param authoritiesBelow - how many CAs stand between it and the leaf */
export function requireAuthority(authority: Certificate, authoritiesBelow: number): void {
  if (!authority.isAuthority || authority.keyUsage?.has('keyCertSign') !== true) {
    throw new PkiError('pki.not_an_authority', `${label(authority)} is not a CA`);
  }
  if (authority.pathLength !== undefined && authoritiesBelow > authority.pathLength) {
    throw new PkiError(
      'pki.path_length',
      `${label(authority)} admits ${authority.pathLength} CAs below it, not ${authoritiesBelow}`,
    );
  }
}

function requireUnderstood(certificate: Certificate): void {
  const [unknown] = certificate.unknownCriticalExtensions;
  if (unknown !== undefined) {
    throw new PkiError(
      'pki.unknown_critical_extension',
      `${label(certificate)} has critical extension ${unknown}`,
    );
  }
}

/** A name for a message, never longer than a common name may be, and without control characters. */
export function label({ commonName: name }: Pick<Certificate, 'commonName'>): string {
  if (name === undefined) return 'a certificate without one common name';
  return `certificate ${JSON.stringify(name.slice(0, 64))}`;
}

export function iso(atMs: number): string {
  return new Date(atMs).toISOString();
}
