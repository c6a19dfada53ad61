/** Verifies a certificate path: RFC 5280 §6 for our profile, and path discipline (DESIGN §3) on the whole chain. */
import { isFactoryName } from '../domain/namespace.ts';
import { kemKeyType } from './certificate.ts';
import type { Certificate } from './certificate.ts';
import { authorityBelow, identityBelow, rootPosition } from './discipline.ts';
import type { AuthorityPosition, IdentityKind } from './discipline.ts';
import { PkiError } from './errors.ts';
import { enrolmentPurpose } from './extensions.ts';
import type { KeyUsage } from './extensions.ts';
import { expired, iso, isNamedIssuer, label, requireAuthority, validatePath } from './path-validation.ts';
import type { RevocationIndex, StalePolicy } from './revocation.ts';
import { ecdsaSignatures } from './signature.ts';

export const purposeNames = [
  'tls-client',
  'tls-server',
  'signature',
  'key-agreement',
  'key-encapsulation',
  'enrolment-client',
  'enrolment-signature',
] as const;
export type Purpose = (typeof purposeNames)[number];

export interface PathQuestion {
  /** Leaf first, its issuers behind it in any order; others beside them are ignored (RFC 8446 §4.4.2). */
  readonly chain: readonly Certificate[];
  /** Pinned; at least one. */
  readonly roots: readonly Certificate[];
  readonly atMs: number;
  readonly purpose: Purpose;
  /** A device whose certificate expired no longer ago than this passes, to be enrolled again. Default 0. */
  readonly expiredGraceMs?: number;
  /** Without one, nothing is taken for revoked. */
  readonly revocation?: RevocationIndex;
  /** Default: refuse when a list is missing or its next update has passed. Matters only with `revocation`. */
  readonly stalePolicy?: StalePolicy;
}

/** What is looked up again when a list comes later, and no more of the leaf: those are many, and CAs are few. */
export interface VerifiedPath {
  /** Leaf first, without the root. */
  readonly chain: readonly [Pick<Certificate, 'der' | 'serialNumber' | 'commonName'>, ...Certificate[]];
  readonly root: Certificate;
}

export interface VerifiedIdentity extends VerifiedPath {
  readonly chain: readonly [Certificate, ...Certificate[]];
  readonly commonName: string;
  /** By the name. A broker is a service or has its master account's name; what tells it is the server certificate. */
  readonly kind: IdentityKind;
  /** The segments of the common name; a service's has one. */
  readonly path: readonly string[];
  readonly certificate: Certificate;
  /** `enrolment`: it may ask for certificates and do nothing else. Always `full` unless the question allows the other. */
  readonly scope: 'full' | 'enrolment';
  /** What the stale policy `warn` let pass, for the log. */
  readonly warnings: readonly string[];
}

const clientAuth = '1.3.6.1.5.5.7.3.2'; // RFC 5280 §4.2.1.12

/** The key usage is exactly this one, because one key never does two jobs (DESIGN §3). */
const purposes: Readonly<
  Record<Purpose, { readonly usage: KeyUsage; readonly extended: string | undefined }>
> = {
  'tls-client': { usage: 'digitalSignature', extended: clientAuth },
  'tls-server': { usage: 'digitalSignature', extended: '1.3.6.1.5.5.7.3.1' },
  signature: { usage: 'digitalSignature', extended: undefined },
  'key-agreement': { usage: 'keyAgreement', extended: undefined },
  'key-encapsulation': { usage: 'keyEncipherment', extended: undefined }, // RFC 9935 §5
  'enrolment-client': { usage: 'digitalSignature', extended: clientAuth },
  'enrolment-signature': { usage: 'digitalSignature', extended: enrolmentPurpose },
};
const enrolmentPurposes: ReadonlySet<Purpose> = new Set(['enrolment-client', 'enrolment-signature']);

/** A leaf and two CAs below the root. */
const certificatesMax = 3;
const refuseWhenOverdue: StalePolicy = { action: 'refuse' };

/**
 * Verifies a path for a purpose, at a time.
 *
 * @throws PkiError `pki.untrusted`, `pki.bad_signature`, `pki.unsupported_algorithm`, `pki.not_yet_valid`,
 *   `pki.expired`, `pki.not_an_authority`, `pki.path_length`, `pki.unknown_critical_extension`, `pki.key_usage`,
 *   `pki.path_discipline`, `pki.revoked`, `pki.stale_crl`
 */
export function verifyPath(question: PathQuestion): VerifiedIdentity {
  const { atMs, purpose, revocation, expiredGraceMs = 0 } = question;
  const isForEnrolment = enrolmentPurposes.has(purpose);
  const leafGraceMs = isForEnrolment ? 0 : expiredGraceMs;
  const path = validatePath({ ...question, leafGraceMs, certificatesMax, signatures: ecdsaSignatures });
  requirePurpose(path.leaf, purpose);
  const { commonName } = path.leaf;
  const kind = identityBelow(positionOf(path.authorities), commonName);
  if (kind === undefined || commonName === undefined) throw outOfDiscipline(path.leaf);
  const isExpired = atMs > path.leaf.notAfterMs;
  if (isExpired && kind !== 'device') throw expired(path.leaf);
  if (isForEnrolment && kind !== 'device' && !isFactoryName(commonName)) throw outOfDiscipline(path.leaf);
  const identity = {
    commonName,
    kind,
    path: commonName.split('/'),
    certificate: path.leaf,
    scope: isExpired || isForEnrolment ? ('enrolment' as const) : ('full' as const),
    chain: [path.leaf, ...path.authorities.slice(0, -1)] as const,
    root: path.root,
    warnings: [],
  };
  return revocation === undefined
    ? identity
    : { ...identity, warnings: requireUnrevoked(identity, revocation, atMs, question.stalePolicy) };
}

