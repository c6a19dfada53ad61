/** An authority: both PKIs' CAs on the disk, what they issue, and what they revoke. */
import { generateKeyPairSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../domain/clock.ts';
import type { Clock } from '../../domain/clock.ts';
import { vendorAuthorityName } from '../../domain/namespace.ts';
import { kemKeyType } from '../certificate.ts';
import type { Certificate, CurveName } from '../certificate.ts';
import type { CrlReason } from '../crl.ts';
import { authorityBelow, issuersOf, rootPosition } from '../discipline.ts';
import { PkiError } from '../errors.ts';
import { crlLifetimeMs, issueCrlOf, writeBundle } from './crl-issuance.ts';
import { makeDirectory } from './files.ts';
import { alternativeNamesOf } from './hosts.ts';
import { writeIdentity } from './identity-files.ts';
import type { IssuedCertificate } from './identity-files.ts';
import { issueCertificate, issueRoot } from './issuance.ts';
import { appendToLedger, readLedger, repairLedger } from './ledger.ts';
import type { LedgerEntry, LedgerKind } from './ledger.ts';
import { withLock } from './lock.ts';
import { certificateKinds, pkiNames, pkiOf, usualKinds } from './profiles.ts';
import type { CertificateKind, PkiName, ProfileName } from './profiles.ts';
import {
  authorityNames,
  hasAuthority,
  ledgerPath,
  loadAuthority,
  readAuthorityCertificate,
  readCrl,
  rootName,
  saveAuthority,
} from './store.ts';
import type { CertificateAuthority } from './store.ts';

export interface AuthorityOptions {
  readonly directory: string;
  /** Encrypts the CAs' keys. */
  readonly passphrase?: string;
  readonly clock?: Clock;
}

export interface CreationOptions extends AuthorityOptions {
  /** Default P-256. With a brainpool curve the TLS PKI takes the NIST curve of its size: few TLS stacks offer brainpool. */
  readonly curve?: CurveName;
}

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

export interface IssuedIdentity {
  readonly commonName: string;
  readonly directory: string;
  readonly certificates: Partial<Readonly<Record<CertificateKind, IssuedCertificate>>>;
}

export interface CertifyRequest extends Pick<IssueRequest, 'path' | 'hosts' | 'lifetimeMs'> {
  readonly kind: CertificateKind;
  /** Of a key that the authority does not hold, such as one in a PKCS #10 request. */
  readonly publicKey: KeyObject;
}

export interface RevocationRequest {
  /** A path: every certificate of it that has not expired. Or a serial number, hexadecimal. */
  readonly target: { readonly path: string } | { readonly serial: string };
  /** Default `unspecified`. */
  readonly reason?: CrlReason;
  /** With a path. Default: those of an end entity. With `ca`, the CA of that path, and all below it with it. */
  readonly kinds?: readonly LedgerKind[];
}

const rootCommonNames: Readonly<Record<PkiName, string>> = { tls: 'Plombe TLS root', e2e: 'Plombe E2E root' };
const tlsCurves: Readonly<Record<CurveName, CurveName>> = {
  'P-256': 'P-256',
  'P-384': 'P-384',
  'P-521': 'P-521',
  brainpoolP256r1: 'P-256',
  brainpoolP384r1: 'P-384',
  brainpoolP512r1: 'P-521',
};
/** Segments name directories beside these files. */
const segmentOfOurs = /\.pem$|\.tmp$|^crl-number$/i;

/**
 * Makes both roots, the vendor CA in both PKIs, and their first CRLs.
 *
 * @throws PkiError `pki.authority_exists` if the directory holds an authority or anything else
 */
export function createAuthority({
  directory,
  curve = 'P-256',
  passphrase,
  clock = systemClock,
}: CreationOptions): Authority {
  if (existsSync(directory) && readdirSync(directory).length > 0) {
    throw new PkiError('pki.authority_exists', `cannot create an authority: ${directory} is not empty`);
  }
  makeDirectory(directory);
  withLock(directory, () => {
    for (const pki of pkiNames) createRoot({ directory, passphrase, nowMs: clock() }, pki, curve);
  });
  return new Authority({ directory, passphrase, clock });
}

/** @throws PkiError `pki.authority_missing`, `pki.wrong_passphrase` */
export function openAuthority({ directory, passphrase, clock = systemClock }: AuthorityOptions): Authority {
  for (const pki of pkiNames) {
    if (!hasAuthority(directory, pki, rootName) || !hasAuthority(directory, pki, vendorAuthorityName)) {
      throw new PkiError(
        'pki.authority_missing',
        `${directory} holds no authority: create one with "plombe pki init"`,
      );
    }
    loadAuthority(directory, pki, rootName, passphrase);
  }
  withLock(directory, () => pkiNames.forEach((pki) => repairLedger(ledgerPath(directory, pki))));
  return new Authority({ directory, passphrase, clock });
}

export interface RevokedCertificate {
  readonly pki: PkiName;
  readonly serial: string;
  readonly subject: string;
  readonly kind: LedgerKind;
}

interface Context {
  readonly directory: string;
  readonly passphrase: string | undefined;
  readonly clock: Clock;
}

/** Made by `createAuthority` and `openAuthority`. Methods are atomic towards other processes by the directory's lock. */
export class Authority {
  readonly roots: Readonly<Record<PkiName, Certificate>>;
  readonly #context: Context;
  /** Opening an encrypted key costs a millisecond, and a fleet has few CAs. */
  readonly #opened = new Map<string, CertificateAuthority>();

  constructor(context: Context) {
    this.#context = context;
    this.roots = {
      tls: readAuthorityCertificate(context.directory, 'tls', rootName),
      e2e: readAuthorityCertificate(context.directory, 'e2e', rootName),
    };
  }

  get directory(): string {
    return this.#context.directory;
  }

  /**
   * Makes keys and certificates for an identity, and the CAs above it that are missing, and writes them to a directory.
   * Issuing again replaces the files; the older certificates stay valid until they expire or are revoked.
   *
   * @throws PkiError `pki.malformed_request`, `pki.lint`, `pki.revoked` (a CA above it is), `pki.authority_busy`
   */
  async issue(request: IssueRequest): Promise<IssuedIdentity> {
    const { path, kinds = usualKinds, outputDirectory, passphrase } = request;
    requirePath(path);
    if (kinds.length === 0)
      throw new PkiError('pki.malformed_request', 'no kind of certificate was asked for');
    if ((request.hosts ?? []).length > 0 && !kinds.includes('tls')) {
      throw new PkiError(
        'pki.malformed_request',
        'host names are for a TLS certificate, and none was asked for',
      );
    }
    const directory = outputDirectory ?? join(this.directory, 'identities', ...path.split('/'));
    return withLock(this.directory, () => {
      const issued = kinds.map((kind): [CertificateKind, IssuedCertificate] => {
        const curve = request.curve ?? this.roots[pkiOf(kind)].curve ?? 'P-256';
        const pair = kind === 'kem' ? generateKeyPairSync(kemKeyType) : makeKeyPair(pkiOf(kind), curve);
        const chain = this.#certify({ ...request, kind, publicKey: pair.publicKey });
        return [kind, { key: pair.privateKey, chain }];
      });
      const certificates = Object.fromEntries(issued);
      writeIdentity({ directory, passphrase, certificates, roots: this.roots });
      return { commonName: path, directory, certificates };
    });
  }

  /**
   * Issues one certificate for a key whose private part is elsewhere.
   *
   * @returns leaf first, without the root
   * @throws PkiError as `issue`
   */
  async certify(request: CertifyRequest): Promise<readonly Certificate[]> {
    requirePath(request.path);
    return withLock(this.directory, () => this.#certify(request));
  }

  /**
   * Revokes, and issues the CRLs of the CAs concerned and their bundle.
   *
   * @throws PkiError `pki.unknown_certificate` if nothing is left to revoke, `pki.authority_busy`
   */
  async revoke(request: RevocationRequest): Promise<readonly RevokedCertificate[]> {
    return withLock(this.directory, () => {
      const revoked = pkiNames.flatMap((pki) => this.#revokeIn(pki, request));
      if (revoked.length > 0) return revoked;
      const name = 'path' in request.target ? request.target.path : request.target.serial;
      throw new PkiError(
        'pki.unknown_certificate',
        `nothing to revoke: no certificate of ${JSON.stringify(name)} is in force`,
      );
    });
  }

  /** Issues a new CRL of every CA, and the bundles. @param options.lifetimeMs - default 7 days */
  async issueCrl({ lifetimeMs = crlLifetimeMs }: { readonly lifetimeMs?: number } = {}): Promise<void> {
    withLock(this.directory, () => {
      for (const pki of pkiNames) this.#issueCrls(pki, authorityNames(this.directory, pki), lifetimeMs);
    });
  }

  /** Everything that was ever intended, issued or revoked, in order. */
  ledger(pki: PkiName): readonly LedgerEntry[] {
    return readLedger(ledgerPath(this.directory, pki));
  }

  #certify({ path, kind, publicKey, hosts = [], lifetimeMs }: CertifyRequest): readonly Certificate[] {
    const pki = pkiOf(kind);
    const issuer = (issuersOf(path) ?? []).reduce<CertificateAuthority>(
      (above, name) => this.#ensure(above, name),
      this.#open(pki, rootName),
    );
    const isBroker = kind === 'tls' && hosts.length > 0;
    const names = isBroker ? { alternativeNames: alternativeNamesOf(hosts) } : {};
    const tlsProfile: ProfileName = isBroker ? 'tls-broker' : 'tls-client';
    const certificate = issueCertificate(
      {
        issuer,
        profile: kind === 'tls' ? tlsProfile : kind,
        kind,
        commonName: path,
        publicKey,
        ...names,
        ...(lifetimeMs === undefined ? {} : { lifetimeMs }),
      },
      ledgerPath(this.directory, pki),
      this.#context.clock(),
    );
    return [certificate, ...issuer.chain];
  }

  #open(pki: PkiName, name: string): CertificateAuthority {
    const key = `${pki} ${name}`;
    const opened =
      this.#opened.get(key) ?? loadAuthority(this.directory, pki, name, this.#context.passphrase);
    this.#opened.set(key, opened);
    return opened;
  }

  /** A CA of that name below `above`, made if it is missing. */
  #ensure(above: CertificateAuthority, name: string): CertificateAuthority {
    const { directory, passphrase, clock } = this.#context;
    if (!hasAuthority(directory, above.pki, name))
      createIntermediate({ directory, passphrase, nowMs: clock() }, above, name);
    const authority = this.#open(above.pki, name);
    const revocation = readCrl(directory, above.pki, above.name)?.revoked;
    if (revocation?.has(authority.certificate.serialNumber.toString('hex')) === true) {
      throw new PkiError('pki.revoked', `cannot issue: the CA ${JSON.stringify(name)} is revoked`);
    }
    return authority;
  }

  #revokeIn(
    pki: PkiName,
    { target, reason = 'unspecified', kinds = certificateKinds }: RevocationRequest,
  ): RevokedCertificate[] {
    const nowMs = this.#context.clock();
    const path = ledgerPath(this.directory, pki);
    const entries = readLedger(path);
    const revoked = new Set(entries.filter(({ event }) => event === 'revoked').map(({ serial }) => serial));
    const matches = (entry: LedgerEntry): boolean =>
      'serial' in target
        ? entry.serial === normalSerial(target.serial)
        : entry.subject === target.path && kinds.includes(entry.kind) && Date.parse(entry.notAfter) > nowMs;
    // What was only intended may have been signed before a crash, so it counts.
    const found = entries.filter(
      (entry) => entry.event === 'intended' && !revoked.has(entry.serial) && matches(entry),
    );
    if (found.length === 0) return [];
    if (found.some(({ subject }) => subject === rootCommonNames[pki])) {
      throw new PkiError('pki.malformed_request', 'a root cannot be revoked: replace it where it is pinned');
    }
    const at = new Date(nowMs).toISOString();
    appendToLedger(
      path,
      found.map((entry) => ({ ...entry, event: 'revoked', at, reason })),
    );
    this.#issueCrls(pki, [...new Set(found.map(({ issuer }) => issuer))], crlLifetimeMs);
    return found.map(({ serial, subject, kind }) => ({ pki, serial, subject, kind }));
  }

  #issueCrls(pki: PkiName, names: readonly string[], lifetimeMs: number): void {
    const nowMs = this.#context.clock();
    const entries = readLedger(ledgerPath(this.directory, pki));
    for (const name of names)
      issueCrlOf(this.directory, this.#open(pki, name), entries, { nowMs, lifetimeMs });
    writeBundle(this.directory, pki);
  }
}

