/** What the broker runs with: its configuration, and what is in the files that it names. */
import { createSecureContext } from 'node:tls';
import { errorText } from '../domain/error-text.ts';
import { certificatesFromPem } from '../pki/certificate.ts';
import { PkiError } from '../pki/errors.ts';
import { loadTlsIdentity } from '../pki/identity.ts';
import type { TlsIdentity } from '../pki/identity.ts';
import { verifyPath } from '../pki/path.ts';
import type { VerifiedIdentity } from '../pki/path.ts';
import type { StalePolicy } from '../pki/revocation.ts';
import { stalePolicyOf } from '../pki/stale-crl-type.ts';
import { tlsKeyOptions } from '../pki/tls-key.ts';
import { rolesWith } from './access/roles.ts';
import type { RoleTable } from './access/roles.ts';
import { decideFilter } from './access/shared-filter.ts';
import { cascadeFilters } from './cascade/filters.ts';
import type { CascadeFilters } from './cascade/filters.ts';
import type { BrokerConfig } from './config.ts';
import { BrokerError } from './errors.ts';

export interface Settings {
  readonly config: BrokerConfig;
  readonly identity: TlsIdentity;
  /** The path of the broker's own certificate. */
  readonly verified: VerifiedIdentity;
  /** Never changed in place: whoever remembers what follows from a table compares the table itself. */
  readonly roles: RoleTable;
  readonly stalePolicy: StalePolicy;
  /** Undefined without a cascade. */
  readonly cascade: { readonly identity: TlsIdentity; readonly filters: CascadeFilters } | undefined;
}

/**
 * Checks a configuration against the files that it names and against itself.
 *
 * @throws PkiError or BrokerError, in one clear line
 */
export function readSettings(config: BrokerConfig, nowMs: number): Settings {
  const { identity, verified } = readOwnIdentity(config, nowMs);
  const roles = rolesWith(config.roles ?? {});
  requireExpectedRights(config, roles);
  return {
    config,
    identity,
    verified,
    roles,
    stalePolicy: stalePolicyOf(config.staleCrl),
    cascade: readCascade(config, identity, roles, nowMs),
  };
}

/**
 * The settings of a broker that runs. Every part holds this object, or its `limits`, and reads it when it decides; so a
 * reload changes all of them in one step, and none of them looks anything up for a message that it would not have.
 */
export class LiveSettings implements Settings {
  readonly config: BrokerConfig;
  #current: Settings;

  constructor(first: Settings) {
    this.#current = first;
    this.config = { ...first.config, limits: { ...first.config.limits } };
  }

  get identity(): TlsIdentity {
    return this.#current.identity;
  }

  get verified(): VerifiedIdentity {
    return this.#current.verified;
  }

  /** When the first certificate of its own path expires. */
  get validUntilMs(): number {
    return Math.min(...this.verified.chain.map(({ notAfterMs }) => notAfterMs));
  }

  get roles(): RoleTable {
    return this.#current.roles;
  }

  get stalePolicy(): StalePolicy {
    return this.#current.stalePolicy;
  }

  get cascade(): Settings['cascade'] {
    return this.#current.cascade;
  }

  replaceWith(next: Settings): void {
    this.#current = next;
    const { limits } = this.config;
    Object.assign(limits, next.config.limits);
    Object.assign(this.config, { ...next.config, limits });
  }
}

/** Files that are looked at again when they change. */
export function watchedFiles({
  identity,
  passphraseFile,
  crls,
  cascade,
}: Pick<BrokerConfig, 'identity' | 'passphraseFile' | 'crls' | 'cascade'>): string[] {
  const directories = [identity, ...(cascade?.identity === undefined ? [] : [cascade.identity])];
  const files = [passphraseFile, cascade?.passphraseFile].filter((file) => file !== undefined);
  return [
    ...directories.flatMap((directory) => identityFiles.map((file) => `${directory}/${file}`)),
    ...files,
    ...(crls ?? []),
  ];
}

const identityFiles = ['tls.key.pem', 'tls.chain.pem', 'tls-root.crt.pem'];

function requireExpectedRights({ expectedSessions }: BrokerConfig, roles: RoleTable): void {
  for (const { identity, subscriptions } of expectedSessions) {
    const denied = subscriptions.find((filter) => !decideFilter(identity, filter, roles).allowed);
    if (denied === undefined) continue;
    throw new BrokerError(
      'broker.expected_session',
      `expectedSessions: ${identity} may not subscribe ${denied}`,
    );
  }
}

function readOwnIdentity(
  { identity: directory, passphraseFile }: Pick<BrokerConfig, 'identity' | 'passphraseFile'>,
  nowMs: number,
): Pick<Settings, 'identity' | 'verified'> {
  const identity = loadTlsIdentity(directory, { nowMs, passphraseFile });
  let verified: VerifiedIdentity;
  try {
    verified = verifyPath({
      chain: certificatesFromPem(identity.chainPem),
      roots: identity.roots,
      atMs: nowMs,
      purpose: 'tls-server',
    });
  } catch (cause) {
    if (!(cause instanceof PkiError)) throw cause;
    throw new BrokerError(
      'broker.wrong_identity',
      `${directory}: no broker's certificate: ${cause.message}`,
      { cause },
    );
  }
  requireServable(directory, identity);
  return { identity, verified };
}

/** What we understand, OpenSSL may still refuse to serve, as a curve that this build of it does not know. */
function requireServable(directory: string, identity: TlsIdentity): void {
  const { chainPem, rootsPem } = identity;
  try {
    createSecureContext({ ...tlsKeyOptions(identity), cert: chainPem, ca: rootsPem });
  } catch (cause) {
    const detail = errorText(cause);
    throw new BrokerError('broker.wrong_identity', `${directory}: no use for TLS: ${detail}`, { cause });
  }
}

function readCascade(
  { cascade }: BrokerConfig,
  own: TlsIdentity,
  roles: RoleTable,
  nowMs: number,
): Settings['cascade'] {
  if (cascade === undefined) return undefined;
  const identity =
    cascade.identity === undefined
      ? own
      : loadTlsIdentity(cascade.identity, { nowMs, passphraseFile: cascade.passphraseFile });
  return { identity, filters: cascadeFilters(identity.commonName, cascade, roles) };
}
