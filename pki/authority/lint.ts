/** What the authority refuses to sign. It reads the very bytes, so a fault of the encoder shows too. */
import { isDeepStrictEqual } from 'node:util';
import { kemKeyType } from '../certificate.ts';
import type { Certificate } from '../certificate.ts';
import { authorityBelow, identityBelow } from '../discipline.ts';
import type { AuthorityPosition, IdentityKind } from '../discipline.ts';
import { PkiError } from '../errors.ts';
import { enrolmentPurpose } from '../extensions.ts';
import { isFactoryName } from '../../domain/namespace.ts';
import type { Profile } from './profiles.ts';

export interface LintQuestion {
  /** Parsed from the to-be-signed bytes; its signature is empty. */
  readonly draft: Certificate;
  readonly profile: Profile;
  /** Undefined for a root, which issues itself. */
  readonly issuer: { readonly certificate: Certificate; readonly position: AuthorityPosition } | undefined;
  readonly atMs: number;
}

const serverAuth = '1.3.6.1.5.5.7.3.1';
const serialBytesMin = 16;
/** A device serves nobody; so no device can pass for a broker. */
const kindsThatServe: ReadonlySet<IdentityKind> = new Set(['service', 'master-account', 'account']);

/** @throws PkiError `pki.lint`, naming every fault */
export function lint(question: LintQuestion): void {
  const { issuer } = question;
  const faults = [...ownFaults(question), ...(issuer === undefined ? [] : faultsBelow(question, issuer))];
  if (faults.length === 0) return;
  const name = question.draft.commonName ?? 'no common name';
  throw new PkiError(
    'pki.lint',
    `refused to sign a certificate for ${JSON.stringify(name)}: ${faults.join('; ')}`,
  );
}

function ownFaults({ draft, profile, atMs }: LintQuestion): string[] {
  const faults: string[] = [];
  const check = (holds: boolean, fault: string): void => {
    if (!holds) faults.push(fault);
  };
  const isKem = draft.publicKey.asymmetricKeyType === kemKeyType;
  check(
    profile.keyUsage.includes('keyEncipherment') ? isKem : draft.curve !== undefined,
    'its key is on no curve of ours, or not of the kind that its profile has',
  );
  check(draft.isAuthority === profile.isAuthority, 'its basic constraints differ from its profile');
  check(draft.pathLength === profile.pathLength, 'its path length differs from its profile');
  check(
    isDeepStrictEqual(draft.keyUsage, new Set(profile.keyUsage)),
    'its key usage differs from its profile',
  );
  check(
    isDeepStrictEqual(draft.extendedKeyUsage ?? [], profile.extendedKeyUsage),
    'its extended key usage differs from its profile',
  );
  check(draft.unknownCriticalExtensions.length === 0, 'it has a critical extension that no verifier knows');
  check(draft.subjectKeyIdentifier?.length === 20, 'it has no subject key identifier of 20 bytes');
  check(
    draft.serialNumber.length >= serialBytesMin,
    `its serial number is shorter than ${serialBytesMin} bytes`,
  );
  check(draft.notAfterMs > draft.notBeforeMs && draft.notAfterMs > atMs, 'it would never be valid');
  return faults;
}

function faultsBelow(
  { draft, profile, atMs }: LintQuestion,
  { certificate, position }: NonNullable<LintQuestion['issuer']>,
): string[] {
  const faults: string[] = [];
  const check = (holds: boolean, fault: string): void => {
    if (!holds) faults.push(fault);
  };
  const kind = profile.isAuthority ? undefined : identityBelow(position, draft.commonName);
  const mayHaveName = profile.isAuthority
    ? authorityBelow(position, draft.commonName) !== undefined
    : kind !== undefined;
  check(mayHaveName, `${certificate.commonName ?? 'its issuer'} may not give that name`);
  const serves = draft.extendedKeyUsage?.includes(serverAuth) === true;
  check(!serves || (kind !== undefined && kindsThatServe.has(kind)), 'a device cannot be a server');
  const isBootstrap = draft.extendedKeyUsage?.includes(enrolmentPurpose) === true;
  check(
    !isBootstrap || kind === 'device' || isFactoryName(draft.commonName ?? ''),
    'nobody is enrolled but devices',
  );
  check(
    certificate.isAuthority && certificate.keyUsage?.has('keyCertSign') === true,
    'its issuer is not a CA',
  );
  check(
    !profile.isAuthority || (certificate.pathLength ?? Infinity) > (draft.pathLength ?? Infinity),
    'its path length is not below that of its issuer',
  );
  check(draft.notBeforeMs >= certificate.notBeforeMs, 'it is valid before its issuer is');
  check(draft.notAfterMs <= certificate.notAfterMs, 'it is valid longer than its issuer is');
  check(certificate.notAfterMs > atMs, 'its issuer has expired');
  check(draft.issuerDer.equals(certificate.subjectDer), 'it names another issuer');
  check(
    certificate.subjectKeyIdentifier !== undefined &&
      draft.authorityKeyIdentifier?.equals(certificate.subjectKeyIdentifier) === true,
    "its authority key identifier is not its issuer's",
  );
  check(!draft.publicKey.equals(certificate.publicKey), "its key is its issuer's");
  return faults;
}
