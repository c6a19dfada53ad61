/** An authority: both PKIs' CAs on the disk, what they issue, and what they revoke. */
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../domain/clock.ts';
import type { Clock } from '../../domain/clock.ts';
import { vendorAuthorityName } from '../../domain/namespace.ts';
import { kemKeyType } from '../certificate.ts';
import type { Certificate, CurveName } from '../certificate.ts';
import type { Crl } from '../crl.ts';
import { issuersOf } from '../discipline.ts';
import { PkiError } from '../errors.ts';
import { useToken } from './authority-key.ts';
import { createIntermediate, createRoot, makeKeyPair, rootCommonNames } from './creation.ts';
import { crlLifetimeMs, issueCrlOf, readBundle, writeBundle } from './crl-issuance.ts';
import { makeDirectory } from './files.ts';
import { writeIdentity } from './identity-files.ts';
import type { IssuedCertificate } from './identity-files.ts';
import { draftCertificate, signDrafts } from './issuance.ts';
import type { Draft } from './issuance.ts';
import { appendToLedger, readLedger, repairLedger } from './ledger.ts';
import type { LedgerEntry, LedgerKind } from './ledger.ts';
import { withLock } from './lock.ts';
import { certificateKinds, pkiNames, pkiOf, usualKinds } from './profiles.ts';
import type { CertificateKind, PkiName } from './profiles.ts';
import { issuanceOf, normalSerial, requirePath } from './requests.ts';
import type {
  CertifyRequest,
  CrlRequest,
  InvitationRequest,
  IssueRequest,
  RevocationRequest,
} from './requests.ts';
import {
  authorityNames,
  hasAuthority,
  hasKey,
  ledgerPath,
  loadAuthority,
  readAuthorityCertificate,
  readCrl,
  rootName,
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
  /** `pkcs11:token=LABEL?module-path=FILE` (RFC 7512): the CAs' keys are made there; the passphrase is its PIN. */
  readonly token?: string;
}

export interface IssuedIdentity {
  readonly commonName: string;
  readonly directory: string;
  readonly certificates: Partial<Readonly<Record<CertificateKind, IssuedCertificate>>>;
}

/** Keys that somebody enrols with. */
export type Invitation = Readonly<Record<'tls' | 'sig', IssuedCertificate>>;

/**
 * Makes both roots, the vendor CA in both PKIs, and their first CRLs.
 *
 * @throws PkiError `pki.authority_exists` if the directory holds an authority or anything else
 */
export function createAuthority({
  directory,
  curve = 'P-256',
  passphrase,
  token,
  clock = systemClock,
}: CreationOptions): Authority {
  if (existsSync(directory) && readdirSync(directory).length > 0) {
    throw new PkiError('pki.authority_exists', `cannot create an authority: ${directory} is not empty`);
  }
  makeDirectory(directory);
  withLock(directory, () => {
    if (token !== undefined) useToken(directory, token);
    for (const pki of pkiNames) createRoot({ directory, passphrase, nowMs: clock() }, pki, curve);
  });
  return new Authority({ directory, passphrase, clock });
}

/**
 * The keys of the roots, and of any CA that nothing is asked of, may be elsewhere.
 *
 * @throws PkiError `pki.authority_missing`, `pki.wrong_passphrase`
 */
export function openAuthority({ directory, passphrase, clock = systemClock }: AuthorityOptions): Authority {
  for (const pki of pkiNames) {
    const first = [rootName, vendorAuthorityName];
    if (!first.every((name) => hasAuthority(directory, pki, name))) {
      throw new PkiError(
        'pki.authority_missing',
        `${directory} holds no authority: create one with "plombe pki init"`,
      );
    }
    // A wrong passphrase is said at once, and not with the first certificate.
    const name = first.find((candidate) => hasKey(directory, pki, candidate));
    if (name !== undefined) loadAuthority(directory, pki, name, passphrase);
  }
  return new Authority({ directory, passphrase, clock });
}

