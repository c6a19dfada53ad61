/** Path discipline (DESIGN §3): which common name an issuer may give to what it issues. */
import {
  isServiceName,
  isSegment,
  levelOf,
  parseNamespacePath,
  vendorAuthorityName,
} from '../domain/namespace.ts';

/** Where a CA stands. Only the pinned root is `root`, whatever it calls itself. */
export type AuthorityPosition =
  | { readonly position: 'root' }
  | { readonly position: 'vendor' }
  | { readonly position: 'namespace'; readonly path: string };

export type IdentityKind = 'service' | 'master-account' | 'account' | 'device';

export const rootPosition: AuthorityPosition = { position: 'root' };

/**
 * Where a CA stands that `issuer` issued. A CA always goes one segment deeper than its issuer: one of the same
 * name would add a level that the tenant tree does not have.
 *
 * @returns undefined if the issuer may not issue a CA of that name
 */
export function authorityBelow(
  issuer: AuthorityPosition,
  commonName: string | undefined,
): AuthorityPosition | undefined {
  if (commonName === undefined) return undefined;
  if (issuer.position === 'vendor') return undefined;
  if (issuer.position === 'root') {
    if (commonName === vendorAuthorityName) return { position: 'vendor' };
    const path = parseNamespacePath(commonName);
    return path !== undefined && levelOf(path) === 'master-account'
      ? { position: 'namespace', path }
      : undefined;
  }
  const path = parseNamespacePath(commonName);
  if (path === undefined || levelOf(path) === 'device' || !isOneBelow(path, issuer.path)) return undefined;
  return { position: 'namespace', path };
}

/**
 * What an end entity that `issuer` issued is.
 *
 * @returns undefined if the issuer may not issue that name
 */
export function identityBelow(
  issuer: AuthorityPosition,
  commonName: string | undefined,
): IdentityKind | undefined {
  if (commonName === undefined) return undefined;
  if (issuer.position !== 'namespace') return isServiceName(commonName) ? 'service' : undefined;
  const path = parseNamespacePath(commonName);
  if (path === undefined || (path !== issuer.path && !isOneBelow(path, issuer.path))) return undefined;
  return levelOf(path);
}

/** @returns the common names of the CAs from below the root down to the issuer of `path`; undefined: no such path */
export function issuersOf(path: string): readonly string[] | undefined {
  if (isServiceName(path)) return [vendorAuthorityName];
  const parsed = parseNamespacePath(path);
  if (parsed === undefined) return undefined;
  const [masterAccount = '', account] = parsed.split('/');
  return account === undefined ? [masterAccount] : [masterAccount, `${masterAccount}/${account}`];
}

function isOneBelow(path: string, above: string): boolean {
  return path.startsWith(`${above}/`) && isSegment(path.slice(above.length + 1));
}
