/** The namespace: which names an identity may have, and where each stands in the tenant tree (DESIGN §3). */

/** `masterAccount[/account[/equipment]]`. Only `parseNamespacePath` makes one. */
export type NamespacePath = string & { readonly brand: 'NamespacePath' };
/** A vendor service such as `vendor-snapshot-service`. Only `isServiceName` tells one. */
export type ServiceName = string & { readonly brand: 'ServiceName' };

export type NamespaceLevel = 'master-account' | 'account' | 'device';

// Three segments of 20 and two slashes are 62 characters: within the 64 of a common name (RFC 5280 ub-common-name).
const segmentPattern = /^[A-Za-z0-9._-]{1,20}$/;
// A path names directories too, so a segment must not climb.
const onlyDots = /^\.+$/;
const levels: readonly NamespaceLevel[] = ['master-account', 'account', 'device'];

/** The administrator's identity: may read and write everything, and alone reads `$SYS/#`. */
export const administratorName = 'MRO-Admin';
/** The CA that issues vendor services; the root of the reserved part of the tree. */
export const vendorAuthorityName = 'vendor';

/** @returns whether `text` is one segment: 1 to 20 of `A-Z a-z 0-9 . _ -`, not only dots */
export function isSegment(text: string): boolean {
  return segmentPattern.test(text) && !onlyDots.test(text);
}

/**
 * Whether a first segment belongs to the vendor. The comparison ignores case, because people read
 * `Vendor-broker` as `vendor-broker`, and nobody needs such a master account.
 */
export function isReservedName(firstSegment: string): boolean {
  const name = firstSegment.toLowerCase();
  return (
    name === vendorAuthorityName ||
    name.startsWith(`${vendorAuthorityName}-`) ||
    name === administratorName.toLowerCase()
  );
}

const factoryPrefix = `${vendorAuthorityName}-factory-`;

/** @returns whether `text` names equipment as the factory does, before it has a place in the tree: `vendor-factory-1234` */
export function isFactoryName(text: string): text is ServiceName {
  return isServiceName(text) && text.startsWith(factoryPrefix) && text.length > factoryPrefix.length;
}

/** @returns whether `text` names a vendor service: a reserved name in its exact case, other than the CA's own */
export function isServiceName(text: string): text is ServiceName {
  if (text === administratorName) return true;
  return text.startsWith(`${vendorAuthorityName}-`) && /^[a-z0-9-]{8,40}$/.test(text);
}

/**
 * Reads a namespace path.
 *
 * @param text - for example `ms-acc-1/acc-1/dev-1`
 * @returns the path, or undefined if it has not 1 to 3 segments, or begins with a reserved name
 */
export function parseNamespacePath(text: string): NamespacePath | undefined {
  const segments = text.split('/');
  const first = segments[0];
  if (first === undefined || segments.length > levels.length) return undefined;
  if (!segments.every(isSegment) || isReservedName(first)) return undefined;
  return text as NamespacePath;
}

/** @returns the path if `text` is one of exactly three segments */
export function parseDevicePath(text: string): NamespacePath | undefined {
  const path = parseNamespacePath(text);
  return path !== undefined && levelOf(path) === 'device' ? path : undefined;
}

export function levelOf(path: NamespacePath): NamespaceLevel {
  const level = levels[path.split('/').length - 1];
  if (level === undefined) throw new RangeError(`a namespace path has 1 to 3 segments, not "${path}"`);
  return level;
}

/** @returns the paths above: a device's master account and its account, an account's master account */
export function ownersOf(path: NamespacePath): readonly NamespacePath[] {
  const segments = path.split('/');
  return segments.slice(1).map((_, index) => segments.slice(0, index + 1).join('/') as NamespacePath);
}

/** @returns whether `path` is `scope` or lies below it; `ms-acc-10` is not within `ms-acc-1` */
export function isWithin(path: string, scope: string): boolean {
  return path === scope || path.startsWith(`${scope}/`);
}