export interface CrlReport {
  readonly issued: number;
  /** CAs whose lists are due and whose keys are elsewhere, such as `tls root`. */
  readonly offline: readonly string[];
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
  /** Opening an encrypted key costs an eighth of a second the first time, and a token is asked in a process of its own. */
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
    return this.#locked(() => {
      const certificates = this.#issueKeys(kinds, request);
      writeIdentity({ directory, passphrase, certificates, roots: this.roots });
      return { commonName: path, directory, certificates };
    });
  }

  /**
   * Issues certificates for keys whose private parts are elsewhere: all of them, or, if one is refused, none. Many at
   * once cost as many writes to the disk as one does.
   *
   * @returns chains in the order of the requests: leaf first, without the root
   * @throws PkiError as `issue`
   */
  async certify(requests: readonly CertifyRequest[]): Promise<readonly (readonly Certificate[])[]> {
    for (const { path } of requests) requirePath(path);
    return this.#locked(() => this.#certify(requests));
  }

  /**
   * Makes keys and short-lived certificates that are good for enrolment alone, for a device that has none yet.
   *
   * @throws PkiError as `issue`
   */
  async invite({ path, lifetimeMs, curve }: InvitationRequest): Promise<Invitation> {
    requirePath(path);
    const request = {
      path,
      scope: 'enrolment',
      ...(lifetimeMs === undefined ? {} : { lifetimeMs }),
      ...(curve === undefined ? {} : { curve }),
    } as const;
    return this.#locked(() => this.#issueKeys(['tls', 'sig'], request));
  }

  /**
   * Revokes, and issues the CRLs of the CAs concerned and their bundle.
   *
   * @throws PkiError `pki.unknown_certificate` if nothing is left to revoke, `pki.key_offline` (then nothing was revoked),
   *   `pki.authority_busy`
   */
  async revoke(request: RevocationRequest): Promise<readonly RevokedCertificate[]> {
    return this.#locked(() => {
      const found = pkiNames.map((pki) => [pki, this.#toRevoke(pki, request)] as const);
      for (const [pki, entries] of found) entries.forEach(({ issuer }) => this.#open(pki, issuer));
      const revoked = found.flatMap(([pki, entries]) => this.#revokeIn(pki, entries, request));
      if (revoked.length > 0) return revoked;
      const name = 'path' in request.target ? request.target.path : request.target.serials.join(', ');
      throw new PkiError(
        'pki.unknown_certificate',
        `nothing to revoke: no certificate of ${JSON.stringify(name)} is in force`,
      );
    });
  }

  /** Issues new CRLs, and the bundles that they are in; the lists of CAs whose keys are elsewhere stay as they are. */
  async issueCrl({
    lifetimeMs = crlLifetimeMs,
    dueWithinMs = Infinity,
    authorities,
  }: CrlRequest = {}): Promise<CrlReport> {
    return this.#locked(() => {
      const dueMs = this.#context.clock() + dueWithinMs;
      const offline: string[] = [];
      const issued = pkiNames.map((pki) => {
        const due = authorityNames(this.directory, pki).filter((name) => {
          if (authorities?.includes(name) === false) return false;
          return (readCrl(this.directory, pki, name)?.nextUpdateMs ?? 0) <= dueMs;
        });
        const able = due.filter((name) => hasKey(this.directory, pki, name));
        offline.push(...due.filter((name) => !able.includes(name)).map((name) => `${pki} ${name}`));
        if (able.length > 0) this.#issueCrls(pki, able, () => lifetimeMs);
        return able.length;
      });
      return { issued: issued.reduce((sum, count) => sum + count), offline };
    });
  }

  /** Everything that was ever intended, issued or revoked, in order. */
  ledger(pki: PkiName): readonly LedgerEntry[] {
    return readLedger(ledgerPath(this.directory, pki));
  }

  /** Another process may have been killed while it wrote. */
  #locked<Result>(work: () => Result): Result {
    return withLock(this.directory, () => {
      pkiNames.forEach((pki) => repairLedger(ledgerPath(this.directory, pki)));
      return work();
    });
  }

  #issueKeys<Kind extends CertificateKind>(
    kinds: readonly Kind[],
    { curve, ...request }: Omit<CertifyRequest, 'kind' | 'publicKey'> & Pick<IssueRequest, 'curve'>,
  ): Readonly<Record<Kind, IssuedCertificate>> {
    const pairs = kinds.map((kind) => {
      const pki = pkiOf(kind);
      if (kind === 'kem') return generateKeyPairSync(kemKeyType);
      return makeKeyPair(pki, curve ?? this.roots[pki].curve ?? 'P-256');
    });
    const chains = this.#certify(
      kinds.flatMap((kind, index) => {
        const publicKey = pairs[index]?.publicKey;
        return publicKey === undefined ? [] : [{ ...request, kind, publicKey }];
      }),
    );
    const entries = kinds.flatMap((kind, index): [Kind, IssuedCertificate][] => {
      const [key, chain] = [pairs[index]?.privateKey, chains[index]];
      return key === undefined || chain === undefined ? [] : [[kind, { key, chain }]];
    });
    return Object.fromEntries(entries) as Record<Kind, IssuedCertificate>;
  }

  #certify(requests: readonly CertifyRequest[]): readonly (readonly Certificate[])[] {
    const nowMs = this.#context.clock();
    const issuers = new Map<string, CertificateAuthority>();
    const drafts = requests.map((request) => {
      const { path, kind } = request;
      const pki = pkiOf(kind);
      const names = issuersOf(path) ?? [];
      const key = `${pki} ${names.at(-1)}`;
      const issuer = issuers.get(key) ?? this.#issuer(pki, names);
      issuers.set(key, issuer);
      return draftCertificate(issuanceOf(request, issuer), nowMs);
    });
    const chains = new Map<Draft, readonly Certificate[]>();
    for (const pki of pkiNames) {
      const own = drafts.filter(({ issuer }) => issuer.pki === pki);
      if (own.length === 0) continue;
      const certificates = signDrafts(own, ledgerPath(this.directory, pki));
      for (const [index, draft] of own.entries())
        chains.set(draft, [...certificates.slice(index, index + 1), ...draft.issuer.chain]);
    }
    return drafts.map((draft) => chains.get(draft) ?? []);
  }

  #open(pki: PkiName, name: string): CertificateAuthority {
    const key = `${pki} ${name}`;
    const known = this.#opened.get(key);
    // A CA that was compromised is moved away, and another one made of the same name, while the registrar works.
    const isSame = known?.certificate.der.equals(readAuthorityCertificate(this.directory, pki, name).der);
    if (known !== undefined && isSame === true) return known;
    const opened = loadAuthority(this.directory, pki, name, this.#context.passphrase);
    this.#opened.set(key, opened);
    return opened;
  }

  /** @param names - from below the root down; whatever is missing of them is made */
  #issuer(pki: PkiName, names: readonly string[]): CertificateAuthority {
    const { directory, passphrase, clock } = this.#context;
    for (const [index, name] of names.entries()) {
      const above = names[index - 1] ?? rootName;
      if (!hasAuthority(directory, pki, name)) {
        createIntermediate({ directory, passphrase, nowMs: clock() }, this.#open(pki, above), name);
      }
      const { serialNumber } = readAuthorityCertificate(directory, pki, name);
      if (readCrl(directory, pki, above)?.revoked.has(serialNumber.toString('hex')) === true) {
        throw new PkiError('pki.revoked', `cannot issue: the CA ${JSON.stringify(name)} is revoked`);
      }
    }
    return this.#open(pki, names.at(-1) ?? rootName);
  }

  #toRevoke(pki: PkiName, { target, kinds = certificateKinds }: RevocationRequest): LedgerEntry[] {
    const nowMs = this.#context.clock();
    const entries = readLedger(ledgerPath(this.directory, pki));
    const revoked = revokedIn(entries);
    const lists = readBundle(this.directory, pki);
    const serials = new Set('serials' in target ? target.serials.map(normalSerial) : []);
    const matches = (entry: LedgerEntry): boolean =>
      'serials' in target
        ? serials.has(entry.serial)
        : entry.subject === target.path && kinds.includes(entry.kind) && Date.parse(entry.notAfter) > nowMs;
    // What was only intended may have been signed before a crash, so it counts; and so does what was revoked right before
    // one, and is on no list yet.
    const isDone = ({ serial }: LedgerEntry): boolean =>
      revoked.has(serial) && lists.some((crl) => crl.revoked.has(serial));
    const found = entries.filter((entry) => entry.event === 'intended' && !isDone(entry) && matches(entry));
    if (found.some(({ subject }) => subject === rootCommonNames[pki])) {
      throw new PkiError('pki.malformed_request', 'a root cannot be revoked: replace it where it is pinned');
    }
    return found;
  }

  #revokeIn(
    pki: PkiName,
    found: readonly LedgerEntry[],
    { reason = 'unspecified' }: RevocationRequest,
  ): RevokedCertificate[] {
    if (found.length === 0) return [];
    const at = new Date(this.#context.clock()).toISOString();
    const ledger = ledgerPath(this.directory, pki);
    const revoked = revokedIn(readLedger(ledger));
    const fresh = found.filter(({ serial }) => !revoked.has(serial));
    appendToLedger(
      ledger,
      fresh.map((entry) => ({ ...entry, event: 'revoked', at, reason })),
    );
    // A root that is kept elsewhere has a list that lives longer than the others, and so does the one that follows it.
    this.#issueCrls(pki, [...new Set(found.map(({ issuer }) => issuer))], lifetimeOf);
    return found.map(({ serial, subject, kind }) => ({ pki, serial, subject, kind }));
  }

  #issueCrls(
    pki: PkiName,
    names: readonly string[],
    lifetimeMs: (previous: Crl | undefined) => number,
  ): void {
    const nowMs = this.#context.clock();
    const entries = readLedger(ledgerPath(this.directory, pki));
    for (const name of names)
      issueCrlOf(this.directory, this.#open(pki, name), entries, { nowMs, lifetimeMs });
    writeBundle(this.directory, pki);
  }
}

function revokedIn(entries: readonly LedgerEntry[]): ReadonlySet<string> {
  return new Set(entries.filter(({ event }) => event === 'revoked').map(({ serial }) => serial));
}

function lifetimeOf(previous: Crl | undefined): number {
  return previous === undefined ? crlLifetimeMs : previous.nextUpdateMs - previous.thisUpdateMs;
}