interface Creation {
  readonly directory: string;
  readonly passphrase: string | undefined;
  readonly nowMs: number;
}

function createRoot({ directory, passphrase, nowMs }: Creation, pki: PkiName, curve: CurveName): void {
  const ledger = ledgerPath(directory, pki);
  makeDirectory(join(directory, pki));
  const { privateKey, publicKey } = makeKeyPair(pki, curve);
  const commonName = rootCommonNames[pki];
  const certificate = issueRoot({ pki, commonName, publicKey, privateKey }, ledger, nowMs);
  const root = { pki, name: rootName, position: rootPosition, certificate, key: privateKey, chain: [] };
  saveAuthority(directory, root, passphrase);
  issueCrlOf(directory, root, [], { nowMs, lifetimeMs: crlLifetimeMs });
  createIntermediate({ directory, passphrase, nowMs }, root, vendorAuthorityName);
}

function createIntermediate(
  { directory, passphrase, nowMs }: Creation,
  above: CertificateAuthority,
  name: string,
): void {
  const { pki } = above;
  const { privateKey, publicKey } = makeKeyPair(pki, above.certificate.curve ?? 'P-256');
  const request = {
    issuer: above,
    profile: authorityProfileOf(name),
    kind: 'ca',
    commonName: name,
    publicKey,
  } as const;
  const certificate = issueCertificate(request, ledgerPath(directory, pki), nowMs);
  const position = authorityBelow(above.position, name) ?? above.position;
  const authority = {
    pki,
    name,
    position,
    certificate,
    key: privateKey,
    chain: [certificate, ...above.chain],
  };
  saveAuthority(directory, authority, passphrase);
  issueCrlOf(directory, authority, [], { nowMs, lifetimeMs: crlLifetimeMs });
  writeBundle(directory, pki);
}

function authorityProfileOf(name: string): ProfileName {
  if (name === vendorAuthorityName) return 'vendor-authority';
  return name.includes('/') ? 'account-authority' : 'master-account-authority';
}

function makeKeyPair(pki: PkiName, curve: CurveName): { privateKey: KeyObject; publicKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve: pki === 'tls' ? tlsCurves[curve] : curve });
}

function requirePath(path: string): void {
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

function normalSerial(serial: string): string {
  const digits = serial.replaceAll(':', '').toLowerCase();
  return digits.length % 2 === 0 ? digits : `0${digits}`;
}
