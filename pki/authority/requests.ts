/** What an authority is asked for, and what of it makes no sense. */
import type { KeyObject } from 'node:crypto';
import type { CurveName } from '../certificate.ts';
import type { CrlReason } from '../crl.ts';
import { issuersOf } from '../discipline.ts';
import { PkiError } from '../errors.ts';
import { alternativeNamesOf } from './hosts.ts';
import type { IssuanceRequest } from './issuance.ts';
import type { LedgerKind } from './ledger.ts';
import type { CertificateKind } from './profiles.ts';
import type { CertificateAuthority } from './store.ts';

export interface IssueRequest {
  /** `ms-acc-1`, `ms-acc-1/acc-1`, `ms-acc-1/acc-1/dev-1`, or a service such as `vendor-snapshot-service`. */
  readonly path: string;
  /** Default: all three. */
  readonly kinds?: readonly CertificateKind[];
  /** DNS names and addresses; with any, the TLS certificate is a broker's: for a server and a client. */
  readonly hosts?: readonly string[];
  /** Default: `identities/<path>` in the authority's directory. */
  readonly outputDirectory?: string;
  /** Default: two years, but not longer than the issuing CA's. */
  readonly lifetimeMs?: number;
  /** Default: that of the PKI's root. Brainpool as in `CreationOptions`. */
  readonly curve?: CurveName;
  /** Encrypts the identity's keys. */
  readonly passphrase?: string;
}

export interface CertifyRequest extends Pick<IssueRequest, 'path' | 'hosts' | 'lifetimeMs'> {
  readonly kind: CertificateKind;
  /** Of a key that the authority does not hold, such as one in a PKCS #10 request. */
  readonly publicKey: KeyObject;
  /** `enrolment`: of a TLS or SIG key that is good for asking for certificates alone. Default: good for all of its kind. */
  readonly scope?: 'enrolment';
}

export interface InvitationRequest extends Pick<IssueRequest, 'curve'> {
  /** Of a device, or a factory name. */
  readonly path: string;
  /** Default: two weeks. */
  readonly lifetimeMs?: number;
}

export interface CrlRequest {
  /** Default 7 days. */
  readonly lifetimeMs?: number;
  /** Only lists whose next update is no further away. Default: all. */
  readonly dueWithinMs?: number;
  /** Only the lists of these CAs: `root`, or common names. Default: all. */
  readonly authorities?: readonly string[];
}

export interface RevocationRequest {
  /** A path: every certificate of it that has not expired. Or serial numbers, hexadecimal. */
  readonly target: { readonly path: string } | { readonly serials: readonly string[] };
  /** Default `unspecified`. */
  readonly reason?: CrlReason;
  /** With a path. Default: those of an end entity. With `ca`, the CA of that path, and all below it with it. */
  readonly kinds?: readonly LedgerKind[];
}

/** Segments name directories beside these files. */
const segmentOfOurs = /\.pem$|\.tmp$|^crl-number$/i;

/** @throws PkiError `pki.malformed_request` */
export function issuanceOf(
  { path, kind, publicKey, scope, hosts = [], lifetimeMs }: CertifyRequest,
  issuer: CertificateAuthority,
): IssuanceRequest {
  const isBroker = kind === 'tls' && hosts.length > 0;
  if (scope === 'enrolment' && (isBroker || (kind !== 'tls' && kind !== 'sig'))) {
    throw new PkiError('pki.malformed_request', `no ${kind} certificate is for enrolment alone`);
  }
  return {
    issuer,
    kind,
    commonName: path,
    publicKey,
    profile:
      kind === 'tls'
        ? scope === 'enrolment'
          ? 'tls-bootstrap'
          : isBroker
            ? 'tls-broker'
            : 'tls-client'
        : kind === 'sig' && scope === 'enrolment'
          ? 'sig-bootstrap'
          : kind,
    ...(isBroker ? { alternativeNames: alternativeNamesOf(hosts) } : {}),
    ...(lifetimeMs === undefined ? {} : { lifetimeMs }),
  };
}

/** @throws PkiError `pki.malformed_request` if nobody is issued certificates under that name */
export function requirePath(path: string): void {
  if (issuersOf(path) === undefined) {
    throw new PkiError(
      'pki.malformed_request',
      `${JSON.stringify(path)} is neither a path (master-account/account/device) nor a service (vendor-…, MRO-Admin)`,
    );
  }
  if (path.split('/').some((segment) => segmentOfOurs.test(segment))) {
    throw new PkiError(
      'pki.malformed_request',
      `${JSON.stringify(path)} has a segment that names one of the authority's files`,
    );
  }
}

/** @param serial - hexadecimal, as people write it @returns as the ledger has it */
export function normalSerial(serial: string): string {
  const digits = serial.replaceAll(':', '').toLowerCase();
  return digits.length % 2 === 0 ? digits : `0${digits}`;
}