/**
 * Looks a verified path up again, for a session that outlives a list.
 *
 * @returns what the policy `warn` let pass
 * @throws PkiError `pki.revoked`, `pki.stale_crl`
 */
export function requireUnrevoked(
  identity: VerifiedPath,
  revocation: RevocationIndex,
  atMs: number,
  stalePolicy: StalePolicy = refuseWhenOverdue,
): readonly string[] {
  const [leaf, ...authorities] = identity.chain;
  const issuers = [...authorities, identity.root];
  const steps = issuers.map((issuer, index) => ({ certificate: issuers[index - 1] ?? leaf, issuer }));
  // What is known to be revoked comes before what is not known: a CA that is gone issues no list any more.
  for (const { certificate, issuer } of steps) {
    const found = revocation.lookUp(issuer, certificate.serialNumber);
    if (found === undefined || found.revokedAtMs > atMs) continue;
    const since = new Date(found.revokedAtMs).toISOString();
    throw new PkiError('pki.revoked', `${label(certificate)} is revoked since ${since} (${found.reason})`);
  }
  const warnings: string[] = [];
  for (const { issuer } of steps) {
    const fault = staleness(issuer, revocation, atMs, stalePolicy);
    if (fault === undefined) continue;
    if (stalePolicy.action === 'refuse') throw new PkiError('pki.stale_crl', fault);
    warnings.push(fault);
  }
  return warnings;
}

/**
 * Verifies that a CA stands below a pinned root, so that its CRL may be believed. Whether it is still valid does not
 * matter for that: a list says what was revoked, and an expired CA's certificates are refused anyway.
 *
 * @param candidates - where its issuers are looked for, in any order
 * @throws PkiError as `verifyPath`
 */
export function requireAuthorityBelow(
  authority: Certificate,
  candidates: readonly Certificate[],
  roots: readonly Certificate[],
): void {
  if (roots.some(({ der }) => der.equals(authority.der))) return;
  // All authorities of ours call their roots the same, so a signature by the pinned one is what would be missed next.
  if (authority.subjectDer.equals(authority.issuerDer))
    throw new PkiError('pki.untrusted', `${label(authority)} is a root that is not pinned`);
  const chain = [authority];
  for (let last = authority; chain.length < certificatesMax;) {
    const issuer = candidates.find((candidate) => isNamedIssuer(candidate, last));
    if (issuer === undefined) break;
    chain.push(issuer);
    last = issuer;
  }
  const path = validatePath({
    chain,
    roots,
    atMs: undefined,
    certificatesMax,
    signatures: ecdsaSignatures,
  });
  path.all.forEach((certificate, index) => requireAuthority(certificate, index));
  positionOf(path.all);
}

/** Whether a certificate, if it is good at all, is good for enrolment alone. */
export function isBootstrap(leaf: Certificate): boolean {
  return leaf.extendedKeyUsage?.includes(enrolmentPurpose) === true;
}

function requirePurpose(leaf: Certificate, purpose: Purpose): void {
  const { usage, extended } = purposes[purpose];
  const usages = [...(leaf.keyUsage ?? [])];
  const isUsageRight = !leaf.isAuthority && usages.length === 1 && usages[0] === usage;
  // A certificate for TLS names its role; one for messages has no extended key usage to be misread.
  const isExtendedRight =
    extended === undefined
      ? leaf.extendedKeyUsage === undefined
      : leaf.extendedKeyUsage?.includes(extended) === true &&
        isBootstrap(leaf) === enrolmentPurposes.has(purpose) &&
        (extended !== enrolmentPurpose || leaf.extendedKeyUsage.length === 1);
  if (isUsageRight && isExtendedRight) {
    const isKeyRight =
      usage === 'keyEncipherment'
        ? leaf.publicKey.asymmetricKeyType === kemKeyType
        : leaf.curve !== undefined;
    if (isKeyRight) return;
    throw new PkiError(
      'pki.unsupported_algorithm',
      `${label(leaf)} has a key that is not of ours for ${purpose}`,
    );
  }
  const found = [...usages, ...(leaf.extendedKeyUsage ?? [])].join(', ') || 'nothing';
  throw new PkiError(
    'pki.key_usage',
    `${label(leaf)} is not for ${purpose}: it is for ${leaf.isAuthority ? 'a CA' : found}`,
  );
}

/** @param authorities - root last */
function positionOf(authorities: readonly Certificate[]): AuthorityPosition {
  return authorities
    .slice(0, -1)
    .toReversed()
    .reduce<AuthorityPosition>((issuer, authority) => {
      const position = authorityBelow(issuer, authority.commonName);
      if (position === undefined) throw outOfDiscipline(authority);
      return position;
    }, rootPosition);
}

function outOfDiscipline(certificate: Certificate): PkiError {
  const issuer = certificate.issuerCommonName ?? 'an issuer without one common name';
  return new PkiError('pki.path_discipline', `${label(certificate)} has no name that ${issuer} may give`);
}

function staleness(
  issuer: Certificate,
  revocation: RevocationIndex,
  atMs: number,
  { staleAfterMs }: StalePolicy,
): string | undefined {
  const crl = revocation.crlOf(issuer);
  if (crl === undefined) return `no CRL of ${label(issuer)} is here`;
  const staleAtMs = staleAfterMs === undefined ? crl.nextUpdateMs : crl.thisUpdateMs + staleAfterMs;
  return atMs > staleAtMs ? `the CRL of ${label(issuer)} is stale since ${iso(staleAtMs)}` : undefined;
}
